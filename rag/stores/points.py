"""Points as the engines return them, to chunks and candidates; the same for every adapter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.stores.schema import DENSE, SPARSE, chunk_of, newest_versions, one_version_a_document
from rag.types import Candidate, Chunk, Embedding, SparseVector


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as a search or a listing returns it.

    Attributes:
        embedding: where it was asked for.
        terms: ids of its sparse vector, in whatever order, where they were asked for.
    """

    id: str
    payload: Mapping[str, Any]
    score: float = 0.0
    embedding: Embedding | None = None
    terms: NDArray[np.uint32] | None = None


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


def candidates_of(union: Iterable[StoredPoint], sparse_scores: Mapping[str, float]) -> list[Candidate]:
    """Candidates by chunk id, one version of each document.

    Args:
        union: with their dense scores.
        sparse_scores: by point id; a point that is not in there shares no token with the question.
    """
    candidates = [
        Candidate(chunk_of(point.id, point.payload), point.score, sparse_scores.get(point.id, 0.0)) for point in union
    ]
    return one_version_a_document(sorted(candidates, key=lambda candidate: candidate.chunk.id))


def chunks_of(points: Iterable[StoredPoint], uri: str) -> Iterator[Chunk]:
    """The chunks of the document at `uri` by ordinal, in its newest version."""
    found = [chunk_of(point.id, point.payload) for point in points]
    version = newest_versions(found).get(uri)
    return iter(sorted((chunk for chunk in found if chunk.version == version), key=lambda chunk: chunk.ordinal))
