"""A file to chunks that can be embedded: read, cut, measured. The same in this process and in another."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ingest import chunking, readers, versions
from ingest.ruler import CountTokens
from rag.errors import EmbeddingError, RagError, ReadError
from rag.language import detect
from rag.types import Chunk, Document

logger = logging.getLogger(__name__)

_SLICE = 256
"""Chunks of a long document that are held at once: about a megabyte."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost.

    Attributes:
        seconds: that reading and cutting it may take.
        memory: megabytes that it may need for that.
        size: bytes it may have.
        pages: a PDF may have.
    """

    seconds: float = 120.0
    memory: int = 2000
    size: int = 200_000_000
    pages: int = 20_000


@dataclass(frozen=True, slots=True)
class Task:
    """A file to be prepared, and what shapes its documents."""

    uri: str
    path: Path
    format: str
    metadata: Mapping[str, str]
    chunk_tokens: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class Read:
    """A document as it was read, its version from the same bytes."""

    document: Document
    version: str


@dataclass(frozen=True, slots=True)
class Slice:
    """Neighbouring chunks of a document.

    Attributes:
        inputs: the string that is embedded for each.
        tokens: of all of these, special tokens included.
    """

    uri: str
    version: str
    chunks: list[Chunk]
    inputs: list[str]
    tokens: int

    @property
    def last(self) -> bool:
        """Whether the document ends with it."""
        return self.chunks[-1].ordinal == self.chunks[-1].chunk_count - 1


def version_of(task: Task) -> str:
    """The version that the file has now.

    Raises:
        ReadError: it is too large.
        OSError: it cannot be read.
    """
    digest = versions.digest()
    with _opened(task) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return _version(digest, task)


def read(task: Task) -> Iterator[Read]:
    """The documents of a file.

    Raises:
        ReadError: it cannot be read, or is beyond its limits.
    """
    with_errors = _Boundary(task)
    with with_errors:
        with _opened(task) as file:
            data = file.read()
        version = _version(versions.digest(data), task)
        documents = readers.read(task.uri, data, max_pages=task.limits.pages)
        del data  # a large one is not kept while its text is cut
    while True:
        with with_errors:
            document = next(documents, None)
            if document is None:
                return
        yield Read(replace(document, metadata={**document.metadata, **task.metadata}), version)


def cut(found: Read, task: Task, count_tokens: CountTokens) -> Iterator[Slice]:
    """The chunks of a document, some at a time.

    Raises:
        ReadError: it holds no text.
        EmbeddingError: its text cannot be counted.
        NotConfiguredError: the model's tokenizer cannot be used.
    """
    with_errors = _Boundary(task)
    with with_errors:
        cuts = chunking.cut(
            found.document,
            version=found.version,
            ingested_at=time.time(),
            budget=task.chunk_tokens,
            count_tokens=count_tokens,
            detect=detect,
        )
    empty = True
    while True:
        with with_errors:
            some = list(islice(cuts, _SLICE))
            inputs = [text for _, text in some]
            tokens = sum(count_tokens(inputs))
        if not some:
            break
        empty = False
        yield Slice(found.document.uri, found.version, [chunk for chunk, _ in some], inputs, tokens)
    if empty:
        raise ReadError("holds no text")


class _Boundary:
    """What goes wrong inside is this file's failure alone: a reader's bug must not cost the others."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, RagError) or not isinstance(error, Exception):
            return
        if isinstance(error, OSError):
            raise ReadError(f"cannot be read: {error.strerror or error}") from error
        if isinstance(error, MemoryError):
            raise ReadError(too_much_memory(self._task.limits)) from error
        logger.debug("reader failed", exc_info=error)
        raise ReadError(
            f"the {self._task.format} reader failed ({type(error).__name__}: {error}); please report this"
        ) from error


def too_much_memory(limits: Limits) -> str:
    """Of a file whose reader wanted more than it may have."""
    return f"needs more than {limits.memory} MB to be read: split it, or raise RAG_INGEST__READ_MEMORY"


def too_slow(limits: Limits) -> str:
    """Of a file whose reader did not end in time."""
    return f"could not be read in {limits.seconds:g} s: split it, or raise RAG_INGEST__READ_SECONDS"


COSTS_ITS_DOCUMENT = (ReadError, EmbeddingError)
"""Errors of a file that say nothing of the others."""


@contextmanager
def _opened(task: Task) -> Iterator[BinaryIO]:
    """The file, unless it is too large or none: to open a pipe is to wait for whoever writes to it."""
    if not stat.S_ISREG(task.path.stat().st_mode):
        raise ReadError("is not a regular file")
    with task.path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > task.limits.size:
            raise ReadError(f"has {size} bytes, more than {task.limits.size}: split it, or raise RAG_INGEST__MAX_BYTES")
        yield file


def _version(digest: hashlib.blake2b, task: Task) -> str:
    return versions.version(digest, task.format, task.chunk_tokens, task.metadata)
