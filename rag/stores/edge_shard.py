"""Qdrant Edge 0.9.0 in this project's words: with edge_configuration the only file that knows the engine.

It is called by one thread at a time with data that rag.stores.schema has checked, because an operation that the engine
rejects stays in its write-ahead log and is half-applied at the next opening. `optimize` holds the GIL for its whole
run, minutes perhaps, so only rag.stores.optimizing calls it, in a process of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rag.errors import IndexBusyError, StoreError
from rag.stores.edge_configuration import configuration, index_fields, search_params
from rag.stores.inspection import engine_id
from rag.stores.language_shares import Share
from rag.stores.points import Scored, StoredPoint, embedding_of, terms_of, vector_of
from rag.stores.schema import (
    CANDIDATE_FIELDS,
    DENSE,
    LANGUAGE,
    NO_CONDITIONS,
    SPARSE,
    STAGED,
    Conditions,
    Selection,
    payload_of,
)
from rag.stores.shard_switch import ShardSwitch
from rag.types import Chunk, Embedding, SparseVector

if TYPE_CHECKING:
    import qdrant_edge

_UPSERT_BATCH = 256
_LEAST_FREE_BYTES = 100_000_000  # on a disk with 20 MB free, opening or searching died; with 60 MB it did not
_SCROLL_PAGE = 512
_INSPECTED_PAGE = 256  # with vectors: at 1024 dimensions some 10 MB while Python has them
_MOST_VALUES = 1000  # languages that are counted


class EdgeShard:
    """An open shard.

    Attributes:
        swept: whether staged points of dead writers have been looked for since it was opened; for its user to set.
    """

    def __init__(self, shard: qdrant_edge.EdgeShard, folder: Path) -> None:
        self.swept = False
        self._shard = shard
        self._folder = folder
        self._switch = ShardSwitch(folder.parent)
        self._written, self._new = False, 0
        # What is asked with every question. Nobody else writes while the shard is open: good until this object does.
        self._languages: dict[str, int] | None = None
        self._anything_staged: bool | None = None

    @classmethod
    def create(cls, folder: Path, dimension: int) -> EdgeShard:
        """An empty shard with its vectors and payload indexes.

        Raises:
            StoreError: the engine cannot make it.
        """
        import qdrant_edge as edge

        with _engine_errors("create", folder):
            folder.mkdir()
            shard = edge.EdgeShard.create(str(folder), configuration(dimension))
            index_fields(shard)
            shard.flush()
        return cls(shard, folder)

    @classmethod
    def load(cls, folder: Path) -> EdgeShard:
        """The shard in `folder`, with every operation that was written to its log before a kill.

        Raises:
            IndexBusyError: a program that does not know our lock has it open.
            StoreError: the engine cannot open it.
        """
        import qdrant_edge as edge

        _require_space(folder)
        with _engine_errors("open", folder):
            return cls(edge.EdgeShard.load(str(folder)), folder)

    @classmethod
    def optimize(cls, folder: Path, dimension: int) -> None:
        """Makes the graphs of the shard in `folder`, which nobody else may have open. Holds the GIL for its whole run.

        Raises:
            StoreError: the engine fails; the shard may be of no use any more.
        """
        import qdrant_edge as edge

        _require_space(folder)
        with _engine_errors("optimize", folder):
            shard = edge.EdgeShard.load(str(folder), configuration(dimension))
            shard.optimize()
            shard.flush()
            shard.close()

    def unoptimized(self) -> int:
        """Points written since the shard was optimized: a search reads their dense vectors one by one.

        The engine's own count does not tell, because it counts what was deleted, too.
        """
        counted = self._switch.unoptimized()
        return self.count() if counted is None else counted

    def upsert(self, chunks: Sequence[Chunk], embeddings: Sequence[Embedding], state: str) -> None:
        """Writes points; those with the same ids are replaced."""
        import qdrant_edge as edge

        _require_space(self._folder)  # it may have gone since the shard was opened
        self._before_a_write()
        with _engine_errors("write to", self._folder):
            for start in range(0, len(chunks), _UPSERT_BATCH):
                some = slice(start, start + _UPSERT_BATCH)  # the engine's points take much more memory than arrays do
                points = [_point(*each, state) for each in zip(chunks[some], embeddings[some], strict=True)]
                self._shard.update(edge.UpdateOperation.upsert_points(points))
        self._new += len(chunks)

    def set_state(self, state: str, where: Conditions) -> None:
        """Gives all matching points the state."""
        import qdrant_edge as edge

        self._before_a_write()
        with _engine_errors("write to", self._folder):
            self._shard.update(edge.UpdateOperation.set_payload_by_filter(_filter(where), {"state": state}))

    def delete(self, where: Conditions, but_not: Conditions = NO_CONDITIONS) -> None:
        """Deletes the points that match `where` and do not match `but_not`."""
        import qdrant_edge as edge

        self._before_a_write()
        with _engine_errors("delete from", self._folder):
            self._shard.update(edge.UpdateOperation.delete_points_by_filter(_filter(where, but_not)))

    def flush(self) -> None:
        """Brings everything written so far to the disk."""
        with _engine_errors("flush", self._folder):
            self._shard.flush()
        if self._new:
            counted = self._switch.unoptimized()
            self._switch.count_unoptimized(self.count() if counted is None else counted + self._new)
            self._new = 0

    def close(self) -> None:
        """Gives the shard's files free; it cannot be used any more."""
        with _engine_errors("close", self._folder):
            self._shard.close()

    def _forget(self) -> None:
        self._languages = self._anything_staged = None

    def count(self, where: Conditions = NO_CONDITIONS) -> int:
        """The number of matching points."""
        import qdrant_edge as edge

        with _engine_errors("read", self._folder):
            return self._shard.count(edge.CountRequest(filter=_filter(where), exact=True))

    def scroll(
        self,
        where: Conditions,
        fields: Sequence[str] | None = None,
        with_embedding: bool = False,
        with_terms: bool = False,
    ) -> Iterator[StoredPoint]:
        """All matching points, by id; `fields` limits the payload to the fields named."""
        import qdrant_edge as edge

        offset: qdrant_edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(
                offset=offset,
                limit=_SCROLL_PAGE,
                filter=_filter(where),
                with_payload=True if fields is None else list(fields),
                with_vector=[SPARSE] if with_terms else with_embedding,
            )
            with _engine_errors("read", self._folder):
                records, offset = self._shard.scroll(request)
            for record in records:
                embedding = embedding_of(record.vector) if with_embedding else None
                terms = terms_of(record.vector) if with_terms else None
                yield StoredPoint(str(record.id), record.payload or {}, embedding=embedding, terms=terms)
            if offset is None:
                return

    def page(self, where: Conditions, offset: Any) -> tuple[list[tuple[str, Any, Any]], Any]:
        """Some of the matching points, by id, as (id, payload, vectors); and where the next page begins, if any."""
        import qdrant_edge as edge

        request = edge.ScrollRequest(
            offset=offset, limit=_INSPECTED_PAGE, filter=_filter(where), with_payload=True, with_vector=True
        )
        with _engine_errors("read", self._folder):
            records, following = self._shard.scroll(request)
        return [(str(record.id), record.payload, record.vector) for record in records], following

    def discard(self, ids: Sequence[str], where: Conditions) -> None:
        """Deletes those of the points that match."""
        import qdrant_edge as edge

        among = edge.HasIdCondition({engine_id(each) for each in ids})
        condition = edge.Filter(must=[among, _filter(where)])
        self._before_a_write()
        with _engine_errors("delete from", self._folder):
            self._shard.update(edge.UpdateOperation.delete_points_by_filter(condition))

    def languages(self) -> dict[str, int]:
        """Language → points, live or not: cheap, and good enough to tell the frequent from the rare."""
        import qdrant_edge as edge

        if self._languages is None:
            with _engine_errors("read", self._folder):
                found = self._shard.facet(edge.FacetRequest(LANGUAGE, limit=_MOST_VALUES))
            self._languages = {str(hit.value): hit.count for hit in found.hits}
        return self._languages

    def nearest(self, query: Embedding, depth: int, selected: Selection, shares: Sequence[Share] = ()) -> list[Scored]:
        """The union of the `depth` best by either vector and of the nearest of each share, as many as it says.

        The same prefetches, each with the whole filter, are ranked once by each vector, so that every point of the
        union has both exact scores. Shares are taken by the dense vectors alone: by the sparse ones, too, they found
        nothing more (docs/ranking.md).

        Returns:
            The union, best by the dense vectors first; the sparse score is 0 where no token is shared.
        """
        import qdrant_edge as edge

        # Nothing is staged but while documents are written. Then to ask for live points changes nothing, and costs more
        # than all else of a search in one language: 30 of them took 54 ms at 100,000 points, without it 16.
        if self._anything_staged is None:
            self._anything_staged = self.count({"state": [STAGED]}) > 0
        without = () if self._anything_staged else ("state",)
        condition = _filter(selected.where, selected.but_not, without)
        queries = [edge.Query.Nearest(query.dense.tolist(), using=DENSE)]
        if query.sparse.ids.size:
            queries.append(edge.Query.Nearest(_sparse(query.sparse), using=SPARSE))
        params = search_params(depth, selected.where, selected.but_not)
        prefetches = [edge.Prefetch(limit=depth, query=queries[0], filter=condition, params=params)]
        prefetches += [edge.Prefetch(limit=depth, query=each, filter=condition) for each in queries[1:]]
        prefetches += [
            edge.Prefetch(
                limit=count,
                query=queries[0],
                filter=_filter(share.where, share.but_not, without),
                params=search_params(count, share.where, share.but_not),
            )
            for share, count in shares
        ]
        request = edge.QueryRequest(
            limit=depth * len(queries) + sum(count for _, count in shares),
            query=queries[0],
            prefetches=prefetches,
            filter=condition,
            with_payload=list(CANDIDATE_FIELDS),
            params=edge.SearchParams(exact=True),  # it is the union that is ranked: no graph is to leave some out
        )
        with _engine_errors("search", self._folder):
            by_dense = self._shard.query(request)
            # The prefetches a second time, ranked by the sparse vectors, would take as long again; the ids take 1 ms.
            identifiers = [point.id for point in by_dense]  # made anew each time that one is asked for
            found = edge.Filter(must=[edge.HasIdCondition(set(identifiers))])
            by_sparse = [
                self._shard.query(edge.QueryRequest(limit=len(by_dense), query=each, filter=found, with_payload=False))
                for each in queries[1:]
                if by_dense
            ]
        sparse = {_number(point.id): point.score for points in by_sparse for point in points}
        return [
            (str(identifier), point.payload or {}, point.score, sparse.get(_number(identifier), 0.0))
            for identifier, point in zip(identifiers, by_dense, strict=True)
        ]

    def retrieve(self, ids: Sequence[str], with_vectors: bool) -> list[StoredPoint]:
        """The points that are there of those named."""
        with _engine_errors("read", self._folder):
            records = self._shard.retrieve(list(ids), True, with_vectors)
        return [
            StoredPoint(str(record.id), record.payload or {}, vector=vector_of(record.vector) if with_vectors else None)
            for record in records
        ]

    def _before_a_write(self) -> None:
        self._forget()
        if not self._written:
            self._switch.spoil()
            self._written = True


def _number(identifier: qdrant_edge.PointId) -> int:
    """Quicker to look up than a UUID."""
    return identifier.int if isinstance(identifier, UUID) else int(identifier)


def _filter(where: Conditions, but_not: Conditions = NO_CONDITIONS, without: Sequence[str] = ()) -> qdrant_edge.Filter:
    import qdrant_edge as edge

    def conditions(of: Conditions) -> list[qdrant_edge.ConditionType]:
        return [
            edge.FieldCondition(key=key, match=edge.MatchAny(values))
            for key, values in of.items()
            if key not in without
        ]

    return edge.Filter(must=conditions(where), must_not=conditions(but_not))


def _point(chunk: Chunk, embedding: Embedding, state: str) -> qdrant_edge.Point:
    import qdrant_edge as edge

    vectors: dict[str, Any] = {DENSE: embedding.dense.tolist()}
    if embedding.sparse.ids.size:
        vectors[SPARSE] = _sparse(embedding.sparse)
    return edge.Point(chunk.id, vectors, payload_of(chunk, state))


def _sparse(vector: SparseVector) -> qdrant_edge.SparseVector:
    import qdrant_edge as edge

    return edge.SparseVector(vector.ids.tolist(), vector.weights.tolist())


@contextmanager
def _engine_errors(verb: str, folder: Path) -> Iterator[None]:
    """The engine's errors in one line: it raises bare `Exception`, and nothing narrower could be caught."""
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and not isinstance(error, OSError) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())
        if "WouldBlock" in reason:
            raise IndexBusyError(
                f"the index in {folder.parent} is open in another program: end it, then try again ({reason})"
            ) from error
        raise StoreError(
            f"cannot {verb} the index in {folder.parent} ({reason}): check the disk's space and permissions, "
            "or ingest again into another --collection"
        ) from error


def _require_space(folder: Path) -> None:
    """The engine maps files larger than what they hold; where the disk cannot back them the process dies (SIGBUS)."""
    free = shutil.disk_usage(folder.parent).free
    if free < _LEAST_FREE_BYTES:
        raise StoreError(
            f"the disk of {folder} has {free / 1e6:.0f} MB free and the index needs at least "
            f"{_LEAST_FREE_BYTES / 1e6:.0f} MB: make room, or give another --store"
        )
