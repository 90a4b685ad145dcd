"""Processes that read files ahead, each watched by a thread: ended where a file takes too long, and started anew.

A process may hold one file's work and no more than its pipe: what it has made waits there until it is wanted.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe

from ingest.preparing import Limits, Read, Slice, Task, too_much_memory, too_slow
from ingest.reading_process import MakeCounter, Message
from rag.errors import RagError, ReadError

logger = logging.getLogger(__name__)

AVAILABLE = os.name == "posix" and bool(sys.executable)
"""Whether processes can be started: descriptors are not handed on elsewhere, and a program may embed Python."""

_CODE = "import sys; sys.path[:] = {path!r}; from ingest.reading_process import main; main()"
_CLOSED_IS_LOOKED_FOR = 0.2  # seconds
_HELD = 4
"""Parts of one file that are held before they are wanted."""


class Workers:
    """Some processes; started when there is work for them."""

    def __init__(self, count: int, limits: Limits, make_counter: MakeCounter | None) -> None:
        """Args:
        count: of processes.
        limits: of each file.
        make_counter: for their own use, to be pickled; without it documents come as they are read, to be cut here.
        """
        self._count = count
        self._limits = limits
        self._make_counter = make_counter
        self._tasks: queue.SimpleQueue[tuple[Task, _Parts] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def submit(self, task: Task) -> Iterator[Read | Slice]:
        """Has a file prepared; files are begun in the order in which they are submitted.

        Returns:
            What it becomes. Iterating raises ReadError and what else `read` and `cut` raise.
        """
        parts = _Parts(self._closed)
        self._tasks.put((task, parts))
        if len(self._threads) < self._count:
            # The system ends a process with the thread that started it: this one lives as long as it is needed.
            thread = threading.Thread(target=self._work, name="ingest-reading", daemon=True)
            self._threads.append(thread)
            thread.start()
        return parts.all()

    def close(self) -> None:
        """Ends all processes, whatever they are doing."""
        self._closed.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        process = _Process(self._limits, self._make_counter, self._closed)
        try:
            while (given := self._tasks.get()) is not None and not self._closed.is_set():
                task, parts = given
                try:
                    for part in process.prepared(task):
                        parts.put(part)
                    parts.put(None)
                except RagError as error:
                    parts.put(error)
                except Exception as error:  # whatever it is, whoever waits for the file must not wait forever
                    logger.debug("a reading process could not be used", exc_info=True)
                    process.kill()  # what it still has to say of this file must not be taken for the next one's
                    parts.put(ReadError(f"cannot be read in a process of its own ({type(error).__name__}: {error})"))
        finally:
            process.kill()


class _Parts:
    """What one file becomes, a few parts ahead."""

    def __init__(self, closed: threading.Event) -> None:
        self._queue: queue.Queue[Read | Slice | RagError | None] = queue.Queue(_HELD)
        self._closed = closed

    def put(self, part: Read | Slice | RagError | None) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._queue.put(part, timeout=_CLOSED_IS_LOOKED_FOR)
                return

    def all(self) -> Iterator[Read | Slice]:
        while (part := self._queue.get()) is not None:
            if isinstance(part, RagError):
                raise part
            yield part


class _Process:
    """One reading process; of one thread, but for `kill`."""

    def __init__(self, limits: Limits, make_counter: MakeCounter | None, closed: threading.Event) -> None:
        self._limits = limits
        self._make_counter = make_counter
        self._closed = closed
        self._running: tuple[subprocess.Popen[bytes], Connection[object, Message]] | None = None
        self._ready = False

    def prepared(self, task: Task) -> Iterator[Read | Slice]:
        """What the file becomes; the beginning of it where nobody wants it any more.

        Raises:
            ReadError: it took too long, or the process died of it.
        """
        process, connection = self._running = self._running or self._start()
        try:
            if not self._ready:  # its start is not the file's time
                while not self._closed.is_set() and not self._ready:
                    if connection.poll(_CLOSED_IS_LOOKED_FOR):
                        first = connection.recv()
                        self._ready = first is None  # what libraries warn of while it starts may come before
                        _hand_on(first)
            left = self._limits.seconds
            connection.send(task)
            while not self._closed.is_set():
                began = time.monotonic()
                come = connection.poll(min(left, _CLOSED_IS_LOOKED_FOR))
                left -= time.monotonic() - began  # not what the process waits for us
                if not come and left <= 0:
                    self.kill()
                    raise ReadError(too_slow(self._limits))
                message = connection.recv() if come else ()
                if message is None:
                    return
                _hand_on(message)
                if isinstance(message, RagError):
                    if str(message) == too_much_memory(self._limits):
                        self.kill()  # what it could not have had is in pieces all over its memory
                    raise message
                elif isinstance(message, (Read, Slice)):
                    yield message
        except (EOFError, ConnectionError) as error:
            status = process.wait()
            self.kill()
            raise ReadError(_death(task, status)) from error

    def kill(self) -> None:
        """Ends it; the next file has another one."""
        running, self._running, self._ready = self._running, None, False
        if running is not None:
            process, connection = running
            process.kill()
            process.wait()
            connection.close()

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection[object, Message]]:
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _CODE.format(path=sys.path), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for us to answer
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"},
            )
        with suppress(ConnectionError):  # it has died already, and the first file will tell
            ours.send(self._make_counter)
            ours.send(self._limits)
        return process, ours


def _death(task: Task, status: int) -> str:
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return (
        f"the {task.format} reader died of it ({how}), perhaps for want of memory "
        f"(RAG_INGEST__READ_MEMORY is {task.limits.memory} MB): split or convert it"
    )


def _hand_on(message: object) -> None:
    """Logs what a reading process has logged."""
    if isinstance(message, logging.LogRecord):
        logging.getLogger(message.name).handle(message)
