"""What a point of the index carries, for whatever engine: payload, vector names, states, and the checks before a write.

Change anything about the payload or the vectors' meaning and `SCHEMA_VERSION` goes up by one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.errors import IndexMismatchError, StoreError
from rag.identity import point_id
from rag.stores.tenants import require_tenant_key
from rag.types import Chunk, Embedding, IndexInfo, StoredDocument, Where

SCHEMA_VERSION = 1
"""Version of the payload's layout."""

DENSE = "dense"
"""Name of the dense vector; compared by cosine."""
SPARSE = "sparse"
"""Name of the sparse vector; compared by dot product, without IDF, since BGE-M3's weights are learned."""

STAGED = "staged"
"""State of a point that no search may see yet."""
LIVE = "live"
"""State of a point that is searched. Keywords, not booleans: Edge 0.9.0 matches nothing on a boolean."""

LANGUAGE = "language"
"""Payload field of a passage's language."""

KEYWORD_FIELDS = ("uri", "version", "state", LANGUAGE, "text_hash")
"""Payload fields with a keyword index: every field that a search, a commit or a reuse of vectors filters by."""
INTEGER_FIELDS = ("ordinal",)
"""Payload fields with an integer index: chunk 0 stands for its document in listings."""
CANDIDATE_FIELDS = ("uri", "version", LANGUAGE, "text_hash", "ingested_at")
"""Payload fields that make a `Candidate`, and tell which version of its document is the newest."""
DOCUMENT_FIELDS = (
    "uri",
    "version",
    "title",
    "document_language",
    "format",
    "chunk_count",
    "ingested_at",
    "metadata",
)
"""Payload fields that make a `StoredDocument`: a listing fetches no texts."""

Conditions = Mapping[str, list[str] | list[int]]
"""Payload key → values of which one must be there; the keys are joined by AND."""
NO_CONDITIONS: Conditions = {}


@dataclass(frozen=True, slots=True)
class Selection:
    """The points that a search may find.

    Attributes:
        where: conditions that they meet.
        but_not: conditions that they do not meet.
    """

    where: Conditions
    but_not: Conditions = field(default_factory=dict)


_METADATA_KEY = re.compile(r"[A-Za-z0-9_-]+")
# float16 rounds by up to 5e-4 of a value: a vector normalised in half precision has a norm within this of 1.
_NORM_TOLERANCE = 1e-3


def payload_of(chunk: Chunk, state: str) -> dict[str, Any]:
    """The flat payload of a chunk's point; `metadata` alone is a nested object."""
    return {
        "uri": chunk.uri,
        "version": chunk.version,
        "state": state,
        "ordinal": chunk.ordinal,
        "chunk_count": chunk.chunk_count,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
        "title": chunk.title,
        "headings": list(chunk.headings),
        "page": chunk.page,
        "page_breaks": list(chunk.page_breaks),
        "language": chunk.language,
        "document_language": chunk.document_language,
        "format": chunk.format,
        "text_hash": chunk.text_hash,
        "ingested_at": chunk.ingested_at,
        "metadata": dict(chunk.metadata),
    }


def chunk_of(identifier: str, payload: Mapping[str, Any]) -> Chunk:
    """The chunk that `payload_of` made a payload of.

    Raises:
        StoreError: a field is missing, so another program wrote the point.
    """
    try:
        return Chunk(
            id=identifier,
            uri=payload["uri"],
            version=payload["version"],
            ordinal=payload["ordinal"],
            chunk_count=payload["chunk_count"],
            text=payload["text"],
            start=payload["start"],
            end=payload["end"],
            title=payload["title"],
            headings=tuple(payload["headings"]),
            page=payload["page"],
            page_breaks=tuple(payload["page_breaks"]),
            language=payload["language"],
            document_language=payload["document_language"],
            format=payload["format"],
            text_hash=payload["text_hash"],
            ingested_at=float(payload["ingested_at"]),
            metadata=payload["metadata"],
        )
    except KeyError as error:
        raise foreign_point(identifier, error) from error


def document_of(identifier: str, payload: Mapping[str, Any]) -> StoredDocument:
    """The document that a payload with `DOCUMENT_FIELDS` belongs to.

    Raises:
        StoreError: a field is missing, so another program wrote the point.
    """
    try:
        return StoredDocument(
            uri=payload["uri"],
            version=payload["version"],
            title=payload["title"],
            language=payload["document_language"],
            format=payload["format"],
            chunk_count=payload["chunk_count"],
            ingested_at=float(payload["ingested_at"]),
            metadata=payload["metadata"],
        )
    except KeyError as error:
        raise foreign_point(identifier, error) from error


def foreign_point(identifier: str, error: KeyError) -> StoreError:
    """Says that a field is missing."""
    return StoreError(
        f"point {identifier} of the index has no field {error}: another program wrote it; "
        "ingest again into another --collection"
    )


def selection_of(where: Where) -> Selection | None:
    """The live points that `where` asks for; None when no point can fulfil it.

    Raises:
        ValueError: `where.sources` has not been expanded to `where.uris`.
    """
    if where.sources:
        raise ValueError(f"where.sources {where.sources!r} must be expanded to where.uris before the store is asked")
    if where.uris is not None and not where.uris:
        return None
    # A key of another shape is in no document, and in an engine's key path its dots and brackets would mean something.
    if any(not _METADATA_KEY.fullmatch(key) for key in where.metadata):
        return None
    conditions: dict[str, list[str] | list[int]] = {"state": [LIVE]}
    if where.languages:
        conditions[LANGUAGE] = list(where.languages)
    if where.uris is not None:
        conditions["uri"] = list(where.uris)
    for key, value in where.metadata.items():
        conditions[f"metadata.{key}"] = [value]
    return Selection(conditions, {LANGUAGE: list(where.not_languages)} if where.not_languages else {})


def newest_versions(found: Iterable[Chunk | StoredDocument]) -> dict[str, str]:
    """The version of each uri that was ingested last; a tie goes to the greater version, always the same."""
    return newest((item.uri, item.ingested_at, item.version) for item in found)


def newest(found: Iterable[tuple[str, float, str]]) -> dict[str, str]:
    """`newest_versions` of uris, times of ingestion and versions."""
    last: dict[str, tuple[float, str]] = {}
    for uri, ingested_at, version in found:
        last[uri] = max(last.get(uri, (-math.inf, "")), (ingested_at, version))
    return {uri: version for uri, (_, version) in last.items()}


def require_match(found: IndexInfo, expected: IndexInfo) -> None:
    """Refuses an index that this program or this model cannot use.

    Args:
        found: what the index was made with.
        expected: this program's schema, the model in use, and the tenant key of the settings, if they have one.

    Raises:
        IndexMismatchError: with what both sides are and the way out.
    """
    if found.schema_version != expected.schema_version:
        remedy = (
            "upgrade this program, or ingest"
            if found.schema_version > expected.schema_version
            else "ingest your documents again"
        )
        raise IndexMismatchError(
            f"the index has schema version {found.schema_version}, this program version {expected.schema_version}: "
            f"{remedy} into another --collection"
        )
    if (found.fingerprint, found.dimension) != (expected.fingerprint, expected.dimension):
        raise IndexMismatchError(
            f"the index was made with model {_model(found)}, but the model in use is {_model(expected)}: "
            "use the model it was made with, or ingest again into another --collection"
        )
    require_tenant_key(found, expected.tenant_key)


def _model(info: IndexInfo) -> str:
    return f"{info.model!r} (fingerprint {info.fingerprint}, dimension {info.dimension})"


def require_storable(chunks: Sequence[Chunk], embeddings: Sequence[Embedding], dimension: int) -> None:
    """Refuses what an engine would take in silence or reject only after it has written it down.

    Raises:
        StoreError: for the first chunk or embedding that cannot be stored; nothing may have been written before.
    """
    if len(chunks) != len(embeddings):
        raise StoreError(
            f"{len(chunks)} chunks came with {len(embeddings)} embeddings: nothing was written; give one each"
        )
    seen: set[str] = set()
    for chunk, embedding in zip(chunks, embeddings, strict=True):
        fault = fault_of(chunk, embedding, dimension)
        if not fault and chunk.id in seen:
            fault = "it is given twice"
        seen.add(chunk.id)
        if fault:
            raise StoreError(
                f"chunk {chunk.ordinal} of {chunk.uri!r} cannot be stored: {fault}; nothing was written: "
                "correct the chunk or its embedding"
            )


def fault_of(chunk: Chunk, embedding: Embedding, dimension: int) -> str:
    """What makes a chunk or its embedding unfit to be stored, as a clause; empty where nothing does."""
    return _fault_of_chunk(chunk) or _fault_of_embedding(embedding, dimension)


def require_query(embedding: Embedding, dimension: int) -> None:
    """Refuses a query that the index cannot be searched with.

    Raises:
        StoreError: with what is wrong with it.
    """
    fault = _fault_of_embedding(embedding, dimension)
    if fault:
        raise StoreError(f"the question's embedding cannot be searched with: {fault}; use the model of the index")


def _fault_of_chunk(chunk: Chunk) -> str:
    if not 0 <= chunk.ordinal < chunk.chunk_count:
        return f"its ordinal is not below its chunk count {chunk.chunk_count}"
    if not math.isfinite(chunk.ingested_at):
        return f"its time of ingestion is {chunk.ingested_at}"
    for key, value in chunk.metadata.items():
        if not _METADATA_KEY.fullmatch(key):
            return f"its metadata key {key!r} is not made of A-Z, a-z, 0-9, _ and - alone"
        if not isinstance(value, str):
            return f"its metadata value of {key!r} is a {type(value).__name__}, not a text"
    texts = (chunk.uri, chunk.version, chunk.text, chunk.title, *chunk.headings, *chunk.metadata.values())
    labels = (chunk.language, chunk.document_language, chunk.format, chunk.text_hash)
    try:
        for text in (*texts, *labels):
            text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"one of its texts holds a lone surrogate at position {error.start}, which is not Unicode text"
    expected = point_id(chunk.uri, chunk.version, chunk.ordinal)
    if chunk.id != expected:
        return f"its id is {chunk.id!r}, not {expected!r} as its uri, version and ordinal make it"
    return ""


def _fault_of_embedding(embedding: Embedding, dimension: int) -> str:
    dense, ids, weights = embedding.dense, embedding.sparse.ids, embedding.sparse.weights
    if dense.dtype != np.float32 or ids.dtype != np.uint32 or weights.dtype != np.float32:
        return f"its arrays are {dense.dtype}, {ids.dtype} and {weights.dtype}, not float32, uint32 and float32"
    if dense.shape != (dimension,):
        return f"its dense vector has shape {dense.shape}, not ({dimension},)"
    norm = _norm(dense)
    if not abs(norm - 1) <= _NORM_TOLERANCE:
        return f"its dense vector has norm {norm:.6g}, not 1"
    if ids.ndim != 1 or ids.shape != weights.shape:
        return f"its sparse vector has ids of shape {ids.shape} and weights of shape {weights.shape}"
    if np.any(ids[1:] <= ids[:-1]):
        return "its sparse ids are not strictly ascending"
    if not np.all(np.isfinite(weights) & (weights > 0)):
        return "its sparse weights are not all finite and above 0"
    return ""


def _norm(dense: NDArray[np.float32]) -> float:
    # In float64: a float32 sum could overflow on garbage and warn. A NaN or an infinity comes out as one.
    return math.sqrt(float(np.dot(dense.astype(np.float64), dense.astype(np.float64))))
