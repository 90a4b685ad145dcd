"""BM25 as the product of two vectors, and the terms that it compares."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.bm25 import AVERAGE_LENGTH, K1, B, TermCounts, frequencies, rarity, saturated, weighted
from rag.lexical_terms import passage_vector, question_vector, words
from rag.types import SparseVector


def ids(*terms: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(terms, dtype=np.uint32)


def counts(terms: dict[int, int]) -> TermCounts:
    return TermCounts(ids(*sorted(terms)), np.array([terms[term] for term in sorted(terms)], np.float32))


def score(question: SparseVector, passage: SparseVector) -> float:
    held = dict(zip(passage.ids.tolist(), passage.weights.tolist(), strict=True))
    terms = zip(question.ids.tolist(), question.weights.tolist(), strict=True)
    return float(sum(weight * held.get(term, 0.0) for term, weight in terms))


# Weights


def test_the_product_is_bm25_as_robertson_and_zaragoza_write_it() -> None:
    texts = ["ship ship sails", "the ship", "the harbour sleeps", "the the the"]
    passages = [passage_vector(text) for text in texts]
    known = frequencies(("en", each.ids) for each in passages)
    question = question_vector("the ship the")

    def idf(word: str) -> float:
        holders = sum(word in text.split() for text in texts)
        return math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))

    whole = 2 * idf("the") + idf("ship")
    for text, passage in zip(texts, passages, strict=True):
        has = Counter(text.split())
        # "sleeps", "sails" and "harbour": those of more than five letters are two terms.
        length = sum(has.values()) + sum(len(word) > 5 for word in has)
        expected = sum(
            share * idf(word) * has[word] * (K1 + 1) / (has[word] + K1 * (1 - B + B * length / AVERAGE_LENGTH))
            for word, share in (("the", 2), ("ship", 1))
        )
        assert score(weighted(question, known), passage) == pytest.approx(expected / whole, rel=1e-5)


def test_a_passage_of_average_length_with_each_of_the_questions_words_once_scores_one() -> None:
    known = frequencies([("en", ids(1, 2)), ("en", ids(2, 3))])
    lengths = np.ones(AVERAGE_LENGTH)
    passage = SparseVector(np.arange(AVERAGE_LENGTH, dtype=np.uint32), saturated(lengths))
    assert score(weighted(counts({1: 1, 2: 1, 3: 1}), known), passage) == pytest.approx(1, abs=1e-6)


def test_weights_of_a_question_are_positive_and_sum_to_one_whatever_is_known_of_its_terms() -> None:
    for known in ({}, frequencies([("en", ids(1))]), frequencies([("en", ids(1))] * 3000 + [("de", ids())])):
        found = weighted(counts({1: 2, 7: 1}), known)
        assert not isinstance(found, TermCounts)
        assert found.ids.dtype == np.uint32
        assert found.weights.dtype == np.float32
        assert (found.weights > 0).all()
        assert found.weights.sum() == pytest.approx(1, abs=1e-6)


def test_a_question_without_terms_has_no_weights() -> None:
    assert weighted(question_vector("?!"), frequencies([("en", ids(1))])).ids.size == 0


def test_the_rarer_a_term_the_more_it_weighs() -> None:
    known = frequencies([("en", ids(1, 2)), ("en", ids(1)), ("en", ids(1))])
    frequent, rare, unknown = rarity(ids(1, 2, 3), known)
    assert 0 < frequent < rare < unknown


def test_a_word_that_a_language_says_everywhere_is_not_rare_because_the_language_is() -> None:
    article, name, other = 1, 2, 3
    english = [("en", ids(100 + number, 101 + number, *((name,) if number < 3 else ()))) for number in range(300)]
    german = [("de", ids(article, *((other,) if number < 3 else ()))) for number in range(30)]
    of_article, of_name, of_other = rarity(ids(article, name, other), frequencies([*english, *german]))
    assert of_article < of_name / 2
    assert of_name > of_other > of_article  # what 3 of 30 have is more common than what 3 of 300 have
    alone = rarity(ids(article, name), frequencies([("en", terms) for _, terms in [*english, *german]]))
    assert alone[0] > of_article  # taken for one language, the article would count for rare


def test_one_passage_in_a_language_makes_no_word_common() -> None:
    english = [("en", ids(number)) for number in range(10, 500)]
    name = 9
    before, after = (rarity(ids(name), frequencies(held))[0] for held in (english, [*english, ("fi", ids(name))]))
    assert after > before / 3


# Terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Größe", "GRÖSSE"),
        ("ﬁnd", "find"),
        ("Ｔｏｋｙｏ", "tokyo"),
        ("مُحَمَّد", "محمد"),
        ("كتـــاب", "كتاب"),
        ("cafe\u0301", "café"),
        ("l’eau", "l'eau"),
    ],
)
def test_ways_to_write_a_word_are_one_term(one: str, other: str) -> None:
    assert set(words(one)) == set(words(other))


def test_inflected_forms_share_a_term_and_short_words_are_whole() -> None:
    assert len(set(words("библиотека")) & set(words("библиотеку"))) == 1
    assert not set(words("boat")) & set(words("boats"))
    # A word of five letters is not the beginning of a longer one.
    assert not set(words("plane")) & set(words("planets"))


@pytest.mark.parametrize(
    ("text", "part"),
    [("老图书馆保管冬天的大衣", "图书馆"), ("図書館でデータベースを使う", "データ"), ("ห้องสมุดเก่าขายหนังสือ", "หนังสือ")],
)
def test_a_word_inside_a_text_without_spaces_is_found(text: str, part: str) -> None:
    assert set(words(part)) <= set(words(text))
    assert len(set(words(text))) > len(set(words(part)))


def test_a_single_character_by_itself_is_a_term() -> None:
    assert list(words("木").values()) == ["木"]
    assert len(words("2020年")) == 2


def test_the_terms_of_indexes_that_are_there_stay_what_they_are() -> None:
    # Change these only together with SCHEME, which makes such an index another model's.
    assert list(words("Größe 図書館")) == [680335359, 3208601146, 1989243330, 1467720683]
    assert passage_vector("a a").weights.tolist() == pytest.approx([1.9047619], abs=1e-6)


def test_punctuation_says_nothing_and_words_stand_as_the_text_writes_them() -> None:
    assert words("…?! — «»") == {}
    assert set(words("Don't stop, Größe!").values()) == {"Don", "t", "stop", "Größe"}


@given(st.text())
def test_every_term_of_a_vector_has_its_word_in_the_text(text: str) -> None:
    vector = passage_vector(text)
    found = words(text)
    assert vector.ids.tolist() == sorted(found)
    assert all(word and word in text for word in found.values())
    assert np.isfinite(vector.weights).all()
    assert (vector.weights > 0).all()
    assert question_vector(text).ids.tolist() == vector.ids.tolist()


def test_korean_words_share_terms_whatever_particle_they_end_in() -> None:
    one, other = (set(passage_vector(text).ids.tolist()) for text in ("도서관은 오늘 연다", "도서관에서 책을 읽는다"))
    assert len(one & other) == 2  # 도서 and 서관
