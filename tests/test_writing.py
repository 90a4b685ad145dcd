"""A document is staged when all of it has vectors, and committed at once; whoever ends a run does not wait for more."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from ingest.discovery import Found
from ingest.preparing import Slice
from ingest.writing import Open, Part, Writer
from rag.errors import StoreError
from rag.stores.edge import EdgeStore
from rag.stores.edge_shard import EdgeShard
from rag.types import Chunk
from tests.store_contract import INFO, make_document


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EdgeStore]:
    with closing(EdgeStore(tmp_path / "index")) as made:
        made.prepare(INFO)
        yield made


def parts(name: str, *, slices: int = 1) -> list[Part]:
    """A document of four chunks."""
    uri = f"file:///{name}"
    document = Open(Found(uri, Path(f"/{name}"), "md"), uri, "v1")
    chunks, embeddings = make_document(uri, "v1", 4, seed=sum(name.encode()))
    size = len(chunks) // slices
    return [
        Part(document, Slice(uri, "v1", chunks[at : at + size], [""] * size, 0), embeddings[at : at + size])
        for at in range(0, len(chunks), size)
    ]


def put_and_wait(writer: Writer, window: Sequence[Part]) -> None:
    """Until it has been written: a third window finds room once the first one is done with."""
    for each in (window, (), ()):
        writer.put(each)


def test_nothing_is_staged_of_a_document_before_all_of_it_has_vectors(store: EdgeStore) -> None:
    first, last = parts("book.md", slices=2)
    with Writer(store) as writer:
        put_and_wait(writer, [first, *parts("a.md")])
        assert {point.uri for point in store.inspect()} == {"file:///a.md"}
        writer.put([last])
        writer.finish()
        assert [written.document.uri for written in writer.written()] == ["file:///a.md", "file:///book.md"]
    assert [chunk.ordinal for chunk in store.chunks("file:///book.md")] == [0, 1, 2, 3]


def test_a_document_that_fails_half_way_leaves_nothing_behind(store: EdgeStore) -> None:
    first, last = parts("book.md", slices=2)
    with Writer(store) as writer:
        put_and_wait(writer, [first])
        first.document.failed = True
        put_and_wait(writer, parts("a.md"))
        assert {point.uri for point in store.inspect()} == {"file:///a.md"}
        writer.put([last])
        writer.finish()
        assert [written.document.uri for written in writer.written()] == ["file:///a.md"]


def test_another_documents_failure_costs_a_long_one_nothing(store: EdgeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = parts("book.md", slices=2)
    upsert = EdgeShard.upsert

    def full(self: EdgeShard, chunks: Sequence[Chunk], *rest: Any) -> None:
        if any(chunk.uri.endswith("/a.md") for chunk in chunks):
            raise StoreError("the disk is full for a moment")
        upsert(self, chunks, *rest)

    monkeypatch.setattr(EdgeShard, "upsert", full)
    with Writer(store) as writer:
        for window in ([first], parts("a.md"), parts("b.md"), [last]):
            put_and_wait(writer, window)
        writer.finish()
        assert [(each.document.uri[8:], bool(each.error)) for each in writer.written()] == [
            ("a.md", True),
            ("b.md", False),
            ("book.md", False),
        ]
    assert [document.uri for document in store.documents()] == ["file:///b.md", "file:///book.md"]


def test_whoever_ends_a_run_while_the_store_is_away_waits_for_one_attempt_only(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, attempts = threading.Event(), []
    writer = Writer(store)

    def away(self: EdgeStore, chunks: Sequence[Chunk], *rest: Any) -> None:
        attempts.append(len(chunks))
        tried.set()
        assert writer._closed.wait(60)
        raise StoreError("the store is away")

    monkeypatch.setattr(EdgeStore, "stage", away)
    with suppress(KeyboardInterrupt), writer:
        writer.put([*parts("a.md"), *parts("b.md"), *parts("c.md")])
        assert tried.wait(60)
        raise KeyboardInterrupt
    assert attempts == [12]
