"""The lines of an archive: an index's header, documents and chunks as JSON, and back, whoever wrote them.

Nothing that is read is believed: every field is of its type and within its bounds, or the line is refused. What a line
cannot show, that a vector is that of its text, is for whoever imports an archive to know where it comes from.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from rag.errors import ReadError
from rag.identity import point_id
from rag.types import Chunk, Embedding, IndexInfo, SparseVector, StoredDocument

APPLICATION = "cross-lingual-rag"
ARCHIVE_VERSION = 1
"""Raised when the lines' layout changes."""

_GRID = 2.0**22
"""Steps of a component from 0 to 1. An engine normalises a vector when it takes it in, and does not always give back
its last bit; rounded to a step the same vector comes out of every engine. A cosine changes by some 1e-7, as between
engines."""
_LARGEST = 2**53  # what every JSON reader takes for an exact integer
_MOST_DIMENSIONS = 65_536
_MOST_TERMS = 1_000_000
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
        _refuse(f"is no archive of {APPLICATION}: give a file that `ingest export` wrote")
    version = fields.get("archive_version")
    if type(version) is not int or version < 1:
        _refuse(f"archive_version is {_shown(version)}")
    if version > ARCHIVE_VERSION:
        _refuse(f"is an archive of version {version}, and this program reads up to {ARCHIVE_VERSION}: upgrade it")
    expected = {"archive", "archive_version", "schema_version", "fingerprint", "model", "dimension", "tenant_key"}
    _require_keys(fields, {*expected, "documents", "chunks"})
    tenant_key = fields["tenant_key"]
    info = IndexInfo(
        schema_version=_integer(fields, "schema_version"),
        fingerprint=_matching(fields, "fingerprint", _DIGEST),
        model=_text(fields, "model"),
        dimension=_integer(fields, "dimension", 1, _MOST_DIMENSIONS),
        tenant_key=None if tenant_key is None else _matching(fields, "tenant_key", _KEY),
    )
    return Header(info, _integer(fields, "documents"), _integer(fields, "chunks"))


def read_head(fields: Mapping[str, Any]) -> Head:
    """A document's line.

    Raises:
        ReadError: it is none.
    """
    names = {"document", "version", "title", "language", "format", "chunks", "ingested_at", "metadata", "digest"}
    _require_keys(fields, names)
    uri = _matching(fields, "document", _URI)
    # Such a location is never given to a document: it would be another one's under a second name.
    if len(uri) > _LONGEST_URI or {".", ".."} & set(unquote(uri, errors="surrogateescape").split("/")):
        _refuse(f"the location {_shown(uri)} is none that a document has")
    ingested_at = fields["ingested_at"]
    if type(ingested_at) not in (int, float) or not 0 <= ingested_at < _LARGEST:
        _refuse(f"ingested_at is {_shown(ingested_at)}, not seconds since 1970")
    metadata = fields["metadata"]
    if not isinstance(metadata, dict):
        _refuse(f"metadata is {_shown(metadata)}, not an object")
    for key in metadata:
        if not _KEY.fullmatch(key):
            _refuse(f"metadata has the key {_shown(key)}")
        _text(metadata, key)
    document = StoredDocument(
        uri=uri,
        version=_matching(fields, "version", _DIGEST),
        title=_text(fields, "title"),
        language=_matching(fields, "language", _TAG),
        format=_matching(fields, "format", _TAG),
        chunk_count=_integer(fields, "chunks", 1),
        ingested_at=float(ingested_at),
        metadata=metadata,
    )
    return Head(document, _matching(fields, "digest", _DIGEST))


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
    _require_keys(fields, {*names, "dense", "ids", "weights"})
    if _integer(fields, "chunk") != ordinal:
        _refuse(f"is chunk {_shown(fields['chunk'])} where chunk {ordinal} belongs")
    text = _text(fields, "text")
    start, end = _integer(fields, "start"), _integer(fields, "end")
    if not text or end - start != len(text):
        _refuse(f"its text has {len(text)} characters and its span {end - start}")
    headings, breaks = fields["headings"], fields["page_breaks"]
    if not isinstance(headings, list) or not isinstance(breaks, list):
        _refuse("headings or page_breaks is no list")
    chunk = Chunk(
        id=point_id(document.uri, document.version, ordinal),
        uri=document.uri,
        version=document.version,
        ordinal=ordinal,
        chunk_count=document.chunk_count,
        text=text,
        start=start,
        end=end,
        title=document.title,
        headings=tuple(_text({"a heading": each}, "a heading") for each in headings),
        page=None if fields["page"] is None else _integer(fields, "page", 1),
        page_breaks=tuple(_integer({"a page break": each}, "a page break", start, end) for each in breaks),
        language=_matching(fields, "language", _TAG),
        document_language=document.language,
        format=document.format,
        text_hash=_matching(fields, "text_hash", _DIGEST),
        ingested_at=document.ingested_at,
        metadata=document.metadata,
    )
    return chunk, _embedding(fields, dimension)


def read_end(fields: Mapping[str, Any]) -> End:
    """The last line of an archive.

    Raises:
        ReadError: it is none.
    """
    _require_keys(fields, {"end", "documents", "chunks", "digest"})
    return End(_integer(fields, "documents"), _integer(fields, "chunks"), _matching(fields, "digest", _DIGEST))


def fields_of(line: bytes) -> dict[str, Any]:
    """The JSON object on a line.

    Raises:
        ReadError: there is none.
    """
    try:
        found = json.loads(line.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError, too, as is an integer without end
        raise ReadError(f"is not a line of JSON ({_shown(str(error))})") from error
    if not isinstance(found, dict):
        _refuse("is no JSON object")
    return found


def _embedding(fields: Mapping[str, Any], dimension: int) -> Embedding:
    dense = _array(fields, "dense", "<f4", dimension)
    ids, weights = _array(fields, "ids", "<u4"), _array(fields, "weights", "<f4")
    # In float64: a sum of float32 could overflow and warn. A NaN or an infinity comes out as one.
    norm = math.sqrt(float(np.dot(dense.astype(np.float64), dense.astype(np.float64))))
    if dense.size != dimension or not abs(norm - 1) <= _NORM_TOLERANCE:
        _refuse(f"its dense vector has {dense.size} components and norm {norm:.6g}, not {dimension} and 1")
    if ids.size != weights.size or np.any(ids[1:] <= ids[:-1]):
        _refuse("its sparse ids are not strictly ascending with a weight each")
    if not np.all(np.isfinite(weights) & (weights > 0)):
        _refuse("its sparse weights are not all finite and above 0")
    return Embedding(dense.astype(np.float32), SparseVector(ids.astype(np.uint32), weights.astype(np.float32)))


def _array(fields: Mapping[str, Any], name: str, kind: str, most: int = _MOST_TERMS) -> NDArray[Any]:
    try:
        content = base64.b64decode(_text(fields, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReadError(f"{name} is not base64 ({error})") from error
    if len(content) % 4 or len(content) > 4 * most:
        _refuse(f"{name} holds {len(content)} bytes, which are not up to {most} numbers of 4")
    return np.frombuffer(content, dtype=kind)


def _base64(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8") + b"\n"


def _require_keys(fields: Mapping[str, Any], expected: Collection[str]) -> None:
    if fields.keys() != set(expected):
        wrong = sorted(fields.keys() ^ set(expected))
        _refuse(f"has fields that do not belong there, or lacks some: {_shown(', '.join(wrong))}")


def _integer(fields: Mapping[str, Any], name: str, least: int = 0, most: int = _LARGEST) -> int:
    value = fields[name]
    if type(value) is not int or not least <= value <= most:
        _refuse(f"{name} is {_shown(value)}, not an integer from {least} to {most}")
    return int(value)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        _refuse(f"{name} is {_shown(value)}, not a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ReadError(
            f"{name} holds a lone surrogate at position {error.start}, which is not Unicode text"
        ) from error
    return str(value)


def _matching(fields: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = _text(fields, name)
    if not pattern.fullmatch(value):
        _refuse(f"{name} is {_shown(value)}, which does not match {pattern.pattern}")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _shown(value: object) -> str:
    """A value in a message: printable and short, whatever it is."""
    said = ascii(value)
    return said if len(said) <= 80 else f"{said[:79]}…"


def _refuse(what: str) -> NoReturn:
    raise ReadError(what)
