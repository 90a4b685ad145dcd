"""Disks that fill up, stores that go away, models that break: what is committed stays, the rest is told and goes on."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest import embedding, ingest
from ingest.failures import Failures
from rag import Settings, build
from rag.errors import RagError, UnavailableError
from rag.stores.edge import EdgeStore
from tests.command_line import Done, call

TEXT = "# Wartung {}\n\nDas Förderband {} wird jeden Montag gereinigt und die Spannung geprüft.\n"


@pytest.fixture
def docs(in_folder: Path) -> Path:
    folder = in_folder / "docs"
    folder.mkdir()
    for number in range(6):
        write(folder, number)
    return folder


@pytest.fixture
def shell(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    monkeypatch.setenv("RAG_STORE__PATH", str(settings.store.path))
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_EMBEDDER__DTYPE", "float32")
    return lambda *words: call(words, monkeypatch, capfd)


def write(folder: Path, number: int, word: str = "Montag") -> Path:
    path = folder / f"{number:03}.md"
    path.write_text(TEXT.format(number, number).replace("Montag", word))
    return path


def held(settings: Settings) -> set[str]:
    with closing(build.store(settings)) as store:
        return {document.source for document in store.documents()}


def texts(settings: Settings, path: Path) -> list[str]:
    with closing(build.store(settings)) as store:
        return [chunk.text for chunk in store.chunks(path.as_uri())]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The kernel refuses to let files grow, as it does where a disk or a quota ends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_index_that_finds_no_room_is_made_once_there_is_some(
    docs: Path, settings: Settings, shell: Callable[..., Done]
) -> None:
    with no_file_longer_than(1_000_000):
        done = shell("ingest", "docs")
    assert (done.code, done.out) == (5, "")
    assert "cannot create the index" in done.err
    assert "check the disk's space" in done.err
    assert shell("rag", "list").code == 3, "there is none yet"
    assert shell("ingest", "docs", "--json").json["documents"]["added"] == 6
    assert shell("ingest", "verify").code == 0


def test_a_journal_that_cannot_be_written_keeps_the_version_before(
    docs: Path, settings: Settings, shell: Callable[..., Done]
) -> None:
    assert shell("ingest", "docs").code == 0
    changed = write(docs, 3, "Freitag")
    added = write(docs, 9)
    journal = settings.store.path / settings.store.collection / "commit.json.new"
    journal.symlink_to("/dev/full")  # every write to it finds the disk full
    done = shell("ingest", "docs")
    assert done.code in (1, 5)
    assert "commit.json (No space left on device): check its permissions and the disk" in done.err
    [text] = texts(settings, changed)
    assert "Montag" in text
    journal.unlink()
    assert shell("ingest", "docs").code == 0
    [text] = texts(settings, changed)
    assert "Freitag" in text
    assert len(texts(settings, added)) == 1
    assert shell("ingest", "verify").code == 0


def test_failures_that_cannot_be_kept_are_told_and_cost_nothing_else(
    docs: Path, settings: Settings, shell: Callable[..., Done]
) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    assert shell("ingest", "docs").code == 1
    kept = Failures(settings.store.path, settings.store.collection, settings.store.url)
    before = kept.load()
    assert len(before) == 1
    (docs / "empty.md").write_text("")
    part = settings.store.path / f"{settings.store.collection}.failures.json.{os.getpid()}.part"
    part.symlink_to("/dev/full")
    done = shell("ingest", "docs")
    assert done.code == 1
    assert "cannot be written (No space left on device): the failures are not remembered" in done.err
    assert kept.load() == before
    assert len(held(settings)) == 6


FILLING = """
import sys
from rag.stores.edge import EdgeStore
from ingest import embedding, ingest
from ingest.verification import Verifier
from rag import Settings, build
from rag.errors import UnavailableError

settings = Settings()
real, done = EdgeStore.commit_all, []
embedding._SIZES = (1, 1)  # each document is committed by itself

def commit_all(self, documents):
    committed = real(self, documents)
    done.extend(documents)
    if len(done) == 2:  # something else takes all that is left
        with open("filler", "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass
    return committed

EdgeStore.commit_all = commit_all
try:
    report = ingest("docs", settings=settings)
    print("failed", report.failed, *(failure.error for failure in report.failures))
except UnavailableError as error:
    print("ended", error)
EdgeStore.commit_all = real
import os
os.unlink("filler")
store = build.store(settings)
print("held", len(list(store.documents())), len(done), Verifier(store, budget=320, chunk_tokens=None).run().findings)
store.close()
again = ingest("docs", settings=settings)
print("again", again.added, again.unchanged, again.failed)
"""


def test_a_disk_that_fills_up_ends_the_run_in_words_and_costs_nothing_that_was_committed(
    docs: Path, in_folder: Path
) -> None:
    """On a real file system of 250 MB: the engine dies of a signal where it writes what the disk cannot back."""
    disk = in_folder / "disk"
    disk.mkdir()
    (in_folder / "filling.py").write_text(FILLING)
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=250m tmpfs {disk}"
    if shutil.which("unshare") is None or subprocess.run([*namespace, "sh", "-c", mount], check=False).returncode:
        pytest.skip("no file system can be mounted here (unshare --user --mount)")
    script = f"{mount} && cp -r {docs} {disk}/docs && cd {disk} && exec {sys.executable} ../filling.py"
    environment = os.environ | {
        "RAG_STORE__PATH": str(disk / "store"),
        "RAG_EMBEDDER__MODEL": "pocket-m3",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [*namespace, "sh", "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    ended, held, again = done.stdout.splitlines()
    assert "MB free and the index needs at least 100 MB: make room" in ended
    assert ended.startswith(("failed 4 ", "ended "))
    assert held == "held 2 2 {}"
    assert again == "again 4 2 0"


def test_an_index_that_is_deleted_under_a_run_ends_it_in_a_line_and_is_made_anew(
    docs: Path, settings: Settings, shell: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = EdgeStore.commit_all

    def commit_all(self: EdgeStore, documents: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        committed = real(self, documents)
        shutil.rmtree(settings.store.path / settings.store.collection)
        return committed

    with monkeypatch.context() as during:
        during.setattr(embedding, "_SIZES", (1, 1))  # each document is committed by itself
        during.setattr(EdgeStore, "commit_all", commit_all)
        done = shell("ingest", "docs")
    assert done.code in (1, 5)
    assert "check the disk's space and permissions" in done.err
    assert shell("ingest", "docs", "--json").json["documents"]["added"] == 6
    assert shell("ingest", "verify").code == 0


def test_a_model_that_breaks_half_way_loses_nothing_that_was_committed(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(docs, settings=settings)
    for number in range(3, 9):
        write(docs, number, "Freitag")
    embedder = build.embedder(settings)
    with monkeypatch.context() as during:
        during.setattr(type(embedder), "embed_passages", _out_of_memory)
        with pytest.raises((RuntimeError, RagError), match="CUDA out of memory"):
            ingest(docs, settings=settings)
    assert held(settings) == {f"docs/{number:03}.md" for number in range(6)}
    assert all("Montag" in text for number in range(6) for text in texts(settings, docs / f"{number:03}.md"))
    report = ingest(docs, settings=settings)
    assert (report.unchanged, report.updated, report.added, report.failed) == (3, 3, 3, 0)
    assert all("Freitag" in text for number in range(3, 9) for text in texts(settings, docs / f"{number:03}.md"))


def _out_of_memory(*arguments: Any) -> Any:
    raise RuntimeError("CUDA out of memory")


def test_a_store_that_another_process_keeps_ends_the_run_and_says_who(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(docs / "000.md", settings=settings)
    folder = settings.store.path / settings.store.collection
    holder = EdgeStore(folder, idle_seconds=60)
    with holder._use(), monkeypatch.context() as during:
        during.setattr(build, "store", lambda settings: EdgeStore(folder, wait_seconds=0.1))
        with pytest.raises(UnavailableError, match="did not let go"):
            ingest(docs, settings=settings)
    holder.close()
    assert held(settings) == {"docs/000.md"}
    assert ingest(docs, settings=settings).added == 5
