"""The generations of a collection in a folder: which one answers, who still uses one, and the removal of the others.

FOLDER/generation.json      which one answers, see rag.stores.index_folder
FOLDER/readers/NAME.PID-TOKEN   one for each store that uses the generation NAME, under the operating system's file
                            lock, which dies with its process: a file that can be locked is a dead one's
FOLDER/rebuild.lock         held by the rebuild that is at work
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import filelock

from rag.errors import IndexBusyError, StoreError
from rag.ports import PassageStore
from rag.stores.edge import EdgeStore
from rag.stores.index_folder import FIRST_GENERATION, IndexFolder, current_generation, generation_folder, point_to
from rag.stores.shard_lock import ShardLock

_log = logging.getLogger(__name__)

_REMOVAL_SECONDS = 1.0  # a process that searches just now, and has not looked at the pointer yet, is done by then


class EdgeGenerations:
    """A `rag.stores.generations.Generations` in a collection's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()  # whatever becomes of the working folder
        self._readers = self.folder / "readers"
        self._seen: tuple[tuple[int, int] | None, str] = (None, FIRST_GENERATION)

    def current(self, *, fresh: bool) -> str:
        """The one that answers: a look at the pointer's time, and at the pointer where that has changed."""
        try:
            status = (self.folder / "generation.json").stat()
        except OSError:  # what is wrong with it, reading it says
            return current_generation(self.folder)
        state = (status.st_mtime_ns, status.st_ino)
        if state != self._seen[0]:
            self._seen = (state, current_generation(self.folder))
        return self._seen[1]

    def open(self, name: str) -> PassageStore:
        """A store over that one alone."""
        return EdgeStore(generation_folder(self.folder, name))

    def hold(self, name: str) -> filelock.BaseFileLock | None:
        """Keeps it from being removed; None where there is no index yet, or the folder cannot be written.

        Raises:
            StoreError: the disk fails.
        """
        if not (generation_folder(self.folder, name) / "index.json").exists():
            return None
        hold = _Hold(self._readers / f"{name}.{os.getpid()}-{uuid.uuid4().hex[:8]}", thread_local=False)
        try:
            self._readers.mkdir(exist_ok=True)
            hold.acquire(blocking=False)
        except (OSError, filelock.Timeout) as error:
            _log.info("%s cannot be written (%s): a rebuild will not know of this process", self._readers, error)
            return None
        return hold

    def left(self, name: str) -> None:
        """Removes one that was replaced, if this was its last user."""
        try:
            if name != self.current(fresh=True) and (generation_folder(self.folder, name) / "index.json").exists():
                self.remove(name)
        except StoreError as error:
            _log.warning("the index that was replaced stays on the disk: %s", error)

    def close(self) -> None:
        """Nothing is open."""

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """One rebuild.

        Raises:
            IndexBusyError: another is at work.
            StoreError: the folder cannot be written.
        """
        lock = filelock.FileLock(self.folder / "rebuild.lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout as error:
            raise IndexBusyError(
                f"another `ingest rebuild` is at work on the index in {self.folder}: wait for it to finish or end it, "
                "then try again"
            ) from error
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.folder} ({error.strerror or error}): check its permissions and the disk"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def quiet(self, store: PassageStore) -> AbstractContextManager[None]:
        """While inside, no other process writes to that generation."""
        assert isinstance(store, EdgeStore)
        return store.held()

    def name_of(self, digest: str) -> str:
        """Name of the generation that is made of what `digest` says."""
        return digest

    def point_to(self, name: str) -> None:
        """Lets it answer."""
        point_to(self.folder, name)

    def others(self) -> list[str]:
        """Those that do not answer: replaced, or never finished."""
        generations = self.folder / "generations"
        names = [each.name for each in generations.iterdir()] if generations.is_dir() else []
        root = IndexFolder(self.folder)
        if root.shard.exists():
            names.append(FIRST_GENERATION)
        return sorted(set(names) - {self.current(fresh=True)})

    def remove(self, name: str) -> bool:
        """Removes one that does not answer, unless somebody uses it; whether it is gone.

        Raises:
            StoreError: the disk fails.
        """
        folder = generation_folder(self.folder, name)
        if name == self.current(fresh=True) or self._is_held(name):
            return False
        if not folder.exists():
            return True
        lock = ShardLock(folder, _REMOVAL_SECONDS)
        try:
            lock.acquire()
        except IndexBusyError:
            return False
        try:
            IndexFolder(folder).discard()
        finally:
            lock.release()
        if name != FIRST_GENERATION:
            shutil.rmtree(folder, ignore_errors=True)
        _log.info("removed generation %s", name)
        return True

    def _is_held(self, name: str) -> bool:
        held = False
        for file in self._readers.glob(f"{name}.*"):
            lock = _Hold(file)
            try:
                lock.acquire(blocking=False)
            except (filelock.Timeout, OSError):
                held = True
            else:
                lock.release()
        return held


class _Hold(filelock.FileLock):
    """A lock whose file goes with it."""

    def release(self, force: bool = False) -> None:
        was_locked = self.is_locked
        super().release(force=force)
        if was_locked and not self.is_locked:
            with suppress(OSError):  # it only serves this
                Path(self.lock_file).unlink(missing_ok=True)
