"""A copy of a large checkpoint's encoder in the precision it is computed in, kept on disk after the first load.

    FOLDER/.cross-lingual-rag/encoder-bfloat16.safetensors      beside the checkpoint, or where that cannot be written:
    CACHE/weights/FINGERPRINT/encoder-bfloat16.safetensors      in the user's cache folder
    …/encoder-bfloat16.unfinished, …/lock                       while it is written

It is mapped into memory as it is: nothing is converted, and what is not computed with is never read. It is no model of
its own: it says whose it is, and is used only as long as that origin is unchanged.

Importing this module loads torch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from logging import getLogger
from math import prod
from pathlib import Path
from shutil import disk_usage

import filelock
import torch
from torch import Tensor

from rag.checkpoint import Checkpoint, samples
from rag.embedders.arrangement import LAYOUT, arranged, below_layers, parameters
from rag.embedders.conversion import Conversion
from rag.embedders.weights import open_metadata, open_weights
from rag.errors import CheckpointError

LEAST_BYTES = 500_000_000
"""Size of a file of weights from which on a copy is kept: a smaller one is converted in less than half a second."""

_APPLICATION = "cross-lingual-rag"
_LEAST_PARAMETER_BYTES = 2  # float16
_ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
_TYPES = {torch.bfloat16: "BF16", torch.float16: "F16"}
_UNKNOWN = "0" * 64

logger = getLogger(__name__)


def kept_copy(checkpoint: Checkpoint, dtype: torch.dtype) -> Path | None:
    """A safetensors file of the tensors in `rag.embedders.arrangement`, by their names there; written if need be.

    Where it can be written nowhere, a warning says why. Of several processes one writes, and the others do without.

    Args:
        dtype: what is computed in.

    Returns:
        None where there is no copy: the weights are small or no wider than `dtype`, or it could not be written.

    Raises:
        CheckpointError: the checkpoint's own weights cannot be read, or a tensor is missing or has the wrong shape.
    """
    if dtype not in _TYPES or not _is_large(checkpoint):
        return None
    files = [folder / f"encoder-{_name(dtype)}.safetensors" for folder in _folders(checkpoint)]
    for file in files:
        if _is_usable(file, checkpoint, dtype):
            return file
    if not _is_wider(checkpoint, dtype):
        return None
    for file in files:
        try:
            _keep(file, checkpoint, dtype)
            return file
        except filelock.Timeout:
            logger.info("another process writes %s: loading without it", file)
            return None
        except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
            reason = f"{file.parent}: {getattr(error, 'strerror', None) or error}"
    logger.warning("no copy of %s in %s is kept, so each load takes longer (%s)", checkpoint.name, _name(dtype), reason)
    return None


def _is_large(checkpoint: Checkpoint) -> bool:
    try:
        size = checkpoint.weights.stat().st_size
    except OSError:  # whoever converts it says so
        return False
    # A configuration may claim more layers than there are: their names are not even listed.
    return size >= max(LEAST_BYTES, _LEAST_PARAMETER_BYTES * parameters(checkpoint))


def _is_wider(checkpoint: Checkpoint, dtype: torch.dtype) -> bool:
    """Whether the weights take more bytes a parameter than the copy would; the largest tensor stands for all."""
    words = below_layers(checkpoint)["words"]
    return open_weights(checkpoint.weights)(words.stacked[0], words.shape).itemsize > dtype.itemsize


def _folders(checkpoint: Checkpoint) -> Iterator[Path]:
    """Where a copy may lie, the best place first: what lies beside a download goes when that is removed."""
    from platformdirs import user_cache_path

    yield checkpoint.folder / f".{_APPLICATION}"
    yield user_cache_path(_APPLICATION) / "weights" / checkpoint.fingerprint


def _keep(file: Path, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    """Writes the copy; raises OSError where that is not possible and filelock.Timeout where another process does so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(file.with_name("lock"), blocking=False):
        if _is_usable(file, checkpoint, dtype):  # another process has just written it
            return
        logger.info("keeping %s in %s as %s", checkpoint.name, _name(dtype), file)
        unfinished = file.with_suffix(".unfinished")  # one that was left by a killed process is written over
        try:
            _write(unfinished, checkpoint, dtype)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)


def _write(file: Path, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    """A safetensors file, written piece by piece as no function of safetensors does."""
    header = _header(checkpoint, dtype)
    size = parameters(checkpoint) * dtype.itemsize
    if disk_usage(file.parent).free < size + len(header):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    conversion = Conversion(checkpoint.weights, dtype)
    with file.open("wb") as stream:
        stream.write(header)
        for _, wanted in arranged(checkpoint):
            for piece in conversion.pieces(wanted):
                stream.write(_bytes(piece))
        stream.flush()
        stream.seek(header.index(_UNKNOWN.encode()))
        stream.write(_sampled(file, len(header)).encode())
        stream.flush()
        os.fsync(stream.fileno())  # a power cut would leave a file of the right length and other contents


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data  # numpy has no bfloat16


def _header(checkpoint: Checkpoint, dtype: torch.dtype) -> bytes:
    """The length of the JSON in eight bytes and the JSON, padded with spaces so that the tensors lie aligned."""
    fields: dict[str, object] = {"__metadata__": {**_origin(checkpoint, dtype), "samples": _UNKNOWN}}
    start = 0
    for name, wanted in arranged(checkpoint):
        end = start + prod(wanted.shape) * dtype.itemsize
        fields[name] = {"dtype": _TYPES[dtype], "shape": wanted.shape, "data_offsets": (start, end)}
        start = end
    content = json.dumps(fields).encode()
    content += b" " * (-(len(content) + 8) % _ALIGNMENT)
    return len(content).to_bytes(8, "little") + content


def _is_usable(file: Path, checkpoint: Checkpoint, dtype: torch.dtype) -> bool:
    """Whether a copy lies there that is whole and of these very weights."""
    try:
        said = open_metadata(file)
        sampled = said.pop("samples", None)
        if said != _origin(checkpoint, dtype) or sampled != _sampled(file, _data_start(file)):
            return False
        read = open_weights(file)
        return all(read(name, wanted.shape).dtype == dtype for name, wanted in arranged(checkpoint))
    except (CheckpointError, OSError):  # missing or damaged: it is written anew
        return False


def _origin(checkpoint: Checkpoint, dtype: torch.dtype) -> dict[str, str]:
    """Whose copy it is: the fingerprint samples the weights, so their size and time are compared as well."""
    weights = checkpoint.weights.stat()
    return {
        "layout": LAYOUT,
        "precision": _name(dtype),
        "fingerprint": checkpoint.fingerprint,
        "origin": f"{checkpoint.weights.name}, {weights.st_size} bytes, {weights.st_mtime_ns} ns",
    }


def _sampled(file: Path, start: int) -> str:
    """SHA-256 of blocks of the tensors: reading gigabytes would take longer than the copy saves."""
    digest = hashlib.sha256()
    for block in samples(file, start):
        digest.update(block)
    return digest.hexdigest()


def _data_start(file: Path) -> int:
    with file.open("rb") as stream:
        return 8 + int.from_bytes(stream.read(8), "little")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
