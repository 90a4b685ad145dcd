"""A shard gives way to a better one with the same points, which was made from a copy while the shard was used on.

FOLDER/shard                what is searched and written
FOLDER/shard.optimizing     the copy that is made better
FOLDER/optimizing.json      whose copy it is; taken away by the first write after the copy, which the copy lacks
FOLDER/shard.replaced       the old shard, while the copy takes its place
FOLDER/unoptimized.json     how many points have been written since; where it is missing, all that are there

Every opening calls `restore` first, so a kill at any moment leaves one shard in its place with all that was written.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rag.errors import StoreError

ENTRIES = ("shard.optimizing", "optimizing.json", "optimizing.lock", "shard.replaced", "unoptimized.json")
"""What lies in the folder of an index because of this."""


class ShardSwitch:
    """The steps of one replacement; every one but `settle` and `discard` is for who holds the lock of the folder."""

    def __init__(self, folder: Path) -> None:
        self.copy = folder / "shard.optimizing"
        self._shard = folder / "shard"
        self._replaced = folder / "shard.replaced"
        self._mark = folder / "optimizing.json"
        self._count = folder / "unoptimized.json"
        self._token = ""

    def restore(self) -> None:
        """After a kill between the two steps of `finish`: the old shard into its place, or out of the way."""
        if self._replaced.exists():
            with _file_errors("restore", self._shard):
                if self._shard.exists():
                    shutil.rmtree(self._replaced, ignore_errors=True)
                else:
                    self._replaced.rename(self._shard)

    def begin(self) -> None:
        """Copies the shard, which is closed.

        Raises:
            StoreError: the disk has no room; then nothing has changed.
        """
        self.discard()
        with _file_errors("copy", self._shard):
            # The copy, and the engine's new files beside the old ones in it.
            needed = 3 * sum(_size(path) for path in self._shard.rglob("*"))
            free = shutil.disk_usage(self._shard).free
            if free < needed:
                raise StoreError(
                    f"the disk of {self._shard} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are needed to "
                    "optimize the index: make room, or set RAG_STORE__OPTIMIZE=false"
                )
            shutil.copytree(self._shard, self.copy, copy_function=_copy_with_holes)
            self._token = uuid.uuid4().hex
            self._mark.write_text(json.dumps({"token": self._token}), encoding="utf-8")

    def spoil(self) -> None:
        """Before a write: what is being made from a copy must not come into the place of the shard any more."""
        with _file_errors("remove", self._mark):
            self._mark.unlink(missing_ok=True)

    @staticmethod
    def settle() -> None:
        """Brings the copy to the disk before `finish`; for who does not hold the lock, since it may take long."""
        if hasattr(os, "sync"):
            os.sync()

    def finish(self) -> bool:
        """Puts the copy, which is on the disk, into the shard's place; False where the shard was written to."""
        with _file_errors("replace", self._shard):
            if not self._is_marked():
                return False
            self._shard.rename(self._replaced)
            self.copy.rename(self._shard)
            self._mark.unlink()
            self.count_unoptimized(0)
            shutil.rmtree(self._replaced, ignore_errors=True)
            return True

    def discard(self) -> None:
        """Removes what was begun, by whomever, and not finished."""
        with _file_errors("remove", self.copy):
            self._mark.unlink(missing_ok=True)
            if self.copy.exists():
                shutil.rmtree(self.copy)

    def unoptimized(self) -> int | None:
        """How many points have been written since the last replacement; None where nobody has counted."""
        try:
            return int(json.loads(self._count.read_text(encoding="utf-8"))["points"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def count_unoptimized(self, points: int) -> None:
        """Keeps how many points have been written; a count that a power cut destroys is as one that is missing."""
        with _file_errors("write", self._count):
            new = self._count.with_name(self._count.name + ".new")
            new.write_text(json.dumps({"points": points}), encoding="utf-8")
            new.replace(self._count)

    def _is_marked(self) -> bool:
        try:
            return bool(json.loads(self._mark.read_text(encoding="utf-8"))["token"] == self._token)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False


def _size(path: Path) -> int:
    """Bytes on the disk, without holes where the system tells them."""
    status = path.lstat()
    return getattr(status, "st_blocks", -(-status.st_size // 512)) * 512


def _copy_with_holes(source: str, target: str) -> None:
    """Copies a file. The engine lays its files out with room to grow: 200 MB of holes around half a megabyte."""
    if not hasattr(os, "SEEK_DATA"):
        shutil.copyfile(source, target)
        return
    with Path(source).open("rb", buffering=0) as old, Path(target).open("wb", buffering=0) as new:
        for begin, end in _data(old.fileno()):
            old.seek(begin)
            new.seek(begin)
            while begin < end:
                begin += new.write(old.read(min(end - begin, 1 << 24)))
                old.seek(begin)
        new.truncate(os.fstat(old.fileno()).st_size)


def _data(descriptor: int) -> Iterator[tuple[int, int]]:
    """The ranges of a file that are no holes."""
    end, size = 0, os.fstat(descriptor).st_size
    while end < size:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            return
        end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        yield begin, end


@contextmanager
def _file_errors(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(f"cannot {verb} {path} ({reason}): check its permissions and the disk") from error
