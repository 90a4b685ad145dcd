from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ingest import Progress, ingest
from rag import Settings, Where, build, open_rag
from rag.checkpoint import BUNDLED
from rag.errors import IndexMismatchError, InputError
from rag.types import StoredDocument

WARTUNG = "# Wartung\n\nDas Förderband wird jeden Montag gereinigt und die Spannung geprüft.\n"
PAUSE = "# Pausen\n\nNach vier Stunden Arbeit steht jedem eine Pause von dreißig Minuten zu.\n"


@pytest.fixture
def docs(in_folder: Path) -> Path:
    folder = in_folder / "docs"
    folder.mkdir()
    (folder / "wartung.md").write_text(WARTUNG)
    (folder / "pause.md").write_text(PAUSE)
    return folder


def stored(settings: Settings) -> dict[str, StoredDocument]:
    store = build.store(settings)
    try:
        return {document.source: document for document in store.documents()}
    finally:
        store.close()


def texts(settings: Settings, source: str) -> list[str]:
    store = build.store(settings)
    try:
        return [
            chunk.text
            for document in store.documents()
            if document.source == source
            for chunk in store.chunks(document.uri)
        ]
    finally:
        store.close()


def test_documents_are_added_then_unchanged_then_updated(docs: Path, settings: Settings) -> None:
    first = ingest([docs], settings=settings)
    assert (first.added, first.updated, first.unchanged, first.failed) == (2, 0, 0, 0)
    assert first.chunks == 2
    assert first.tokens > 20
    again = ingest([docs], settings=settings)
    assert (again.added, again.updated, again.unchanged, again.chunks) == (0, 0, 2, 0)
    (docs / "pause.md").write_text(PAUSE.replace("dreißig", "vierzig"))
    third = ingest([docs], settings=settings)
    assert (third.added, third.updated, third.unchanged) == (0, 1, 1)
    [text] = texts(settings, "docs/pause.md")
    assert "vierzig" in text, "the old version is gone and the new one there"


def test_the_working_folder_does_not_make_another_document(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(["docs"], settings=settings)
    monkeypatch.chdir(docs)
    assert ingest(["."], settings=settings).unchanged == 2
    assert set(stored(settings)) == {"pause.md", "wartung.md"}


def test_a_single_path_is_one_path_and_not_its_letters(docs: Path, settings: Settings) -> None:
    assert ingest("docs", settings=settings).added == 2
    assert ingest(docs / "pause.md", settings=settings).unchanged == 1


def test_two_files_of_one_name_are_two_documents(docs: Path, settings: Settings) -> None:
    for name in ("a", "b"):
        (docs / name).mkdir()
        (docs / name / "README.md").write_text(f"Projekt {name} hat eine eigene Beschreibung.")
    ingest([docs], settings=settings)
    assert {"docs/a/README.md", "docs/b/README.md"} <= set(stored(settings))


def ingest_in_a_new_process(settings: Settings, path: Path) -> tuple[dict[str, int], bool]:
    """The counts of the run, and whether it loaded torch."""
    code = (
        "import json, sys\nfrom ingest import ingest\nfrom rag import Settings\n"
        f"store = {{'path': {str(settings.store.path)!r}}}\n"
        "s = Settings(store=store, embedder={'model': 'pocket-m3', 'dtype': 'float32'})\n"
        f"r = ingest([{str(path)!r}], settings=s)\n"
        "counts = {name: getattr(r, name) for name in ('added', 'updated', 'unchanged')}\n"
        "print(json.dumps([counts, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts, torch = json.loads(done.stdout)
    return counts, torch


def test_nothing_changed_loads_no_model(docs: Path, settings: Settings) -> None:
    ingest([docs], settings=settings)
    counts, torch = ingest_in_a_new_process(settings, docs)
    assert counts == {"added": 0, "updated": 0, "unchanged": 2}
    assert not torch


def test_a_copy_takes_the_vectors_that_are_there(docs: Path, settings: Settings) -> None:
    ingest([docs], settings=settings)
    (docs / "kopie.md").write_text(WARTUNG)
    counts, torch = ingest_in_a_new_process(settings, docs)
    assert counts == {"added": 1, "updated": 0, "unchanged": 2}
    assert not torch, "the copy's text was embedded before"
    with open_rag(settings) as rag:
        best, other = rag.retrieve("Wann wird das Förderband gereinigt?", k=3)
    assert {best.chunk.source, *(copy.source for copy in best.copies)} == {"docs/kopie.md", "docs/wartung.md"}
    assert other.copies == ()


def test_a_file_that_cannot_be_read_costs_no_other(docs: Path, settings: Settings) -> None:
    (docs / "kaputt.pdf").write_bytes(b"%PDF-1.7 broken")
    (docs / "leer.txt").write_text("")
    (docs / "bild.png").write_bytes(b"\x89PNG")
    report = ingest([docs], settings=settings)
    assert (report.added, report.failed, report.skipped) == (2, 2, 1)
    assert [failure.source for failure in report.failures] == ["docs/kaputt.pdf", "docs/leer.txt"]
    assert all(failure.error and "\n" not in failure.error for failure in report.failures)


def test_a_named_file_that_no_reader_takes_is_a_failure(docs: Path, settings: Settings) -> None:
    (docs / "bild.png").write_bytes(b"\x89PNG")
    report = ingest([docs / "bild.png", docs / "fehlt.md"], settings=settings)
    assert report.failed == 2
    assert ".png" in report.failures[0].error
    assert "No such file" in report.failures[1].error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_reported(docs: Path, settings: Settings) -> None:
    (docs / "pause.md").chmod(0)
    report = ingest([docs], settings=settings)
    assert (report.added, report.failed) == (1, 1)


def test_a_dry_run_counts_and_writes_nothing(docs: Path, settings: Settings) -> None:
    report = ingest([docs], settings=settings, dry_run=True)
    assert (report.added, report.chunks) == (2, 2)
    assert not settings.store.path.exists()
    ingest([docs / "pause.md"], settings=settings)
    assert ingest([docs], settings=settings, dry_run=True).unchanged == 1
    assert set(stored(settings)) == {"docs/pause.md"}


def test_metadata_comes_from_front_matter_and_from_the_call(docs: Path, settings: Settings) -> None:
    (docs / "pause.md").write_text("---\ntitle: Pausenregel\ndepartment: hr\n---\n" + PAUSE)
    ingest([docs], settings=settings, metadata={"site": "Linz"})
    found = stored(settings)["docs/pause.md"]
    assert found.title == "Pausenregel"
    assert found.metadata["department"] == "hr"
    assert found.metadata["site"] == "Linz"
    with open_rag(settings) as rag:
        passages = rag.retrieve("pause", k=5, where=Where(metadata={"department": "hr"}))
    assert [passage.chunk.source for passage in passages] == ["docs/pause.md"]
    assert ingest([docs], settings=settings, metadata={"site": "Graz"}).updated == 2, "new metadata is a new version"


def test_a_metadata_key_that_cannot_be_stored_is_refused(docs: Path, settings: Settings) -> None:
    with pytest.raises(InputError, match=r"'a\.b'"):
        ingest([docs], settings=settings, metadata={"a.b": "1"})


def test_an_index_of_another_model_is_refused(docs: Path, settings: Settings, tmp_path: Path) -> None:
    ingest([docs], settings=settings)
    folder = tmp_path / "other"
    folder.mkdir()
    for file in BUNDLED["pocket-m3"].glob("*.*"):
        (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 2 * config["layer_norm_eps"]}))
    other = settings.model_copy(update={"embedder": settings.embedder.model_copy(update={"model": str(folder)})})
    for use in (lambda: ingest([docs], settings=other), lambda: open_rag(other)):
        with pytest.raises(IndexMismatchError) as caught:
            use()
        assert "pocket-m3" in str(caught.value)
        assert str(folder) in str(caught.value)


def test_progress_ends_with_everything_done(docs: Path, settings: Settings) -> None:
    seen: list[Progress] = []
    (docs / "lang.txt").write_text("\n\n".join(f"Absatz {n} über die Wartung der Maschine {n}." for n in range(1000)))
    short = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"chunk_tokens": 64})})
    report = ingest([docs], settings=short, on_progress=seen.append)
    assert (seen[-1].files, seen[-1].files_total) == (3, 3)
    assert seen[-1].size == seen[-1].size_total > 0
    assert seen[-1].chunks == report.chunks > 128
    sizes = [progress.size for progress in seen]
    assert sizes == sorted(sizes)
    within_the_long_file = [progress for progress in seen if progress.files < 3 and progress.chunks > 64]
    assert within_the_long_file, "a long file tells how far it is"


def test_a_changed_chunk_size_makes_new_versions(docs: Path, settings: Settings) -> None:
    ingest([docs], settings=settings)
    smaller = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"chunk_tokens": 64})})
    assert ingest([docs], settings=smaller).updated == 2


def test_a_passage_knows_where_it_comes_from(docs: Path, settings: Settings) -> None:
    ingest([docs], settings=settings)
    with open_rag(settings) as rag:
        [best] = rag.retrieve("How often is the conveyor belt cleaned?", k=1)
    assert best.chunk.source == "docs/wartung.md"
    assert best.chunk.language == "de"
    assert WARTUNG[best.chunk.start : best.chunk.end] == best.chunk.text
    assert replace(best, rank=1) == best


def test_ingest_and_search_succeed_while_another_process_keeps_asking(docs: Path, settings: Settings) -> None:
    ingest([docs / "wartung.md"], settings=settings)
    code = (
        "import sys\nfrom rag import Settings, open_rag\n"
        f"store = {{'path': {str(settings.store.path)!r}}}\n"
        "with open_rag(Settings(store=store, embedder={'model': 'pocket-m3', 'dtype': 'float32'})) as rag:\n"
        "    while True:\n"
        "        print(len(rag.retrieve('Wann wird das Förderband gereinigt?', k=3)), flush=True)\n"
    )
    asker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert asker.stdout is not None
        assert asker.stdout.readline() == "1\n"
        assert ingest([docs], settings=settings).added == 1
        with open_rag(settings) as rag:
            assert len(rag.retrieve("Wann ist Pause?", k=3)) == 2
        # Whole or not at all, and soon: the asker sees the new document without being started anew.
        assert any(asker.stdout.readline() == "2\n" for _ in range(10_000))
        assert asker.poll() is None
    finally:
        asker.kill()
        asker.communicate()
