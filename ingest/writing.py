"""Documents to the store in a thread, while the next ones are embedded."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ingest.discovery import Found
from ingest.preparing import Slice
from rag.errors import InputError, UnavailableError
from rag.ports import PassageStore
from rag.types import Embedding

logger = logging.getLogger(__name__)

MOST_FAILURES = 3
"""Documents in a row that store or model have failed on: a fourth would fare no better."""

_AHEAD = 1  # windows that wait for the one that is written
_LOOKED_FOR = 0.2  # seconds
_STAGED_AT_ONCE = 256  # chunks: on their way to the engine their vectors take ten times their memory


@dataclass(slots=True)
class Open:
    """A document that is under way.

    Attributes:
        failed: whether no more is to be done for it.
        live: whether it is committed.
    """

    found: Found
    uri: str
    version: str
    chunks: int = 0
    tokens: int = 0
    failed: bool = False
    live: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A slice of a document with its embeddings."""

    document: Open
    slice: Slice
    embeddings: Sequence[Embedding]


@dataclass(frozen=True, slots=True)
class Written:
    """A document whose last slice was written; or what it failed of."""

    document: Open
    error: Exception | None = None


class Writer:
    """Writes windows of parts, one after the other, in a thread of its own; a context that ends it.

    The parts of a document are kept until its last one is there: a store that is kept from stage to commit is kept for
    the writing only, not while a model computes. Documents that are whole are then written together. Where that fails,
    they are written one by one, so that a failure costs its own document only.
    """

    def __init__(self, store: PassageStore) -> None:
        self._store = store
        self._windows: queue.Queue[Sequence[Part] | None] = queue.Queue(_AHEAD)
        self._written: queue.SimpleQueue[Written] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._closed = threading.Event()
        self._failures = 0
        self._kept: dict[int, list[Part]] = {}  # of documents that have not ended yet, by the document's id()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        if self._thread:
            self._thread.join()

    def put(self, window: Sequence[Part]) -> None:
        """Has the parts written, in order; waits while others wait.

        Raises:
            UnavailableError: the store has failed on so many documents that no other would fare better.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ingest-writing", daemon=True)
            self._thread.start()
        self._put(window)

    def finish(self) -> None:
        """Waits until all is written.

        Raises:
            UnavailableError: as `put`.
        """
        if self._thread:
            self._put(None)
            self._thread.join()
            self._raise()

    def written(self) -> Iterator[Written]:
        """What has been done since the last call."""
        with suppress(queue.Empty):
            while True:
                yield self._written.get_nowait()

    def _put(self, window: Sequence[Part] | None) -> None:
        while True:
            self._raise()
            with suppress(queue.Full):
                self._windows.put(window, timeout=_LOOKED_FOR)
                return

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._closed.is_set():
                with suppress(queue.Empty):
                    window = self._windows.get(timeout=_LOOKED_FOR)
                    if window is None:
                        return
                    self._write(window)
        except BaseException as error:  # noqa: BLE001 - whoever waits for this thread is told, whatever it is
            self._error = error

    def _write(self, window: Sequence[Part]) -> None:
        documents = self._whole(window)
        if len(documents) > 1:
            try:
                self._write_together(documents)
                self._failures = 0
                return
            except (UnavailableError, InputError):  # the latter: a document is another tenant's
                logger.debug("some documents cannot be written together", exc_info=True)
        for parts in documents:
            if self._closed.is_set():  # whoever waits for the end waits for one document of a store that is away
                return
            self._write_alone(parts)

    def _whole(self, window: Sequence[Part]) -> list[list[Part]]:
        """The documents that end with the window, each with all its parts; parts of the others are kept."""
        for part in window:
            self._kept.setdefault(id(part.document), []).append(part)
        ended = [self._kept.pop(id(part.document)) for part in window if part.slice.last]
        self._kept = {key: parts for key, parts in self._kept.items() if not parts[0].document.failed}
        return [parts for parts in ended if not parts[0].document.failed]

    def _write_together(self, documents: Sequence[Sequence[Part]]) -> None:
        parts = [part for parts in documents for part in parts]
        pairs = [pair for part in parts for pair in zip(part.slice.chunks, part.embeddings, strict=True)]
        for start in range(0, len(pairs), _STAGED_AT_ONCE):
            some = pairs[start : start + _STAGED_AT_ONCE]
            self._store.stage([chunk for chunk, _ in some], [embedding for _, embedding in some])
        whole = {(part.slice.uri, part.slice.version): part.document for part in parts if part.slice.last}
        for committed in self._store.commit_all(list(whole)):
            whole[committed].live = True
            self._written.put(Written(whole[committed]))

    def _write_alone(self, parts: Sequence[Part]) -> None:
        document = parts[0].document
        if document.live:
            return
        try:
            self._write_together([parts])
            self._failures = 0
        except InputError as error:
            self._fail(document, error)
        except UnavailableError as error:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                raise
            self._fail(document, error)

    def _fail(self, document: Open, error: Exception) -> None:
        document.failed = True
        self._written.put(Written(document, error))
