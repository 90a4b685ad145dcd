from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ingest import ingest
from rag import Answer, CrossLingualRAG, Settings, Where, aask, ask, open_rag
from rag.errors import EndpointError, IndexMissingError, InputError
from rag.locales import load
from rag.types import Message, TextDelta
from tests.openai_server import Reply, answering, breaking, empty, holding, scripted_server, status, text

QUESTION = "How often is the Beltomat conveyor belt cleaned, and who checks the tension?"
RIGHT = "The conveyor belt is cleaned every Monday, and the shift leader checks its tension afterwards [1]."
WRONG = (
    "Das Förderband wird jeden Montag gereinigt, und danach prüft die Schichtleitung die Spannung des Bandes; "
    "das steht so in der Anleitung für die Wartung [1]."
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "wartung.md").write_text(
        "# Wartung\n\nDas Förderband Beltomat wird jeden Montag gereinigt. "
        "Die Schichtleitung prüft danach die Spannung.\n"
    )
    (folder / "pause.md").write_text(
        "# Pausen\n\nNach vier Stunden Arbeit steht jedem eine Pause von dreißig Minuten zu.\n"
    )
    (folder / "prise.md").write_text("# Repas\n\nLa cantine ouvre à midi et ferme à quatorze heures.\n")
    settings = Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3", "dtype": "float32"},  # type: ignore[arg-type]
    )
    assert ingest([folder], settings=settings).added == 3
    return settings


@dataclass
class Talk:
    """A pipeline before a scripted language model, and what the model was sent."""

    rag: CrossLingualRAG
    requests: list[Any]


@pytest.fixture
def talk(index: Settings, request: pytest.FixtureRequest) -> Iterator[Talk]:
    replies: list[Reply] | Reply = request.param
    with scripted_server(replies) as server:
        llm = index.llm.model_copy(
            update={"model": "scripted", "base_url": server.base_url, "retries": 0, "timeout": 10}
        )
        with open_rag(index.model_copy(update={"llm": llm})) as rag:
            yield Talk(rag, server.requests)


def script(*replies: Reply) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("talk", [list(replies)], indirect=True)


@script(
    text("The conveyor belt is cleaned every Monday, and the shift ", "leader checks its tension after", "wards [1].")
)
def test_the_answer_is_streamed_and_cites_the_foreign_passage(talk: Talk) -> None:
    events = list(talk.rag.stream(QUESTION, k=2))
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text == RIGHT
    assert (answer.asked_in, answer.answered_in, answer.language_ok) == ("en", "en", True)
    assert answer.complete
    assert not answer.refused
    [citation] = answer.citations
    assert citation.source.endswith("wartung.md")
    assert citation.language == "de"
    assert "jeden Montag gereinigt" in citation.quote
    assert answer.usage.requests == 1
    assert answer.usage.prompt_tokens == 11
    assert {"retrieve", "first_text", "answer", "total"} <= set(answer.timings)


@script(text(RIGHT))
def test_the_model_reads_the_question_as_written_and_the_passages_as_stored(talk: Talk) -> None:
    talk.rag.ask(QUESTION, k=2)
    sent = "\n".join(message["content"] for message in talk.requests[0].body["messages"])
    assert QUESTION in sent
    assert "Das Förderband Beltomat wird jeden Montag gereinigt. Die Schichtleitung prüft danach die Spannung." in sent
    assert "English" in sent


@script(text(RIGHT.replace("[1]", "[1][7]")), text(RIGHT + " [0]"))
def test_markers_that_point_at_nothing_are_dropped(talk: Talk) -> None:
    for _ in range(2):
        answer = talk.rag.ask(QUESTION, k=2)
        assert "[7]" not in answer.text
        assert "[0]" not in answer.text
        assert [citation.marker for citation in answer.citations] == [1]


@script(text(WRONG), text(RIGHT))
def test_an_answer_that_begins_in_the_wrong_language_is_asked_for_once_more(talk: Talk) -> None:
    events = list(talk.rag.stream(QUESTION, k=2))
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert answer.text == RIGHT
    assert answer.language_ok is True
    assert not any("Förderband" in event.text for event in events if isinstance(event, TextDelta)), (
        "nothing wrong is shown"
    )
    assert len(talk.requests) == 2
    assert talk.requests[0].body["messages"] != talk.requests[1].body["messages"], "the second time it insists"


@script(text(WRONG), text(WRONG))
def test_an_answer_twice_in_the_wrong_language_is_delivered_and_marked(talk: Talk) -> None:
    answer = talk.rag.ask(QUESTION, k=2)
    assert answer.text == WRONG
    assert (answer.answered_in, answer.language_ok) == ("de", False)
    assert answer.usage.requests == 2
    assert len(talk.requests) == 2


@script(text(WRONG, WRONG), text(RIGHT))
def test_a_stop_in_a_wrong_beginning_sends_no_second_request(talk: Talk) -> None:
    stop = threading.Event()
    stop.set()
    answer = talk.rag.ask(QUESTION, k=2, stop=stop)
    assert not answer.complete
    assert len(talk.requests) == 0


@script(text(WRONG), breaking("The conveyor belt is cleaned every Mon"))
def test_a_second_attempt_that_breaks_off_is_not_complete(talk: Talk) -> None:
    answer = talk.rag.ask(QUESTION, k=2)
    assert answer.text == "The conveyor belt is cleaned every Mon"
    assert not answer.complete
    assert answer.usage.requests == 2, "the attempt that was turned back counts"


@script(text(WRONG))
def test_the_language_can_be_asked_for(talk: Talk) -> None:
    answer = talk.rag.ask(QUESTION, k=2, language="de-AT")
    assert (answer.asked_in, answer.answered_in, answer.language_ok) == ("en", "de", True)
    assert len(talk.requests) == 1


@script(text("NO_", "ANSWER"), text("**NO_ANSWER**\n"))
def test_a_refusal_is_put_into_the_asker_s_language(talk: Talk) -> None:
    for _ in range(2):
        answer = talk.rag.ask("Combien coûte le billet d'avion pour Tokyo en première classe ?", k=2)
        assert answer.refused
        assert answer.complete
        assert answer.text == load("fr").no_answer
        assert answer.citations == ()


@script(
    text("The belt is cleaned every Mon", finish="length"), breaking("The belt is "), text("The belt is", finish=None)
)
def test_an_answer_that_breaks_off_is_kept_and_marked_incomplete(talk: Talk) -> None:
    cut_off, broken, unfinished = (talk.rag.ask(QUESTION, k=2) for _ in range(3))
    assert cut_off.text == "The belt is cleaned every Mon"
    assert broken.text == "The belt is "
    assert unfinished.text == "The belt is"
    assert not any(answer.complete for answer in (cut_off, broken, unfinished))


@script(text(finish="stop"))
def test_an_empty_answer_is_not_complete(talk: Talk) -> None:
    answer = talk.rag.ask(QUESTION, k=2)
    assert answer.text == ""
    assert not answer.complete


@script(status(404, "no such model"), empty())
def test_an_endpoint_that_refuses_is_an_error(talk: Talk) -> None:
    with pytest.raises(EndpointError, match="scripted"):
        talk.rag.ask(QUESTION, k=2)


@script(text(RIGHT))
def test_earlier_turns_reach_the_model_in_order(talk: Talk) -> None:
    history = (Message("user", "Wer prüft das Band?"), Message("assistant", "Die Schichtleitung [1]."))
    talk.rag.ask(QUESTION, k=2, history=history)
    messages = talk.requests[0].body["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[1]["content"] == "Wer prüft das Band?"


@script(
    answering(lambda body: (f"The belt is cleaned every Monday, number {n} of many sentences. " for n in range(5000)))
)
def test_a_stop_ends_the_answer_at_the_next_event(talk: Talk) -> None:
    stop = threading.Event()
    shown = ""
    for event in talk.rag.stream(QUESTION, k=2, stop=stop):
        if isinstance(event, TextDelta):
            shown += event.text
            stop.set()
        else:
            assert isinstance(event, Answer)
            assert not event.complete
            assert event.text == shown
    assert 0 < shown.count("Monday") < 5000


def test_filters_narrow_what_an_answer_may_draw_on(index: Settings) -> None:
    with open_rag(index) as rag:
        french = rag.retrieve(QUESTION, k=5, where=Where(languages=("fr",)))
        assert {passage.chunk.language for passage in french} == {"fr"}
        globbed = rag.retrieve(QUESTION, k=5, where=Where(sources=("*pause.md",)))
        assert {Path(passage.chunk.source).name for passage in globbed} == {"pause.md"}
        assert rag.retrieve(QUESTION, k=5, where=Where(sources=("*.nothing",))) == []
        answer = rag.ask(QUESTION, where=Where(sources=("*.nothing",)))
        assert answer.refused
        assert answer.text == load("en").no_answer


def test_without_a_language_model_the_passages_speak_for_themselves(index: Settings) -> None:
    answer = ask("À quelle fréquence le convoyeur est-il nettoyé ?", k=3, settings=index)
    assert load("fr").no_language_model in answer.text
    assert answer.complete
    assert not answer.refused
    quotes = {citation.quote for citation in answer.citations}
    assert "Das Förderband Beltomat wird jeden Montag gereinigt." in quotes
    for citation in answer.citations:
        passage = answer.passages[citation.marker - 1].chunk
        assert passage.text[citation.span[0] - passage.start : citation.span[1] - passage.start] == citation.quote


def test_the_asynchronous_call_gives_the_same_answer(index: Settings) -> None:
    assert asyncio.run(aask(QUESTION, settings=index)).text == ask(QUESTION, settings=index).text


def test_cancelling_the_asynchronous_call_ends_the_request(index: Settings) -> None:
    with scripted_server(holding("The belt is cleaned every Monday. " * 6, seconds=30)) as server:
        llm = index.llm.model_copy(update={"model": "m", "base_url": server.base_url, "timeout": 60, "retries": 2})
        settings = index.model_copy(update={"llm": llm})

        async def leave() -> None:
            task = asyncio.create_task(aask(QUESTION, settings=settings))
            while not server.requests:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(leave())
        assert server.requests[0].hung_up.wait(10)


def test_many_threads_may_ask_one_index(index: Settings) -> None:
    with open_rag(index) as rag:
        alone = [passage.chunk.id for passage in rag.retrieve(QUESTION, k=3)]
        found: list[list[str]] = []
        threads = [
            threading.Thread(target=lambda: found.append([p.chunk.id for p in rag.retrieve(QUESTION, k=3)]))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [alone] * 8


def test_a_question_that_cannot_be_asked_is_refused_by_its_reason(index: Settings) -> None:
    with open_rag(index) as rag:
        with pytest.raises(InputError, match="empty"):
            rag.ask("  \n ")
        with pytest.raises(InputError, match="k is 0"):
            rag.retrieve(QUESTION, k=0)
        with pytest.raises(InputError, match="not a language"):
            rag.ask(QUESTION, language="not a language")
        with pytest.raises(InputError, match="1024"):
            rag.ask("word " * 5000)


def test_asking_before_ingesting_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(IndexMissingError, match="ingest"):
        open_rag(settings)
