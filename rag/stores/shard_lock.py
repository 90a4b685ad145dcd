"""One holder at a time for a shard, across processes, that is asked to let go rather than waited out.

    FOLDER/lock                 the operating system's file lock; it dies with its process
    FOLDER/holder.json          process id and command of the holder, for messages only
    FOLDER/waiting/PID-TOKEN    one for each waiter, touched at every look; one that is no longer touched is removed

A waiter's age, not its process id, says whether it lives: that holds on every system, in containers that share a folder
but not their process ids, and for a process that is stopped and could not take the lock anyway.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path

import filelock

from rag.errors import IndexBusyError, StoreError

_POLL_SECONDS = 0.02
_WAITER_LIFETIME_SECONDS = 1.0  # fifty looks missed
_COURTESY_SECONDS = 0.25  # for a waiter to take what was released for it


class ShardLock:
    """The lock of one folder. Its owner calls it from one thread at a time."""

    def __init__(self, folder: Path, wait_seconds: float) -> None:
        self._folder = folder
        self._wait_seconds = wait_seconds
        # Not bound to a thread: one thread takes it, and the one that watches for idleness gives it back.
        self._lock = filelock.FileLock(folder / "lock", thread_local=False)
        self._holder = folder / "holder.json"
        self._waiting = folder / "waiting"
        self._own_name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._let_in: frozenset[str] = frozenset()
        self._released_at = 0.0

    def acquire(self) -> None:
        """Takes the lock, waiting up to `wait_seconds`; whoever asked for it first is let in first.

        Raises:
            IndexBusyError: it was not released in time; says who holds it.
            StoreError: the folder does not allow locking.
        """
        try:
            self._let_waiters_in()
            if not self._take() and not self._wait():
                raise IndexBusyError(
                    f"the index in {self._folder} is held by {self._holder_in_words()}, which did not let go within "
                    f"{self._wait_seconds:g} s: wait for it to finish or end it, then try again"
                )
            self._holder.write_text(json.dumps({"pid": os.getpid(), "command": _command()}), encoding="utf-8")
        except OSError as error:
            self._lock.release()
            raise StoreError(
                f"cannot lock the index in {self._folder} ({error.strerror or error}): "
                "its folder must be writable and on a file system with file locks"
            ) from error

    def release(self) -> None:
        """Gives the lock back, and remembers for whom."""
        self._let_in = frozenset(self._waiters())
        self._released_at = time.monotonic()
        try:
            self._holder.unlink(missing_ok=True)
        except OSError:  # it only serves messages
            pass
        finally:
            self._lock.release()

    def wanted(self) -> bool:
        """Whether someone waits for the lock."""
        return bool(self._waiters())

    def _take(self) -> bool:
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            return False
        return True

    def _wait(self) -> bool:
        own = self._waiting / self._own_name
        deadline = time.monotonic() + self._wait_seconds
        self._waiting.mkdir(exist_ok=True)
        try:
            while time.monotonic() < deadline:
                own.touch()
                time.sleep(_POLL_SECONDS)
                if self._take():
                    return True
        finally:
            own.unlink(missing_ok=True)
        return False

    def _let_waiters_in(self) -> None:
        """Leaves those for whom the lock was released the time to take it: a busy holder would win every race."""
        deadline = self._released_at + _COURTESY_SECONDS
        while self._let_in and time.monotonic() < deadline:
            if not self._let_in <= set(self._waiters()):  # one of them is through
                break
            time.sleep(_POLL_SECONDS / 4)
        self._let_in = frozenset()

    def _waiters(self) -> list[str]:
        names = []
        try:
            with os.scandir(self._waiting) as entries:
                for entry in entries:
                    if entry.name == self._own_name:
                        continue
                    if _is_alive(entry):
                        names.append(entry.name)
        except OSError:  # no one has ever waited
            pass
        return names

    def _holder_in_words(self) -> str:
        try:
            holder = json.loads(self._holder.read_text(encoding="utf-8"))
            return f"process {holder['pid']} ({holder['command']})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


def _is_alive(waiter: os.DirEntry[str]) -> bool:
    try:
        # An age below zero is a clock that was set back: such a file would else count for as long as it was set back.
        if abs(time.time() - waiter.stat().st_mtime) <= _WAITER_LIFETIME_SECONDS:
            return True
        Path(waiter.path).unlink(missing_ok=True)
    except OSError:  # taken away in this moment: it got the lock or gave up
        pass
    return False


def _command() -> str:
    """The name under which this process was started."""
    path = Path(sys.argv[0] if sys.argv else "")
    if path.name == "__main__.py":
        return path.parent.name
    return path.name if path.name not in ("", "-c", "-m", "-") else "python"
