"""Servers that others have written, from packages, with no network: LiteLLM's proxy and `transformers serve`.

They live in an environment of their own, which `make servers` sets up in build/servers.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest

from ingest import ingest
from rag import Answer, Settings, open_rag
from rag.chat_models.openai_chat import OpenAIChatModel
from rag.errors import ContextLengthError, EndpointError
from rag.types import ChatRequest, Finished, Message, TextDelta, Usage
from tests.openai_server import scripted_server
from tests.openai_server import text as saying
from tests.tiny_language_model import write_language_model

PROGRAMS = Path(__file__).parent.parent / "build" / "servers" / "bin"
# A model of some hundred weights, but all of torch is loaded for it, on a machine that may be busy.
PATIENCE = 180.0
KEY = "sk-real-servers-1"

QUESTION = "How often is the conveyor belt cleaned, and who checks its tension?"
PIECES = (
    *("The", " conveyor", " belt", " is", " cleaned", " every", " Monday."),
    *(' [1: "wird jeden', " Montag", ' gereinigt"]'),
    *(" Afterwards", " the", " shift", " leader", " checks", " its", " tension."),
    *(' [1: "prüft danach', " die", ' Spannung"]'),
)
TEXT = "".join(PIECES)
CLAIMS = {
    "claims": [
        {
            "text": "The conveyor belt is cleaned every Monday.",
            "citations": [{"passage": 1, "quote": "wird jeden Montag gereinigt"}],
        },
        {
            "text": "Afterwards the shift leader checks its tension.",
            "citations": [{"passage": 1, "quote": "prüft danach die Spannung"}],
        },
    ],
    "no_answer": False,
}
MOCKED = {
    "plain": TEXT,
    "as-json": json.dumps(CLAIMS),
    "too-long": "litellm.ContextWindowExceededError",
    "busy": "litellm.RateLimitError",
}
REQUEST = ChatRequest((Message("user", QUESTION),), QUESTION, (), "en")


@contextmanager
def running(folder: Path, *words: str, ready: str, **environment: str) -> Iterator[str]:
    """Runs a program on a free port of this machine until the block is left; gives the API's address."""
    program = PROGRAMS / words[0]
    if not program.exists():
        pytest.skip(f"{words[0]} is not in build/servers: `make servers` installs it")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(program), *words[1:], "--host", "127.0.0.1", "--port", str(port)]
    # Nothing of the person who runs the tests: no key, no configuration, no cache.
    bare = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1", **environment}
    log = folder / "log.txt"
    with log.open("w") as written:
        process = subprocess.Popen(command, cwd=folder, env=bare, stdout=written, stderr=subprocess.STDOUT)
    try:
        _wait_for(f"http://127.0.0.1:{port}{ready}", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the server did not begin to listen: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("litellm")
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/mock", "api_key": "none", "mock_response": said}}
        for name, said in MOCKED.items()
    ]
    # JSON is YAML. Without this the proxy tries a failed request again by itself.
    config = {"model_list": models, "router_settings": {"num_retries": 0}}
    (folder / "config.yaml").write_text(json.dumps(config))
    environment = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with running(folder, "litellm", "--config", "config.yaml", ready="/health/liveliness", **environment) as url:
        yield url


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and name of the model."""
    folder = tmp_path_factory.mktemp("transformers")
    model = str(write_language_model(folder / "model", PIECES))
    words = ("transformers", "serve", model, "--device", "cpu")
    with running(folder, *words, ready="/health", HF_HUB_OFFLINE="1") as url:
        yield url, model


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("real-servers")
    (folder / "wartung.md").write_text(
        "# Wartung\n\nDas Förderband wird jeden Montag gereinigt. Die Schichtleitung prüft danach die Spannung.\n"
    )
    (folder / "pause.md").write_text("# Pausen\n\nNach vier Stunden Arbeit gibt es eine Pause von dreißig Minuten.\n")
    settings = Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3", "dtype": "float32"},  # type: ignore[arg-type]
        answer={"translate_quotes": False},  # type: ignore[arg-type]
    )
    assert ingest([folder], settings=settings).added == 2
    return settings


def answer(index: Settings, url: str, model: str, **llm: object) -> Answer:
    given = {"model": model, "base_url": url, "api_key": KEY, "retries": 0, **llm}
    with open_rag(index.model_copy(update={"llm": type(index.llm).model_validate(given)})) as rag:
        found = rag.ask(QUESTION, k=2)
    assert found.usage.requests == 1
    assert found.usage.completion_tokens > 0
    # What was counted and how long it took is each server's own.
    return replace(found, usage=Usage(), timings={})


@pytest.fixture(scope="module")
def scripted(index: Settings) -> Answer:
    """The answer through the server of the other tests."""
    with scripted_server(saying(*PIECES)) as server:
        return answer(index, server.base_url, "plain")


def test_the_scripted_answer_is_whole_and_leads_to_the_documents_words(scripted: Answer) -> None:
    assert scripted.complete
    assert scripted.language_ok
    assert [citation.quote for citation in scripted.citations] == [
        "wird jeden Montag gereinigt",
        "prüft danach die Spannung",
    ]


def test_litellm_gives_the_same_answer(index: Settings, scripted: Answer, litellm: str) -> None:
    assert answer(index, litellm, "plain") == scripted


def test_litellm_gives_the_same_answer_as_json(index: Settings, scripted: Answer, litellm: str) -> None:
    assert answer(index, litellm, "as-json", structured=True) == scripted


def test_transformers_gives_the_same_answer(index: Settings, scripted: Answer, transformers: tuple[str, str]) -> None:
    assert answer(index, *transformers) == scripted


def test_transformers_ignores_a_schema_and_gives_the_same_answer(
    index: Settings, scripted: Answer, transformers: tuple[str, str]
) -> None:
    assert answer(index, *transformers, structured=True) == scripted


def test_transformers_cuts_an_answer_off_at_its_longest(transformers: tuple[str, str]) -> None:
    url, model = transformers
    events = list(OpenAIChatModel(model, base_url=url, max_tokens=3).stream(REQUEST))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "The conveyor belt"
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].usage.completion_tokens) == ("length", 3)


def test_the_errors_of_litellm_are_understood(litellm: str) -> None:
    def refusal(model: str) -> EndpointError:
        with pytest.raises(EndpointError) as caught:
            list(OpenAIChatModel(model, base_url=litellm, api_key=KEY, retries=0).stream(REQUEST))
        return caught.value

    assert isinstance(refusal("too-long"), ContextLengthError)
    assert "still refuses for load or quota after 1 request (429)" in str(refusal("busy"))
    assert "'no-such-model'" in str(refusal("no-such-model"))


def test_the_errors_of_transformers_are_understood(transformers: tuple[str, str]) -> None:
    with pytest.raises(EndpointError, match="no-such-model"):
        list(OpenAIChatModel("no-such-model", base_url=transformers[0], retries=0).stream(REQUEST))
