"""The embedded store between real processes: taking turns, waiting in vain, and being killed at the worst moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rag.errors import IndexBusyError
from rag.stores.edge import EdgeStore
from rag.stores.edge_shard import EdgeShard
from tests.store_contract import INFO, everything, make_document, put

PREAMBLE = """
import os, signal, sys, time
from pathlib import Path
from rag.stores.edge import EdgeStore
from tests.store_contract import INFO, everything, make_document, put
folder = Path(sys.argv[1])
store = EdgeStore(folder, idle_seconds=600)
"""

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[EdgeStore]:
    """A store with one document, not held by this process."""
    store = EdgeStore(folder)
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 3))
    store.close()
    yield store
    store.close()


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts a Python program on the folder; ends when the program has printed `ready`."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PREAMBLE + program, str(folder)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def staged_points(folder: Path) -> int:
    shard = EdgeShard.load(folder / "shard")
    try:
        return shard.count({"state": ["staged"]})
    finally:
        shard.close()


def versions(store: EdgeStore) -> list[tuple[str, int]]:
    """Version and number of chunks that a search sees."""
    found = [candidate.chunk.version for candidate in everything(store)]
    return sorted((version, found.count(version)) for version in set(found))


def test_a_process_that_asks_in_a_loop_and_one_that_writes_both_get_on(store: EdgeStore, start: Start) -> None:
    asker = start(
        """
import select
wrong = asked = 0
everything(store)
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    found = [each.chunk for each in everything(store)]
    asked += 1
    wrong += len({each.version for each in found}) != 1 or len(found) != 3
print(asked, wrong, flush=True)
store.close()
"""
    )
    for number in range(2, 8):
        put(store, make_document("file:///a", f"v{number}", 3, seed=number, ingested_at=float(number)))
        assert versions(store) == [(f"v{number}", 3)]
    output, _ = asker.communicate("stop\n", timeout=60)
    asked, wrong = map(int, output.split())
    assert asker.returncode == 0
    assert asked > 6
    assert wrong == 0


def test_a_holder_that_is_idle_lets_a_waiter_in(store: EdgeStore, start: Start) -> None:
    start("everything(store)\nprint('ready', flush=True)\nsys.stdin.read()\n")
    assert versions(store) == [("v1", 3)]


def test_a_writer_keeps_the_index_from_stage_to_commit(store: EdgeStore, start: Start, folder: Path) -> None:
    start(
        """
store.stage(*make_document("file:///a", "v2", 3, seed=2))
print("ready", flush=True)
time.sleep(0.6)
store.commit("file:///a", "v2")
sys.stdin.read()
"""
    )
    with pytest.raises(IndexBusyError):
        everything(EdgeStore(folder, wait_seconds=0.1))
    assert versions(store) == [("v2", 3)]


def test_a_holder_that_never_lets_go_is_named(store: EdgeStore, start: Start, folder: Path) -> None:
    holder = start(
        """
store.stage(*make_document("file:///b", "v1", 3))
print("ready", flush=True)
sys.stdin.read()
"""
    )
    refused = EdgeStore(folder, wait_seconds=0.3)
    for _ in range(2):
        with pytest.raises(IndexBusyError) as refusal:
            everything(refused)
        assert f"process {holder.pid} (python)" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert list((folder / "waiting").iterdir()) == []
    holder.kill()
    holder.wait()
    assert versions(store) == [("v1", 3)]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process")
def test_a_holder_that_is_stopped_is_named_and_one_that_goes_on_lets_go(
    store: EdgeStore, start: Start, folder: Path
) -> None:
    holder = start("everything(store)\nprint('ready', flush=True)\nsys.stdin.read()\n")
    holder.send_signal(signal.SIGSTOP)
    with pytest.raises(IndexBusyError, match=f"process {holder.pid} "):
        everything(EdgeStore(folder, wait_seconds=0.3))
    holder.send_signal(signal.SIGCONT)
    assert versions(store) == [("v1", 3)]


def test_a_program_that_knows_nothing_of_the_lock_is_reported_as_holding_the_index(
    store: EdgeStore, start: Start
) -> None:
    start(
        """
import qdrant_edge
shard = qdrant_edge.EdgeShard.load(str(folder / "shard"))
print("ready", flush=True)
sys.stdin.read()
"""
    )
    with pytest.raises(IndexBusyError, match="open in another program"):
        everything(store)


def test_what_a_dead_waiter_left_is_removed_and_stops_nobody(store: EdgeStore, folder: Path) -> None:
    left = folder / "waiting" / "1-dead"
    left.parent.mkdir(exist_ok=True)
    left.touch()
    os.utime(left, (time.time() - 60, time.time() - 60))
    everything(store)
    time.sleep(0.2)
    assert versions(store) == [("v1", 3)]
    assert (folder / "holder.json").exists()  # it was not let go for the dead
    assert not left.exists()


def test_a_writer_killed_before_its_commit_leaves_the_index_as_before(
    store: EdgeStore, start: Start, folder: Path
) -> None:
    writer = start(
        """
store.stage(*make_document("file:///a", "v2", 5, seed=2))
store.stage(*make_document("file:///b", "v1", 4, seed=3))
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    writer.wait()
    assert staged_points(folder) == 9
    assert versions(store) == [("v1", 3)]
    put(store, make_document("file:///c", "v1", 1, seed=4))
    store.close()
    assert staged_points(folder) == 0
    assert [(each.uri, each.version) for each in store.documents()] == [("file:///a", "v1"), ("file:///c", "v1")]


KILLED_INSIDE_COMMIT = """
from rag.stores.edge_shard import EdgeShard
store.stage(*make_document("file:///a", "v2", 5, seed=2, ingested_at=1.0))
def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
EdgeShard.{method} = die
print("ready", flush=True)
store.commit("file:///a", "v2")
"""


@pytest.mark.parametrize(
    ("method", "after"),
    [("set_state", ("v1", 3)), ("delete", ("v2", 5)), ("flush", ("v2", 5))],
    ids=str,
)
def test_a_writer_killed_inside_its_commit_leaves_one_version_whole(
    store: EdgeStore, start: Start, folder: Path, method: str, after: tuple[str, int]
) -> None:
    writer = start(KILLED_INSIDE_COMMIT.format(method=method))
    assert writer.wait() == -signal.SIGKILL
    assert (folder / "commit.json").exists()
    assert versions(store) == [after]
    assert not (folder / "commit.json").exists()
    store.close()
    assert versions(store) == [after]
    put(store, make_document("file:///c", "v1", 1, seed=4))
    store.close()
    assert staged_points(folder) == 0
    shard = EdgeShard.load(folder / "shard")
    assert shard.count() == after[1] + 1
    shard.close()


def test_a_reader_killed_while_it_holds_the_index_stops_nobody(store: EdgeStore, start: Start) -> None:
    reader = start("everything(store)\nprint('ready', flush=True)\nsys.stdin.read()\n")
    reader.kill()
    reader.wait()
    assert versions(store) == [("v1", 3)]
