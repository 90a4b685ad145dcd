"""The chat model that quotes the passages, with the bundled embedding model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag import locales
from rag.chat_models.extractive import ExtractiveChatModel
from rag.citations import check
from rag.markers import CitationFilter
from rag.ports import Embedder
from rag.prompt import NO_ANSWER
from rag.types import ChatRequest, Embedding, Finished, Passage, TextDelta, Usage
from tests.samples import a_passage

ENGLISH = (
    "The museum opens at nine in the morning. Dogs must wait outside. "
    "A ticket for the boat costs twelve euros. The cafe sells soup and bread."
)
GERMAN = (
    "Der Lagerraum wird jeden Freitag gereinigt. Ein defekter Akku wird sofort in die rote Kiste gelegt. "
    "Die Leiter steht hinter der Tür."
)


def a_request(question: str, passages: Sequence[Passage], language: str = "en") -> ChatRequest:
    return ChatRequest(messages=(), question=question, passages=passages, language=language)


def passages_of(*texts: str, language: str = "en") -> tuple[Passage, ...]:
    return tuple(
        a_passage(rank, text=text, language=language, uri=f"file:///library/{rank}.txt", title="", headings=())
        for rank, text in enumerate(texts, start=1)
    )


def answer(model: ExtractiveChatModel, request: ChatRequest) -> str:
    events = list(model.stream(request))
    assert events.pop() == Finished("stop", Usage())
    assert all(isinstance(event, TextDelta) for event in events)
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def shown(model: ExtractiveChatModel, request: ChatRequest) -> tuple[str, CitationFilter]:
    markers = CitationFilter(request.passages)
    return markers.feed(answer(model, request)) + markers.finish(), markers


def quotes(model: ExtractiveChatModel, request: ChatRequest) -> list[tuple[int, str]]:
    """The quoted lines of an answer as (marker, text); each must be a part of the passage that it names."""
    text = answer(model, request)
    if text == NO_ANSWER:
        return []
    notice, *lines = text.split("\n\n")
    assert notice == locales.load(request.language).no_language_model
    found = []
    for line in lines:
        words, _, marker = line.removeprefix("> ").rpartition(" [")
        if '"' in line and (twice := re.fullmatch(r'> (.*) \[(\d+): "\1"\]', line)) is not None:
            line, words, marker = f"> {twice[1]} [{twice[2]}]", twice[1], f"{twice[2]}]"
        number = int(marker.removesuffix("]"))
        assert line == f"> {words} [{number}]"
        assert words in request.passages[number - 1].chunk.text
        found.append((number, words))
    return found


@pytest.fixture
def model(pocket: Embedder) -> ExtractiveChatModel:
    return ExtractiveChatModel(pocket)


def test_the_sentence_that_answers_comes_first(model: ExtractiveChatModel) -> None:
    request = a_request("How much does a boat ticket cost?", passages_of(ENGLISH))
    assert quotes(model, request)[0] == (1, "A ticket for the boat costs twelve euros.")


def test_a_question_finds_a_sentence_in_another_language(model: ExtractiveChatModel) -> None:
    request = a_request("Where do I put a broken battery?", passages_of(GERMAN, language="de"))
    assert quotes(model, request)[0] == (1, "Ein defekter Akku wird sofort in die rote Kiste gelegt.")


@pytest.mark.parametrize("language", ["de", "ja", "ar", "xx"])
def test_the_notice_is_in_the_askers_language(model: ExtractiveChatModel, language: str) -> None:
    text = answer(model, a_request("How much does a boat ticket cost?", passages_of(ENGLISH), language))
    assert text.startswith(locales.load(language).no_language_model + "\n\n> ")


def test_every_quote_becomes_a_citation_of_exactly_its_words(model: ExtractiveChatModel) -> None:
    request = a_request("How much does a boat ticket cost?", passages_of(GERMAN, ENGLISH))
    text, markers = shown(model, request)
    found = check(text, markers.offered, request.passages).citations
    assert all(each.checked for each in found)
    cited = [(each.marker, each.quote) for each in found]
    assert sorted(cited) == sorted(quotes(model, request))


def test_no_passage_gives_more_than_two_sentences(model: ExtractiveChatModel) -> None:
    request = a_request("How much does a boat ticket cost?", passages_of(ENGLISH))
    assert [marker for marker, _ in quotes(model, request)] == [1, 1]


def test_the_number_of_sentences_and_passages_is_kept(pocket: Embedder) -> None:
    request = a_request("Where do I put a broken battery?", passages_of(ENGLISH, ENGLISH.upper(), GERMAN))
    assert len(quotes(ExtractiveChatModel(pocket, sentences=1), request)) == 1
    markers = {marker for marker, _ in quotes(ExtractiveChatModel(pocket, passages=2), request)}
    assert 3 not in markers


def test_what_two_passages_share_is_quoted_once_from_the_better_one(model: ExtractiveChatModel) -> None:
    shared = "A ticket for the boat costs twelve euros."
    request = a_request("How much does a boat ticket cost?", passages_of(shared, f"{shared} Dogs must wait outside."))
    assert [marker for marker, words in quotes(model, request) if words == shared] == [1]


def test_between_equal_sentences_the_better_passage_comes_first(model: ExtractiveChatModel) -> None:
    texts = ("The blue boat costs 12 euros today.", "The blue boat costs 12 euros today, too.")
    assert quotes(model, a_request("What does the blue boat cost today?", passages_of(*texts)))[0][0] == 1


def test_without_passages_there_is_no_answer(model: ExtractiveChatModel) -> None:
    assert list(model.stream(a_request("How much is it?", ()))) == [TextDelta(NO_ANSWER), Finished("stop", Usage())]


@pytest.mark.parametrize(
    "text", ["", " \n\t", "|---|---|", "====", "# A boat ticket", "42", "\ud800 a boat ticket", "```"]
)
def test_a_passage_without_a_sentence_gives_no_answer(model: ExtractiveChatModel, text: str) -> None:
    assert quotes(model, a_request("What does a boat ticket cost?", passages_of(text))) == []


def test_headings_and_markup_are_not_quoted(model: ExtractiveChatModel) -> None:
    text = "# What does a boat ticket cost?\n\n| -- | -- |\n|----|----|\n\nA ticket costs twelve euros.\n\n```python\n"
    assert quotes(model, a_request("What does a boat ticket cost?", passages_of(text))) == [
        (1, "A ticket costs twelve euros.")
    ]


def test_a_heading_without_markup_is_known_from_the_passages_headings(model: ExtractiveChatModel) -> None:
    text = "What does a boat ticket cost\n\nA ticket costs twelve euros."
    passage = a_passage(1, text=text, language="en", title="Prices", headings=("What does a boat ticket cost",))
    assert quotes(model, a_request("What does a boat ticket cost?", (passage,))) == [
        (1, "A ticket costs twelve euros.")
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("- a boat ticket costs twelve euros", "a boat ticket costs twelve euros"),
        ("12) a boat ticket costs twelve euros", "a boat ticket costs twelve euros"),
        ("・船のきっぷは十二ユーロです。", "船のきっぷは十二ユーロです。"),
        ("| boat ticket | twelve euros |", "boat ticket | twelve euros"),
        ("-5 degrees is the lowest temperature.", "-5 degrees is the lowest temperature."),
        ("3.5 kilometres are walked every day.", "3.5 kilometres are walked every day."),
    ],
)
def test_the_mark_of_a_list_item_is_left_out_and_a_number_is_not(
    model: ExtractiveChatModel, line: str, words: str
) -> None:
    assert quotes(model, a_request("What does it say?", passages_of(line))) == [(1, words)]


def test_a_sentence_over_several_lines_is_quoted_by_the_line(model: ExtractiveChatModel) -> None:
    text = "A ticket for the boat that leaves from\nthe old harbour costs twelve euros."
    found = quotes(model, a_request("How much does a boat ticket cost?", passages_of(text)))
    assert {words for _, words in found} <= set(text.split("\n"))
    assert found


def test_a_whole_sentence_is_preferred_to_a_line_of_one(model: ExtractiveChatModel) -> None:
    texts = ("The boat ticket costs twelve euros\nand the soup is free.", "The boat ticket costs twelve euros.")
    assert quotes(model, a_request("What does the boat ticket cost?", passages_of(*texts)))[0][0] == 2


def test_a_sentence_is_preferred_to_a_line_that_does_not_end_like_one(model: ExtractiveChatModel) -> None:
    texts = ("The cost of the boat ticket", "The cost of the boat ticket.")
    assert quotes(model, a_request("What does the boat ticket cost?", passages_of(*texts)))[0][0] == 2


def test_numbers_in_brackets_of_the_source_are_not_taken_for_markers(model: ExtractiveChatModel) -> None:
    text = "The boat ticket costs twelve euros.[2] The harbour was built in 1890 by two brothers.[3, 4]"
    request = a_request("What does the boat ticket cost?", passages_of(text, GERMAN))
    written, markers = shown(model, request)
    assert "[3" not in written
    assert (1, "The boat ticket costs twelve euros.") in quotes(model, request)
    found = check(written, markers.offered, request.passages).citations
    assert {each.marker for each in found} == {m for m, _ in quotes(model, request)}


def test_a_stray_backtick_does_not_hide_the_marker(model: ExtractiveChatModel) -> None:
    request = a_request(
        "What key opens it?", passages_of("The ` key opens the console. The door opens at nine o'clock.")
    )
    found = ["The ` key opens the console.", "The door opens at nine o'clock."]
    assert sorted(quotes(model, request)) == [
        (1, "The ` key opens the console."),
        (1, "The door opens at nine o'clock."),
    ]
    text, markers = shown(model, request)
    assert sorted(each.quote for each in check(text, markers.offered, request.passages).citations) == sorted(found)


def test_a_sentence_beyond_the_models_window_is_left_out(model: ExtractiveChatModel, pocket: Embedder) -> None:
    long = "boat ticket euros " * pocket.window
    found = quotes(model, a_request("What does a boat ticket cost?", passages_of(long, ENGLISH)))
    assert {marker for marker, _ in found} == {2}


def test_a_question_beyond_the_models_window_still_gives_the_best_passages(
    model: ExtractiveChatModel, pocket: Embedder
) -> None:
    found = quotes(model, a_request("boat " * pocket.window, passages_of(ENGLISH, GERMAN)))
    assert [marker for marker, _ in found] == [1, 1, 2]


def test_all_sentences_are_embedded_in_one_call(pocket: Embedder) -> None:
    counted = _Counting(pocket)
    answer(ExtractiveChatModel(counted), a_request("How much?", passages_of(ENGLISH, GERMAN)))
    assert counted.calls == [7]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200), language=st.sampled_from(["en", "zh", "th", "und", "ar"]))
def test_no_text_of_a_passage_makes_it_fail(model: ExtractiveChatModel, text: str, language: str) -> None:
    request = a_request("What does it cost?", passages_of(text, f"{text} {ENGLISH}", language=language))
    for marker, words in quotes(model, request):
        assert words in request.passages[marker - 1].chunk.text


class _Counting:
    """An embedder that notes how many texts each call of `embed_passages` was given, and hands everything on."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.calls: list[int] = []
        self.model, self.fingerprint = embedder.model, embedder.fingerprint
        self.dimension, self.window = embedder.dimension, embedder.window

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)

    def embed_passages(self, texts: Sequence[str]) -> list[Embedding]:
        self.calls.append(len(texts))
        return self._embedder.embed_passages(texts)

    def embed_query(self, text: str) -> Embedding:
        return self._embedder.embed_query(text)

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        return self._embedder.embed_queries(texts)

    def terms(self, text: str) -> Mapping[int, str]:
        return self._embedder.terms(text)
