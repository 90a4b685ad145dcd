from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest import IngestReport, ingest
from ingest.discovery import Found
from ingest.file_events import FileEvents
from ingest.watching import OWNER_FILES, Outage, Watching
from rag import Settings, build
from rag.errors import IndexBusyError, NotConfiguredError, StoreError
from rag.stores.edge import EdgeStore
from tests.command_line import call

TEXT = "# Wartung {}\n\nDas Förderband {} wird jeden Montag gereinigt.\n"
DEBOUNCE, EVERY = 2.0, 300.0
LONG_AGO = 1_600_000_000.0


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Folder:
    """A watched folder with its index, and a clock that only `after` moves."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self.clock = Clock()
        self.runs: list[tuple[set[str], bool]] = []
        self.away: list[Exception] = []
        self.watching = self.watch()

    def watch(self) -> Watching:
        return Watching([self.path], self.run, exclude=(OWNER_FILES,), debounce=DEBOUNCE, every=EVERY, clock=self.clock)

    def run(self, only: Callable[[Found], bool], prune: bool) -> IngestReport:
        if self.away:
            raise self.away.pop(0)
        looked_at = set()

        def noted(found: Found) -> bool:
            if taken := only(found):
                looked_at.add(found.path.name)
            return taken

        report = ingest(self.path, settings=self.settings, only=noted, prune=prune, exclude=(OWNER_FILES,))
        self.runs.append((looked_at, prune))
        return report

    def write(self, name: str, text: str | None = None, *, at: float = LONG_AGO) -> Path:
        """Writes a file as it would be on a disk that knows when that was."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEXT.format(name, name) if text is None else text)
        os.utime(path, (at, at))
        self.watching.changed([str(path)])
        return path

    def after(self, seconds: float) -> IngestReport | Outage | None:
        self.clock.now += seconds
        return self.watching.step()

    def settled(self) -> IngestReport:
        """What comes of a run once everything is quiet."""
        for _ in range(3):
            done = self.after(DEBOUNCE)
            if done is not None:
                assert isinstance(done, IngestReport)
                return done
        raise AssertionError("nothing was taken")

    def sources(self) -> set[str]:
        store = build.store(self.settings)
        try:
            return {Path(document.source).name for document in store.documents()}
        finally:
            store.close()


@pytest.fixture
def folder(in_folder: Path, settings: Settings) -> Folder:
    path = in_folder / "docs"
    path.mkdir()
    found = Folder(path, settings)
    found.write("a.md")
    found.write("b.md")
    return found


@pytest.fixture
def begun(folder: Folder) -> Folder:
    """After its first run."""
    assert folder.settled().added == 2
    return folder


def test_the_first_run_takes_everything_and_a_restart_finds_it_unchanged(begun: Folder) -> None:
    begun.watching = begun.watch()
    report = begun.settled()
    assert (report.added, report.unchanged) == (0, 2)
    assert begun.after(EVERY) is None


def test_only_what_has_changed_is_read_again(begun: Folder) -> None:
    begun.write("b.md", "# Pausen\n\nNach vier Stunden steht jedem eine Pause zu.\n")
    report = begun.settled()
    assert (report.updated, report.unchanged) == (1, 0)
    assert begun.runs[-1] == ({"b.md"}, True)


def test_a_burst_of_thousands_of_changes_is_one_run(begun: Folder) -> None:
    for number in range(10):
        begun.write(f"{number}.md")
    for number in range(5000):
        begun.clock.now += 0.0001
        begun.watching.changed([str(begun.path / f"{number % 10}.md")])
    assert begun.settled().added == 10
    assert len(begun.runs) == 2
    assert begun.after(EVERY) is None


def test_changes_without_end_keep_nothing_else_waiting(begun: Folder) -> None:
    begun.write("c.md")
    for _ in range(40):
        begun.watching.changed([str(begun.path / "log.md")])
        if begun.after(DEBOUNCE / 2):
            break
    assert begun.sources() == {"a.md", "b.md", "c.md"}


def test_a_file_that_is_still_being_written_waits_and_others_do_not(begun: Folder) -> None:
    begun.write("other.md")
    for size in range(1, 5):
        begun.write("half.md", "# Halb\n\n" + "Ein Satz mehr. " * size, at=time.time())
        begun.after(DEBOUNCE)
        begun.watching.changed([str(begun.path / "half.md")])
    assert begun.sources() == {"a.md", "b.md", "other.md"}
    assert begun.settled().added == 1
    assert begun.runs[-1][0] == {"half.md"}
    assert begun.after(EVERY) is None


def test_a_renamed_file_keeps_its_vectors_and_loses_its_old_name(
    begun: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (begun.path / "b.md").rename(begun.path / "c.md")
    begun.watching.changed([str(begun.path / "b.md"), str(begun.path / "c.md")])

    def none(*arguments: object) -> None:
        raise AssertionError("a passage was embedded anew")

    monkeypatch.setattr(type(build.embedder(begun.settings)), "embed_passages", none, raising=False)
    while begun.sources() != {"a.md", "c.md"}:
        begun.settled()


def test_a_deleted_file_goes_and_one_that_is_only_replaced_stays(begun: Folder) -> None:
    (begun.path / "a.md").unlink()
    begun.watching.changed([str(begun.path / "a.md")])
    assert begun.after(DEBOUNCE) is None  # an editor may be between removing and renaming
    begun.write("a.md")
    begun.settled()
    assert begun.sources() == {"a.md", "b.md"}
    (begun.path / "a.md").unlink()
    begun.watching.changed([str(begun.path / "a.md")])
    assert begun.settled().removed == 1
    assert begun.sources() == {"b.md"}


def test_a_folder_that_vanishes_takes_nothing_along_and_comes_back(begun: Folder) -> None:
    away = begun.path.with_name("away")
    begun.path.rename(away)
    begun.watching.changed([str(begun.path)])
    report = begun.settled()
    assert (report.removed, report.failed) == (0, 1)
    assert begun.after(EVERY) is None  # said once
    away.rename(begun.path)
    (begun.path / "a.md").unlink()
    begun.watching.changed([str(begun.path)])
    begun.settled()
    assert begun.sources() == {"b.md"}


def test_a_folder_in_which_nothing_is_left_is_not_pruned(begun: Folder) -> None:
    for name in ("a.md", "b.md"):
        (begun.path / name).unlink()
    begun.watching.changed([str(begun.path / "a.md")])
    report = begun.settled()
    assert report.removed == 0
    assert "nothing is pruned" in report.failures[0].error
    assert begun.sources() == {"a.md", "b.md"}


def test_what_to_leave_out_is_read_again_at_each_look(begun: Folder) -> None:
    begun.write(".ragignore", "draft*\n")
    begun.write("draft.md")
    begun.after(DEBOUNCE)
    begun.after(DEBOUNCE)
    assert begun.sources() == {"a.md", "b.md"}
    begun.write(".ragignore", "")
    assert begun.settled().added == 1
    assert begun.sources() == {"a.md", "b.md", "draft.md"}


def test_what_editors_put_beside_a_file_is_no_document(begun: Folder) -> None:
    for name in (".a.md.swp", ".#a.md", "a.md~", "#a.md#", "4913", "~$a.docx", "a.md.part", ".~lock.a.docx#"):
        begun.write(name, "no text for anybody")
    assert begun.after(DEBOUNCE) is None
    assert begun.after(DEBOUNCE) is None


def test_changes_in_folders_that_are_not_walked_wake_nobody(begun: Folder) -> None:
    begun.after(EVERY)
    before = begun.watching.wait
    begun.write(".git/index.md")
    assert begun.watching.wait == before
    begun.write(".ragignore", "")
    assert begun.watching.wait == DEBOUNCE


def test_a_file_that_failed_is_tried_again_when_it_changes_and_not_before(begun: Folder) -> None:
    begun.write("late.md", "")
    assert begun.settled().failed == 1
    assert begun.after(EVERY) is None
    begun.write("late.md")
    report = begun.settled()
    assert (report.added, report.failed) == (1, 0)


def test_a_document_that_the_store_could_not_take_is_tried_again_though_its_file_is_as_before(
    begun: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(self: EdgeStore, *arguments: object) -> None:
        raise IndexBusyError("held by process 7")

    begun.write("late.md")
    begun.write("empty.md", "")
    with monkeypatch.context() as away:
        away.setattr(EdgeStore, "stage", held)
        assert begun.settled().failed == 2
        assert begun.after(0.5) is None
        again = begun.after(0.5)
        assert isinstance(again, IngestReport)
        assert [failure.source for failure in again.failures] == ["docs/late.md"]
        assert begun.after(1) is None
    back = begun.after(1)
    assert isinstance(back, IngestReport)
    assert (back.added, back.failed) == (1, 0)
    assert begun.after(EVERY) is None
    assert begun.sources() == {"a.md", "b.md", "late.md"}


def test_a_store_that_is_away_is_tried_again_less_and_less_often_and_nothing_is_lost(folder: Folder) -> None:
    folder.away = [IndexBusyError("held by process 7"), *(StoreError("gone") for _ in range(7))]
    pauses = []
    done = folder.after(DEBOUNCE)
    while isinstance(done, Outage):
        pauses.append(done.pause)
        if done.pause > 2 * DEBOUNCE:
            folder.watching.changed([str(folder.path / "a.md")])  # which brings no attempt forward
        assert folder.after(done.pause / 2) is None
        done = folder.after(done.pause / 2)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert folder.sources() == {"a.md", "b.md"}
    folder.away = [StoreError("gone")]
    folder.write("c.md")
    done = folder.after(DEBOUNCE)
    assert isinstance(done, Outage)
    assert done.pause == 1


def test_what_waiting_does_not_mend_ends_it(folder: Folder) -> None:
    folder.away = [NotConfiguredError("another model")]
    with pytest.raises(NotConfiguredError):
        folder.after(DEBOUNCE)


@pytest.fixture
def events(tmp_path: Path) -> Iterator[tuple[Path, FileEvents]]:
    folder = tmp_path / "watched"
    folder.mkdir()
    found = FileEvents([folder], threading.Event())
    yield folder, found
    found.close()


def heard(events: FileEvents, wanted: Path) -> bool:
    """Whether word of `wanted` comes within some seconds."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if str(wanted) in events.wait(1):
            return True
    return False


def test_the_system_tells_of_changes_also_after_a_folder_was_away(events: tuple[Path, FileEvents]) -> None:
    folder, told = events
    (folder / "sub").mkdir()
    assert heard(told, folder / "sub")
    (folder / "sub" / "a.md").write_text("a")
    assert heard(told, folder / "sub" / "a.md")
    folder.rename(folder.with_name("away"))
    assert heard(told, folder)
    folder.mkdir()
    assert heard(told, folder)
    (folder / "b.md").write_text("b")
    assert heard(told, folder / "b.md")


def test_a_wait_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = threading.Event()
    told = FileEvents([tmp_path], stop)
    threading.Timer(0.2, stop.set).start()
    assert told.wait(600) == set()
    told.close()


def test_the_command_takes_changes_until_ctrl_c(
    in_folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    docs = in_folder / "docs"
    docs.mkdir()
    (docs / "a.md").write_text(TEXT.format("a", "a"))

    def count() -> int:
        store = build.store(settings)
        try:
            return len(list(store.documents()))
        except NotConfiguredError:
            return 0
        finally:
            store.close()

    def wait_for(documents: int) -> None:
        until = time.monotonic() + 60
        while count() != documents and time.monotonic() < until:  # the index is free between the runs
            time.sleep(0.1)

    def meanwhile() -> None:
        wait_for(1)
        (docs / "b.md").write_text(TEXT.format("b", "b"))
        wait_for(2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=meanwhile)
    thread.start()
    words = (
        "ingest",
        "watch",
        "docs",
        "--store",
        str(settings.store.path),
        "--model",
        "pocket-m3",
        "--debounce",
        "0.1",
    )
    done = call((*words, "--json"), monkeypatch, capfd)
    thread.join()
    assert done.code == 130
    assert [line["documents"]["added"] for line in done.lines] == [1, 1]
    assert "Ctrl-C again" in done.err


def test_what_is_no_folder_is_refused(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    done = call(("ingest", "watch", "nowhere"), monkeypatch, capfd)
    assert done.code == 2
    assert "'nowhere' is no folder" in done.err
