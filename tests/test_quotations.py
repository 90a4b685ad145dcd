from __future__ import annotations

import pytest

from rag.quotations import LONGEST, ends_in_quotation, without_quotations

MARKS = ["“{}”", "„{}“", "”{}”", "«{}»", "« {} »", "»{}«", "‹{}›", "›{}‹", "「{}」", "『{}』", "《{}》", '"{}"']


@pytest.mark.parametrize("marks", MARKS)
def test_what_stands_in_quotation_marks_of_any_language_is_taken_out(marks: str) -> None:
    text = f"Vorher {marks.format('quoted words. And more of them')} nachher."
    assert without_quotations(text).split() == ["Vorher", "nachher."]


@pytest.mark.parametrize("marks", MARKS)
def test_a_quotation_that_has_begun_is_open_until_it_ends(marks: str) -> None:
    text = f"Vorher {marks.format('quoted words')}"
    assert ends_in_quotation(text[: text.index("words")])
    assert not ends_in_quotation(text)


@pytest.mark.parametrize(
    "text",
    [
        "a “b “c” d” e",
        "a „b “c” d“ e",
        "a “b „c“ d” e",
        'a «b "c" d» e',
        "a 「b『c』d」 e",
        "a “按国际客流量（见“最繁忙的机场”）排第三” e",
        "> a whole block\na e",
        "a  e\n> quoted “without an end\n",
    ],
)
def test_quotations_may_be_nested_and_may_be_blocks(text: str) -> None:
    assert without_quotations(text).split() == ["a", "e"]


@pytest.mark.parametrize(
    "text", ['a 5" pipe and a 3" pipe', "l'eau d'hier", "a “b\nc” d", "it’s the users’ own", "a ” b", "x » y"]
)
def test_marks_of_measure_apostrophes_and_marks_without_their_like_quote_nothing(text: str) -> None:
    assert without_quotations(text) == text


def test_an_open_quotation_is_given_up_after_its_longest_length() -> None:
    assert ends_in_quotation("“" + "a" * LONGEST)
    text = "“" + "a" * LONGEST + " “b” c"
    assert without_quotations(text).endswith("a   c")
    assert not ends_in_quotation(text)


def test_a_code_span_is_as_open_as_a_quotation() -> None:
    assert ends_in_quotation("Man ruft `pip install")
    assert not ends_in_quotation("Man ruft `pip install` auf")
    assert not ends_in_quotation("Man ruft `pip\n")
