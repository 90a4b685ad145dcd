"""The graphs of an embedded index, made in a process of its own from a copy of the shard.

    python -m rag.stores.optimizing FOLDER

The engine holds the GIL while it makes them, half a minute and more for 50,000 points: no process that answers may do
that. The index is held only while it is copied and while the copy takes the shard's place; in between everybody reads
and writes the old one. Where somebody has written, the copy is thrown away: the next ingestion tries again. Whatever
dies or fails, the old shard is there.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

import rag
from rag.errors import IndexBusyError, RagError, StoreError
from rag.stores.edge_shard import EdgeShard
from rag.stores.index_folder import IndexFolder
from rag.stores.shard_lock import ShardLock
from rag.stores.shard_switch import ShardSwitch

_log = logging.getLogger(__name__)

WORTHWHILE = 20_000
"""More new points than this are worth it: so many are searched by brute force in 7 ms."""
_WAIT_SECONDS = 60.0  # for whoever has the index; nobody waits for us
_LOOK_SECONDS = 0.1
_NICENESS = 5  # questions that are answered meanwhile come first


def optimize(folder: Path) -> None:
    """Optimizes the index in `folder`, in this process, which does nothing else meanwhile.

    Raises:
        IndexMissingError: there is none.
        IndexBusyError: somebody else does so already, holds the index, or has written to it meanwhile.
        StoreError: the disk has no room, or the engine fails. In all cases the index is as before.
    """
    info = IndexFolder(folder).info()
    switch, lock = ShardSwitch(folder), ShardLock(folder, _WAIT_SECONDS)
    with _alone(folder):
        try:
            lock.acquire()
            try:
                switch.restore()
                switch.begin()
            finally:
                lock.release()
            EdgeShard.optimize(switch.copy, info.dimension)
            lock.acquire()
            try:
                finished = switch.finish()
            finally:
                lock.release()
            if not finished:
                raise IndexBusyError(
                    f"the index in {folder} was written to while it was optimized: the next `ingest` tries again"
                )
        finally:
            switch.discard()


def optimize_elsewhere(folder: Path, stop: threading.Event | None = None) -> float | None:
    """Optimizes the index in `folder` in a child process and waits for it. This process must not have it open.

    Args:
        stop: when set, the child is ended, and the index is as before.

    Returns:
        Seconds; None where it was stopped.

    Raises:
        StoreError: the child failed, see `optimize`; the index is as before.
    """
    began = time.monotonic()
    # The user's working folder may hold a `rag` of its own.
    paths = [str(Path(rag.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "rag.stores.optimizing", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process to understand
    )
    try:
        while True:
            try:
                _, told = child.communicate(timeout=_LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if stop is not None and stop.is_set():
                    return None
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
            _clear(folder)
    if child.returncode:
        _clear(folder)
        lines = told.strip().splitlines() or [f"the process ended with {child.returncode}"]
        raise StoreError(f"the index was not optimized and is as before: {lines[-1]}")
    seconds = time.monotonic() - began
    _log.info("optimized the index in %.1f s", seconds)
    return seconds


def _clear(folder: Path) -> None:
    """Removes what a child left that was killed, unless another one is at work."""
    try:
        with _alone(folder):
            ShardSwitch(folder).discard()
    except RagError as error:
        _log.info("what is left of an optimization stays for the next one: %s", error)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One optimization of an index at a time."""
    lock = filelock.FileLock(folder / "optimizing.lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout as error:
        raise IndexBusyError(f"the index in {folder} is being optimized by another process: wait for it") from error
    except OSError as error:
        raise StoreError(f"cannot lock {folder} ({error.strerror}): it must be writable") from error
    try:
        yield
    finally:
        lock.release()


def main() -> int:
    """The child."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    try:
        optimize(Path(sys.argv[1]))
    except RagError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
