"""What stores say of points that are damaged: written by the engines themselves, past every check."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from rag.ports import PassageStore
from rag.stores.edge import EdgeStore
from rag.stores.inspection import inspected
from rag.stores.schema import payload_of
from rag.stores.server import LEASE_SECONDS, ServerStore
from rag.types import InspectedPoint
from tests.damage import raw_edge_points, raw_points, sparse_of
from tests.store_contract import DIMENSION, INFO, make_chunk, make_document, make_embedding, put

Write = Callable[..., None]
GOOD = make_embedding(1).dense.tolist()


@pytest.fixture(params=["folder", "server"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[PassageStore]:
    client = QdrantClient(":memory:")
    store = EdgeStore(tmp_path / "index") if kind == "folder" else ServerStore("http://x", "library", client=client)
    store.prepare(INFO)
    yield store
    store.close()
    client.close()


def fault(store: PassageStore, payload: Mapping[str, Any], vectors: Mapping[str, Any], id: str | int = 7) -> str:
    """What the store says of a point that is written just so, and of the whole one beside it: nothing."""
    put(store, make_document("file:///whole", "v1", 2))
    raw_points(store, [(id, vectors, payload)])
    found = {point.id: point for point in store.inspect()}
    assert len(found) == 3
    assert [point.fault for point in found.values() if point.uri == "file:///whole"] == ["", ""]
    store.discard([found[str(id)]])
    assert len(list(store.inspect())) == 2, "it can be taken out"
    return found[str(id)].fault


CHUNK = make_chunk("file:///damaged")
PAYLOAD = payload_of(CHUNK, "live")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": None}, "its field 'text' is a NoneType"),
        ({"ordinal": "0"}, "its field 'ordinal' is a str"),
        ({"ordinal": 1}, "its ordinal is not below its chunk count 1"),
        ({"chunk_count": True}, "its field 'chunk_count' is a bool"),
        ({"headings": ["a", 1]}, "its field 'headings' holds something else than str"),
        ({"page_breaks": "3"}, "its field 'page_breaks' is a str"),
        ({"metadata": {"a b": "x"}}, "its metadata key 'a b'"),
        ({"end": 5}, "its text has 33 code points, its span is [0, 5)"),
        ({"start": -33, "end": 0}, "its span is [-33, 0)"),
        ({"state": "dead"}, "its state is 'dead'"),
        ({"version": "v2"}, "as its uri, version and ordinal make it"),
    ],
)
def test_a_payload_that_is_none_of_ours_is_said_to_be(
    store: PassageStore, changes: Mapping[str, Any], said: str
) -> None:
    assert said in fault(store, {**PAYLOAD, **changes}, {"dense": GOOD}, CHUNK.id)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({}, "it has no dense vector"),
        ({"sparse": ([4], [1.0])}, "it has no dense vector"),
        ({"dense": [0.0] * DIMENSION}, "its dense vector has norm 0, not 1"),
        ({"dense": GOOD, "sparse": ([4, 9], [1.0, -1.0])}, "its sparse weights are not all finite and above 0"),
    ],
)
def test_vectors_that_cannot_be_searched_are_said_to_be(
    store: PassageStore, vectors: Mapping[str, Any], said: str
) -> None:
    with np.errstate(all="ignore"):  # the client's own engine divides by the norm
        assert said in fault(store, PAYLOAD, {name: sparse_of(value) for name, value in vectors.items()}, CHUNK.id)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({"dense": [float("nan")] * DIMENSION}, "its dense vector has norm nan, not 1"),
        ({"dense": GOOD, "sparse": ([4, 4], [1.0, 1.0])}, "its sparse ids are not strictly ascending"),
        ({"dense": GOOD, "sparse": ([4, 9], [1.0, float("nan")])}, "its sparse weights are not all finite and above 0"),
    ],
)
def test_what_the_embedded_engine_takes_in_silence_is_said(
    tmp_path: Path, vectors: Mapping[str, Any], said: str
) -> None:
    store = EdgeStore(tmp_path / "index")
    store.prepare(INFO)
    assert fault(store, PAYLOAD, {name: sparse_of(value) for name, value in vectors.items()}, CHUNK.id) == said
    store.close()


@pytest.mark.parametrize("payload", [{}, {"title": "a recipe"}, {"uri": 5}])
def test_points_of_another_program_are_inspected_and_can_be_taken_out(
    store: PassageStore, payload: Mapping[str, Any]
) -> None:
    assert fault(store, payload, {"dense": GOOD}).startswith("it")


def test_vectors_of_another_size_than_the_index_says_are_said_to_be() -> None:
    client = QdrantClient(":memory:")
    store = ServerStore("http://x", "library", client=client)
    store.prepare(INFO)
    metadata = client.get_collection("library").config.metadata
    client.delete_collection("library")
    client.create_collection(
        "library",
        vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)},
        metadata=metadata,
    )
    raw_points(store, [(CHUNK.id, {"dense": [1.0, 0.0, 0.0, 0.0]}, PAYLOAD)])
    [point] = store.inspect()
    assert point.fault == f"its dense vector has shape (4,), not ({DIMENSION},)"
    client.close()


def test_whatever_a_point_carries_something_is_said_of_it() -> None:
    payloads: list[object] = [None, [], "text", {"metadata": None}, dict.fromkeys(PAYLOAD)]
    kinds: list[object] = [None, [], {"dense": GOOD}]
    for payload in payloads:
        for vectors in kinds:
            point = inspected("7", payload, vectors, DIMENSION, abandoned=True)
            assert isinstance(point, InspectedPoint)
            assert point.fault
            assert not point.abandoned, "only what is staged is"


# Whose staged points nobody will commit


def test_staged_points_are_abandoned_once_their_process_is_gone(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path / "index")
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 2))
    store.close()
    raw_edge_points(tmp_path / "index", [(CHUNK.id, {"dense": GOOD}, payload_of(CHUNK, "staged"))])
    assert {point.uri: point.abandoned for point in store.inspect()} == {"file:///a": False, CHUNK.uri: True}
    store.stage(*make_document("file:///b", "v1", 2))
    assert {point.uri: point.abandoned for point in store.inspect()} == {"file:///a": False, "file:///b": False}
    store.close()


def test_staged_points_on_a_server_are_abandoned_when_their_lease_is_over() -> None:
    client = QdrantClient(":memory:")
    dead, alive, looking = (ServerStore("http://x", "library", client=client) for _ in range(3))
    dead.prepare(INFO)
    dead.stage(*make_document("file:///dead", "v1", 2))
    of_the_dead = models.Filter(must=[models.FieldCondition(key="uri", match=models.MatchValue(value="file:///dead"))])
    client.set_payload("library", {"staged_at": time.time() - LEASE_SECONDS - 5}, of_the_dead)
    alive.prepare(INFO)
    alive._swept = True  # it began before the lease was over
    alive.stage(*make_document("file:///alive", "v1", 2))
    abandoned = [point for point in looking.inspect() if point.abandoned]
    assert {point.uri for point in abandoned} == {"file:///dead"}
    looking.discard(abandoned)
    alive.commit("file:///alive", "v1")
    assert {(point.uri, point.state) for point in looking.inspect()} == {("file:///alive", "live")}
    client.close()


def test_staged_points_without_a_time_belong_to_nobody() -> None:
    client = QdrantClient(":memory:")
    store = ServerStore("http://x", "library", client=client)
    store.prepare(INFO)
    raw_points(store, [(CHUNK.id, {"dense": GOOD}, payload_of(CHUNK, "staged"))])
    assert [point.abandoned for point in store.inspect()] == [True]
    client.close()


def test_an_edge_point_written_past_the_store_is_read_back(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path / "index")
    store.prepare(INFO)
    store.close()
    raw_edge_points(tmp_path / "index", [(CHUNK.id, {"dense": GOOD}, PAYLOAD)])
    assert [(point.chunk, point.fault) for point in store.inspect()] == [(CHUNK, "")]
    store.close()
