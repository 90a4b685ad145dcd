from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest import ingest
from rag import Settings, build
from rag.types import StoredDocument
from tests.command_line import call

WARTUNG = "# Wartung\n\nDas Förderband wird jeden Montag gereinigt und die Spannung geprüft.\n"
PAUSE = "# Pausen\n\nNach vier Stunden Arbeit steht jedem eine Pause von dreißig Minuten zu.\n"


@pytest.fixture
def docs(in_folder: Path) -> Path:
    for folder in ("docs", "docs/alt", "mehr"):
        (in_folder / folder).mkdir()
    (in_folder / "docs/wartung.md").write_text(WARTUNG)
    (in_folder / "docs/alt/pause.md").write_text(PAUSE)
    (in_folder / "mehr/wartung.md").write_text(WARTUNG)
    return in_folder / "docs"


def sources(settings: Settings) -> set[str]:
    store = build.store(settings)
    try:
        return {document.source for document in store.documents()}
    finally:
        store.close()


def test_only_what_has_vanished_below_the_given_folder_goes(docs: Path, settings: Settings) -> None:
    ingest([docs, docs.parent / "mehr"], settings=settings)
    shutil.rmtree(docs / "alt")
    (docs.parent / "mehr/wartung.md").unlink()
    told: list[StoredDocument] = []

    def tell(documents: Sequence[StoredDocument]) -> None:
        assert "docs/alt/pause.md" in sources(settings), "what goes is told before it goes"
        told.extend(documents)

    report = ingest(docs, settings=settings, prune=True, on_vanished=tell)
    assert (report.removed, report.unchanged, report.failed) == (1, 1, 0)
    assert [document.source for document in told] == ["docs/alt/pause.md"]
    assert sources(settings) == {"docs/wartung.md", "mehr/wartung.md"}


def test_nothing_goes_unless_it_is_asked_for(docs: Path, settings: Settings) -> None:
    ingest(docs, settings=settings)
    shutil.rmtree(docs / "alt")
    assert ingest(docs, settings=settings).removed == 0
    assert ingest(docs, settings=settings, prune=True, dry_run=True).removed == 1
    assert sources(settings) == {"docs/wartung.md", "docs/alt/pause.md"}


def test_a_renamed_folder_takes_its_vectors_along(docs: Path, settings: Settings) -> None:
    ingest(docs, settings=settings)
    (docs / "alt").rename(docs / "neu")
    before = build.store(settings)
    hashes = [chunk.text_hash for document in before.documents() for chunk in before.chunks(document.uri)]
    vectors = before.embeddings(hashes)
    before.close()
    report = ingest(docs, settings=settings, prune=True)
    assert (report.added, report.removed, report.unchanged) == (1, 1, 1)
    after = build.store(settings)
    try:
        found = after.embeddings(hashes)
    finally:
        after.close()
    assert all((found[key].dense == vectors[key].dense).all() for key in hashes)
    assert sources(settings) == {"docs/wartung.md", "docs/neu/pause.md"}


def test_what_is_there_but_left_out_stays(docs: Path, settings: Settings) -> None:
    ingest(docs, settings=settings)
    (docs / ".ragignore").write_text("alt/\n")
    assert ingest(docs, settings=settings, prune=True).removed == 0
    assert len(sources(settings)) == 2


def test_an_empty_folder_may_be_a_disk_that_is_not_mounted(docs: Path, settings: Settings) -> None:
    ingest(docs, settings=settings)
    for path in (docs / "alt/pause.md", docs / "wartung.md"):
        path.unlink()
    report = ingest(docs, settings=settings, prune=True)
    assert (report.removed, report.failed) == (0, 1)
    assert "holds 2 documents" in report.failures[0].error
    assert "ingest remove 'docs/*'" in report.failures[0].error
    assert len(sources(settings)) == 2


def test_a_folder_below_that_is_empty_may_be_one_too(docs: Path, settings: Settings) -> None:
    ingest(docs, settings=settings)
    (docs / "alt/pause.md").unlink()
    for paths in ([docs], [docs, docs / "alt"]):
        report = ingest(paths, settings=settings, prune=True)
        assert (report.removed, report.failed) == (0, 1)
        assert report.failures[0].source == "docs/alt"
    (docs / "alt").rmdir()
    assert ingest(docs, settings=settings, prune=True).removed == 1


def test_nothing_goes_where_the_folder_itself_is_gone(docs: Path, settings: Settings) -> None:
    ingest(docs, settings=settings)
    docs.rename(docs.parent / "weg")
    report = ingest(docs, settings=settings, prune=True)
    assert (report.removed, report.failed) == (0, 1)
    assert len(sources(settings)) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_what_cannot_be_looked_at_has_not_vanished(docs: Path, settings: Settings) -> None:
    ingest(docs, settings=settings)
    (docs / "alt").chmod(0)
    try:
        assert ingest(docs, settings=settings, prune=True).removed == 0
    finally:
        (docs / "alt").chmod(0o755)


def test_another_tenants_documents_stay(docs: Path, settings: Settings) -> None:
    shared = settings.model_copy(update={"store": settings.store.model_copy(update={"tenant_key": "team"})})
    ingest(docs / "wartung.md", settings=shared, metadata={"team": "a"})
    ingest(docs / "alt", settings=shared, metadata={"team": "b"})
    shutil.rmtree(docs / "alt")
    assert ingest(docs, settings=shared, metadata={"team": "a"}, prune=True).removed == 0
    assert ingest(docs, settings=shared, metadata={"team": "b"}, prune=True).removed == 1


def test_the_command_says_what_goes(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_STORE__PATH", str(settings.store.path))
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    assert call(("ingest", "docs"), monkeypatch, capfd).code == 0
    shutil.rmtree(docs / "alt")
    dry = call(("ingest", "docs", "--prune", "--dry-run"), monkeypatch, capfd)
    assert "docs/alt/pause.md: has vanished and would be removed" in dry.err
    done = call(("ingest", "docs", "--prune", "--json"), monkeypatch, capfd)
    assert (done.code, done.json["documents"]["removed"]) == (0, 1)
    assert "docs/alt/pause.md: has vanished and is removed" in done.err
    assert sources(settings) == {"docs/wartung.md"}
