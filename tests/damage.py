"""Damage to an index as no store would write it: points go to the engine itself, past every check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

from rag.ports import PassageStore
from rag.stores.edge import EdgeStore
from rag.stores.generations import CurrentStore
from rag.stores.server import ServerStore

Raw = tuple[str | int, Mapping[str, Any], Mapping[str, Any]]
"""Id, vectors by name, payload."""


class Sparse(tuple[list[int], list[float]]):
    """Ids and weights, for either engine."""

    __slots__ = ()


def sparse_of(value: Any) -> Any:
    """Pairs of lists as sparse vectors, everything else as it is."""
    return Sparse(value) if isinstance(value, tuple) else value


def raw_points(store: PassageStore, points: Sequence[Raw]) -> None:
    """Writes points through the engine of a store, of the generation that answers."""
    if isinstance(store, CurrentStore):
        with store._mutex:
            store = store._now().store
    if isinstance(store, EdgeStore):
        with store._use() as shard:
            _write(shard._shard, points)
            shard.flush()
        return
    assert isinstance(store, ServerStore)
    made = [
        models.PointStruct(id=id, payload=dict(payload), vector={name: _of_server(v) for name, v in vectors.items()})
        for id, vectors, payload in points
    ]
    store._connection.write("write", lambda client: client.upsert(store._collection.name, made, wait=True))


def raw_edge_points(index: Path, points: Sequence[Raw]) -> None:
    """Writes points into the shard of an index that nobody has open."""
    shard = edge.EdgeShard.load(str(index / "shard"))
    try:
        _write(shard, points)
        shard.flush()
    finally:
        shard.close()


def _write(shard: edge.EdgeShard, points: Sequence[Raw]) -> None:
    made = [
        edge.Point(id, {name: _of_edge(value) for name, value in vectors.items()}, dict(payload))
        for id, vectors, payload in points
    ]
    shard.update(edge.UpdateOperation.upsert_points(made))


def _of_edge(value: Any) -> Any:
    return edge.SparseVector(*value) if isinstance(value, Sparse) else value


def _of_server(value: Any) -> Any:
    return models.SparseVector(indices=value[0], values=value[1]) if isinstance(value, Sparse) else value
