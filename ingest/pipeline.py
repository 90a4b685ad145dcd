"""Files to live documents, each whole or not at all.

Per file: is this version in the index already? → read → chunk → (with other files) embed → stage → commit. What is
committed stays, whatever happens afterwards.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingest import chunking, readers
from ingest.discovery import Found
from rag.errors import EmbeddingError, ReadError
from rag.language import detect
from rag.locations import source_of
from rag.ports import Embedder, PassageStore
from rag.types import Chunk, Document, Embedding

logger = logging.getLogger(__name__)

_CHUNKS_AT_ONCE = 64
"""Chunks of several documents that are embedded together, so that short documents share a forward pass."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that did not become a document, and why, in one line."""

    source: str
    error: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingestion is.

    Attributes:
        files: files that are done with, of `files_total`.
        size: their bytes, of `size_total`.
        chunks: chunks committed.
        seconds: since the start.
    """

    files: int
    files_total: int
    size: int
    size_total: int
    chunks: int
    seconds: float


@dataclass(slots=True)
class IngestReport:
    """What an ingestion did, in documents; `chunks` and `tokens` count what was written.

    Attributes:
        skipped: walked files of a type that no reader takes.
        tokens: of the embedded strings, special tokens included.
        seconds: wall time.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    skipped: int = 0
    chunks: int = 0
    tokens: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    def fail(self, uri: str, reason: str) -> None:
        """Records a file that failed."""
        self.failed += 1
        self.failures.append(Failure(source_of(uri), " ".join(reason.split())))


@dataclass(frozen=True, slots=True)
class _Work:
    """A document that is chunked and waits for its vectors."""

    uri: str
    version: str
    chunks: list[Chunk]
    inputs: list[str]


class Ingestion:
    """One run over some files."""

    def __init__(
        self,
        store: PassageStore,
        embedder: Embedder,
        *,
        chunk_tokens: int,
        metadata: Mapping[str, str],
        known: Mapping[str, str],
        dry_run: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Args: known: version of each document in the index by URI; dry_run: read and cut, but write nothing."""
        self._store = store
        self._embedder = embedder
        self._chunk_tokens = chunk_tokens
        self._metadata = metadata
        self._known = known
        self._dry_run = dry_run
        self._on_progress = on_progress
        self._waiting: list[_Work] = []

    def run(self, files: Sequence[Found]) -> IngestReport:
        """Ingests `files`.

        Raises:
            UnavailableError: the store went away; what was committed until then stays.
        """
        report = IngestReport()
        started = time.monotonic()
        size, total = 0, sum(found.size for found in files)
        for done, found in enumerate(files, start=1):
            self._take(found, report)
            size += found.size
            if done == len(files) or sum(len(work.chunks) for work in self._waiting) >= _CHUNKS_AT_ONCE:
                self._write(report)
            report.seconds = time.monotonic() - started
            if self._on_progress:
                self._on_progress(Progress(done, len(files), size, total, report.chunks, report.seconds))
        return report

    def _take(self, found: Found, report: IngestReport) -> None:
        """Sorts a file into unchanged, skipped, failed, or work that waits."""
        try:
            if found.error:
                raise found.error
            if found.format is None:
                if found.named:
                    raise ReadError(
                        f"no reader takes {found.path.suffix or 'a file without a suffix'}; known: {_known_types()}"
                    )
                report.skipped += 1
            else:
                data = found.path.read_bytes()
                version = _version(data, found.format, self._chunk_tokens, self._metadata)
                if self._known.get(found.uri) == version:
                    report.unchanged += 1
                else:
                    self._waiting += [self._prepared(document, version) for document in readers.read(found.uri, data)]
        except ReadError as error:
            report.fail(found.uri, str(error))
        except OSError as error:
            report.fail(found.uri, f"cannot be read: {error.strerror or error}")
        except Exception as error:
            logger.debug("reader failed", exc_info=True)
            report.fail(
                found.uri, f"the {found.format} reader failed ({type(error).__name__}: {error}); please report this"
            )

    def _prepared(self, document: Document, version: str) -> _Work:
        chunks = chunking.chunk(
            replace(document, metadata={**document.metadata, **self._metadata}),
            version=version,
            ingested_at=time.time(),
            budget=self._chunk_tokens,
            count_tokens=self._embedder.count_tokens,
            detect=detect,
        )
        if not chunks:
            raise ReadError("holds no text")
        return _Work(document.uri, version, chunks, [chunking.embedding_input(c, self._chunk_tokens) for c in chunks])

    def _write(self, report: IngestReport) -> None:
        """Embeds what waits and commits it document by document."""
        works, self._waiting = self._waiting, []
        try:
            vectors = {} if self._dry_run else self._vectors(works)
        except EmbeddingError:  # one text cannot be embedded: below it costs its own document only
            vectors = {}
        for work in works:
            try:
                if not self._dry_run:
                    self._commit(work, vectors)
            except EmbeddingError as error:
                report.fail(work.uri, str(error))
                continue
            if work.uri in self._known:
                report.updated += 1
            else:
                report.added += 1
            report.chunks += len(work.chunks)
            report.tokens += sum(self._embedder.count_tokens(work.inputs))

    def _commit(self, work: _Work, vectors: Mapping[str, Embedding]) -> None:
        if any(chunk.text_hash not in vectors for chunk in work.chunks):
            vectors = self._vectors([work])
        self._store.stage(work.chunks, [vectors[chunk.text_hash] for chunk in work.chunks])
        self._store.commit(work.uri, work.version)

    def _vectors(self, works: Sequence[_Work]) -> Mapping[str, Embedding]:
        """The embedding of every chunk by text hash: the index's own where it has one, else computed."""
        inputs = {chunk.text_hash: text for work in works for chunk, text in zip(work.chunks, work.inputs, strict=True)}
        vectors = dict(self._store.embeddings(list(inputs)))
        new = [text for text in inputs if text not in vectors]
        if new:  # else no model is loaded
            vectors.update(zip(new, self._embedder.embed_passages([inputs[text] for text in new]), strict=True))
        return vectors


def _version(data: bytes, format: str, chunk_tokens: int, metadata: Mapping[str, str]) -> str:
    """Digest of all that shapes a document's points: its bytes, reader, chunker, budget and given metadata."""
    shape = [format, readers.VERSIONS[format], chunking.VERSION, chunk_tokens, sorted(metadata.items())]
    digest = hashlib.blake2b(data, digest_size=16)
    digest.update(json.dumps(shape).encode())
    return digest.hexdigest()


def _known_types() -> str:
    return " ".join(sorted(readers.SUFFIXES))
