"""The lines of an archive: an index's header, documents and chunks as JSON, and back, whoever wrote them.

Nothing that is read is believed: every field is of its type and within its bounds, or the line is refused. What a line
cannot show, that a vector is that of its text, is for whoever imports an archive to know where it comes from.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ingest.archive_fields import LARGEST, array, integer, matching, refuse, require_keys, shown, text
from rag.identity import point_id
from rag.types import Chunk, Embedding, IndexInfo, SparseVector, StoredDocument

APPLICATION = "cross-lingual-rag"
ARCHIVE_VERSION = 1
"""Raised when the lines' layout changes."""

_GRID = 2.0**22
"""Steps of a component from 0 to 1. An engine normalises a vector when it takes it in, and does not always give back
its last bit; rounded to a step the same vector comes out of every engine. A cosine changes by some 1e-7, as between
engines."""
_MOST_DIMENSIONS = 65_536
_LONGEST_URI = 8192
_NORM_TOLERANCE = 1e-3  # as rag.stores.schema has it
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_TAG = re.compile(r"[A-Za-z0-9-]{1,64}")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{1,128}")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,256}")


@dataclass(frozen=True, slots=True)
class Header:
    """The first line.

    Attributes:
        documents, chunks: in the index when the export began, for progress.
    """

    info: IndexInfo
    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Head:
    """A document's line, which goes before its chunks'.

    Attributes:
        digest: of its chunks' lines.
    """

    document: StoredDocument
    digest: str


@dataclass(frozen=True, slots=True)
class End:
    """The last line.

    Attributes:
        digest: of all lines before it.
    """

    documents: int
    chunks: int
    digest: str


def header_line(header: Header) -> bytes:
    """The first line of an archive."""
    info = header.info
    return _line(
        {
            "archive": APPLICATION,
            "archive_version": ARCHIVE_VERSION,
            "schema_version": info.schema_version,
            "fingerprint": info.fingerprint,
            "model": info.model,
            "dimension": info.dimension,
            "tenant_key": info.tenant_key,
            "documents": header.documents,
            "chunks": header.chunks,
        }
    )


def head_line(head: Head) -> bytes:
    """The line before a document's chunks."""
    document = head.document
    return _line(
        {
            "document": document.uri,
            "version": document.version,
            "title": document.title,
            "language": document.language,
            "format": document.format,
            "chunks": document.chunk_count,
            "ingested_at": document.ingested_at,
            "metadata": dict(sorted(document.metadata.items())),
            "digest": head.digest,
        }
    )


def chunk_line(chunk: Chunk, embedding: Embedding) -> bytes:
    """The line of a chunk, with its vectors as base64 of little-endian float32 and uint32."""
    on_grid = np.rint(embedding.dense.astype(np.float64) * _GRID) / _GRID + 0.0  # and no -0.0
    return _line(
        {
            "chunk": chunk.ordinal,
            "text": chunk.text,
            "start": chunk.start,
            "end": chunk.end,
            "headings": list(chunk.headings),
            "page": chunk.page,
            "page_breaks": list(chunk.page_breaks),
            "language": chunk.language,
            "text_hash": chunk.text_hash,
            "dense": _base64(on_grid, "<f4"),
            "ids": _base64(embedding.sparse.ids, "<u4"),
            "weights": _base64(embedding.sparse.weights, "<f4"),
        }
    )


def end_line(end: End) -> bytes:
    """The last line of an archive."""
    return _line({"end": True, "documents": end.documents, "chunks": end.chunks, "digest": end.digest})


def read_header(fields: Mapping[str, Any]) -> Header:
    """The first line of an archive.

    Raises:
        ReadError: it is none, or of a later version of this program.
    """
    if fields.get("archive") != APPLICATION:
        refuse(f"is no archive of {APPLICATION}: give a file that `ingest export` wrote")
    version = fields.get("archive_version")
    if type(version) is not int or version < 1:
        refuse(f"archive_version is {shown(version)}")
    if version > ARCHIVE_VERSION:
        refuse(f"is an archive of version {version}, and this program reads up to {ARCHIVE_VERSION}: upgrade it")
    expected = {"archive", "archive_version", "schema_version", "fingerprint", "model", "dimension", "tenant_key"}
    require_keys(fields, {*expected, "documents", "chunks"})
    tenant_key = fields["tenant_key"]
    info = IndexInfo(
        schema_version=integer(fields, "schema_version"),
        fingerprint=matching(fields, "fingerprint", _DIGEST),
        model=text(fields, "model"),
        dimension=integer(fields, "dimension", 1, _MOST_DIMENSIONS),
        tenant_key=None if tenant_key is None else matching(fields, "tenant_key", _KEY),
    )
    return Header(info, integer(fields, "documents"), integer(fields, "chunks"))


def read_head(fields: Mapping[str, Any]) -> Head:
    """A document's line.

    Raises:
        ReadError: it is none.
    """
    names = {"document", "version", "title", "language", "format", "chunks", "ingested_at", "metadata", "digest"}
    require_keys(fields, names)
    uri = matching(fields, "document", _URI)
    # Such a location is never given to a document: it would be another one's under a second name.
    if len(uri) > _LONGEST_URI or {".", ".."} & set(unquote(uri, errors="surrogateescape").split("/")):
        refuse(f"the location {shown(uri)} is none that a document has")
    ingested_at = fields["ingested_at"]
    if type(ingested_at) not in (int, float) or not 0 <= ingested_at < LARGEST:
        refuse(f"ingested_at is {shown(ingested_at)}, not seconds since 1970")
    metadata = fields["metadata"]
    if not isinstance(metadata, dict):
        refuse(f"metadata is {shown(metadata)}, not an object")
    for key in metadata:
        if not _KEY.fullmatch(key):
            refuse(f"metadata has the key {shown(key)}")
        text(metadata, key)
    document = StoredDocument(
        uri=uri,
        version=matching(fields, "version", _DIGEST),
        title=text(fields, "title"),
        language=matching(fields, "language", _TAG),
        format=matching(fields, "format", _TAG),
        chunk_count=integer(fields, "chunks", 1),
        ingested_at=float(ingested_at),
        metadata=metadata,
    )
    return Head(document, matching(fields, "digest", _DIGEST))


def read_chunk(
    fields: Mapping[str, Any], document: StoredDocument, ordinal: int, dimension: int
) -> tuple[Chunk, Embedding]:
    """The line of a document's chunk.

    Args:
        ordinal: which one it must be.

    Raises:
        ReadError: it is none, or another one.
    """
    names = {"chunk", "text", "start", "end", "headings", "page", "page_breaks", "language", "text_hash"}
    require_keys(fields, {*names, "dense", "ids", "weights"})
    if integer(fields, "chunk") != ordinal:
        refuse(f"is chunk {shown(fields['chunk'])} where chunk {ordinal} belongs")
    words = text(fields, "text")
    start, end = integer(fields, "start"), integer(fields, "end")
    if not words or end - start != len(words):
        refuse(f"its text has {len(words)} characters and its span {end - start}")
    headings, breaks = fields["headings"], fields["page_breaks"]
    if not isinstance(headings, list) or not isinstance(breaks, list):
        refuse("headings or page_breaks is no list")
    chunk = Chunk(
        id=point_id(document.uri, document.version, ordinal),
        uri=document.uri,
        version=document.version,
        ordinal=ordinal,
        chunk_count=document.chunk_count,
        text=words,
        start=start,
        end=end,
        title=document.title,
        headings=tuple(text({"a heading": each}, "a heading") for each in headings),
        page=None if fields["page"] is None else integer(fields, "page", 1),
        page_breaks=tuple(integer({"a page break": each}, "a page break", start, end) for each in breaks),
        language=matching(fields, "language", _TAG),
        document_language=document.language,
        format=document.format,
        text_hash=matching(fields, "text_hash", _DIGEST),
        ingested_at=document.ingested_at,
        metadata=document.metadata,
    )
    return chunk, _embedding(fields, dimension)


def read_end(fields: Mapping[str, Any]) -> End:
    """The last line of an archive.

    Raises:
        ReadError: it is none.
    """
    require_keys(fields, {"end", "documents", "chunks", "digest"})
    return End(integer(fields, "documents"), integer(fields, "chunks"), matching(fields, "digest", _DIGEST))


def _embedding(fields: Mapping[str, Any], dimension: int) -> Embedding:
    dense = array(fields, "dense", "<f4", dimension)
    ids, weights = array(fields, "ids", "<u4"), array(fields, "weights", "<f4")
    # In float64: a sum of float32 could overflow and warn. A NaN or an infinity comes out as one.
    norm = math.sqrt(float(np.dot(dense.astype(np.float64), dense.astype(np.float64))))
    if dense.size != dimension or not abs(norm - 1) <= _NORM_TOLERANCE:
        refuse(f"its dense vector has {dense.size} components and norm {norm:.6g}, not {dimension} and 1")
    if ids.size != weights.size or np.any(ids[1:] <= ids[:-1]):
        refuse("its sparse ids are not strictly ascending with a weight each")
    if not np.all(np.isfinite(weights) & (weights > 0)):
        refuse("its sparse weights are not all finite and above 0")
    return Embedding(dense.astype(np.float32), SparseVector(ids.astype(np.uint32), weights.astype(np.float32)))


def _base64(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8") + b"\n"
