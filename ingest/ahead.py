"""Files in their order, each with what it becomes; while one is embedded, the next ones are read.

What could hang or eat memory is read in a process of its own, and so is all where there is much: starting one takes
half a second, in which some small text files are long read here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ingest import readers
from ingest.discovery import Found
from ingest.preparing import Limits, Read, Slice, Task, cut, read, version_of
from ingest.reading_process import MakeCounter
from ingest.ruler import CountTokens
from ingest.workers import AVAILABLE, Workers
from rag.errors import ReadError

_PLAIN = frozenset({"txt", "md"})
"""Formats whose readers take a time in proportion to the text."""
_READ_HERE = 50_000  # bytes of plain text a run: a quarter of a second's work, while the first process starts
_FILES_AHEAD = 64
_BYTES_AHEAD = 4_000_000  # of files that are prepared before they are wanted; a larger one is so alone


@dataclass(frozen=True, slots=True)
class Taken:
    """A file, and what is to be done with it.

    Attributes:
        slices: of its documents; None where nothing is.
        error: why it fails.
        unchanged: whether the index has this version; a file that is neither this nor failed nor read is skipped.
    """

    found: Found
    slices: Iterator[Slice] | None = None
    error: ReadError | None = None
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """What shapes the documents of a run.

    Attributes:
        metadata: given to every document, over what it says of itself.
        metadata_by_uri: given to single files instead.
    """

    chunk_tokens: int
    metadata: Mapping[str, str]
    metadata_by_uri: Mapping[str, Mapping[str, str]]
    limits: Limits


class Ahead:
    """Some files, once; a context that ends the processes."""

    def __init__(
        self,
        files: Sequence[Found],
        known: Mapping[str, str],
        shape: Shape,
        count_tokens: CountTokens,
        make_counter: MakeCounter | None,
        processes: int,
    ) -> None:
        """Args:
        files: in the order in which they are wanted.
        known: version of each document in the index by URI.
        shape: of the documents.
        count_tokens: the model's own, for what is cut in this process.
        make_counter: the same for other processes; without it all is cut in this one.
        processes: in which files are read; 0 for none but this.
        """
        self._files = iter(files)
        self._known = known
        self._shape = shape
        self._count_tokens = count_tokens
        self._processes = processes if AVAILABLE else 0
        self._workers = Workers(max(1, processes), shape.limits, make_counter)
        self._waiting: deque[Taken] = deque()
        self._bytes_waiting = 0
        self._bytes_here = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.close()

    def __iter__(self) -> Iterator[Taken]:
        while True:
            self._look_ahead()
            if not self._waiting:
                return
            taken = self._waiting.popleft()
            if taken.slices is not None:
                self._bytes_waiting -= taken.found.size
            yield taken

    def _look_ahead(self) -> None:
        while len(self._waiting) < _FILES_AHEAD and (not self._waiting or self._bytes_waiting < _BYTES_AHEAD):
            found = next(self._files, None)
            if found is None:
                return
            taken = self._taken(found)
            self._waiting.append(taken)
            if taken.slices is not None:
                self._bytes_waiting += found.size

    def _taken(self, found: Found) -> Taken:
        if found.error:
            return Taken(found, error=found.error)
        if found.format is None:
            if not found.named:
                return Taken(found)
            known = " ".join(sorted(readers.SUFFIXES))
            kind = found.path.suffix or "a file without a suffix"
            return Taken(found, error=ReadError(f"no reader takes {kind}; known: {known}"))
        shape = self._shape
        metadata = dict(shape.metadata_by_uri.get(found.uri, shape.metadata))
        task = Task(found.uri, found.path, found.format, metadata, shape.chunk_tokens, shape.limits)
        try:
            if found.uri in self._known and self._known[found.uri] == version_of(task):
                return Taken(found, unchanged=True)
        except ReadError as error:
            return Taken(found, error=error)
        except OSError as error:
            return Taken(found, error=ReadError(f"cannot be read: {error.strerror or error}"))
        return Taken(found, self._slices(task, found.size))

    def _slices(self, task: Task, size: int) -> Iterator[Slice]:
        self._bytes_here += size
        if self._processes and not (task.format in _PLAIN and self._bytes_here <= _READ_HERE):
            self._bytes_here = max(self._bytes_here, _READ_HERE + 1)  # once they are started, they read all
            return self._cut(task, self._workers.submit(task))
        return self._cut(task, read(task))

    def _cut(self, task: Task, made: Iterator[Read | Slice]) -> Iterator[Slice]:
        for part in made:
            if isinstance(part, Slice):
                yield part
            else:
                yield from cut(part, task, self._count_tokens)
