"""Files to live documents, each whole or not at all.

Three stages, side by side: files are read and cut ahead, in processes of their own where that pays; chunks of many
files are embedded together; what is embedded is staged and committed in a thread. What is committed stays, whatever
happens afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from ingest.ahead import Ahead, Shape, Taken
from ingest.discovery import Found
from ingest.embedding import Batches
from ingest.meter import Meter
from ingest.preparing import COSTS_ITS_DOCUMENT, Limits, Slice
from ingest.reading_process import MakeCounter
from ingest.report import IngestReport, Progress
from ingest.writing import Open, Writer
from rag.errors import RagError, UnavailableError
from rag.ports import Embedder, PassageStore

logger = logging.getLogger(__name__)


class Ingestion:
    """One run over some files.

    Attributes:
        report: what it has done; whole when `run` returns, and as far as it came when `run` raises.
    """

    def __init__(
        self,
        store: PassageStore,
        embedder: Embedder,
        *,
        chunk_tokens: int,
        metadata: Mapping[str, str],
        known: Mapping[str, str],
        metadata_by_uri: Mapping[str, Mapping[str, str]] | None = None,
        limits: Limits | None = None,
        make_counter: MakeCounter | None = None,
        processes: int = 0,
        dry_run: bool = False,
        stop: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Takes the adapters and what shapes the documents.

        Args:
            store: of which `prepare` has been called.
            embedder: of the index.
            chunk_tokens: longest embedded string of a chunk.
            metadata: given to every document, over what it says of itself.
            known: version of each document in the index by URI.
            metadata_by_uri: given to single files instead.
            limits: of each file.
            make_counter: makes what counts the model's tokens in other processes; without it documents are cut here.
            processes: in which files are read; with none a reader that hangs is not ended.
            dry_run: read and cut, but write nothing.
            stop: when another thread or a signal sets it, the run ends after the documents at hand.
            on_progress: called after every file and every batch of chunks, by the thread that runs.
        """
        self.report = IngestReport()
        self._store = store
        self._embedder = embedder
        self._shape = Shape(chunk_tokens, metadata, metadata_by_uri or {}, limits or Limits())
        self._known = known
        self._make_counter = make_counter
        self._processes = processes
        self._dry_run = dry_run
        self._stop = stop or threading.Event()
        self._on_progress = on_progress
        self._batches = Batches(store, embedder, self._fail, self._tell_embedded)
        self._window: list[tuple[Open, Slice]] = []

    def run(self, files: Sequence[Found]) -> IngestReport:
        """Ingests `files`; once.

        Raises:
            UnavailableError: store or model failed on three documents in a row; what was committed until then stays,
                and the message says how much.
            NotConfiguredError: the model cannot be used.
        """
        report, self._meter = self.report, Meter(files, self._on_progress)
        ahead = Ahead(files, self._known, self._shape, self._embedder.count_tokens, self._make_counter, self._processes)
        report.left = len(files)
        with Writer(self._store) as self._writer, ahead:
            try:
                for taken in ahead:
                    self._take(taken)
                    report.left -= 1
                    if self._stop.is_set():
                        break
                self._embed()
                self._writer.finish()
            except UnavailableError as error:
                with suppress(RagError):  # what was embedded before is written if that can be done
                    self._writer.finish()
                self._take_note()
                raise type(error)(f"{error} ({_so_far(report, len(files))})") from error
            self._take_note()
        order = {found.uri: place for place, found in enumerate(files)}
        report.failures.sort(key=lambda failure: order.get(failure.uri, len(order)))
        report.seconds = self._meter.seconds
        self._meter.tell(report.chunks)
        return report

    def _take(self, taken: Taken) -> None:
        """Sorts a file into unchanged, skipped, failed, or chunks that wait."""
        document: Open | None = None
        try:
            if taken.error:
                raise taken.error
            for some in taken.slices or ():
                if document is None:
                    document = Open(taken.found, some.uri, some.version)
                self._add(document, some)
        except COSTS_ITS_DOCUMENT as error:
            self._fail(document or Open(taken.found, taken.found.uri, ""), error)
        else:
            if taken.slices is not None:
                return
            if taken.unchanged:
                self.report.unchanged += 1
            else:
                self.report.skipped += 1
            self._meter.done(taken.found)
        self._meter.tell()

    def _add(self, document: Open, some: Slice) -> None:
        if document.failed:  # what is left of it is read all the same: the process that does is to go on
            return
        document.chunks += len(some.chunks)
        document.tokens += some.tokens
        if self._dry_run:
            if some.last:
                self._done(document)
            return
        self._window.append((document, some))
        if sum(len(each.chunks) for _, each in self._window) >= self._batches.size:
            self._embed()

    def _embed(self) -> None:
        """Embeds what waits, and has it written."""
        window, self._window = self._window, []
        if window:
            self._writer.put(self._batches.embedded(window))
            if self._batches.broken:
                raise self._batches.broken
        self._take_note()

    def _take_note(self) -> None:
        """Counts what was written meanwhile."""
        for written in self._writer.written():
            if written.error is not None:
                self._fail(written.document, written.error)
            else:
                self._done(written.document)

    def _done(self, document: Open) -> None:
        if document.uri in self._known:
            self.report.updated += 1
        else:
            self.report.added += 1
        self.report.chunks += document.chunks
        self.report.tokens += document.tokens
        self._meter.done(document.found)
        self._meter.tell()

    def _fail(self, document: Open, error: Exception) -> None:
        document.failed = True
        self.report.fail(document.uri, str(error), passing=isinstance(error, UnavailableError))
        self._meter.done(document.found)

    def _tell_embedded(self, document: Open, chunks: int, of: int) -> None:
        self._meter.embedded(document.found, chunks, of)
        self._meter.tell()


def _so_far(report: IngestReport, files: int) -> str:
    written = report.added + report.updated
    left = files - written - report.unchanged - report.failed - report.skipped
    failed = f", {report.failed} failed" if report.failed else ""
    return (
        f"{written} of {files} files were written and stay{failed}, {left} not yet: the same command goes on with them"
    )
