"""What to take into the index when files change: settled files alone, many changes in one run, again after an outage.

Where the word of a change comes from is another's business: each word only brings the next look forward. A look walks
the folders and compares what is there with what was taken, so a lost event costs time and no document.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest.discovery import IGNORE_FILE, Found, discover
from ingest.report import IngestReport
from rag.errors import UnavailableError

Signature = tuple[int, int, int] | str
"""Size, change and status change of a file, or why it cannot be looked at: while it is the same, so is the file."""
Run = Callable[[Callable[[Found], bool], bool], IngestReport]
"""Takes those of the files below the folders that the function names; prunes, if told so."""

OWNER_FILES = "~$*"
"""What Word and Excel put beside an open document: it ends like one and is none."""
_LONGEST_WAIT = 10  # times the debounce: a burst that does not end must not keep everything else waiting
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds between attempts while the store is away
_MISSING: Signature = "missing"


@dataclass(frozen=True, slots=True)
class Outage:
    """A run that failed because the store is away or held by another process.

    Attributes:
        pause: seconds until it is tried again.
    """

    error: UnavailableError
    pause: float


@dataclass(slots=True)
class _Look:
    """What a walk found to do.

    Attributes:
        due: changed files by URI, as they were seen.
        gone: taken once and not there any more.
        settling: whether some files are still being written.
        vanishing: whether some are missing that may only be in the middle of being replaced.
    """

    due: dict[str, Signature] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    settling: bool = False
    vanishing: bool = False


class Watching:
    """When to look, and what to take; ask `wait`, tell it with `changed`, and let it `step`."""

    def __init__(
        self,
        folders: Sequence[Path],
        run: Run,
        *,
        exclude: Sequence[str] = (),
        debounce: float,
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The first step looks at once, and takes everything.

        Args:
            run: raises UnavailableError while the store is away; every other error is passed on.
            exclude: as it is given to the run.
            debounce: seconds without a change after which files are taken.
            every: seconds after which it looks without having heard of a change.
        """
        self._folders = folders
        self._run = run
        self._exclude = exclude
        self._debounce = debounce
        self._every = every
        self._clock = clock
        self._taken: dict[str, Signature] = {}
        self._begun = False
        self._owes_pruning = False  # what vanished while another file was being replaced is still in the index
        self._settling: dict[str, tuple[Signature, float]] = {}  # by URI, with when it was first seen like that
        self._burst: float | None = None  # when the changes began that no look has seen yet
        self._look_at = clock()
        self._not_before = self._look_at
        self._pause = _FIRST_PAUSE

    @property
    def wait(self) -> float:
        """Seconds until the next step has something to do, if nothing changes before."""
        return max(0.0, max(self._look_at, self._not_before) - self._clock())

    def changed(self, paths: Iterable[str]) -> None:
        """Something happened to these paths."""
        if not any(self._matters(Path(path)) for path in paths):
            return
        now = self._clock()
        self._burst = now if self._burst is None else self._burst
        self._look_at = min(now + self._debounce, self._burst + _LONGEST_WAIT * self._debounce)

    def step(self) -> IngestReport | Outage | None:
        """Looks, if it is time, and runs, if there is something to take."""
        if self.wait > 0:
            return None
        now = self._clock()
        self._burst = None
        look = self._look(now)
        self._look_at = now + (self._debounce if look.settling or look.vanishing else self._every)
        owed = self._owes_pruning and not look.vanishing
        if not look.due and not look.gone and not owed and (self._begun or look.settling):
            return None
        first = not self._begun

        def takes(found: Found) -> bool:
            if found.format is None and not found.error:
                return first  # what nobody reads is told once
            # One that has changed since is for the next look, which finds it another than the one noted here.
            return found.uri in look.due and look.due[found.uri] == _signature(found)

        try:
            report = self._run(takes, not look.vanishing)
        except UnavailableError as error:
            pause = self._next_pause()
            self._not_before = self._look_at = self._clock() + pause
            return Outage(error, pause)
        self._begun, self._owes_pruning = True, look.vanishing
        passing = {failure.uri for failure in report.failures if failure.passing}
        self._taken |= {uri: signature for uri, signature in look.due.items() if uri not in passing}
        if passing:
            self._look_at = min(self._look_at, self._clock() + self._next_pause())
        else:
            self._pause = _FIRST_PAUSE
        for uri in look.gone:
            del self._taken[uri]
        return report

    def _next_pause(self) -> float:
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause

    def _look(self, now: float) -> _Look:
        look = _Look()
        there = set()
        for found in discover(self._folders, self._exclude):
            if found.format is None and not found.error:
                continue
            there.add(found.uri)
            signature = _signature(found)
            if signature == self._taken.get(found.uri):
                self._settling.pop(found.uri, None)
            elif self._has_settled(found.uri, signature, now):
                look.due[found.uri] = signature
            else:
                look.settling = True
        for uri in self._taken.keys() - there:
            if isinstance(self._taken[uri], str):  # what could not be looked at was no document
                del self._taken[uri]
            elif self._has_settled(uri, _MISSING, now):
                look.gone.add(uri)
            else:
                look.vanishing = True
        for uri in self._settling.keys() - there - self._taken.keys():
            del self._settling[uri]
        return look

    def _has_settled(self, uri: str, signature: Signature, now: float) -> bool:
        before, since = self._settling.get(uri, (None, now))
        if before is None and isinstance(signature, tuple):
            # Seen for the first time: when it was written says whether it may still be written.
            since = now - max(0.0, time.time() - signature[1] / 1e9)
        elif before != signature:
            since = now
        self._settling[uri] = (signature, since)
        return now - since >= self._debounce

    def _matters(self, path: Path) -> bool:
        """Whether a walk would look at the path: not into what begins with a dot, save what says what to leave out."""
        below = next((path.relative_to(root) for root in _spellings(self._folders) if path.is_relative_to(root)), path)
        parents = below.parts[:-1]
        return not any(part.startswith(".") for part in parents) and (
            not below.name.startswith(".") or below.name == IGNORE_FILE
        )


def _spellings(folders: Sequence[Path]) -> Iterator[Path]:
    """The folders as they were given, and as the system calls them."""
    for folder in folders:
        yield folder.absolute()
        yield Path(os.path.realpath(folder))


def _signature(found: Found) -> Signature:
    """Times of change and of status change: what could not be read can once its permissions are others."""
    if found.error:
        return str(found.error)
    try:
        status = found.path.stat()
    except OSError as error:
        return str(error)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
