"""Thoughts at the beginning of an answer, however they are marked and cut into deltas: never shown."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.chat_models.openai_chat import OpenAIChatModel
from rag.chat_models.reasoning import ReasoningFilter
from rag.types import ChatRequest, Finished, Message, TextDelta
from tests.openai_server import breaking, scripted_server, text

REQUEST = ChatRequest((Message("user", "Wie heißt der Fluss?"),), "Wie heißt der Fluss?", (), "de")
ANSWER = "Der Rhein heißt so, weil <think> kein Tag ist, `</think>` auch nicht [1]."
HARMONY = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>"
TAGS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<THINK>", "</Think>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</think>"),
]


def shown(deltas: list[str]) -> tuple[str, bool]:
    """What is shown of `deltas`, and whether they end within a thought."""
    thoughts = ReasoningFilter()
    written = "".join(thoughts.feed(delta) for delta in deltas) + thoughts.finish()
    return written, thoughts.unclosed


def cut(written: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(written), *(place % (len(written) + 1) for place in places)})
    return [written[start:end] for start, end in pairwise(edges)]


CUT_ANYWHERE = settings(max_examples=100, deadline=None)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@pytest.mark.parametrize(("opening", "closing"), TAGS)
@CUT_ANYWHERE
@given(places=CUTS)
def test_a_thought_between_tags_is_not_shown(opening: str, closing: str, places: list[int]) -> None:
    written = f"\n{opening}\nLet me think: 1 < 2, a </div> b.\n{closing}\n\n{ANSWER}"
    assert shown(cut(written, places)) == (ANSWER, False)


@CUT_ANYWHERE
@given(places=CUTS)
def test_the_channels_of_harmony_leave_the_final_one(places: list[int]) -> None:
    assert shown(cut(HARMONY.format("We need <|x| to", ANSWER), places)) == (ANSWER, False)


@pytest.mark.parametrize(
    "written",
    [
        f"<|channel|>analysis<|message|>hm<|start|>assistant<|channel|>final<|message|>{ANSWER}",
        "<|start|>assistant<|channel|>analysis<|message|>hm<|end|>"
        "<|start|>assistant<|channel|>commentary to=functions.x <|constrain|>json"
        f"<|message|>{{}}<|call|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|end|>",
        f"<|channel|>final<|message|>{ANSWER}<|return|>",
        f"<think>a</think> <think></think>\n{ANSWER}",
    ],
    ids=["no end", "commentary", "final alone", "two thoughts"],
)
@CUT_ANYWHERE
@given(places=CUTS)
def test_several_thoughts_may_follow_each_other(written: str, places: list[int]) -> None:
    assert shown(cut(written, places)) == (ANSWER, False)


@pytest.mark.parametrize(
    "written",
    ["<think>Let me", "[THINK]", "<|channel|>analysis<|message|>We", "<|channel|>anal", "<think>a</think><think>b"],
)
@CUT_ANYWHERE
@given(places=CUTS)
def test_a_thought_that_does_not_end_shows_nothing(written: str, places: list[int]) -> None:
    assert shown(cut(written, places)) == ("", True)


@pytest.mark.parametrize(
    "written",
    [
        "`<think>` ist ein Tag für Gedanken.",
        "```html\n<think>x</think>\n```",
        "Der Tag <think>x</think> bleibt.",
        "<thinkers> denken",
        "<thin",
        "< think>",
        "[THINKING] x",
        "  eingerückt",
        "\n \n",
        "",
        "ein <|channel|>analysis<|message|> mitten im Text<|end|>",
    ],
)
@CUT_ANYWHERE
@given(places=CUTS)
def test_an_answer_that_only_speaks_of_thoughts_is_left_alone(written: str, places: list[int]) -> None:
    assert shown(cut(written, places)) == (written, False)


@CUT_ANYWHERE
@given(written=st.text(alphabet=st.sampled_from("<>/|[]thinkTHINKmesagechlf \n"), max_size=60), places=CUTS)
def test_what_is_shown_does_not_depend_on_the_cuts(written: str, places: list[int]) -> None:
    assert shown(cut(written, places)) == shown([written])


def test_an_answer_is_not_held_back() -> None:
    thoughts = ReasoningFilter()
    assert [thoughts.feed(delta) for delta in ("<thi", "nk>a</think>", "\nDer", " Rhein", " <")] == [
        "",
        "",
        "Der",
        " Rhein",
        " <",
    ]


@pytest.mark.parametrize(("finish", "reason"), [("stop", "disconnected"), ("length", "length")])
def test_an_answer_that_ends_within_a_thought_is_incomplete(finish: str, reason: str) -> None:
    with scripted_server([text("<think>", "Let me", finish=finish)]) as server:
        [end] = OpenAIChatModel("small", base_url=server.base_url).stream(REQUEST)
    assert isinstance(end, Finished)
    assert end.reason == reason


def test_thoughts_in_the_text_and_in_fields_are_no_events() -> None:
    with scripted_server([text("<think>hm", "</think>", "Der ", "Rhein", thoughts=["first", " this"])]) as server:
        events = list(OpenAIChatModel("small", base_url=server.base_url).stream(REQUEST))
    assert events[:-1] == [TextDelta("Der "), TextDelta("Rhein")]


def test_a_connection_that_is_cut_within_a_thought_is_tried_again() -> None:
    with scripted_server([breaking("<think>Let me"), text("<think>", "</think>Rhein")]) as server:
        events = list(OpenAIChatModel("small", base_url=server.base_url).stream(REQUEST))
    assert events[0] == TextDelta("Rhein")
