from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.segmentation import cluster_starts, sentences, trim, word_starts


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "Das ist z. B. ein Satz. Und noch einer!", ["Das ist z. B. ein Satz.", "Und noch einer!"]),
        ("zh", "先关闭电源。然后等待五分钟！可以吗？", ["先关闭电源。", "然后等待五分钟！", "可以吗？"]),
        ("ja", "電源を切ります。五分待ちます。", ["電源を切ります。", "五分待ちます。"]),
        ("hi", "बिजली बंद करें। पाँच मिनट रुकें॥ ठीक है?", ["बिजली बंद करें।", "पाँच मिनट रुकें॥", "ठीक है?"]),
        ("ar", "هل أُطفئت الآلة؟ انتظر خمس دقائق.", ["هل أُطفئت الآلة؟", "انتظر خمس دقائق."]),
        ("xx", "Satz eins. Satz zwei.", ["Satz eins.", "Satz zwei."]),
    ],
)
def test_sentences_end_where_their_script_ends_them(language: str, text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text, language)] == expected


@given(st.text(max_size=300), st.sampled_from(["en", "de", "zh", "hi", "ar", "und"]))
def test_sentences_are_ordered_and_hold_all_that_is_not_white_space(text: str, language: str) -> None:
    spans = sentences(text, language)
    assert all(start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    outside = set(range(len(text))) - {at for start, end in spans for at in range(start, end)}
    assert all(text[at].isspace() for at in outside)


@given(st.text(alphabet=st.sampled_from("a. e\u0301👩\u200d👧\ufe0f。\n"), max_size=60))
def test_no_sentence_begins_inside_a_grapheme_cluster(text: str) -> None:
    starts = set(cluster_starts(text))
    assert all(start in starts for start, _ in sentences(text, "en"))


def test_a_family_emoji_is_one_cluster() -> None:
    assert cluster_starts("a👩‍👩‍👧b") == [0, 1, 6]


def test_trimming_keeps_a_space_that_carries_an_accent() -> None:
    text = "  \u0301x "
    assert trim(text, 0, len(text)) == (1, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Die z.B. kostet 3,50 €.", ["Die", " ", "z.B", ".", " ", "kostet", " ", "3,50", " ", "€", "."]),
        ("state-of-the-art isn't", ["state", "-", "of", "-", "the", "-", "art", " ", "isn't"]),
        ("cafe\u0301 हिन्दी", ["cafe\u0301", " ", "हिन्दी"]),
        ("東京のデータ", ["東", "京", "の", "データ"]),
        ("กรุงคำ", ["ก", "รุ", "ง", "คำ"]),
        ("", []),
    ],
)
def test_words_and_what_stands_between_them_make_up_the_text(text: str, words: list[str]) -> None:
    starts = [*word_starts(text), len(text)]
    assert [text[start:end] for start, end in itertools.pairwise(starts)] == words


@given(st.text())
def test_a_word_begins_at_the_start_and_never_inside_a_cluster(text: str) -> None:
    starts = word_starts(text)
    assert starts[:1] == ([0] if text else [])
    assert set(starts) <= set(cluster_starts(text))
