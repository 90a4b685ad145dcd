"""Counts how far an ingestion is, and tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ingest.discovery import Found
from ingest.report import Progress


class Meter:
    """Bytes count by the chunks of their file that are embedded, files when they are done with."""

    def __init__(self, files: Sequence[Found], on_progress: Callable[[Progress], None] | None) -> None:
        self._totals = len(files), sum(found.size for found in files)
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._files = self._size = self._chunks = 0
        self._of_open: dict[str, float] = {}  # bytes of files that are not done with, by URI

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def embedded(self, found: Found, chunks: int, of: int) -> None:
        """So many of a file's chunks have their vectors; told with the next `tell`."""
        self._chunks += chunks
        self._of_open[found.uri] = self._of_open.get(found.uri, 0.0) + found.size * chunks / of

    def done(self, found: Found) -> None:
        """A file is done with, whatever became of it; told with the next `tell`."""
        self._files += 1
        self._size += found.size
        self._of_open.pop(found.uri, None)

    def tell(self, chunks: int | None = None) -> None:
        """Says how far it is.

        Args:
            chunks: how many were written, once all is done.
        """
        if self._on_progress:
            files, total = self._totals
            size = min(self._size + int(sum(self._of_open.values())), total)
            counted = self._chunks if chunks is None else chunks
            self._on_progress(Progress(self._files, files, size, total, counted, self.seconds))
