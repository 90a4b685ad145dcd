"""The process in which files are read: what hangs or eats memory there is ended, and costs its file alone.

It is a new interpreter and no fork, so it loads no torch and holds no lock of the one that started it. It ends when
that one does, however that ends. Started by `ingest.workers`; both ends of the pipe are this program.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ingest.preparing import Limits, Read, Slice, Task, cut, read, too_much_memory
from ingest.ruler import CountTokens
from rag.errors import RagError, ReadError

MakeCounter = Callable[[], CountTokens]
Message = Read | Slice | RagError | logging.LogRecord | None
"""A document that is still to be cut, or some chunks of it; what went wrong; None once a file is done, and at first."""

_PARENT_HAS_DIED = 1  # PR_SET_PDEATHSIG of Linux's prctl


def main() -> None:
    """Does what comes through the pipe whose descriptor is the first argument, until it is closed."""
    _die_with(int(sys.argv[2]))
    connection: Connection[Message, Any] = Connection(int(sys.argv[1]))
    logging.getLogger().handlers = [_Forwarding(connection.send)]
    try:
        make_counter: MakeCounter | None = connection.recv()
        limits: Limits = connection.recv()
        count_tokens = make_counter() if make_counter is not None else None
        if count_tokens is not None:
            with suppress(RagError):  # the first file tells
                count_tokens(["the tokenizer is loaded before memory is limited"])
        _limit_memory(limits.memory)
        connection.send(None)
        while True:
            task: Task = connection.recv()
            try:
                for made in _prepared(task, count_tokens):
                    connection.send(made)
                connection.send(None)
            except RagError as error:
                connection.send(error)
            except MemoryError:  # while it was sent
                connection.send(ReadError(too_much_memory(limits)))
    except (EOFError, OSError):
        return  # nobody listens any more


def _prepared(task: Task, count_tokens: CountTokens | None) -> Iterator[Read | Slice]:
    for found in read(task):
        if count_tokens is None:
            yield found
        else:
            yield from cut(found, task, count_tokens)


def _die_with(parent: int) -> None:
    """Has the system end this process with the one that started it; elsewhere than on Linux the pipe's end does."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PARENT_HAS_DIED, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _limit_memory(megabytes: int) -> None:
    """Lets this process have so much more memory than now; where the system does not tell how much that is, all."""
    import resource  # not on every system, and only here

    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    now = next(int(line.split()[1]) for line in lines if line.startswith("VmData:")) << 10
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = now + megabytes * 1_000_000
    # Data and not address space, of which allocators reserve gigabytes that they never touch.
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


class _Forwarding(logging.Handler):
    """What readers log is for the program that reads the files."""

    def __init__(self, send: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self._send(record)
