"""What store or model fail on costs its document; three in a row end the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest.discovery import discover
from ingest.pipeline import Ingestion
from rag import Settings, build
from rag.errors import EmbeddingError, StoreError, UnavailableError
from rag.ports import Embedder
from rag.stores.edge import EdgeStore
from rag.types import Chunk, Embedding

TEXT = "# Wartung {0}\n\nDas Förderband {0} wird jeden Montag gereinigt und die Spannung geprüft.\n"


class Failing(EdgeStore):
    """A store that cannot write some documents."""

    faulty: tuple[str, ...] = ()

    def stage(self, chunks: Sequence[Chunk], embeddings: Sequence[Embedding]) -> None:
        if any(chunk.uri.endswith(self.faulty) for chunk in chunks):
            raise StoreError("cannot write to the index (no space left on device)")
        super().stage(chunks, embeddings)


class Stumbling:
    """A model that fails on texts with some words; else the one given."""

    def __init__(self, embedder: Embedder, words: Sequence[str], error: Exception) -> None:
        self._embedder, self._words, self._error = embedder, words, error
        self.window = embedder.window
        self.count_tokens = embedder.count_tokens

    def embed_passages(self, texts: Sequence[str]) -> list[Embedding]:
        if any(word in text for text in texts for word in self._words):
            raise self._error
        return self._embedder.embed_passages(texts)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.md").write_text(TEXT.format(f"Nummer{number}"))
    return folder


def run(
    docs: Path, settings: Settings, *, store: EdgeStore | None = None, embedder: Stumbling | None = None
) -> tuple[Ingestion, list[str], BaseException | None]:
    """The ingestion, the documents that are there afterwards, and what it raised."""
    model = build.embedder(settings)
    store = store or EdgeStore(settings.store.path / settings.store.collection)
    store.prepare(build.index_info(model, settings))
    ingestion = Ingestion(store, embedder or model, chunk_tokens=320, metadata={}, known={})  # type: ignore[arg-type]
    raised: BaseException | None = None
    try:
        ingestion.run(list(discover([docs])))
    except UnavailableError as error:
        raised = error
    there = [Path(document.source).name for document in store.documents()]
    store.close()
    return ingestion, there, raised


def failing(settings: Settings, *faulty: str) -> Failing:
    store = Failing(settings.store.path / settings.store.collection)
    store.faulty = faulty
    return store


def test_two_documents_that_the_store_cannot_write_cost_no_other(docs: Path, settings: Settings) -> None:
    ingestion, there, raised = run(docs, settings, store=failing(settings, "/1.md", "/2.md"))
    assert raised is None
    assert there == [f"{number}.md" for number in (0, 3, 4, 5, 6, 7)]
    assert (ingestion.report.added, ingestion.report.failed) == (6, 2)
    assert [Path(failure.source).name for failure in ingestion.report.failures] == ["1.md", "2.md"]
    assert "no space left" in ingestion.report.failures[0].error


def test_failures_that_do_not_follow_each_other_do_not_end_the_run(docs: Path, settings: Settings) -> None:
    ingestion, there, raised = run(docs, settings, store=failing(settings, "/1.md", "/2.md", "/4.md", "/6.md"))
    assert raised is None
    assert there == ["0.md", "3.md", "5.md", "7.md"]
    assert ingestion.report.failed == 4


def test_three_in_a_row_end_the_run_and_what_is_done_stays(docs: Path, settings: Settings) -> None:
    ingestion, there, raised = run(docs, settings, store=failing(settings, "/2.md", "/3.md", "/4.md"))
    assert isinstance(raised, StoreError)
    assert raised.exit_code == 5
    assert "2 of 8 files were written and stay" in str(raised)
    assert there == ["0.md", "1.md"]
    assert [Path(failure.source).name for failure in ingestion.report.failures] == ["2.md", "3.md"]


def test_a_model_that_breaks_on_one_document_after_the_other_ends_the_run(docs: Path, settings: Settings) -> None:
    model = build.embedder(settings)
    stumbling = Stumbling(model, ["Nummer3", "Nummer4", "Nummer5"], RuntimeError("the device\nis lost"))
    ingestion, there, raised = run(docs, settings, embedder=stumbling)
    assert isinstance(raised, UnavailableError)
    assert raised.exit_code == 5
    assert "RuntimeError: the device is lost" in str(raised)
    assert there == ["0.md", "1.md", "2.md"], "what was embedded before is written"
    assert "3 of 8 files were written and stay, 2 failed, 3 not yet" in str(raised)
    assert ingestion.report.failed == 2


def test_one_document_that_breaks_the_model_costs_no_other(docs: Path, settings: Settings) -> None:
    model = build.embedder(settings)
    ingestion, there, raised = run(docs, settings, embedder=Stumbling(model, ["Nummer3"], RuntimeError("lost")))
    assert raised is None
    assert len(there) == 7
    assert [Path(failure.source).name for failure in ingestion.report.failures] == ["3.md"]


def test_texts_that_cannot_be_embedded_never_end_a_run(docs: Path, settings: Settings) -> None:
    model = build.embedder(settings)
    words = ["Nummer3", "Nummer4", "Nummer5", "Nummer6"]
    ingestion, there, raised = run(docs, settings, embedder=Stumbling(model, words, EmbeddingError("text 1 is empty")))
    assert raised is None
    assert len(there) == 4
    assert ingestion.report.failed == 4


def test_documents_committed_together_are_live_and_a_missing_chunk_keeps_all_back(
    docs: Path, settings: Settings
) -> None:
    from ingest.chunking import chunk
    from rag.language import detect
    from rag.types import Document

    model = build.embedder(settings)
    store = EdgeStore(settings.store.path / settings.store.collection)
    store.prepare(build.index_info(model, settings))

    def stage(name: str, version: str, text: str, *, whole: bool = True) -> tuple[str, str]:
        document = Document(f"file:///{name}", text, name, "txt")
        count = model.count_tokens
        chunks = chunk(document, version=version, ingested_at=0, budget=64, count_tokens=count, detect=detect)
        chunks = chunks if whole else chunks[:-1]
        store.stage(chunks, model.embed_passages([each.text for each in chunks]))
        return document.uri, version

    long = "\n\n".join(TEXT.format(number) for number in range(9))
    store.commit_all([stage("a", "1", "Pause ist um zwölf."), stage("b", "1", long)])
    # One that replaces another, one that is new, and one whose version is that of another's old one.
    store.commit_all([stage("a", "2", "Pause ist um eins."), stage("c", "1", "Neu."), stage("d", "2", "Auch neu.")])
    versions = {document.uri[-1]: document.version for document in store.documents()}
    assert versions == {"a": "2", "b": "1", "c": "1", "d": "2"}
    assert [each.text for each in store.chunks("file:///a")] == ["Pause ist um eins."]
    with pytest.raises(StoreError, match="stage all of them"):
        store.commit_all([stage("e", "1", "Ganz."), stage("f", "1", long, whole=False)])
    store.close()
    assert {document.uri[-1] for document in store.documents()} == set("abcd")
    store.close()


def test_what_failed_before_a_run_broke_off_is_remembered(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest import ingest

    (docs / "0.md").write_text("")
    monkeypatch.setattr(build, "store", lambda settings: failing(settings, "/2.md", "/3.md", "/4.md"))
    with pytest.raises(StoreError, match="1 of 8 files"):
        ingest([docs], settings=settings)
    [memory] = settings.store.path.glob("*.failures.json")
    assert [Path(each["path"]).name for each in json.loads(memory.read_text())] == ["0.md", "2.md", "3.md"]
