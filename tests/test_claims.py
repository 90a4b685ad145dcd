from __future__ import annotations

import pytest

from rag.claims import split
from rag.marker_syntax import markers


def _claims(text: str, language: str = "und") -> list[str]:
    return [text[each.start : each.end] for each in split(text, _spans(text), language) if each.kind == "claim"]


def _spans(text: str) -> list[tuple[int, int]]:
    return [(start, end) for start, end, _ in markers(text)]


@pytest.mark.parametrize(
    ("text", "language", "claims"),
    [
        ("It is so [1]. It is not.", "en", ["It is so [1].", "It is not."]),
        ("It is so. [1] It is not. [2]", "en", ["It is so.", "It is not."]),
        ("Das gilt z. B. hier [1]. Dort nicht.", "de", ["Das gilt z. B. hier [1].", "Dort nicht."]),
        ("是这样的[1]。不是这样的。", "zh", ["是这样的[1]。", "不是这样的。"]),
        ("यह ऐसा है [1]। यह ऐसा नहीं है।", "hi", ["यह ऐसा है [1]।", "यह ऐसा नहीं है।"]),
        ("هذا صحيح [1]. هل هذا صحيح؟", "ar", ["هذا صحيح [1]."]),
        ("A line that\ngoes on [1].", "en", ["A line that\ngoes on [1]."]),
        ("- One item [1]\n- Another\n\n1. And one\n2) More", "en", ["One item", "Another", "And one", "More"]),
        ("| Part | Torque |\n|---|---|\n| Screw | 24 Nm [1] |", "en", ["| Screw | 24 Nm [1] |"]),
        ("He says “It is so.” [1]", "en", ["He says “It is so.”"]),
        ("One answer.\n\n---\n\nEine Antwort.", "en", ["One answer.", "Eine Antwort."]),
        ("**Note:** it is so.", "en", ["**Note:** it is so."]),
    ],
)
def test_a_sentence_claims_something(text: str, language: str, claims: list[str]) -> None:
    assert _claims(text, language) == claims


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "24, 25 – 26 [1].",
        "Is it so?",
        "Is it so [1]?",
        "是这样吗？",
        "Τι είναι αυτό;",
        "Ինչպե՞ս է այն",
        "# It is so",
        "**It is so**",
        "These are the steps:",
        "**These are the steps:**",
        "步骤如下：",
        "“It is so.” [1]",
        "« C’est ainsi. » [1].",
        "> It is so. [1]\n> And on.",
        "```\nIt is so.\n\n# It is. So.\n```",
        "~~~\nIt is so.",
        "| It | is |\n|---|---|",
        "---",
    ],
)
def test_what_claims_nothing(text: str) -> None:
    assert _claims(text) == []


@pytest.mark.parametrize(
    ("text", "of"),
    [
        ("First it [1] is so [2]. Then not [3].", [[0, 1], [2]]),
        ("First it is so. [1][2] Then not. [3]", [[0, 1], [2]]),
        ("[1] First it is so.\n\n[2] Then not.", [[0], [1]]),
        ("First it is so.\n\n[1]\n\nThen not.", [[0], []]),
        ("- [1] First it is so.\n- Then not. [2]", [[0], [1]]),
        ("```\ncode [1]\n```\nFirst it is so [2].", [[0]]),
        ("First it is so. “Zuerst ist es so.” [1] Then not.", [[0], [0], []]),
        ("First it is so.\n\n> Zuerst ist es so. [1]", [[0], [0]]),
        ("Is it so?\n\n> Zuerst ist es so. [1]", [[], [0]]),
        ("[1]", []),
    ],
)
def test_markers_belong_to_the_sentence_they_stand_in_or_behind(text: str, of: list[list[int]]) -> None:
    assert [each.markers for each in split(text, _spans(text))] == of


def test_sentences_lie_in_order_and_hold_all_words_but_code() -> None:
    text = "# Head\n\nOne [1]. Two?\n- Three:\n> Four\n\n|a|b|\n|-|-|\n|c|d|\n"
    found = split(text, _spans(text))
    assert [each.start for each in found] == sorted(each.start for each in found)
    assert [text[each.start : each.end] for each in found] == [
        "Head", "One [1].", "Two?", "Three:", "Four", "|a|b|", "|c|d|"
    ]  # fmt: skip
