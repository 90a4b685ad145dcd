"""Why a passage was found: the words of the question it shares, and what each adds to the sparse score."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import ingest
from rag import CrossLingualRAG, Settings, build, open_rag
from rag.checkpoint import inspect, locate
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.errors import EmbeddingError, InputError
from rag.locations import uri_of
from rag.ports import Embedder

LIBRARY = Path(__file__).parent.parent / "demo" / "library"
QUESTIONS = [
    "Wie richte ich eine automatische Antwort ein, wenn ich im Urlaub bin?",
    "How do I encrypt the hard disk, and where is the recovery key kept (on paper)?",
    "¿Cómo se comparte una carpeta con otro usuario?",
    "会社のメールを携帯電話で読むにはどうすればよいですか？",
    "怎样设置两步登录？",
    "स्क्रीन पर अक्षर बड़े कैसे करें?",
    "서버의 메모리 사용량 경고는 누구에게 보냅니까?",
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The demo library in seven of its languages."""
    folder = tmp_path_factory.mktemp("matched")
    for language in ("de", "en", "es", "hi", "ja", "ko", "zh"):
        shutil.copytree(LIBRARY / language, folder / "library" / language)
    settings = Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3", "dtype": "float32"},  # type: ignore[arg-type]
    )
    assert ingest([folder / "library"], settings=settings).failures == []
    return settings


@pytest.fixture(scope="module")
def rag(index: Settings) -> Iterator[CrossLingualRAG]:
    with open_rag(index) as rag:
        yield rag


# Through the pipeline


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_weights_of_a_passages_terms_sum_to_its_sparse_score(rag: CrossLingualRAG, question: str) -> None:
    passages = rag.retrieve(question, k=40)
    found = rag.matched_terms(question, passages)
    assert len(found) == len(passages)
    assert any(found)
    for passage, terms in zip(passages, found, strict=True):
        assert sum(term.weight for term in terms) == pytest.approx(passage.sparse_score, rel=1e-4)
        assert bool(terms) == (passage.sparse_score > 0)


@pytest.mark.parametrize("question", QUESTIONS)
def test_terms_are_words_of_the_question_each_once_and_the_heaviest_first(rag: CrossLingualRAG, question: str) -> None:
    for terms in rag.matched_terms(question, rag.retrieve(question, k=20)):
        assert all(term.term and term.term in question for term in terms)
        assert len({term.term for term in terms}) == len(terms)
        weights = [term.weight for term in terms]
        assert weights == sorted(weights, reverse=True)
        assert all(weight > 0 for weight in weights)


def test_terms_come_in_the_order_of_the_passages(rag: CrossLingualRAG) -> None:
    passages = rag.retrieve(QUESTIONS[1], k=10)
    found = rag.matched_terms(QUESTIONS[1], passages)
    assert len(set(found)) > 1
    assert rag.matched_terms(QUESTIONS[1], passages[::-1]) == found[::-1]


def test_a_passage_that_shares_no_token_has_no_terms(rag: CrossLingualRAG) -> None:
    passages = rag.retrieve("怎样", k=40, mode="dense")
    foreign = [passage for passage in passages if passage.sparse_score == 0]
    assert foreign
    assert rag.matched_terms("怎样", foreign) == [()] * len(foreign)


def test_a_passage_that_was_removed_since_has_no_terms(tmp_path: Path, settings: Settings) -> None:
    for name in ("kept", "gone"):
        (tmp_path / f"{name}.txt").write_text(f"The lamp of the {name} pilot is repaired on Monday.\n")
    assert ingest([tmp_path / "kept.txt", tmp_path / "gone.txt"], settings=settings).added == 2
    with open_rag(settings) as rag:
        passages = rag.retrieve("Who repairs the lamp?", k=2)
        assert all(rag.matched_terms("Who repairs the lamp?", passages))
    with closing(build.store(settings)) as store:
        store.remove(uri_of(tmp_path / "gone.txt"))
    with open_rag(settings) as rag:
        found = rag.matched_terms("Who repairs the lamp?", passages)
    assert [bool(terms) for terms in found] == [passage.chunk.source.endswith("kept.txt") for passage in passages]


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused(rag: CrossLingualRAG, question: str) -> None:
    with pytest.raises(InputError, match="the question is empty: ask something"):
        rag.matched_terms(question, rag.retrieve("lamp", k=1))


def test_a_question_longer_than_the_window_is_refused(rag: CrossLingualRAG) -> None:
    with pytest.raises(InputError, match=r"the question cannot be searched for: .*window"):
        rag.matched_terms("lamp " * 9000, [])


def test_of_no_passages_there_are_no_terms(rag: CrossLingualRAG) -> None:
    assert rag.matched_terms("lamp", []) == []


# From tokens to words


@pytest.fixture(scope="module")
def own() -> Embedder:
    """pocket-m3 with the lexical weights of its own tokens, as BGE-M3 has them."""
    return BgeM3Embedder(inspect(locate("pocket-m3"), "pocket-m3"), device="cpu", dtype="float32")


def words(own: Embedder, text: str) -> list[str]:
    return list(dict.fromkeys(own.terms(text).values()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("die Donaudampfschifffahrtsgesellschaft", ["die", "Donaudampfschifffahrtsgesellschaft"]),
        ("What's naïve?", ["What's", "'", "naïve", "?"]),
        ("price: $3.50 (in 2024)!", ["price", ":", "$", "3.50", "(", "in", "2024", ")", "!"]),
        ("COVID-19, z.B. rag_config", ["COVID", "-", "19", ",", "z.B", ".", "rag_config", "_"]),
        ("東京の人口は何人ですか？", ["東京", "の", "人", "口", "は", "何", "ですか", "？"]),
        ("北京有多少人口", ["北", "京", "有", "多少", "人", "口"]),
        ("서울의 인구는", ["서울의", "인구는"]),
        ("السُّكَّان كم", ["السُّكَّان", "كم"]),
        ("सवाल में", ["सवाल", "में"]),
    ],
    ids=["compound", "apostrophe", "numbers", "joined", "Japanese", "Chinese", "Korean", "Arabic", "Hindi"],
)
def test_pieces_are_joined_to_the_word_as_it_is_written(own: Embedder, text: str, expected: list[str]) -> None:
    assert words(own, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("１２３ Ｆｕｌｌ", ["１２３", "Ｆｕｌｌ"]),
        ("ﬁnance eﬃcient", ["ﬁnance", "eﬃcient"]),
        ("cafe\u0301 u\u0308ber", ["cafe\u0301", "u\u0308ber"]),
        ("㍿ ① end", ["㍿", "①", "end"]),
        ("ﷺ end", ["ﷺ", "end"]),
        ("𝕳𝖊𝖑𝖑𝖔 end", ["𝕳𝖊𝖑𝖑𝖔", "end"]),
        ("Donau\u00addampf end", ["Donau\u00addampf", "end"]),
        ("\x01\x02lamp and \x01pilot", ["lamp", "and", "pilot"]),
        ("½\x01 lamp", ["½", "2", "lamp"]),
    ],
    ids=["full width", "ligatures", "marks", "squared", "many words", "astral", "soft hyphen", "controls", "rest"],
)
def test_words_are_the_users_own_where_the_tokenizer_normalizes(own: Embedder, text: str, expected: list[str]) -> None:
    assert words(own, text) == expected


def test_a_token_of_two_words_belongs_to_the_first(own: Embedder) -> None:
    shared = set(own.terms("Wirtschaft")) & set(own.terms("Freundschaft"))
    assert shared
    both = own.terms("Wirtschaft Freundschaft")
    assert {both[token] for token in shared} == {"Wirtschaft"}
    assert "Freundschaft" in both.values()


def test_a_bare_word_beginning_belongs_to_the_piece_that_follows(own: Embedder) -> None:
    [beginning] = set(own.terms("東京")) & set(own.terms("zyx"))
    assert own.terms("東京の人口")[beginning] == "東京"


LETTERS = ["Haus", "é", "e\u0301", "ﬁ", "ﷺ", "½", "ｶﾞ", "１", "東京", "の", "กรุง", "คำ", "नि", "한", "𓀀", "a", "7"]
MARKS = [" ", "\n", "\u3000", "\u200b", "\u00ad", "▁", "'", "-", ".", "<s>", "<mask>", "<unk>", "👩\u200d👧", "🇩🇪"]
WRITTEN = st.characters(exclude_categories=("Cc", "Cs"))


@hypothesis.settings(deadline=None)  # the model may be loading
@given(st.one_of(st.lists(st.sampled_from(LETTERS + MARKS), max_size=12).map("".join), st.text(WRITTEN, max_size=20)))
def test_every_token_with_a_weight_has_a_word_of_the_text(own: Embedder, text: str) -> None:
    try:
        weighed = own.embed_query(text).sparse.ids.tolist()
    except EmbeddingError:  # nothing to embed
        return
    found = own.terms(text)
    assert set(weighed) <= set(found)
    assert all(word and word == word.strip() and word in text for word in found.values())


def test_special_tokens_stand_for_no_word(own: Embedder) -> None:
    assert own.terms("") == {}
    assert words(own, "<s> lamp </s>") == ["lamp"]


def test_a_lone_surrogate_is_named(own: Embedder) -> None:
    with pytest.raises(EmbeddingError, match="lone surrogate at code point 2"):
        own.terms("a \ud800")
