"""Where an archive is: a file or a stream of the command line, compressed or not."""

from __future__ import annotations

import gzip
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from rag.errors import DiskError, InputError

STREAM = "-"
_GZIP = b"\x1f\x8b"
_LEVEL = 6  # vectors hardly shrink, whatever the effort


@contextmanager
def written(name: str) -> Iterator[BinaryIO]:
    """What is written to it becomes the file of that name, compressed if that ends in .gz, once the block has ended.

    After an error there is the file that was there before, or none. Of a symbolic link the file that it leads to is
    replaced; a pipe or a device is written to as it is. `-` is the standard output.

    Raises:
        DiskError: the file cannot be written.
    """
    if name == STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file, _packed(path, file) as stream:
                yield stream
            return
        target = Path(os.path.realpath(path))
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                with _packed(path, file) as stream:
                    yield stream
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"cannot write {path} ({error.strerror or error}): check its folder and the disk") from error


@contextmanager
def _packed(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    """The file, behind a compressor if its name asks for one."""
    if path.suffix.lower() != ".gz":
        yield file
        return
    # Neither the time nor the temporary name is in it, so that equal indexes give equal files.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as packed:
        yield cast(BinaryIO, packed)


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """The content of the file of that name, or of the standard input for `-`; what is compressed is unpacked.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        file = sys.stdin.buffer if name == STREAM else Path(name).open("rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror or error}): give a file or -") from error
    try:
        buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, file))
        if buffered.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
            with gzip.GzipFile(fileobj=buffered, mode="rb") as unpacked:
                yield cast(BinaryIO, io.BufferedReader(unpacked))
        else:
            yield buffered
    except IsADirectoryError as error:
        raise InputError(f"{name} is a folder: give a file or -") from error
    finally:
        if name != STREAM:
            file.close()
