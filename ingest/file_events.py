"""Word of changes below folders, from the operating system: the only file that knows watchfiles."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchfiles import Change

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.25
_LOOK_SECONDS = 1.0
"""How often it is seen whether a folder has vanished or come back, which the system says of none that is away."""
_WITHOUT_SECONDS = 30.0
"""How often changes are supposed where the system does not tell of them, as beyond its limit of watched folders."""

_Identity = tuple[int, int] | None


class FileEvents:
    """Changes below folders, also after one of them has vanished and come back."""

    def __init__(self, folders: Sequence[Path], stop: threading.Event) -> None:
        """Watches from now on.

        Args:
            stop: ends a wait.
        """
        self._folders = [str(folder.absolute()) for folder in folders]
        self._stop = stop
        self._identities: list[_Identity] = []
        self._changes: Generator[set[tuple[Change, str]], None, None] | None = None
        self._looked_at = self._watched_at = 0.0
        self._watch()

    def wait(self, seconds: float) -> set[str]:
        """Paths to which something happened; returns as soon as there are any, and none after `seconds`.

        The path of a folder itself stands for all that is below it.
        """
        deadline = time.monotonic() + seconds
        while not self._stop.is_set():
            found = self._next() | self._vanished_or_back()
            if found or time.monotonic() >= deadline:
                return found
        return set()

    def close(self) -> None:
        """Ends the watching."""
        if self._changes is not None:
            self._changes.close()
            self._changes = None

    def _next(self) -> set[str]:
        if self._changes is None:
            self._stop.wait(_TICK_SECONDS)
            return set()
        try:
            changes = next(self._changes, None)
        except (OSError, RuntimeError) as error:  # the library's own errors are RuntimeErrors
            self._without(error)
            return set(self._folders)
        if changes is None:  # it has been told to stop
            self._changes = None
            return set()
        found = {path for _, path in changes}
        if not found.isdisjoint(self._folders):
            # The folder itself was removed, and nothing in its place would be watched; or another is in its place.
            self._watch()
        return found

    def _vanished_or_back(self) -> set[str]:
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return set()
        self._looked_at = now
        blind = self._changes is None and now - self._watched_at >= _WITHOUT_SECONDS
        if self._identities == [_identity(folder) for folder in self._folders] and not blind:
            return set()
        self._watch()
        return set(self._folders)

    def _watch(self) -> None:
        from watchfiles import watch

        self.close()
        self._identities = [_identity(folder) for folder in self._folders]
        self._watched_at = time.monotonic()
        there = [folder for folder, identity in zip(self._folders, self._identities, strict=True) if identity]
        if not there:
            return
        self._changes = watch(
            *there,
            watch_filter=None,
            debounce=int(1000 * _TICK_SECONDS),
            rust_timeout=int(1000 * _TICK_SECONDS),
            yield_on_timeout=True,
            stop_event=self._stop,
            force_polling=False,
            ignore_permission_denied=True,
        )
        try:
            next(self._changes, None)  # it begins to watch when it is first asked
        except (OSError, RuntimeError) as error:
            self._without(error)

    def _without(self, error: Exception) -> None:
        self._changes = None
        logger.warning(
            "changes of %s are not told by the system (%s): looking every %d s instead",
            ", ".join(self._folders),
            error,
            _WITHOUT_SECONDS,
        )


def _identity(folder: str) -> _Identity:
    try:
        status = Path(folder).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
