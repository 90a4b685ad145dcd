"""Thoughts at the beginning of an answer, however they are marked and cut into deltas: never shown."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.chat_models.end_tokens import EndTokenFilter
from rag.chat_models.openai_chat import OpenAIChatModel
from rag.chat_models.reasoning import ReasoningFilter
from rag.types import ChatRequest, Finished, Message, TextDelta, Usage, Voided
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
    ('<think time="3">', "</think>"),
    ("<think\n>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n\n<|begin_of_solution|>"),
]


def shown(deltas: list[str]) -> tuple[str, bool]:
    """What is shown of `deltas` and is not void, and whether they end within a thought."""
    thoughts = ReasoningFilter()
    written = ""
    for piece in (*deltas, None):
        said = thoughts.finish() if piece is None else thoughts.feed(piece)
        written = said if thoughts.voided else written + said
    return written, thoughts.unclosed


def at_end_of(deltas: list[str]) -> str:
    """What is shown of `deltas` without the tokens at their end."""
    ending = EndTokenFilter()
    return "".join([*(ending.feed(delta) for delta in deltas), ending.finish()])


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


@pytest.mark.parametrize("closing", [closing for _, closing in TAGS])
@CUT_ANYWHERE
@given(places=CUTS)
def test_a_closing_tag_alone_voids_what_came_before_it(closing: str, places: list[int]) -> None:
    written = f"The user asks [1].\n```\n</think>\n```\nIt's `1 < 2`.\n{closing}\n\n{ANSWER}"
    assert shown(cut(written, places)) == (ANSWER, False)


def test_all_that_was_shown_of_a_thought_is_void_and_the_answer_is_not() -> None:
    thoughts = ReasoningFilter()
    said = [(thoughts.feed(delta), thoughts.voided) for delta in ("secret ", "too </thi", "nk>\n", "\nDer", " Rhein")]
    assert said == [("secret ", False), ("too ", False), ("", True), ("Der", False), (" Rhein", False)]


@pytest.mark.parametrize("beginning", ["Sure.\n", "`<x>` it is.\n\n  ", "```\n<think>\n```\n"])
@CUT_ANYWHERE
@given(places=CUTS)
def test_a_thought_may_begin_a_later_line(beginning: str, places: list[int]) -> None:
    assert shown(cut(f"{beginning}<think>secret</think>\n\n{ANSWER}", places)) == (beginning + ANSWER, False)
    assert shown(cut(f"{beginning}<think>secret", places)) == (beginning, True)


@pytest.mark.parametrize("token", ["</s>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>"])
@CUT_ANYWHERE
@given(places=CUTS)
def test_a_token_at_the_end_is_no_part_of_the_answer(token: str, places: list[int]) -> None:
    assert at_end_of(cut(f"{ANSWER}{token}\n{token}", places)) == ANSWER
    for written in (f"`{token}` ends a turn.", f"Rhein{token[:-1]}", token[1:], " <"):
        assert at_end_of(cut(written, places)) == written


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
        "Mit <think>\nbeginnt er,\n</think>\n\nendet er.",
        "Er endet mit `</think>`.",
        "~~~\n</think>\n~~~\nso.",
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


PIECES = [
    *"<>/|[]◁▷` \na",
    "```\n",
    "think",
    "THINK",
    "<think>",
    "</think>",
    "<|channel|>",
    "final",
    "<|message|>",
    "</s>",
]


@CUT_ANYWHERE
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=30), places=CUTS)
def test_what_is_shown_does_not_depend_on_the_cuts(pieces: list[str], places: list[int]) -> None:
    written = "".join(pieces)
    assert shown(cut(written, places)) == shown([written])
    assert at_end_of(cut(written, places)) == at_end_of([written])


def test_an_answer_is_not_held_back() -> None:
    thoughts = ReasoningFilter()
    deltas = ("<thi", "nk>a</think>", "\nDer", " Rhein", " <", "b> [", "1] <t", "d")
    assert [thoughts.feed(delta) for delta in deltas] == ["", "", "Der", " Rhein", " ", "<b> ", "[1] ", "<td"]


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


def test_thoughts_that_were_shown_are_taken_back() -> None:
    reply = text("secret", " too\n", "</think>", "\n\n", "Rhein", "</s>")
    with scripted_server([reply, text("secret</think>Rhein")]) as server:
        model = OpenAIChatModel("small", base_url=server.base_url)
        first, second = ([*model.stream(REQUEST)][:-1] for _ in range(2))
    assert first == [TextDelta("secret"), TextDelta(" too\n"), Voided(), TextDelta("Rhein")]
    assert second == [TextDelta("Rhein")]


def test_a_connection_that_is_cut_when_all_was_taken_back_is_tried_again() -> None:
    with scripted_server([breaking("secret", "</think>"), text("Rhein")]) as server:
        events = list(OpenAIChatModel("small", base_url=server.base_url).stream(REQUEST))
    assert events == [TextDelta("secret"), Voided(), TextDelta("Rhein"), Finished("stop", Usage(11, 1, 2))]


def test_a_connection_that_is_cut_within_a_thought_is_tried_again() -> None:
    with scripted_server([breaking("<think>Let me"), text("<think>", "</think>Rhein")]) as server:
        events = list(OpenAIChatModel("small", base_url=server.base_url).stream(REQUEST))
    assert events[0] == TextDelta("Rhein")
