"""Several writers on one server: none loses another's documents, whoever dies, gives up or comes in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from qdrant_client import QdrantClient, models

from rag.errors import StoreError
from rag.stores.server import LEASE_SECONDS, ServerStore
from tests.qdrant_server import Call, QdrantServer, qdrant_server
from tests.store_contract import INFO, everything, make_document, put

NewWriter = Callable[[], ServerStore]


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with qdrant_server(grpc=False) as server:
        yield server


@pytest.fixture
def new_writer(server: QdrantServer) -> Iterator[NewWriter]:
    opened: list[ServerStore] = []

    def new_writer() -> ServerStore:
        writer = ServerStore(server.url, "library", timeout=5)
        opened.append(writer)
        writer.prepare(INFO)
        return writer

    yield new_writer
    server.before = lambda call: None
    for writer in opened:
        writer.close()


def of(uri: str) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="uri", match=models.MatchValue(value=uri))])


def states(server: QdrantServer) -> dict[tuple[str, str, str], int]:
    """(uri, version, state) → points, as the engine has them."""
    found: dict[tuple[str, str, str], int] = {}
    for record in server._engine.scroll("library", limit=10_000)[0]:
        assert record.payload is not None
        key = (record.payload["uri"], record.payload["version"], record.payload["state"])
        found[key] = found.get(key, 0) + 1
    return found


def expire(server: QdrantServer, uri: str) -> None:
    """The staged points of a document were staged so long ago that the lease is over."""
    server._engine.set_payload("library", {"staged_at": time.time() - LEASE_SECONDS - 5}, of(uri))


def test_two_writers_at_work_at_once_lose_no_document(server: QdrantServer, new_writer: NewWriter) -> None:
    def write(own: int) -> None:
        writer = new_writer()
        for number in range(12):
            put(writer, make_document(f"file:///{own}/{number}", "v1", 5, seed=number))
            shared = make_document(f"file:///both/{number}", f"by-{own}", 4, seed=own, ingested_at=time.time())
            put(writer, shared)
            if number >= 6:  # what is there already is given another version
                put(writer, make_document(f"file:///{own}/{number - 6}", "v2", 3, seed=own, ingested_at=time.time()))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (1, 2)))
    reader = new_writer()
    documents = {document.uri: document for document in reader.documents()}
    assert len(documents) == 36
    for uri, document in documents.items():
        assert [chunk.ordinal for chunk in reader.chunks(uri)] == list(range(document.chunk_count)), uri
    assert {documents[f"file:///{own}/{n}"].version for own in (1, 2) for n in range(6)} == {"v2"}
    assert {state for _, _, state in states(server)} == {"live"}


@pytest.mark.parametrize("moment", ["count", "scroll", "set_payload"])
def test_a_writer_that_gives_up_in_anothers_commit_of_the_same_version_costs_no_version(
    moment: str, server: QdrantServer, new_writer: NewWriter
) -> None:
    first, second = new_writer(), new_writer()
    put(first, make_document("file:///a", "v1", 3, seed=1, ingested_at=1.0))
    new = make_document("file:///a", "v2", 2, seed=2, ingested_at=2.0)
    first.stage(*new)
    second.stage(*new)

    def give_up(call: Call) -> None:
        if call.name == moment:
            server.before = lambda call: None
            second.close()  # removes what it has staged, which are the same points

    server.before = give_up
    with pytest.raises(StoreError, match=r"ingest it again|stage all of them"):
        first.commit("file:///a", "v2")
    assert [chunk.version for chunk in first.chunks("file:///a")] == ["v1"] * 3
    put(first, new)
    assert [chunk.version for chunk in first.chunks("file:///a")] == ["v2"] * 2
    assert states(server) == {("file:///a", "v2", "live"): 2}


def test_a_lease_that_ends_in_the_middle_of_a_commit_costs_no_version(
    server: QdrantServer, new_writer: NewWriter
) -> None:
    slow, other = new_writer(), new_writer()
    put(slow, make_document("file:///a", "v1", 3, seed=1, ingested_at=1.0))
    slow.stage(*make_document("file:///a", "v2", 2, seed=2, ingested_at=2.0))
    expire(server, "file:///a")

    def begin_to_write(call: Call) -> None:
        if call.name == "set_payload":
            server.before = lambda call: None
            other.stage(*make_document("file:///b", "v1", 1, seed=3))

    server.before = begin_to_write
    with pytest.raises(StoreError, match=r"2 of 2 chunks .* what was live before stays: ingest it again"):
        slow.commit("file:///a", "v2")
    assert [chunk.version for chunk in slow.chunks("file:///a")] == ["v1"] * 3
    assert len(everything(slow)) == 3


def test_what_a_dead_writer_staged_over_a_live_document_goes_with_its_lease_and_the_document_stays(
    server: QdrantServer, new_writer: NewWriter
) -> None:
    dead = new_writer()
    old = make_document("file:///a", "v1", 3, seed=1)
    put(dead, old)
    dead.stage(*make_document("file:///a", "v2", 4, seed=2))
    dead.stage(*make_document("file:///new", "v1", 2, seed=3))
    early = new_writer()
    put(early, make_document("file:///b", "v1", 1, seed=4))
    assert states(server)["file:///a", "v2", "staged"] == 4, "its lease is not over"
    expire(server, "file:///a")
    put(new_writer(), make_document("file:///c", "v1", 1, seed=5))
    assert ("file:///a", "v2", "staged") not in states(server)
    assert states(server)["file:///new", "v1", "staged"] == 2, "staged within the lease"
    assert list(early.chunks("file:///a")) == old[0]


def test_what_a_dead_writer_staged_is_committed_by_the_one_who_stages_it_again(
    server: QdrantServer, new_writer: NewWriter
) -> None:
    document = make_document("file:///a", "v1", 5, seed=1)
    new_writer().stage(document[0][:3], document[1][:3])  # and is never heard of again
    expire(server, "file:///a")
    late = new_writer()
    late._swept = True  # it began before the lease was over
    late.stage(*document)
    put(new_writer(), make_document("file:///b", "v1", 1, seed=2))  # sweeps
    late.commit("file:///a", "v1")
    assert list(late.chunks("file:///a")) == document[0]
    assert states(server) == {("file:///a", "v1", "live"): 5, ("file:///b", "v1", "live"): 1}


def test_a_writer_that_removes_and_one_that_replaces_leave_all_or_nothing() -> None:
    client = QdrantClient(":memory:")
    remover, writer = (ServerStore("http://x", "library", client=client, parallel=1) for _ in range(2))
    writer.prepare(INFO)
    for round in range(5):
        put(writer, make_document("file:///a", f"v{round}", 3, seed=round, ingested_at=float(round)))
        writer.stage(*make_document("file:///a", f"w{round}", 2, seed=round, ingested_at=round + 0.5))
        remover.remove("file:///a")
        with pytest.raises(StoreError, match="0 of 2"):
            writer.commit("file:///a", f"w{round}")
        assert client.count("library").count == 0
        writer.close()
    client.close()
