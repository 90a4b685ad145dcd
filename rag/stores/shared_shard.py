"""A shard that is open only while it is used: threads of one process share it, processes take turns."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from rag.errors import IndexBusyError, RagError
from rag.stores.shard_lock import ShardLock

_log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.05
# Opening costs 0.1 s at 1,000 points: whoever has opened answers a few waiting threads before it lets go.
_SHORTEST_HOLD_SECONDS = 0.05
_EXIT_SECONDS = 1.0

Shard = TypeVar("Shard")


class SharedShard(Generic[Shard]):
    """Opens on use, closes when idle or when another process waits, unless somebody has pinned it."""

    def __init__(self, lock: ShardLock, close: Callable[[Shard], None], idle_seconds: float) -> None:
        """`close` flushes and closes a shard; it is called with the lock held."""
        self._lock = lock
        self._close = close
        self._idle_seconds = idle_seconds
        self._mutex = threading.Lock()
        self._entrance = threading.Lock()
        self._shard: Shard | None = None
        self._opened_at = 0.0
        self._used_at = 0.0
        self._refused: tuple[float, IndexBusyError] | None = None
        self._closed = threading.Event()
        self._pins: set[object] = set()

    def pin(self, owner: object) -> None:
        """Keeps the shard open until `owner` unpins it, whoever waits; only inside `use`."""
        self._pins.add(owner)

    def unpin(self, owner: object) -> None:
        """Takes back `owner`'s pin, if it has one."""
        self._pins.discard(owner)

    @contextmanager
    def use(self, open_shard: Callable[[], Shard]) -> Iterator[Shard]:
        """The shard, for this thread alone; `open_shard` is called with the lock held when it is not open.

        Raises:
            IndexBusyError: another process does not let go of it.
        """
        asked_at = time.monotonic()
        with self._turn():
            shard = self._shard if self._shard is not None else self._open(open_shard, asked_at)
            try:
                yield shard
            except RagError:
                # What the engine has in memory may no longer be what it has on disk: the next use opens it afresh.
                if not self._pins:
                    self._release_or_log()
                raise
            self._used_at = time.monotonic()
            if not self._pins and self._used_at - self._opened_at >= _SHORTEST_HOLD_SECONDS and self._lock.wanted():
                self._release()

    def close(self) -> None:
        """Closes the shard if it is open and nobody has pinned it; the next use opens it again."""
        with self._mutex:
            if not self._pins:
                self._release()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # Python's locks are not fair: a thread that searches in a loop would take the mutex again before the thread it
        # has just released it for wakes up. That thread holds the entrance, so the loop queues behind it.
        with self._entrance:
            self._mutex.acquire()
        try:
            yield
        finally:
            self._mutex.release()

    def _open(self, open_shard: Callable[[], Shard], asked_at: float) -> Shard:
        if self._refused is not None and self._refused[0] >= asked_at:
            # Another thread has waited in vain while this one waited for it: once is enough.
            raise IndexBusyError(str(self._refused[1])) from self._refused[1]
        try:
            self._lock.acquire()
        except IndexBusyError as error:
            self._refused = (time.monotonic(), error)
            raise
        try:
            shard = open_shard()
        except BaseException:
            self._lock.release()
            raise
        self._shard = shard
        self._opened_at = self._used_at = time.monotonic()
        self._closed = threading.Event()
        atexit.register(self._close_at_exit)
        threading.Thread(target=self._watch, args=(self._closed,), name="rag-shard", daemon=True).start()
        return shard

    def _release(self) -> None:
        if self._shard is None:
            return
        shard, self._shard = self._shard, None
        self._pins.clear()
        self._closed.set()
        atexit.unregister(self._close_at_exit)
        try:
            self._close(shard)
        finally:
            self._lock.release()

    def _release_or_log(self) -> None:
        try:
            self._release()
        except RagError as error:
            _log.warning("closing the index failed: %s", error)

    def _watch(self, closed: threading.Event) -> None:
        while not closed.wait(_WATCH_SECONDS):
            with self._mutex:
                if closed.is_set():
                    return
                now = time.monotonic()
                idle = now - self._used_at >= self._idle_seconds
                wanted = now - self._opened_at >= _SHORTEST_HOLD_SECONDS and self._lock.wanted()
                if not self._pins and (idle or wanted):
                    self._release_or_log()

    def _close_at_exit(self) -> None:
        # A thread that still uses the shard while the interpreter ends must not keep it from ending.
        if self._mutex.acquire(timeout=_EXIT_SECONDS):
            try:
                self._release_or_log()
            finally:
                self._mutex.release()
