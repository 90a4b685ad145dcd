"""The index made anew of its documents' files, with another model or other chunks, while the old one answers.

The new one is written beside the old one and takes its place at the end, at once. Whoever writes meanwhile writes to
the old one: what has changed there is done again until a look finds nothing new, then the new one takes over, and one
more look finds what was written in between.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rag_config.settings import Settings

from ingest import chunking, readers
from ingest.afterwards import optimized
from ingest.discovery import Found
from ingest.pipeline import Ingestion
from ingest.reading import Reading, reading
from ingest.report import Failure, IngestReport, Progress
from rag import build, tuned
from rag.errors import EmbeddingError, InputError, ReadError
from rag.identity import text_hash
from rag.locations import path_of, source_of
from rag.ports import Embedder, PassageReader, PassageStore
from rag.types import Embedding, StoredDocument

if TYPE_CHECKING:
    from rag.stores.successor import Successor

logger = logging.getLogger(__name__)

_NAMED = 5  # documents that a refusal names


@dataclass(slots=True)
class RebuildReport(IngestReport):
    """What a rebuild did: `added` and `updated` were written, `unchanged` had been by one that was killed.

    Attributes:
        kept: documents whose files are gone or cannot be read, which are in the new index as they were in the old one.
        switched: whether the new index answers now; else the old one goes on, and the next rebuild too.
        untuned: whether what `rag tune` had found was removed, as it was for another model.
    """

    kept: list[Failure] = field(default_factory=list)
    switched: bool = False
    untuned: bool = False


def rebuild(
    *,
    settings: Settings | None = None,
    keep_missing: bool = False,
    stop: threading.Event | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_optimizing: Callable[[int], None] | None = None,
) -> RebuildReport:
    """Makes the index anew with the settings' model and chunks, of the files of the documents that are in it.

    Questions are answered by the old index until the new one is whole. Texts that the old index holds are not embedded
    again by the same model. A rebuild that was ended or killed is gone on with by the next one with equal settings.

    Args:
        settings: by default from environment, .env and rag.toml.
        keep_missing: whether documents whose files are gone or cannot be read are taken over as the index has them;
            else the old index stays if there are any.
        stop: when set, the run ends after the documents at hand, and the old index stays.
        on_progress: called after every file.
        on_optimizing: called with the number of new passages before the new index is optimized, once it answers.

    Raises:
        IndexMissingError: there is no index.
        InputError: documents would be lost.
        NotConfiguredError: the model cannot be had.
        UnavailableError: the store fails, or another rebuild is at work; the index that answers is whole.
    """
    settings = settings or Settings()
    model = build.checkpoint(settings)
    embedder = build.embedder(settings, model)
    chunk_tokens = min(settings.ingest.chunk_tokens, embedder.window)
    shape = [chunk_tokens, chunking.VERSION, sorted(readers.VERSIONS.items())]
    with build.successor(settings, embedder, shape) as both:
        run = _Rebuild(
            both, embedder, reading(settings, model), chunk_tokens, keep_missing, stop or threading.Event(), on_progress
        )
        run.run()
        if run.report.switched and not both.same_model and not settings.store.url:
            run.report.untuned = tuned.forget(settings.store.path / settings.store.collection)
    if run.report.switched and not (stop and stop.is_set()):
        with closing(build.store(settings)) as index:
            run.report.optimized = optimized(index, settings, on_optimizing, stop)
    return run.report


class _Rebuild:
    """One rebuild."""

    def __init__(
        self,
        both: Successor,
        embedder: Embedder,
        how: Reading,
        chunk_tokens: int,
        keep_missing: bool,
        stop: threading.Event,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.report = RebuildReport()
        self._both = both
        self._embedder = embedder
        self._reading = how
        self._chunk_tokens = chunk_tokens
        self._keep_missing = keep_missing
        self._stop = stop
        self._on_progress = on_progress
        self._tenant_key = both.old.info().tenant_key
        self._done: dict[str, str] = {}  # uri → version in the old index whose document the new one has

    def run(self) -> None:
        for document in self._both.new.documents():  # of a rebuild that was killed
            if self._both.old.document(document.uri) is None:
                self._both.new.remove(document.uri)
        while True:
            changed = self._changed()
            if changed:
                if not self._write(changed):
                    return
            elif self.report.switched:
                self._both.caught_up = True
                return
            else:
                with self._both.quiet():
                    # What is written after this look and before the switch would be in the old index alone, until the
                    # look after the switch; a kill in between would lose it.
                    if self._changed():
                        continue
                    self._both.take_over()
                self.report.switched = True
                # What was written in between must not be lost, whatever becomes of its file and whoever is impatient.
                self._keep_missing, self._stop = True, threading.Event()

    def _changed(self) -> list[StoredDocument]:
        """What the old index has and the new one has not; what the old one has no more is taken out."""
        there = {document.uri: document for document in self._both.old.documents()}
        for uri in self._done.keys() - there.keys():
            self._both.new.remove(uri)
            del self._done[uri]
        return [each for uri, each in there.items() if self._done.get(uri) != each.version]

    def _write(self, documents: Sequence[StoredDocument]) -> bool:
        """Writes them to the new index; whether all are in it."""
        files = {document.uri: _file(document) for document in documents}
        lost = [file for file in files.values() if file.error]
        if lost and not self._keep_missing:
            raise InputError(_refusal(lost))
        report = Ingestion(
            _with_vectors_of(self._both),
            self._embedder,
            chunk_tokens=self._chunk_tokens,
            metadata={},
            metadata_by_uri=_Given(
                {each.uri: each for each in documents}, self._tenant_key, self._reading["limits"].pages
            ),
            known={document.uri: document.version for document in self._both.new.documents()},
            stop=self._stop,
            on_progress=self._on_progress,
            **self._reading,
        ).run([file for file in files.values() if not file.error])
        failed = report.failures + [_failure(file) for file in lost]
        self._add(report)
        if report.left or (self._stop.is_set() and not self.report.switched):
            self.report.left += len(lost)
            return False
        by_uri = {document.uri: document for document in documents}
        for failure in failed:
            if not self._keep_missing or not self._keep(by_uri[failure.uri], failure):
                self.report.failed += 1
                self.report.failures.append(failure)
        self._done |= {document.uri: document.version for document in documents}
        return not self.report.failed or self.report.switched

    def _keep(self, document: StoredDocument, failure: Failure) -> bool:
        """Takes a document over as the old index has it."""
        both = self._both
        chunks = list(both.old.chunks(document.uri))
        if not chunks:  # removed meanwhile
            return True
        if both.same_model:
            vectors = both.old.embeddings([chunk.text_hash for chunk in chunks])
            if any(chunk.text_hash not in vectors for chunk in chunks):
                return True  # removed or replaced meanwhile: the next look finds what there is now
            embeddings = [vectors[chunk.text_hash] for chunk in chunks]
        else:
            inputs = [chunking.embedding_input(chunk, self._chunk_tokens) for chunk in chunks]
            chunks = [replace(chunk, text_hash=text_hash(text)) for chunk, text in zip(chunks, inputs, strict=True)]
            try:
                embeddings = self._embedder.embed_passages(inputs)
            except EmbeddingError as error:
                logger.warning("%s cannot be kept: %s", document.source, error)
                return False
        both.new.stage(chunks, embeddings)
        both.new.commit(document.uri, chunks[0].version)
        self.report.kept.append(failure)
        self.report.chunks += len(chunks)
        return True

    def _add(self, report: IngestReport) -> None:
        for name in ("added", "updated", "unchanged", "skipped", "chunks", "tokens", "seconds", "left"):
            setattr(self.report, name, getattr(self.report, name) + getattr(report, name))


def _file(document: StoredDocument) -> Found:
    """The document's file, under the document's own URI; with an error where it is none that can be read."""
    path = Path(path_of(document.uri))
    try:
        if not document.uri.startswith("file:"):
            raise ReadError("is no file")
        size = path.stat().st_size
        if not os.access(path, os.R_OK):
            raise ReadError("may not be read")
    except FileNotFoundError:
        return Found(document.uri, path, None, error=ReadError("is gone"))
    except OSError as error:
        return Found(document.uri, path, None, error=ReadError(f"cannot be opened: {error.strerror or error}"))
    except ReadError as error:
        return Found(document.uri, path, None, error=error)
    return Found(document.uri, path, readers.format_of(path), size, named=True)


def _failure(file: Found) -> Failure:
    return Failure(source_of(file.uri), str(file.error), file.uri)


def _refusal(lost: Sequence[Found]) -> str:
    named = ", ".join(f"{source_of(file.uri)} ({file.error})" for file in lost[:_NAMED])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return (
        f"a rebuild would lose documents, {len(lost)} in all: {named}{more}; mount the disk, take them out with "
        "`ingest remove`, or give --keep-missing, which takes them over as the index has them"
    )


class _Given(Mapping[str, Mapping[str, str]]):
    """Of each document, the metadata that were given to it: those that it does not say of itself.

    A document's version depends on what was given, so whoever ingests it again as before finds it unchanged. What a
    file says may have changed since; then its own word counts, but for whose it is.
    """

    def __init__(self, documents: Mapping[str, StoredDocument], tenant_key: str | None, max_pages: int) -> None:
        self._documents = documents
        self._tenant_key = tenant_key
        self._max_pages = max_pages

    def __getitem__(self, uri: str) -> Mapping[str, str]:
        document = self._documents[uri]
        if not document.metadata:
            return {}
        path = Path(path_of(uri))
        own: dict[str, str] = {}
        try:
            changed = path.stat().st_mtime > document.ingested_at
            for each in readers.read(uri, path.read_bytes(), max_pages=self._max_pages):
                own.update(each.metadata)
        except Exception:  # noqa: BLE001  a reader's bug: whoever reads the file next records it
            return document.metadata
        return {
            key: value
            for key, value in document.metadata.items()
            if own.get(key) != value and (key not in own or not changed or key == self._tenant_key)
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)


def _with_vectors_of(both: Successor) -> PassageStore:
    """The new index, which knows the vectors of the old one where one model made both."""
    return cast(PassageStore, _Reusing(both.new, both.old)) if both.same_model else both.new


class _Reusing:
    """All that the new index is, but for the vectors that it knows."""

    def __init__(self, new: PassageStore, old: PassageReader) -> None:
        self._new = new
        self._old = old

    def __getattr__(self, name: str) -> Any:
        return getattr(self._new, name)

    def embeddings(self, text_hashes: Sequence[str]) -> Mapping[str, Embedding]:
        found = dict(self._new.embeddings(text_hashes))
        found.update(self._old.embeddings([each for each in text_hashes if each not in found]))
        return found
