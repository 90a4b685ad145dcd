"""Rows of a large matrix that stays in its file.

Of the 250,002 rows of BGE-M3's word embeddings a batch needs some hundreds. Mapped into memory, each row that is
touched makes 64 KiB around it resident (Linux maps that much at a fault), so 8,000 tokens of text already hold four
fifths of the matrix: 400 of 512 MB. Read row by row they hold nothing, for 2 ms a batch of 2,048 tokens.

Importing this module loads torch.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rag.errors import CheckpointError


def rows_on_disk(file: Path, name: str, matrix: Tensor) -> RowsOnDisk | None:
    """What reads the rows of a matrix from a safetensors file.

    Args:
        name: of the matrix in the file.
        matrix: the same, as it was loaded.

    Returns:
        None where they are not to be had so: the matrix is not on the CPU, the file was removed meanwhile, or this
        system cannot read at a place of a file without moving a position that threads share.
    """
    if matrix.device.type != "cpu" or not hasattr(os, "preadv"):
        return None
    try:
        return RowsOnDisk(file, name, matrix)
    except OSError:
        return None


class RowsOnDisk:
    """A matrix of a safetensors file, read by its rows. Safe to call from several threads."""

    def __init__(self, file: Path, name: str, matrix: Tensor) -> None:
        """Opens the file, which stays what it is for this object even if it is replaced.

        Args: as for `rows_on_disk`.

        Raises:
            OSError: it cannot be opened.
        """
        self._file, self._columns, self._dtype = file, matrix.shape[1], matrix.dtype
        self._row_bytes = self._columns * matrix.itemsize
        self._descriptor = os.open(file, os.O_RDONLY)
        finalize(self, os.close, self._descriptor)
        # The format: the header's length in eight bytes, the header as JSON, the tensors.
        length = int.from_bytes(os.pread(self._descriptor, 8, 0), "little")
        header = json.loads(os.pread(self._descriptor, length, 8))
        self._start = 8 + length + header[name]["data_offsets"][0]

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """The rows of these numbers, in their order: shape (rows, columns), on the CPU.

        Raises:
            CheckpointError: the file cannot be read any more.
        """
        wanted, places = np.unique(rows, return_inverse=True)
        size = self._row_bytes
        found = bytearray(len(wanted) * size)
        buffer = memoryview(found)
        for place, row in enumerate(wanted.tolist()):
            self._read(row, buffer[place * size : (place + 1) * size])
        matrix = torch.frombuffer(found, dtype=self._dtype).view(len(wanted), self._columns)
        return functional.embedding(torch.from_numpy(places), matrix)

    def _read(self, row: int, buffer: memoryview) -> None:
        try:
            read = os.preadv(self._descriptor, [buffer], self._start + row * self._row_bytes)
        except OSError as error:
            raise CheckpointError(f"{self._file} cannot be read ({error.strerror}): check its disk") from error
        if read != self._row_bytes:
            raise CheckpointError(f"{self._file} ends before row {row}: delete it, it will be written anew")
