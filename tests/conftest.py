"""Shared fixtures. No RAG_ or OPENAI_ variable of the person who runs the tests reaches them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as examples
from rag_config.settings import Settings

from rag.ports import Embedder

# No test may reach a model hub; set before any vendor is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# Processes side by side must not each take all cores, nor the programs that they start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# The same examples in each run: HYPOTHESIS_PROFILE=random looks for others.
examples.register_profile("same", derandomize=True, database=None)
examples.register_profile("random")
examples.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

_OURS = ("RAG_", "OPENAI_")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests have measured and given to `record_property` as figures."""
    for report in terminalreporter.getreports("passed"):
        for name, figures in report.user_properties:
            if name == "figures":
                terminalreporter.write_line(str(figures))


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as during:
        during.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # what is measured is kept there
        for name in list(os.environ):
            if name.startswith(_OURS) and name != "RAG_DATA":
                during.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _weights_are_loaded_once(_no_settings_from_outside: None) -> list[Embedder]:
    """Keeps the bundled model, as tests ask for it, in use: whoever opens it in this process shares its weights."""
    from rag.build import embedder

    given: list[dict[str, str]] = [{}, {"dtype": "float32"}]
    return [embedder(Settings(embedder={"model": "pocket-m3", **each})) for each in given]  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of evaluation data that is not part of this repository."""
    folder = os.environ.get("RAG_DATA")
    if not folder:
        pytest.skip("RAG_DATA is not set: the folder with xquad/ and docs/otel/")
    return Path(folder)


@pytest.fixture(scope="session")
def pocket() -> Embedder:
    """The bundled model in full precision."""
    from rag.build import embedder

    return embedder(Settings(embedder={"model": "pocket-m3", "dtype": "float32"}))  # type: ignore[arg-type]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The bundled model over an empty store."""
    return Settings(
        store={"path": tmp_path / "store"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3", "dtype": "float32"},  # type: ignore[arg-type]
    )


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
