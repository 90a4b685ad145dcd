"""The stores that benchmarks/kills.py kills writers of: where each keeps its points, and the steps of its commit.

On the embedded store and on a server a kill may come at any time. The client's local mode writes point by point what
a server takes for one operation, so there random kills come between two requests: within one, they would test the
client, and no server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag import Settings
from rag.ports import PassageStore
from rag.stores.edge import EdgeStore
from rag.stores.edge_shard import EdgeShard
from rag.stores.index_folder import IndexFolder
from rag.stores.server import ServerStore
from rag.stores.server_collection import ServerCollection
from rag.stores.server_connection import ServerConnection

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from rag.stores.points import StoredPoint

Step = tuple[type, str]

SERVER_VARIABLE = "QDRANT_TEST_URL"
_NOT_COMPARED = ("ingested_at", "staged_at")
_COLLECTION = "default"


@dataclass(frozen=True, slots=True)
class Point:
    """A point of an index, whatever its state."""

    payload: dict[str, Any]
    dense: np.ndarray[Any, np.dtype[np.float32]]
    sparse: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of store; each index has a folder, whose name is also that of its collection on a server.

    Attributes:
        steps: methods that a writer is killed before and after.
        requests: the method whose calls a random kill comes between; None for a kill at any time.
        open_store: the store of an index, for a process that opens no other.
        points: all points of an index by id; nobody else may have it open.
        remove: takes an index away, if it is not in its folder.
    """

    steps: Sequence[Step]
    requests: Step | None
    open_store: Callable[[Path], PassageStore]
    points: Callable[[Path], dict[str, Point]]
    remove: Callable[[Path], None] = lambda index: None


def settings_of(index: Path) -> Settings:
    """The bundled model and short chunks, so that a document has several."""
    return Settings(
        store={"path": index},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3"},  # type: ignore[arg-type]
        ingest={"chunk_tokens": 32},  # type: ignore[arg-type]
    )


def differences(found: Mapping[str, Point], wanted: Mapping[str, Point], least_cosine: float) -> list[str]:
    """What is wrong with `found`, a line each."""
    lines = [f"point {id} is missing" for id in wanted.keys() - found.keys()]
    lines += [f"point {id} is left over: {found[id].payload}" for id in found.keys() - wanted.keys()]
    for id in found.keys() & wanted.keys():
        here, there = found[id], wanted[id]
        lines += [
            f"point {id}: {name} is {here.payload.get(name)!r} instead of {there.payload.get(name)!r}"
            for name in here.payload.keys() | there.payload.keys()
            if here.payload.get(name) != there.payload.get(name)
        ]
        if float(here.dense @ there.dense) < least_cosine:
            lines.append(f"point {id}: the vectors differ")
        if {id for id, _ in here.sparse} != {id for id, _ in there.sparse}:
            lines.append(f"point {id}: the sparse vectors differ")
    return lines


def _by_id(points: Iterator[StoredPoint]) -> dict[str, Point]:
    found = {}
    for point in points:
        assert point.embedding is not None
        weights = zip(point.embedding.sparse.ids.tolist(), point.embedding.sparse.weights.tolist(), strict=True)
        payload = {name: value for name, value in point.payload.items() if name not in _NOT_COMPARED}
        found[point.id] = Point(payload, point.embedding.dense, tuple(weights))
    return found


def _edge_points(index: Path) -> dict[str, Point]:
    with closing(EdgeShard.load(IndexFolder(index / _COLLECTION).shard)) as shard:
        return _by_id(shard.scroll({}, with_embedding=True))


def _through_client(
    connect: Callable[[Path], QdrantClient],
    name: Callable[[Path], str],
    requests: Step | None = None,
) -> Kind:
    """A store through the client: it is the same code whatever answers."""
    nowhere = "http://localhost:6333"  # the client that is given goes before it

    def open_store(index: Path) -> PassageStore:
        return ServerStore(nowhere, name(index), client=connect(index))

    def points(index: Path) -> dict[str, Point]:
        with closing(connect(index)) as client:
            connection = ServerConnection(
                nowhere, name(index), api_key=None, timeout=30, prefer_grpc=False, streams=1, client=client
            )
            collection = ServerCollection(connection, name(index), quantization=False, on_disk=True, parallel=1)
            return _by_id(collection.scroll({}, with_embedding=True))

    def remove(index: Path) -> None:
        with closing(connect(index)) as client:
            client.delete_collection(name(index))

    steps: Sequence[Step] = [(ServerCollection, step) for step in ("stage", "set_payload", "delete")]
    return Kind(steps, requests, open_store, points, remove)


def _local(index: Path) -> QdrantClient:
    from qdrant_client import QdrantClient

    return QdrantClient(path=str(index / "local"), force_disable_check_same_thread=True)


def _server(index: Path) -> QdrantClient:
    from qdrant_client import QdrantClient

    return QdrantClient(url=os.environ[SERVER_VARIABLE], timeout=30)


KINDS: dict[str, Kind] = {
    "edge": Kind(
        steps=(
            (EdgeShard, "upsert"),
            (EdgeShard, "set_state"),
            (EdgeShard, "delete"),
            (EdgeShard, "flush"),
            (EdgeShard, "close"),
            (IndexFolder, "begin_commit"),
            (IndexFolder, "end_commit"),
        ),
        requests=None,
        open_store=lambda index: EdgeStore(index / _COLLECTION),
        points=_edge_points,
    ),
    "local": _through_client(_local, lambda index: _COLLECTION, (ServerConnection, "write")),
    "server": _through_client(_server, lambda index: f"kills-{index.parent.name}-{index.name}"),
}


@contextmanager
def every_store_is(kind: Kind) -> Iterator[None]:
    """Whatever asks for the store of settings gets that of this kind; for a process that does nothing else."""
    from rag import build

    real = build.store
    build.store = lambda settings: kind.open_store(settings.store.path)
    try:
        yield
    finally:
        build.store = real
