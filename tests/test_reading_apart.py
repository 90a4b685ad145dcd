"""Files are read in other processes: what hangs, dies or eats memory there costs its own file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ingest.ahead import Ahead, Shape
from ingest.discovery import discover
from ingest.preparing import Limits, Slice
from rag import build
from rag.checkpoint import BUNDLED, inspect
from rag.errors import ReadError

LIBRARY = Path(__file__).parent.parent / "demo" / "library"
SMALL = "Das Förderband {} wird jeden Montag gereinigt und die Spannung geprüft.\n"
# What a reader's library does when it is imported, in place of the real one.
HANGS = "import time\nwhile True: time.sleep(1)\n"
EATS = "held = []\nwhile True: held.append(bytearray(10_000_000))\n"
DIES = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"

Prepare = Callable[..., list[tuple[str, list[Slice] | str | None]]]


@pytest.fixture
def prepare() -> Prepare:
    checkpoint = inspect(BUNDLED["pocket-m3"], "pocket-m3")
    count = build.token_counter(checkpoint)

    def prepared(
        paths: Sequence[Path], *, processes: int, apart: bool = True, **limits: float
    ) -> list[tuple[str, list[Slice] | str | None]]:
        """Name of each file, and its slices, or why it failed."""
        shape = Shape(320, {"team": "a"}, {}, Limits(**limits))  # type: ignore[arg-type]
        make = partial(build.token_counter, checkpoint) if apart else None
        done: list[tuple[str, list[Slice] | str | None]] = []
        with Ahead(list(discover(paths)), {}, shape, count, make, processes) as ahead:
            for taken in ahead:
                try:
                    if taken.error:
                        raise taken.error
                    done.append((taken.found.path.name, list(taken.slices or ())))
                except ReadError as error:
                    done.append((taken.found.path.name, str(error)))
        return done

    return prepared


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A document that python-docx is asked to read, between two others."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.txt", "c.txt"):
        (folder / name).write_text(SMALL.format(name))
    [example] = list(LIBRARY.rglob("*.docx"))[:1]
    (folder / "b.docx").write_bytes(example.read_bytes())
    return folder


@pytest.fixture
def instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts other code in the place of python-docx, for processes that are started from now on."""

    def put(code: str) -> None:
        folder = tmp_path / "shadow"
        (folder / "docx").mkdir(parents=True)
        (folder / "docx" / "__init__.py").write_text(code)
        monkeypatch.syspath_prepend(folder)

    return put


def test_documents_are_the_same_wherever_they_are_read_and_cut(prepare: Prepare) -> None:
    here = prepare([LIBRARY], processes=0)
    assert len(here) == len([path for path in LIBRARY.rglob("*") if path.is_file()])
    for there in (prepare([LIBRARY], processes=2), prepare([LIBRARY], processes=1, apart=False)):
        assert [name for name, _ in there] == [name for name, _ in here], "in the same order"
        for (_, mine), (_, theirs) in zip(here, there, strict=True):
            assert isinstance(mine, list)
            assert isinstance(theirs, list)
            assert [timeless(each) for each in mine] == [timeless(each) for each in theirs]


def timeless(some: Slice) -> Slice:
    return replace(some, chunks=[replace(chunk, ingested_at=0.0) for chunk in some.chunks])


def test_a_reader_that_hangs_is_ended_and_costs_its_file_alone(
    docs: Path, instead: Callable[[str], None], prepare: Prepare
) -> None:
    instead(HANGS)
    (_, first), (_, hanging), (_, last) = prepare([docs], processes=1, seconds=3)
    assert isinstance(hanging, str)
    assert "could not be read in 3 s" in hanging
    assert "RAG_INGEST__READ_SECONDS" in hanging
    assert isinstance(first, list)
    assert isinstance(last, list)
    assert last[0].chunks[0].text == SMALL.format("c.txt").strip()


def test_a_reader_that_eats_memory_is_ended_and_costs_its_file_alone(
    docs: Path, instead: Callable[[str], None], prepare: Prepare
) -> None:
    instead(EATS)
    (_, first), (_, hungry), (_, last) = prepare([docs], processes=1, memory=150)
    assert isinstance(hungry, str)
    assert "needs more than 150 MB" in hungry
    assert isinstance(first, list)
    assert isinstance(last, list)


def test_a_reader_that_dies_costs_its_file_alone(docs: Path, instead: Callable[[str], None], prepare: Prepare) -> None:
    instead(DIES)
    (_, first), (_, dead), (_, last) = prepare([docs], processes=1)
    assert isinstance(dead, str)
    assert "signal 11" in dead
    assert isinstance(first, list)
    assert isinstance(last, list)


def test_files_beyond_their_limits_fail_and_say_which_setting_it_is(docs: Path, prepare: Prepare) -> None:
    pdf = next(iter(LIBRARY.rglob("*.pdf")))
    for processes in (0, 1):
        (_, long), (_, small) = prepare([pdf, docs / "a.txt"], processes=processes, pages=0)
        assert isinstance(long, str)
        assert "RAG_INGEST__MAX_PAGES" in long
        assert isinstance(small, list)
        (_, large), (_, small) = prepare([pdf, docs / "a.txt"], processes=processes, size=100)
        assert isinstance(large, str)
        assert f"has {pdf.stat().st_size} bytes, more than 100" in large
        assert isinstance(small, list)


def test_a_long_document_comes_in_slices_that_join_without_a_gap(tmp_path: Path, prepare: Prepare) -> None:
    text = "\n\n".join(SMALL.format(number) * 12 for number in range(700))
    (tmp_path / "long.txt").write_text(text)
    [(_, slices)] = prepare([tmp_path / "long.txt"], processes=1)
    assert isinstance(slices, list)
    assert len(slices) > 1
    assert [each.last for each in slices] == [False] * (len(slices) - 1) + [True]
    chunks = [chunk for each in slices for chunk in each.chunks]
    assert [chunk.ordinal for chunk in chunks] == list(range(chunks[0].chunk_count))
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(text.split())


def test_a_few_small_texts_start_no_process(docs: Path, instead: Callable[[str], None], prepare: Prepare) -> None:
    before = children(os.getpid())
    seen: list[set[int]] = []
    checkpoint = inspect(BUNDLED["pocket-m3"], "pocket-m3")
    count = build.token_counter(checkpoint)
    shape = Shape(320, {}, {}, Limits())
    files = list(discover([docs / "a.txt", docs / "c.txt"]))
    with Ahead(files, {}, shape, count, partial(build.token_counter, checkpoint), 1) as ahead:
        for taken in ahead:
            assert list(taken.slices or ())
            seen.append(children(os.getpid()) - before)
    assert seen == [set(), set()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_no_reading_process_outlives_the_one_that_started_it(docs: Path, instead: Callable[[str], None]) -> None:
    instead(HANGS)
    code = (
        "import sys\nsys.path[:] = {path!r}\nfrom ingest import ingest\nfrom rag import Settings\n"
        "ingest([{docs!r}], settings=Settings(store={{'path': {store!r}}}, embedder={{'model': 'pocket-m3'}}))\n"
    )
    store = str(docs.parent / "store")
    program = subprocess.Popen([sys.executable, "-c", code.format(path=sys.path, docs=str(docs), store=store)])
    try:
        until = time.monotonic() + 120
        while not (reading := children(program.pid)):
            assert program.poll() is None
            assert time.monotonic() < until, "no reading process was started"
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
    until = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() and not is_dead(child) for child in reading):
        assert time.monotonic() < until, "a reading process is left over"
        time.sleep(0.05)


def children(pid: int) -> set[int]:
    found = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found |= set(map(int, task.read_text().split()))
        except OSError:
            continue
    return found


def is_dead(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
