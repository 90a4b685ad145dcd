"""An index as a stream of lines, to be moved to another machine or another kind of store without the model.

    header      schema version, fingerprint, model, dimension, tenant key, counts
    document    its fields, and a digest of the lines of its chunks, which follow
    chunk       its fields and its vectors
    end         how many documents and chunks there were, and a digest of all lines; without it, it is cut off

One index gives one stream of bytes: documents come by URI, chunks by position. Both ways no more than one document is
in memory.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO, NoReturn, TypeVar

from ingest.archive_documents import StoredDocuments
from ingest.archive_fields import fields_of
from ingest.archive_records import (
    End,
    Head,
    Header,
    end_line,
    head_line,
    header_line,
    read_chunk,
    read_end,
    read_head,
    read_header,
)
from rag.errors import IndexMismatchError, IndexMissingError, ReadError
from rag.ports import PassageReader, PassageStore
from rag.stores.schema import SCHEMA_VERSION
from rag.types import Chunk, Embedding, IndexInfo

_LONGEST_LINE = 8 * 2**20
"""Bytes; a chunk of 8,192 tokens with 4,096 dimensions takes some 200,000."""
_LARGEST_DOCUMENT = 2**30
"""Bytes of the lines of one document, which are held in memory."""

Parsed = TypeVar("Parsed")
OnProgress = Callable[[int, int], None]
"""Called with the documents that are done and that there are, as the header says."""


@dataclass(slots=True)
class ArchiveReport:
    """What an export or an import did, in documents; `chunks` counts what was written."""

    written: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    interrupted: bool = False


def write_archive(store: PassageReader, stream: BinaryIO, on_progress: OnProgress | None = None) -> ArchiveReport:
    """Writes the index.

    Raises:
        IndexMissingError: there is none.
        StoreError: a document is torn, or replaced again and again.
        UnavailableError: the store fails.
        OSError: the stream does.
    """
    report = ArchiveReport()
    documents = list(store.documents())
    stored = StoredDocuments(store)
    whole = hashlib.blake2b(digest_size=16)

    def write(line: bytes) -> None:
        whole.update(line)
        stream.write(line)

    write(header_line(Header(store.info(), len(documents), sum(each.chunk_count for each in documents))))
    for done, listed in enumerate(documents, start=1):
        lines, document = stored.read(listed)
        if lines:  # else it was removed meanwhile
            write(head_line(Head(document, _digest(lines))))
            for line in lines:
                write(line)
            report.written += 1
            report.chunks += len(lines)
        if on_progress:
            on_progress(done, len(documents))
    stream.write(end_line(End(report.written, report.chunks, whole.hexdigest())))
    return report


def read_archive(
    stream: BinaryIO,
    store: PassageStore,
    *,
    tenant_key: str | None = None,
    stop: threading.Event | None = None,
    on_progress: OnProgress | None = None,
) -> ArchiveReport:
    """Brings the documents of an archive into the index, each whole or not at all.

    One that the index has in the same version is left as it is, one that it has in another is replaced.

    Args:
        tenant_key: by which the settings separate the tenants of a new index.
        stop: when set, the run ends after the document at hand.

    Raises:
        ReadError: the archive is damaged, cut off or none; the line is named, and the documents before it stay.
        IndexMismatchError: the archive is of another model, schema or tenant key than the index.
        InputError: a document is another tenant's.
        UnavailableError: the store fails.
    """
    lines = _Lines(stream)
    report = ArchiveReport()
    first = lines.fields()
    header = lines.checked(partial(read_header, first))
    _prepare(store, header.info, tenant_key)
    known = {document.uri: document.version for document in store.documents()}
    seen: set[str] = set()
    chunks = 0
    while True:
        if stop is not None and stop.is_set():
            report.interrupted = True
            return report
        before = lines.digest()
        fields = lines.fields()
        if "end" in fields:
            break
        head = lines.checked(partial(read_head, fields))
        if head.document.uri in seen:
            lines.refuse("holds a document that was there before")
        seen.add(head.document.uri)
        read = _chunks(lines, head, header.info.dimension)
        chunks += len(read)
        if known.get(head.document.uri) == head.document.version:
            report.unchanged += 1
        else:
            store.stage([chunk for chunk, _ in read], [embedding for _, embedding in read])
            store.commit(head.document.uri, head.document.version)
            report.chunks += len(read)
            if head.document.uri in known:
                report.updated += 1
            else:
                report.written += 1
        if on_progress:
            on_progress(len(seen), header.documents)
    end = lines.checked(partial(read_end, fields))
    if (end.documents, end.chunks, end.digest) != (len(seen), chunks, before):
        lines.refuse(f"says that {end.documents} documents came before it, or others: the archive is damaged")
    lines.require_end()
    return report


def _prepare(store: PassageStore, info: IndexInfo, tenant_key: str | None) -> None:
    """Makes the index as the archive's was, or checks that the one there is like it."""
    if info.schema_version != SCHEMA_VERSION:
        raise IndexMismatchError(
            f"the archive has schema version {info.schema_version}, this program version {SCHEMA_VERSION}: "
            "export it again with this version of the program"
        )
    try:
        found = store.info()
    except IndexMissingError:
        found = replace(info, tenant_key=info.tenant_key if tenant_key is None else tenant_key)
    if (found.fingerprint, found.dimension) != (info.fingerprint, info.dimension):
        raise IndexMismatchError(
            f"the archive was made with model {_model(info)}, the index with {_model(found)}: import into another "
            "--collection"
        )
    if found.tenant_key != info.tenant_key:
        raise IndexMismatchError(
            f"the archive's tenants are separated by {info.tenant_key!r}, the index's by {found.tenant_key!r}: "
            "import into another --collection"
        )
    store.prepare(info)


def _model(info: IndexInfo) -> str:
    return f"{info.model!r} (fingerprint {info.fingerprint}, dimension {info.dimension})"


def _chunks(lines: _Lines, head: Head, dimension: int) -> list[tuple[Chunk, Embedding]]:
    """A document's chunks, all that belong to it and as they were written."""
    read = []
    size = 0
    digest = hashlib.blake2b(digest_size=16)
    for ordinal in range(head.document.chunk_count):
        line = lines.next()
        size += len(line)
        if size > _LARGEST_DOCUMENT:
            lines.refuse(f"belongs to a document of more than {_LARGEST_DOCUMENT} bytes")
        digest.update(line)
        fields = lines.checked(partial(fields_of, line))
        read.append(lines.checked(partial(read_chunk, fields, head.document, ordinal, dimension)))
    if digest.hexdigest() != head.digest:
        lines.refuse("ends a document whose digest is another: the archive is damaged")
    return read


def _digest(lines: list[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update(line)
    return digest.hexdigest()


class _Lines:
    """The lines of a stream, by number."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._number = 0
        self._whole = hashlib.blake2b(digest_size=16)

    def next(self) -> bytes:
        """The next line, with its end."""
        line = self._read()
        self._number += 1
        if len(line) > _LONGEST_LINE:
            self.refuse(f"is longer than {_LONGEST_LINE} bytes")
        if not line.endswith(b"\n"):
            self.refuse("is missing or not whole: it is cut off; the documents before it are in the index")
        self._whole.update(line)
        return line

    def fields(self) -> dict[str, Any]:
        """The JSON object on the next line."""
        line = self.next()
        return self.checked(partial(fields_of, line))

    def checked(self, parse: Callable[[], Parsed]) -> Parsed:
        """What `parse` gives; its refusal with the line's number."""
        try:
            return parse()
        except ReadError as error:
            raise ReadError(f"line {self._number} of the archive {error}") from error

    def refuse(self, what: str) -> NoReturn:
        """Raises, with the line's number."""
        raise ReadError(f"line {self._number} of the archive {what}")

    def digest(self) -> str:
        """Of all lines so far."""
        return self._whole.hexdigest()

    def require_end(self) -> None:
        """Refuses what comes after the last line."""
        if self._read():
            self._number += 1
            self.refuse("comes after the end of the archive")

    def _read(self) -> bytes:
        try:
            return self._stream.readline(_LONGEST_LINE + 1)
        except EOFError:  # of a compressed stream
            return b""
        except (OSError, ValueError, zlib.error) as error:
            raise ReadError(
                f"line {self._number + 1} of the archive cannot be read ({error}): it is damaged"
            ) from error
