"""A copy of an index for a test that changes it: much cheaper than to embed its documents again."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


def copy_index(source: Path, target: Path) -> Path:
    """Copies the folder `source` to `target`, which must not exist; returns `target`.

    The engine lays its files out with room to grow: 200 MB of holes around half a megabyte. They stay holes, as writing
    them out would keep the disk busy for longer than the test.
    """
    return Path(shutil.copytree(source, target, copy_function=_copy_with_holes))


def _copy_with_holes(source: str, target: str) -> str:
    with Path(source).open("rb", buffering=0) as old, Path(target).open("wb", buffering=0) as new:
        size, at = os.fstat(old.fileno()).st_size, 0
        while at < size:
            try:
                begin = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # a hole up to the end
                    raise
                break
            at = os.lseek(old.fileno(), begin, os.SEEK_HOLE)
            new.seek(begin)
            new.write(os.pread(old.fileno(), at - begin, begin))
        new.truncate(size)
    return target
