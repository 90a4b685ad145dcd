"""What the engine is given, and when."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from rag.stores.edge import EdgeStore
from rag.stores.schema import payload_of
from rag.types import Chunk
from tests.store_contract import INFO, make_document


def test_the_engine_s_points_of_a_great_document_are_made_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    made_at_writes: list[int] = []

    def counted(chunk: Chunk, state: str) -> dict[str, Any]:
        made.append(chunk.id)
        return payload_of(chunk, state)

    class Engine:
        def __init__(self, engine: Any) -> None:
            self.engine = engine

        def __getattr__(self, name: str) -> Any:
            return getattr(self.engine, name)

        def update(self, operation: Any) -> None:
            made_at_writes.append(len(made))
            self.engine.update(operation)

    monkeypatch.setattr("rag.stores.edge_shard.payload_of", counted)
    chunks, embeddings = make_document("file:///a", "v1", 600)
    with closing(EdgeStore(tmp_path / "store")) as store:
        store.prepare(INFO)
        with store._use() as shard:
            engine: Any = shard._shard
            shard._shard = cast(Any, Engine(engine))
            shard.upsert(chunks, embeddings, "live")
            assert made_at_writes == [256, 512, 600]
            shard._shard = engine
        assert len(list(store.chunks("file:///a"))) == 600
