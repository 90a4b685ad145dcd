"""`rag ask` before endpoints that fail in every way, over real HTTP: a clear line, an exit code, and no word lost."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest import ingest
from rag.locales import load
from tests.command_line import Done, call
from tests.openai_server import (
    Reply,
    breaking,
    empty,
    failing,
    holding,
    malformed,
    scripted_server,
    slow,
    status,
    text,
)

QUESTION = "How often is the conveyor belt cleaned?"
HALF = "The conveyor belt is cleaned every Monday, and afterwards the"
KEY = "sk-failures-1c77e2"


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failures").resolve()
    (folder / "wartung.md").write_text("# Wartung\n\nDas Förderband wird jeden Montag gereinigt.\n")
    settings = Settings(store={"path": folder / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]
    assert ingest([folder / "wartung.md"], settings=settings).added == 1
    return folder


class Asker:
    """Runs `rag ask` at an address."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd
        monkeypatch.chdir(folder)
        for name, value in {
            "RAG_STORE__PATH": str(folder / "store"),
            "RAG_EMBEDDER__MODEL": "pocket-m3",
            "RAG_LLM__MODEL": "small",
            "RAG_LLM__API_KEY": KEY,
            "RAG_LLM__RETRIES": "0",
            "RAG_LLM__TIMEOUT": "0.5",
        }.items():
            monkeypatch.setenv(name, value)

    def at(self, url: str, *options: str) -> Done:
        self._monkeypatch.setenv("RAG_LLM__BASE_URL", url)
        done = call(("rag", "ask", QUESTION, *options), self._monkeypatch, self._capfd)
        assert KEY not in done.out + done.err
        return done

    def before(self, reply: Reply, *options: str) -> Done:
        with scripted_server(reply) as server:
            return self.at(server.base_url, *options)


@pytest.fixture
def asker(ingested: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Asker:
    return Asker(ingested, monkeypatch, capfd)


def test_an_endpoint_that_is_down(asker: Asker) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = asker.at(f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
    assert (done.code, done.out) == (5, "")
    assert "is the server running" in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (slow(30, text("late")), "no sign of life within 0.5 s"),
        (status(401, f"Incorrect API key provided: {KEY}"), "RAG_LLM__API_KEY"),
        (status(404, "model 'small' not found"), "does not know the model 'small'"),
        (status(429, "slow down"), "refuses for load or quota"),
        (status(500, "CUDA error"), "(500), it says: CUDA error"),
        (malformed(), "unreadable"),
        (failing(), "the model ran out of memory"),
        (empty(), "ended without a word"),
        (text(finish=None), "ended without a word"),
        (breaking(), "began no answer"),
    ],
    ids=[
        *("slow", "401", "404 model", "429", "500", "malformed stream", "error in the stream", "empty stream"),
        *("no text and no reason", "disconnect before the answer"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_an_answer_that_cannot_begin_is_one_line_of_error(
    asker: Asker, reply: Reply, said: str, options: tuple[str, ...]
) -> None:
    done = asker.before(reply, *options)
    assert (done.code, done.out) == (5, "")
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "reply",
    [
        text(HALF, finish=None),
        text(HALF, finish="length"),
        text(HALF, finish="content_filter"),
        breaking(HALF),
        malformed(HALF),
        failing(HALF),
        holding(HALF, seconds=30),
    ],
    ids=[
        *("no finish reason", "length", "content filter", "disconnect", "malformed stream", "error in the stream"),
        "silence",
    ],
)
def test_half_an_answer_is_kept_and_said_to_be_incomplete(asker: Asker, reply: Reply) -> None:
    shown = asker.before(reply)
    assert shown.code == 1
    assert HALF in " ".join(shown.out.split())
    assert load("en").incomplete in shown.err
    told = asker.before(reply, "--json")
    assert told.code == 1
    assert told.json["text"].strip() == HALF
    assert told.json["complete"] is False


def test_the_deadline_keeps_half_an_answer_too(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_LLM__TIMEOUT", "60")
    monkeypatch.setenv("RAG_LLM__DEADLINE", "1")
    done = asker.before(holding(HALF, seconds=30), "--json")
    assert done.code == 1
    assert done.json["text"].strip() == HALF


def test_an_answer_of_thoughts_alone_is_incomplete_and_shows_none(asker: Asker) -> None:
    done = asker.before(text("<think>The asker wants to know"), "--json")
    assert done.code == 1
    assert done.json["complete"] is False
    assert "asker wants" not in done.out
