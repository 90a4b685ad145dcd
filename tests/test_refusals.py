from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.refusals import RefusalFilter

PIECES = ["NO_ANSWER", "NO\\_ANSWER", "NO_", "ANSWER", " ", "\n", ".", "**", "[1]", "The belt", "Antwort: ", "。", "x"]
NOTHING = "It does not say so in any of the passages."
STATUS = "The status that is shown then is NO_ANSWER, which means busy."
CONSTANT = "The constant is called NO_ANSWERS in the second chapter."


def through(*deltas: str) -> tuple[str, bool]:
    filtering = RefusalFilter()
    shown = "".join(filtering.feed(delta) for delta in deltas) + filtering.finish()
    return shown, filtering.refused


@pytest.mark.parametrize(
    ("said", "shown", "refused"),
    [
        ("The belt is cleaned.", "The belt is cleaned.", False),
        ("  \n The belt.", "The belt.", False),
        ("NO_ANSWER", "", True),
        ("“NO_ANSWER”.", "", True),
        ("回答：NO_ANSWER", "", True),
        ("No answer!", "", True),
        ("No answer is given in the log, which is full.", "No answer is given in the log, which is full.", False),
        (f"{NOTHING} NO_ANSWER", f"{NOTHING} ", True),
        (f"{NOTHING}\n**NO_ANSWER**\nSorry.", f"{NOTHING}\n", True),
        (STATUS, STATUS, False),
        (CONSTANT, CONSTANT, False),
    ],
)
def test_the_word_is_taken_out_where_it_refuses(said: str, shown: str, refused: bool) -> None:
    assert through(said) == (shown, refused)
    assert through(*said) == (shown, refused)


@pytest.mark.parametrize(
    "text",
    ["NO_ANSWER", " NO_ANSWER\n", "**NO_ANSWER**", "`NO_ANSWER`.", "„NO_ANSWER“", r"NO\_ANSWER", "NO ANSWER",
     "No-Answer.", "NO_ANSWER [1]", "NO_ANSWER\n\nDie Textstellen handeln von etwas anderem.",
     "Die Textstellen enthalten das nicht.\n\nNO_ANSWER"],
)  # fmt: skip
def test_a_refusal_is_seen_however_it_is_dressed(text: str) -> None:
    assert through(text)[1]
    assert through(*text)[1]


@pytest.mark.parametrize(
    "text",
    ["", "24 Nm [1].", "No answer was given by the ministry [1].", "The model writes NO_ANSWER, and nothing else [2].",
     "It writes NO_ANSWER [1].", "NO_ANSWERS = 3"],
)  # fmt: skip
def test_an_answer_is_no_refusal(text: str) -> None:
    assert through(text) == (text, False)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.lists(st.integers(0, 80), max_size=6))
def test_the_output_does_not_depend_on_the_cut(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    assert through(*(text[a:b] for a, b in itertools.pairwise(places))) == through(text)
