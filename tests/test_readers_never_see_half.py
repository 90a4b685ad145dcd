"""Whoever reads while a document is replaced again and again sees one whole version of it each time.

The client's local mode is not made for threads: it has no lock, and writes point by point. So there requests come one
at a time, as if each were one step of a server: what is tested is the order of this project's requests.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from benchmarks.kills import folder_in_memory
from rag.ports import PassageReader, PassageStore
from rag.stores import server_collection
from rag.stores.edge import EdgeStore
from rag.stores.server import ServerStore
from rag.stores.server_connection import ServerConnection
from rag.types import Chunk
from tests.store_contract import INFO, everything, make_document, put

pytestmark = pytest.mark.slow

UPDATES = 100
URI = "file:///a"
_BETWEEN = 0.005  # seconds between two looks, for the writer to get on
NOWHERE = "http://localhost:6333"  # for a store that is given its client


def write(store: PassageStore, number: int) -> None:
    """Version `number`, of two to four chunks, each of which says so."""
    put(store, make_document(URI, f"v{number}", 2 + number % 3, seed=number, ingested_at=float(number)))


def halves(store: PassageReader) -> list[str]:
    """What is wrong with what a search, the chunks and the document say just now."""
    searched = [candidate.chunk for candidate in everything(store)]  # type: ignore[arg-type]  # it only reads
    listed = list(store.chunks(URI))
    document = store.document(URI)
    wrong = [
        f"{name}: {shown(found)}" for name, found in (("search", searched), ("chunks", listed)) if not whole(found)
    ]
    if document is None or document.chunk_count != 2 + int(document.version[1:]) % 3:
        wrong.append(f"document: {document}")
    return wrong


def whole(chunks: Sequence[Chunk]) -> bool:
    versions = {chunk.version for chunk in chunks}
    return (
        len(versions) == 1
        and sorted(chunk.ordinal for chunk in chunks) == list(range(chunks[0].chunk_count))
        and all(chunk.text == f"{URI} {chunk.version} passage {chunk.ordinal}" for chunk in chunks)
    )


def shown(chunks: Sequence[Chunk]) -> list[tuple[str, int, int]]:
    return sorted((chunk.version, chunk.ordinal, chunk.chunk_count) for chunk in chunks)


def read_while_written(open_store: Callable[[], PassageStore], readers: int = 2) -> tuple[list[str], int]:
    """Threads that read through stores of their own during 100 updates: what was wrong, and how often they read."""
    stop = threading.Event()
    wrong: list[str] = []
    rounds = [0] * readers

    def read(reader: int) -> None:
        store = open_store()
        try:
            while not stop.is_set():
                wrong.extend(halves(store))
                rounds[reader] += 1
                time.sleep(_BETWEEN)
        except Exception as error:  # noqa: BLE001  a thread's failure is the test's
            wrong.append(repr(error))
        finally:
            store.close()

    writer = open_store()
    writer.prepare(INFO)
    write(writer, 0)
    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, UPDATES + 1):
            write(writer, number)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        writer.close()
    return wrong, min(rounds)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, if there is room: hundreds of commits wait for a disk as often."""
    with tempfile.TemporaryDirectory(prefix="readers", dir=folder_in_memory()) as path:
        yield Path(path) / "store"


def test_threads_of_one_process_see_whole_versions_in_a_folder(folder: Path) -> None:
    wrong, rounds = read_while_written(lambda: EdgeStore(folder))
    assert not wrong
    assert rounds > 10


READER = """
import select, sys, time
from pathlib import Path
from rag.stores.edge import EdgeStore
from tests.test_readers_never_see_half import halves
store = EdgeStore(Path(sys.argv[1]), wait_seconds=60)
rounds, wrong = 0, halves(store)
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.15)[0]:
    wrong += halves(store)
    rounds += 1
store.close()
print(rounds, *wrong, sep="\\n", flush=True)
"""


def test_another_process_sees_whole_versions_in_a_folder(folder: Path) -> None:
    store = EdgeStore(folder, wait_seconds=60)
    store.prepare(INFO)
    write(store, 0)
    reader = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", READER, str(folder)],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    for number in range(1, UPDATES + 1):
        write(store, number)
    store.close()
    said, _ = reader.communicate("stop\n", timeout=60)
    rounds, *wrong = said.splitlines()
    assert reader.returncode == 0
    assert not wrong
    assert int(rounds) > 2


@pytest.fixture
def one_request_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    real = ServerConnection._until

    def alone(self: ServerConnection, *given: Any) -> Any:
        with lock:
            return real(self, *given)

    monkeypatch.setattr(ServerConnection, "_until", alone)


@pytest.mark.usefixtures("one_request_at_a_time")
def test_threads_see_whole_versions_through_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_collection, "_SCROLL_PAGE", 2)  # a listing of several pages is several requests
    client = QdrantClient(":memory:")
    wrong, rounds = read_while_written(lambda: ServerStore(NOWHERE, "default", client=client, parallel=1), readers=1)
    assert not wrong
    assert rounds > 10


def test_a_half_would_be_seen() -> None:
    chunks, _ = make_document(URI, "v1", 3)
    others, _ = make_document(URI, "v2", 4)
    assert whole(chunks)
    assert not whole(chunks[:2])
    assert not whole([*chunks[:2], others[2]])
    assert not whole([])
