"""`rag config`: each value with the source it came from, and no secret."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rag_config.settings import Settings

from rag.commands.config import config
from rag.commands.shared import run
from rag.hub import DEFAULT_REVISIONS

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs `rag config` with these words in an empty working folder."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["config", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            run(config, "config")
        captured = capfd.readouterr()
        assert isinstance(left.value.code, int)
        assert "Traceback" not in captured.err
        return left.value.code, captured.out, captured.err

    return call


def rows(call: Call, *words: str) -> dict[str, dict[str, Any]]:
    code, out, err = call("--json", *words)
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    return {line["setting"]: line for line in lines}


def test_every_setting_is_shown_once_with_its_default(call: Call) -> None:
    found = rows(call)
    groups = Settings().model_dump()
    names = {f"{group}.{name}" for group, values in groups.items() if isinstance(values, dict) for name in values}
    assert set(found) == names | {name for name, value in groups.items() if not isinstance(value, dict)}
    assert {row["source"] for row in found.values()} == {"default"}
    assert found["retrieval.depth"] == {
        "setting": "retrieval.depth",
        "value": 100,
        "source": "default",
        "variable": "RAG_RETRIEVAL__DEPTH",
    }
    assert found["embedder.revision"]["value"] == DEFAULT_REVISIONS["BAAI/bge-m3"], "what is in effect, not `none`"


def test_each_source_is_named_and_the_first_wins(call: Call, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (in_folder / "rag.toml").write_text(
        '[embedder]\nmodel = "toml"\ndevice = "cpu"\n[store]\npath = "toml"\ncollection = "toml"\n'
        "[retrieval]\nrrf_k = 7\n"
    )
    (in_folder / ".env").write_text("RAG_EMBEDDER__MODEL=dotenv\nRAG_STORE__COLLECTION=dotenv\nRAG_LANGUAGE=\nELSE=1\n")
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "environment")
    monkeypatch.setenv("RAG_RETRIEVAL", '{"depth": 50}')
    found = rows(call, "--store", "flag")
    shown = {name: (row["value"], row["source"]) for name, row in found.items() if row["source"] != "default"}
    assert shown == {
        "store.path": ("flag", "flag"),
        "embedder.model": ("environment", "environment"),
        "store.collection": ("dotenv", ".env"),
        "embedder.device": ("cpu", "rag.toml"),
        "retrieval.rrf_k": (7, "rag.toml"),
        "retrieval.depth": (50, "environment"),
    }
    assert rows(call, "--model", "flag", "--collection", "flag")["embedder.model"]["source"] == "flag"


def test_what_is_shown_is_what_is_in_effect(call: Call, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (in_folder / "rag.toml").write_text("[retrieval]\ndepth = 9\n[llm]\ntemperature = 1\n")
    monkeypatch.setenv("rag_llm__max_tokens", "77")
    found = rows(call)
    effective = Settings()
    assert found["retrieval.depth"]["value"] == effective.retrieval.depth == 9
    assert found["llm.temperature"]["value"] == effective.llm.temperature
    assert found["llm.max_tokens"]["value"] == effective.llm.max_tokens == 77
    assert found["llm.max_tokens"]["source"] == "environment"


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_keys_passwords_and_queries_are_masked(
    call: Call, in_folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("RAG_LLM__API_KEY", "sk-planted")
    (in_folder / "rag.toml").write_text(
        '[llm]\nbase_url = "https://joe:planted-password@host.example:8443/v1?token=planted-token"\n'
    )
    code, out, err = call(*words)
    assert code == 0
    assert "planted" not in out + err
    assert "https://********@host.example:8443/v1?token=********" in out
    assert "RAG_LLM__API_KEY" in out


def test_what_openai_s_own_variables_give_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    found = rows(call)
    assert found["llm.base_url"]["value"] == "http://127.0.0.1:9/v1"
    assert found["llm.base_url"]["variable"] == "OPENAI_BASE_URL"
    assert found["llm.api_key"] == {
        "setting": "llm.api_key",
        "value": "********",
        "source": "environment",
        "variable": "OPENAI_API_KEY",
    }
    monkeypatch.setenv("RAG_LLM__BASE_URL", "http://127.0.0.1:10/v1")
    assert rows(call)["llm.api_key"]["value"] is None, "OpenAI's key does not go to an endpoint of one's own"


def test_people_get_a_table(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    _, out, _ = call()
    lines = out.splitlines()
    assert len(lines) == len(rows(call))
    [line] = [line for line in lines if line.startswith("embedder.model ")]
    assert line.split() == ["embedder.model", "pocket-m3", "environment", "(RAG_EMBEDDER__MODEL)"]
    assert "llm.model" in out


def test_a_setting_that_is_not_allowed_is_an_error_of_usage(call: Call, in_folder: Path) -> None:
    (in_folder / "rag.toml").write_text("[store]\ncollectoin = 'x'\n")
    code, out, err = call()
    assert (code, out) == (2, "")
    assert "store.collectoin" in err
    assert len(err.splitlines()) == 1


def test_a_folder_as_a_flag_is_named_as_what_takes_a_server_out_of_effect(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_STORE__URL", "http://localhost:6333")
    assert rows(call)["store.url"]["source"] == "environment"
    found = rows(call, "--store", "index")
    assert (found["store.url"]["value"], found["store.url"]["source"]) == (None, "flag")
    monkeypatch.delenv("RAG_STORE__URL")
    assert rows(call, "--store", "index")["store.url"]["source"] == "default", "there was nothing to take out"
