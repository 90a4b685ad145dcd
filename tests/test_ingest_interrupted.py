from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest import Progress, ingest
from rag import Settings, build
from rag.errors import InputError
from tests.command_line import Done, call

MANY = 400  # more than are embedded at once, and again
TEXT = "# Wartung {}\n\nDas Förderband {} wird jeden Montag gereinigt und die Spannung geprüft.\n"


@pytest.fixture
def docs(in_folder: Path) -> Path:
    folder = in_folder / "docs"
    folder.mkdir()
    for number in range(MANY):
        (folder / f"{number:03}.md").write_text(TEXT.format(number, number))
    return folder


def sources(settings: Settings) -> set[str]:
    store = build.store(settings)
    try:
        return {document.source for document in store.documents()}
    finally:
        store.close()


def test_a_run_that_is_ended_keeps_what_it_took_and_the_next_goes_on(docs: Path, settings: Settings) -> None:
    stop = threading.Event()

    def end_it(progress: Progress) -> None:
        if progress.files:
            stop.set()

    report = ingest(docs, settings=settings, stop=stop, on_progress=end_it)
    assert 0 < report.added < MANY
    assert report.added + report.left == MANY
    assert len(sources(settings)) == report.added
    again = ingest(docs, settings=settings)
    assert (again.added, again.unchanged, again.left) == (report.left, report.added, 0)


def test_nothing_is_pruned_where_not_all_was_looked_at(docs: Path, settings: Settings) -> None:
    ingest(docs / "000.md", settings=settings)
    (docs / "000.md").unlink()
    stop = threading.Event()
    stop.set()
    assert ingest(docs, settings=settings, stop=stop, prune=True).removed == 0
    assert "docs/000.md" in sources(settings)


SLOWLY = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background has it ignored
from ingest import cli, embedding
from ingest.embedding import Batches
embedding._SIZES = (1, 1)
at_once = Batches.embedded
def embedded(self, window):
    time.sleep(0.05)  # 20 s in all, which nobody waits for: no signal comes too late
    return at_once(self, window)
Batches.embedded = embedded
cli.main()
"""


def start(docs: Path, settings: Settings) -> subprocess.Popen[str]:
    environment = os.environ | {"RAG_STORE__PATH": str(settings.store.path), "RAG_EMBEDDER__MODEL": "pocket-m3"}
    return subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(docs), "--json"],
        cwd=Path(__file__).parent.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_documents(settings: Settings) -> None:
    wal = settings.store.path / settings.store.collection / "index.json"
    until = time.monotonic() + 120
    while not wal.exists():
        assert time.monotonic() < until, "the ingestion never began"
        time.sleep(0.01)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_it_and_nothing_is_broken(docs: Path, settings: Settings, times: int) -> None:
    process = start(docs, settings)
    wait_for_documents(settings)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in err
    if times == 1:
        report = json.loads(out)
        assert report["documents"]["added"] + report["left"] == MANY
        assert len(sources(settings)) == report["documents"]["added"]
    again = ingest(docs, settings=settings)
    assert again.added + again.unchanged == MANY
    assert len(sources(settings)) == MANY


def test_what_failed_is_remembered_and_retried_with_its_metadata(
    docs: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    broken, gone = docs / "broken.pdf", docs / "gone.pdf"
    broken.write_bytes(b"%PDF-1.4 broken")
    gone.write_bytes(b"%PDF-1.4 broken")
    first = ingest([broken, gone, docs / "000.md"], settings=settings, metadata={"team": "a"})
    assert (first.added, first.failed) == (1, 2)
    gone.unlink()
    again = ingest(retry_failed=True, settings=settings)
    assert (again.failed, again.added, again.unchanged) == (1, 0, 0)
    assert "gone.pdf failed before and is not there any more" in caplog.text
    broken.write_bytes((Path(__file__).parent.parent / "demo/library/fr/certificat-serveur-web.pdf").read_bytes())
    third = ingest(retry_failed=True, settings=settings)
    assert (third.added, third.failed) == (1, 0)
    after = ingest(retry_failed=True, settings=settings)
    assert (after.added, after.unchanged) == (0, 0)


def test_a_retried_file_keeps_the_metadata_it_was_given(docs: Path, settings: Settings) -> None:
    late = docs / "late.md"
    late.write_text("")
    ingest(late, settings=settings, metadata={"team": "b"})
    late.write_text(TEXT.format("spät", "spät"))
    assert ingest(retry_failed=True, settings=settings).added == 1
    store = build.store(settings)
    try:
        [document] = store.documents()
    finally:
        store.close()
    assert document.metadata["team"] == "b"
    assert ingest(late, settings=settings, metadata={"team": "b"}).unchanged == 1


def test_a_file_that_was_ingested_since_is_not_retried(docs: Path, settings: Settings) -> None:
    late = docs / "late.md"
    late.write_text("")
    assert ingest(late, settings=settings).failed == 1
    late.write_text(TEXT.format("spät", "spät"))
    assert ingest(late, settings=settings).added == 1
    report = ingest(retry_failed=True, settings=settings)
    assert (report.added, report.unchanged) == (0, 0)


def test_a_damaged_memory_costs_nothing_else(docs: Path, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    late = docs / "late.md"
    late.write_text("")
    ingest(late, settings=settings)
    [memory] = settings.store.path.glob("*.failures.json")
    memory.write_text("[{")
    assert ingest(retry_failed=True, settings=settings).failed == 0
    assert "failures of earlier runs are forgotten" in caplog.text
    assert ingest(late, settings=settings).failed == 1
    assert json.loads(memory.read_text())[0]["path"] == str(late)


def test_paths_beside_what_is_retried_are_refused(docs: Path, settings: Settings) -> None:
    with pytest.raises(InputError, match="leave out paths"):
        ingest(docs, retry_failed=True, settings=settings)


def test_a_folder_that_could_not_be_walked_is_not_walked_by_itself(docs: Path, settings: Settings) -> None:
    (docs / ".ragignore").write_text("\\\n")
    assert ingest(docs, settings=settings, metadata={"team": "a"}).failed == 1
    (docs / ".ragignore").unlink()
    assert ingest(retry_failed=True, settings=settings).added == 0


def test_a_file_is_the_same_however_it_is_spelled(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (docs / "w").mkdir()
    monkeypatch.chdir(docs / "w")
    late = docs / "late.md"
    assert ingest("../late.md", settings=settings, metadata={"v": "1"}).failed == 1
    late.write_text(TEXT.format("spät", "spät"))
    assert ingest("../late.md", settings=settings, metadata={"v": "2"}).added == 1
    report = ingest(retry_failed=True, settings=settings)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 0)


def test_a_loop_of_links_fails_alone_once_more(docs: Path, settings: Settings) -> None:
    (docs / "loop.md").symlink_to("loop.md")
    assert ingest(docs / "loop.md", settings=settings).failed == 1
    assert ingest(retry_failed=True, settings=settings).failed == 1


def test_what_is_out_of_reach_is_not_forgotten_and_a_dry_run_forgets_nothing(docs: Path, settings: Settings) -> None:
    folder = docs / "disk"
    folder.mkdir()
    (folder / "late.md").write_text("")
    assert ingest(folder / "late.md", settings=settings).failed == 1
    folder.rename(docs / "away")
    assert ingest(retry_failed=True, settings=settings).failed == 1
    (docs / "away").rename(folder)
    (folder / "late.md").unlink()
    ingest(retry_failed=True, dry_run=True, settings=settings)
    (folder / "late.md").write_text(TEXT.format("spät", "spät"))
    assert ingest(retry_failed=True, settings=settings).added == 1


def test_a_stop_at_the_last_file_prunes_nothing(docs: Path, settings: Settings) -> None:
    ingest([docs / "000.md", docs / "001.md"], settings=settings)
    (docs / "000.md").unlink()
    for number in range(2, MANY):
        (docs / f"{number:03}.md").unlink()
    stop = threading.Event()
    report = ingest(docs, settings=settings, prune=True, stop=stop, on_progress=lambda progress: stop.set())
    assert (report.left, report.unchanged, report.removed) == (0, 1, 0)


@pytest.fixture
def shell(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    monkeypatch.setenv("RAG_STORE__PATH", str(settings.store.path))
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_EMBEDDER__DTYPE", "float32")
    return lambda *words: call(words, monkeypatch, capfd)


def test_what_is_removed_is_not_brought_back_by_retrying(
    docs: Path, settings: Settings, shell: Callable[..., Done]
) -> None:
    late, kept, never = docs / "late.md", docs / "kept.md", docs / "never.md"
    late.write_text(TEXT.format("spät", "spät"))
    kept.write_text("")
    never.write_text("")
    assert ingest([late, kept, never], settings=settings).added == 1
    late.write_text("")
    assert ingest(late, settings=settings).failed == 1, "its old version still answers"
    dry = shell("ingest", "remove", "docs/late.md", "--dry-run", "--json")
    assert (dry.code, dry.json["forgotten"]) == (0, [str(late)])
    done = shell("ingest", "remove", "docs/late.md", "--yes")
    assert (done.code, done.err.splitlines()[-1]) == (0, "1 document (1 chunk) removed, 1 failed file forgotten")
    late.write_text(TEXT.format("spät", "spät"))
    assert ingest(retry_failed=True, settings=settings).failed == 2
    assert "docs/late.md" not in sources(settings)
    # What never came into the index can be given up by its name, too.
    given_up = shell("ingest", "remove", "docs/ne*.md", "docs/nothing.md", "--yes", "--json")
    assert (given_up.code, given_up.json["forgotten"]) == (1, [str(never)])
    assert (given_up.json["documents"]["removed"], given_up.json["unknown"]) == (0, ["docs/nothing.md"])
    report = ingest(retry_failed=True, settings=settings)
    assert [failure.source for failure in report.failures] == ["docs/kept.md"]
