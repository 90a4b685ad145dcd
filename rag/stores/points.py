"""Points as the engines return them, to chunks and candidates; the same for every adapter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.stores.schema import DENSE, LANGUAGE, LIVE, SPARSE, chunk_of, foreign_point, newest, newest_versions
from rag.types import Candidate, Chunk, Embedding, SparseVector, StoredPassage, StoredVector

Scored = tuple[str, Mapping[str, Any], float, float]
"""A point that a search found: its id, its payload with `CANDIDATE_FIELDS`, its dense and its sparse score."""


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as a search or a listing returns it.

    Attributes:
        embedding: where it was asked for.
        vector: where it was asked for, instead of the embedding.
        terms: ids of its sparse vector, in whatever order, where they were asked for.
    """

    id: str
    payload: Mapping[str, Any]
    embedding: Embedding | None = None
    terms: NDArray[np.uint32] | None = None
    vector: StoredVector | None = None


def embedding_of(vectors: Any) -> Embedding:
    """The embedding of a record; the engine has normalised the dense vector when it was written."""
    sparse = vectors.get(SPARSE)
    ids = np.asarray(sparse.indices if sparse is not None else (), dtype=np.uint32)
    weights = np.asarray(sparse.values if sparse is not None else (), dtype=np.float32)
    order = np.argsort(ids)
    return Embedding(
        dense=np.asarray(vectors[DENSE], dtype=np.float32), sparse=SparseVector(ids=ids[order], weights=weights[order])
    )


def terms_of(vectors: Any) -> NDArray[np.uint32]:
    """Ids of the sparse vector of a record, of which no more was asked for."""
    sparse = (vectors or {}).get(SPARSE)
    return np.asarray(sparse.indices if sparse is not None else (), dtype=np.uint32)


def candidates_of(found: Sequence[Scored]) -> list[Candidate]:
    """Candidates by chunk id, one version of each document.

    Raises:
        StoreError: a field is missing, so another program wrote the point.
    """
    try:
        versions = {(payload["uri"], payload["version"]) for _, payload, _, _ in found}
        if len(versions) > len({uri for uri, _ in versions}):  # a server's, while a commit is under way
            last = newest((each["uri"], float(each["ingested_at"]), each["version"]) for _, each, _, _ in found)
            found = [each for each in found if last[each[1]["uri"]] == each[1]["version"]]
        candidates = [
            Candidate(identifier, payload["uri"], payload[LANGUAGE], payload["text_hash"], dense, sparse)
            for identifier, payload, dense, sparse in found
        ]
    except KeyError as error:
        identifier = next(each[0] for each in found if error.args[0] not in each[1])
        raise foreign_point(identifier, error) from error
    return sorted(candidates, key=attrgetter("id"))


def passages_of(points: Iterable[StoredPoint]) -> dict[str, StoredPassage]:
    """Passages by chunk id; only live ones."""
    return {
        point.id: StoredPassage(chunk_of(point.id, point.payload), point.vector)
        for point in points
        if point.payload.get("state") == LIVE
    }


def vector_of(vectors: Any) -> StoredVector:
    """What the vectors of a record say of its likeness to others."""
    dense, sparse = vectors[DENSE], vectors.get(SPARSE)
    # Twice as quick as numpy, which looks at each number for what it is.
    packed = np.frombuffer(pack(f"{len(dense)}f", *dense), dtype=np.float32)
    return StoredVector(packed, len(sparse.indices) if sparse is not None else 0)


def chunks_of(points: Iterable[StoredPoint], uri: str) -> Iterator[Chunk]:
    """The chunks of the document at `uri` by ordinal, in its newest version."""
    found = [chunk_of(point.id, point.payload) for point in points]
    version = newest_versions(found).get(uri)
    return iter(sorted((chunk for chunk in found if chunk.version == version), key=lambda chunk: chunk.ordinal))
