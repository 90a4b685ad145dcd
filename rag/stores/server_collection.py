"""A collection on a Qdrant server in this project's words: the only file that knows the client's requests.

What the engine is relied on for, beside its documentation: `exact` on a search takes neither the graph nor the
quantized vectors, so its scores are those of the originals (HNSWIndex::search in Qdrant's own source); one operation by
filter is one entry of the write-ahead log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from rag.errors import RagError
from rag.stores.inspection import engine_id
from rag.stores.language_shares import Share
from rag.stores.points import Scored, StoredPoint, embedding_of, terms_of, vector_of
from rag.stores.schema import (
    CANDIDATE_FIELDS,
    DENSE,
    INTEGER_FIELDS,
    KEYWORD_FIELDS,
    LANGUAGE,
    NO_CONDITIONS,
    SPARSE,
    Conditions,
    Selection,
    payload_of,
)
from rag.stores.server_connection import ServerConnection
from rag.stores.server_metadata import info_of, metadata_of
from rag.types import Chunk, Embedding, IndexInfo, SparseVector

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

    _Kind = models.PayloadSchemaType | models.KeywordIndexParams

_STAGED_AT = "staged_at"
"""Payload field of this store alone: seconds since the epoch at which a point was staged, by its writer's clock."""

_UPSERT_BATCH = 128
_SCROLL_PAGE = 512
_MOST_VALUES = 1000  # languages that are counted
_EMBEDDINGS_PAGE = 128  # at 1024 dimensions some 3 MB of JSON
_OVERSAMPLING = 2.0
"""Candidates taken by int8 scores for each one kept after their originals were looked at."""
_QUANTILE = 0.99
"""Share of components that int8 spans: outliers would coarsen all others (Qdrant's guide to scalar quantization)."""
_METADATA_INDEXES = 32
"""Metadata keys that get an index of their own; those met later are filtered without one."""


class ServerCollection:
    """One collection, by name. All methods raise StoreError, and IndexMissingError where it is not there."""

    def __init__(
        self, connection: ServerConnection, name: str, *, quantization: bool, on_disk: bool, parallel: int
    ) -> None:
        self._connection = connection
        self.name = name
        self._quantization = quantization
        self._on_disk = on_disk
        self._parallel = parallel
        self._tenant_key: str | None = None  # known from `info` on
        self._indexed: set[str] = set()

    def info(self) -> IndexInfo:
        """What the collection was made with, out of its metadata.

        Raises:
            IndexMissingError: it is not there.
            IndexMismatchError: it is another application's.
        """
        found = self._connection.read("read", lambda client: client.get_collection(self.name))
        self._indexed.update(found.payload_schema)
        info = info_of(found.config.metadata, self.name, self._connection.address.url)
        self._tenant_key = info.tenant_key
        return info

    def create(self, info: IndexInfo) -> None:
        """Makes the collection, unless another process was quicker; its payload indexes are `make_indexes`'s."""
        from qdrant_client import models

        int8 = models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=_QUANTILE, always_ram=True)
        )

        def create(client: QdrantClient) -> object:
            return client.create_collection(
                self.name,
                vectors_config={
                    DENSE: models.VectorParams(
                        size=info.dimension, distance=models.Distance.COSINE, on_disk=self._on_disk
                    )
                },
                sparse_vectors_config={SPARSE: models.SparseVectorParams()},
                # Each shard has its own candidates: with one, the union is that of the whole collection.
                shard_number=1,
                quantization_config=int8 if self._quantization else None,
                metadata=metadata_of(info),
            )

        try:
            self._connection.write("create the collection", create)
        except RagError:
            # Servers have answered 400 and 409 to a second creation; what counts is whether it is there.
            if not self._connection.read("read", lambda client: client.collection_exists(self.name)):
                raise

    def make_indexes(self, metadata_keys: Sequence[str] = ()) -> None:
        """Makes the payload indexes that are missing: those of the schema, of the tenant key, and of metadata keys.

        Before the points they are about, since Qdrant joins them into its search graph when it builds that. By the
        tenant key it also lays the points of one tenant side by side.
        """
        from qdrant_client import models

        kinds: dict[str, _Kind] = dict.fromkeys(KEYWORD_FIELDS, models.PayloadSchemaType.KEYWORD)
        kinds |= dict.fromkeys(INTEGER_FIELDS, models.PayloadSchemaType.INTEGER)
        kinds[_STAGED_AT] = models.PayloadSchemaType.FLOAT
        if self._tenant_key is not None:
            kinds[f"metadata.{self._tenant_key}"] = models.KeywordIndexParams(
                type=models.KeywordIndexType.KEYWORD, is_tenant=True
            )
            metadata_keys = [key for key in metadata_keys if key != self._tenant_key]
        room = _METADATA_INDEXES - sum(field.startswith("metadata.") for field in self._indexed)
        keys = [f"metadata.{key}" for key in metadata_keys if f"metadata.{key}" not in self._indexed]
        kinds |= dict.fromkeys(keys[: max(0, room)], models.PayloadSchemaType.KEYWORD)
        if self._connection.is_local:  # it would warn that it has none
            kinds.clear()
        for field, kind in kinds.items():
            if field not in self._indexed:
                index = partial(_make_index, collection=self.name, field=field, kind=kind)
                self._connection.write("index a field", index)
                self._indexed.add(field)

    def stage(self, chunks: Sequence[Chunk], embeddings: Sequence[Embedding], state: str, now: float) -> None:
        """Writes points in the state, in batches over parallel streams; points in another state stay as they are."""
        from qdrant_client import models

        unless_live = _filter({"state": [state]})

        def upsert(start: int) -> None:
            batch = slice(start, start + _UPSERT_BATCH)
            points = [
                models.PointStruct(id=c.id, vector=_vectors(e), payload={**payload_of(c, state), _STAGED_AT: now})
                for c, e in zip(chunks[batch], embeddings[batch], strict=True)
            ]
            self._connection.write(
                "write", lambda client: client.upsert(self.name, points, wait=True, update_filter=unless_live)
            )

        starts = range(0, len(chunks), _UPSERT_BATCH)
        if len(starts) == 1 or self._parallel == 1:
            for start in starts:
                upsert(start)
            return
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="qdrant-upload") as pool:
            uploads = [pool.submit(upsert, start) for start in starts]
            try:
                for upload in uploads:
                    upload.result()
            finally:
                for upload in uploads:
                    upload.cancel()

    def set_payload(self, fields: Mapping[str, Any], where: Conditions) -> None:
        """Gives all matching points the fields; seen by every later read when this returns."""
        from qdrant_client import models

        self._connection.write(
            "write",
            lambda client: client.set_payload(
                self.name, dict(fields), _filter(where), wait=True, ordering=models.WriteOrdering.STRONG
            ),
        )

    def delete(
        self,
        where: Conditions,
        *,
        ids: Sequence[str] | None = None,
        staged_before: float | None = None,
        ingested_before: float | None = None,
        retry: bool = True,
    ) -> None:
        """Deletes the matching points; of `ids` alone, or of a time before `staged_before` or `ingested_before`."""
        from qdrant_client import models

        selected = _filter(where, ids=ids, before={_STAGED_AT: staged_before, "ingested_at": ingested_before})
        send = self._connection.write if retry else self._connection.once
        send(
            "delete",
            lambda client: client.delete(self.name, selected, wait=True, ordering=models.WriteOrdering.STRONG),
        )

    def count(self, where: Conditions) -> int:
        """The exact number of matching points."""
        selected = _filter(where)
        return self._connection.read("read", lambda client: client.count(self.name, selected, exact=True)).count

    def scroll(
        self,
        where: Conditions,
        fields: Sequence[str] | None = None,
        with_embedding: bool = False,
        with_terms: bool = False,
    ) -> Iterator[StoredPoint]:
        """All matching points, by id; `fields` limits the payload to the fields named."""
        selected = _filter(where)
        offset: Any = None

        def page(client: QdrantClient) -> tuple[list[models.Record], Any]:
            return client.scroll(
                self.name,
                scroll_filter=selected,
                limit=_EMBEDDINGS_PAGE if with_embedding else _SCROLL_PAGE,
                offset=offset,
                with_payload=True if fields is None else list(fields),
                with_vectors=[SPARSE] if with_terms else [DENSE, SPARSE] if with_embedding else False,
            )

        while True:
            records, offset = self._connection.read("read", page)
            for record in records:
                embedding = embedding_of(record.vector) if with_embedding else None
                terms = terms_of(record.vector) if with_terms else None
                yield StoredPoint(str(record.id), record.payload or {}, embedding=embedding, terms=terms)
            if offset is None:
                return

    def points(self, where: Conditions) -> Iterator[tuple[str, Any, Any, float | None]]:
        """All matching points, by id, each as (id, payload, vectors, when it was staged), whatever they carry."""
        selected = _filter(where)
        offset: Any = None

        def page(client: QdrantClient) -> tuple[list[models.Record], Any]:
            return client.scroll(
                self.name,
                scroll_filter=selected,
                limit=_EMBEDDINGS_PAGE,
                offset=offset,
                with_payload=True,
                with_vectors=True,
            )

        while True:
            records, offset = self._connection.read("read", page)
            for record in records:
                staged_at = (record.payload or {}).get(_STAGED_AT)
                known = float(staged_at) if isinstance(staged_at, (int, float)) else None
                yield str(record.id), record.payload, record.vector, known
            if offset is None:
                return

    def languages(self) -> dict[str, int]:
        """Language → points, live or not; approximate, and good enough to tell the frequent from the rare."""
        found = self._connection.read(
            "read", lambda client: client.facet(self.name, LANGUAGE, limit=_MOST_VALUES, exact=False)
        )
        return {str(hit.value): hit.count for hit in found.hits}

    def nearest(self, query: Embedding, depth: int, selected: Selection, shares: Sequence[Share] = ()) -> list[Scored]:
        """The union of the `depth` best by either vector and of the nearest of each share, as many as it says.

        The same prefetches, each with the whole filter, are ranked once by each vector, so that every point of the
        union has both scores, and both exact: the ranking by the dense vector asks for an exact search, which compares
        the originals of the union alone; sparse scores are never approximate. The dense prefetch may use the graph and
        int8 vectors, whose choice is corrected by the originals of twice as many.

        Returns:
            The union, best by the dense vectors first; the sparse score is 0 where no token is shared.
        """
        from qdrant_client import models

        condition = _filter(selected.where, selected.but_not)
        local = self._connection.is_local  # always exact; it would warn that it takes no parameters
        corrected = models.SearchParams(
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
        )

        def by_dense_vector(limit: int, among: models.Filter) -> models.Prefetch:
            params = None if local else corrected
            return models.Prefetch(query=query.dense.tolist(), using=DENSE, limit=limit, filter=among, params=params)

        prefetches = [by_dense_vector(depth, condition)]
        if query.sparse.ids.size:
            prefetches.append(models.Prefetch(query=_sparse(query.sparse), using=SPARSE, limit=depth, filter=condition))
        rankings = prefetches[:]
        prefetches += [by_dense_vector(count, _filter(share.where, share.but_not)) for share, count in shares]
        requests = [
            models.QueryRequest(
                query=ranking.query,
                using=ranking.using,
                prefetch=prefetches,
                limit=depth * len(rankings) + sum(count for _, count in shares),
                filter=condition,
                params=models.SearchParams(exact=True) if ranking.using == DENSE and not local else None,
                # The second list holds the same points.
                with_payload=list(CANDIDATE_FIELDS) if ranking.using == DENSE else False,
            )
            for ranking in rankings
        ]
        by_dense, *by_sparse = self._connection.read(
            "search", lambda client: client.query_batch_points(self.name, requests)
        )
        sparse = {point.id: point.score for answer in by_sparse for point in answer.points}
        return [
            (str(point.id), point.payload or {}, point.score, sparse.get(point.id, 0.0)) for point in by_dense.points
        ]

    def retrieve(self, ids: Sequence[str], with_vectors: bool) -> list[StoredPoint]:
        """The points that are there of those named."""
        vectors = [DENSE, SPARSE] if with_vectors else False
        found: list[StoredPoint] = []
        for start in range(0, len(ids), _EMBEDDINGS_PAGE):
            some = list(ids[start : start + _EMBEDDINGS_PAGE])
            read = partial(_retrieve, collection=self.name, ids=some, vectors=vectors)
            for record in self._connection.read("read", read):
                vector = vector_of(record.vector) if with_vectors else None
                found.append(StoredPoint(str(record.id), record.payload or {}, vector=vector))
        return found


def _retrieve(
    client: QdrantClient, *, collection: str, ids: list[str], vectors: list[str] | bool
) -> list[models.Record]:
    from qdrant_client import models

    named = models.Filter(must=[models.HasIdCondition(has_id=[*ids])])
    found, _ = client.scroll(collection, named, limit=len(ids), with_payload=True, with_vectors=vectors)
    return found


def _make_index(client: QdrantClient, *, collection: str, field: str, kind: _Kind) -> None:
    client.create_payload_index(collection, field, kind, wait=True)


def _filter(
    where: Conditions,
    but_not: Conditions = NO_CONDITIONS,
    *,
    ids: Sequence[str] | None = None,
    before: Mapping[str, float | None] | None = None,
) -> models.Filter:
    from qdrant_client import models

    def conditions(of: Conditions) -> list[models.Condition]:
        return [models.FieldCondition(key=key, match=models.MatchAny(any=values)) for key, values in of.items()]

    must = conditions(where)
    must += [
        models.FieldCondition(key=key, range=models.Range(lt=moment))
        for key, moment in (before or {}).items()
        if moment is not None
    ]
    if ids is not None:
        must.append(models.HasIdCondition(has_id=[engine_id(each) for each in ids]))
    return models.Filter(must=must, must_not=conditions(but_not) or None)


def _vectors(embedding: Embedding) -> dict[str, Any]:
    vectors: dict[str, Any] = {DENSE: embedding.dense.tolist()}
    if embedding.sparse.ids.size:
        vectors[SPARSE] = _sparse(embedding.sparse)
    return vectors


def _sparse(vector: SparseVector) -> models.SparseVector:
    from qdrant_client import models

    return models.SparseVector(indices=vector.ids.tolist(), values=vector.weights.tolist())
