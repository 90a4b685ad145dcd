"""One open shard for all stores of a process over one folder: among themselves they need not take turns."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from weakref import WeakValueDictionary

from rag.stores.edge_shard import EdgeShard
from rag.stores.schema import STAGED
from rag.stores.shard_lock import ShardLock
from rag.stores.shared_shard import SharedShard

_log = logging.getLogger(__name__)

_shared: WeakValueDictionary[tuple[int, Path, float, float], SharedShard[EdgeShard]] = WeakValueDictionary()
_sharing = threading.Lock()


def shared_shard(folder: Path, idle_seconds: float, wait_seconds: float) -> SharedShard[EdgeShard]:
    """What every store of this process over `folder` opens its shard through, if it is as patient."""
    # Not what a fork has inherited: the engine's files would be written by two processes.
    key = (os.getpid(), folder.resolve(), idle_seconds, wait_seconds)
    with _sharing:
        shared = _shared.get(key)
        if shared is None:
            shared = _shared[key] = SharedShard(ShardLock(folder, wait_seconds), _close, idle_seconds)
        return shared


def sweep(shard: EdgeShard) -> None:
    """Removes staged points of a dead writer, once; a living one would hold the lock until its commit."""
    if shard.swept:
        return
    left = shard.count({"state": [STAGED]})
    if left:
        shard.delete({"state": [STAGED]})
        _log.info("removed %d points that were staged and never committed", left)
    shard.swept = True


def _close(shard: EdgeShard) -> None:
    try:
        # After a sweep all that is staged is this process's own, and nobody is left who would commit it.
        if shard.swept and shard.count({"state": [STAGED]}):
            shard.delete({"state": [STAGED]})
        shard.flush()
    finally:
        shard.close()
