"""Files to live documents, each whole or not at all.

Per file: is this version in the index already? → read → chunk → (with other files) embed → stage → commit. What is
committed stays, whatever happens afterwards.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingest import chunking, readers
from ingest.discovery import Found
from ingest.versions import version_of
from rag.errors import EmbeddingError, InputError, RagError, ReadError, UnavailableError
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
    uri: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingestion is.

    Attributes:
        files: files that are done with, of `files_total`.
        size: their bytes, of `size_total`.
        chunks: embedded so far, or found in the index with their vectors.
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
        left: files that were not looked at, because the run was ended.
        optimized: seconds that it then took to optimize the index; None where it was not.
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
    left: int = 0
    optimized: float | None = None
    failures: list[Failure] = field(default_factory=list)

    def fail(self, uri: str, reason: str) -> None:
        """Records a file that failed."""
        self.failed += 1
        self.failures.append(Failure(source_of(uri), " ".join(reason.split()), uri))


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
        metadata_by_uri: Mapping[str, Mapping[str, str]] | None = None,
        dry_run: bool = False,
        stop: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Takes the adapters and what shapes the documents.

        Args:
            chunk_tokens: longest embedded string of a chunk.
            metadata: given to every document, over what it says of itself.
            known: version of each document in the index by URI.
            metadata_by_uri: given to single files instead.
            dry_run: read and cut, but write nothing.
            stop: when another thread or a signal sets it, the run ends after the documents at hand.
            on_progress: called after every file and every batch of chunks.
        """
        self._store = store
        self._embedder = embedder
        self._chunk_tokens = chunk_tokens
        self._metadata = metadata
        self._metadata_by_uri = metadata_by_uri or {}
        self._known = known
        self._dry_run = dry_run
        self._stop = stop or threading.Event()
        self._on_progress = on_progress
        self._waiting: list[_Work] = []

    def run(self, files: Sequence[Found]) -> IngestReport:
        """Ingests `files`.

        Raises:
            UnavailableError: the store went away; what was committed until then stays, and the message says how much.
            NotConfiguredError: the model cannot be used.
        """
        report = IngestReport()
        meter = _Meter(files, self._on_progress)
        try:
            for position, found in enumerate(files, start=1):
                self._take(found, report)
                meter.take(found)
                last = position == len(files) or self._stop.is_set()
                if last or sum(len(work.chunks) for work in self._waiting) >= _CHUNKS_AT_ONCE:
                    self._write(report, meter)
                if not self._waiting:
                    meter.finish(report.chunks)
                if last or self._stop.is_set():
                    report.left = len(files) - position
                    break
        except UnavailableError as error:
            raise type(error)(f"{error} ({_so_far(report, len(files))})") from error
        report.seconds = meter.seconds
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
                metadata = self._metadata_by_uri.get(found.uri, self._metadata)
                version = version_of(data, found.format, self._chunk_tokens, metadata)
                if self._known.get(found.uri) == version:
                    report.unchanged += 1
                else:
                    documents = readers.read(found.uri, data)
                    self._waiting += [self._prepared(document, version, metadata) for document in documents]
        except (ReadError, EmbeddingError) as error:
            report.fail(found.uri, str(error))
        except RagError:  # the model, say: no other file would fare better
            raise
        except OSError as error:
            report.fail(found.uri, f"cannot be read: {error.strerror or error}")
        except Exception as error:  # the boundary of one document: a reader's bug must not cost the others
            logger.debug("reader failed", exc_info=True)
            report.fail(
                found.uri, f"the {found.format} reader failed ({type(error).__name__}: {error}); please report this"
            )

    def _prepared(self, document: Document, version: str, metadata: Mapping[str, str]) -> _Work:
        chunks = chunking.chunk(
            replace(document, metadata={**document.metadata, **metadata}),
            version=version,
            ingested_at=time.time(),
            budget=self._chunk_tokens,
            count_tokens=self._embedder.count_tokens,
            detect=detect,
        )
        if not chunks:
            raise ReadError("holds no text")
        return _Work(document.uri, version, chunks, [chunking.embedding_input(c, self._chunk_tokens) for c in chunks])

    def _write(self, report: IngestReport, meter: _Meter) -> None:
        """Embeds what waits and commits it document by document."""
        works, self._waiting = self._waiting, []
        try:
            vectors = {} if self._dry_run else self._vectors(works, meter)
        except EmbeddingError:  # one text cannot be embedded: below it costs its own document only
            vectors = {}
        for work in works:
            try:
                if not self._dry_run:
                    self._commit(work, vectors, meter)
            except (EmbeddingError, InputError) as error:  # the latter: it is another tenant's document
                report.fail(work.uri, str(error))
                continue
            if work.uri in self._known:
                report.updated += 1
            else:
                report.added += 1
            report.chunks += len(work.chunks)
            report.tokens += sum(self._embedder.count_tokens(work.inputs))

    def _commit(self, work: _Work, vectors: Mapping[str, Embedding], meter: _Meter) -> None:
        if any(chunk.text_hash not in vectors for chunk in work.chunks):
            vectors = self._vectors([work], meter)
        self._store.stage(work.chunks, [vectors[chunk.text_hash] for chunk in work.chunks])
        self._store.commit(work.uri, work.version)

    def _vectors(self, works: Sequence[_Work], meter: _Meter) -> Mapping[str, Embedding]:
        """The embedding of every chunk by text hash: the index's own where it has one, else computed."""
        inputs = {chunk.text_hash: text for work in works for chunk, text in zip(work.chunks, work.inputs, strict=True)}
        vectors = dict(self._store.embeddings(list(inputs)))
        new = [text_hash for text_hash in inputs if text_hash not in vectors]
        for start in range(0, len(new), _CHUNKS_AT_ONCE):  # where nothing is new no model is loaded
            batch = new[start : start + _CHUNKS_AT_ONCE]
            vectors.update(zip(batch, self._embedder.embed_passages([inputs[key] for key in batch]), strict=True))
            meter.embed(len(batch), len(new))
        return vectors


class _Meter:
    """Counts what is done, and tells."""

    def __init__(self, files: Sequence[Found], on_progress: Callable[[Progress], None] | None) -> None:
        self._totals = len(files), sum(found.size for found in files)
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._files = self._size = 0
        self._waiting_files = self._waiting_size = 0
        self._chunks = self._embedded = 0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def take(self, found: Found) -> None:
        """A file is read; it is done when what it holds is written."""
        self._waiting_files += 1
        self._waiting_size += found.size

    def embed(self, count: int, total: int) -> None:
        """`count` more of the `total` chunks that wait are embedded."""
        self._embedded += count
        self._tell(self._size + self._waiting_size * self._embedded // total)

    def finish(self, chunks: int) -> None:
        """Everything that was taken is done; `chunks` are written in all."""
        self._files += self._waiting_files
        self._size += self._waiting_size
        self._waiting_files = self._waiting_size = self._embedded = 0
        self._chunks = chunks
        self._tell(self._size)

    def _tell(self, size: int) -> None:
        if self._on_progress:
            files, total = self._totals
            self._on_progress(
                Progress(self._files, files, min(size, total), total, self._chunks + self._embedded, self.seconds)
            )


def _so_far(report: IngestReport, files: int) -> str:
    written = report.added + report.updated
    left = files - written - report.unchanged - report.failed - report.skipped
    return f"{written} of {files} files were written and stay, {left} not yet: the same command goes on with them"


def _known_types() -> str:
    return " ".join(sorted(readers.SUFFIXES))
