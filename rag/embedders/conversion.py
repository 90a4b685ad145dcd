"""Makes the tensors of a forward pass out of those in a file, in another precision, a piece at a time.

Pages of a mapped file count as this process's memory until the mapping ends. So the file is mapped anew after every
128 MiB that were read: beyond the results, no more than that and one piece lies in memory.

Importing this module loads torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from rag.embedders.arrangement import Arranged
from rag.embedders.tensors import Shape
from rag.embedders.weights import open_weights

_MAPPED_BYTES = 128 << 20  # opening a torch archive anew takes 60 ms: one second over 2.3 GB
_PIECE_NUMBERS = 1 << 24  # 64 MiB in float32


class Conversion:
    """Of one file of weights to one precision. Not safe for several threads."""

    def __init__(self, weights: Path, dtype: torch.dtype) -> None:
        """Opens the file; nothing is read.

        Raises:
            CheckpointError: it cannot be read.
        """
        self._path, self._dtype = weights, dtype
        self._read, self._bytes_read = open_weights(weights), 0

    def tensor(self, wanted: Arranged, device: torch.device) -> Tensor:
        """The whole tensor on a device; on the CPU a matrix that already is as wanted stays mapped into memory.

        Raises:
            CheckpointError: a tensor is missing or has the wrong shape.
        """
        if device.type == "cpu" and len(wanted.stacked) == 1 and wanted.added is None:
            found = self._mapped(wanted.stacked[0], wanted.shape)
            if found.dtype == self._dtype:
                self._bytes_read += found.nbytes
                # A vector would keep everything mapped that was read beside it.
                return found if found.dim() > 1 else found.clone()
        whole = torch.empty(wanted.shape, dtype=self._dtype, device=device)
        start = 0
        for piece in self.pieces(wanted):
            whole[start : start + len(piece)] = piece
            start += len(piece)
        return whole

    def pieces(self, wanted: Arranged) -> Iterator[Tensor]:
        """The same on the CPU, cut into runs of rows, the first row first.

        Raises:
            CheckpointError: as for `tensor`.
        """
        rows, *columns = shape = wanted.shape_of_each
        step = max(1, _PIECE_NUMBERS // prod(columns))
        for name in wanted.stacked:
            for start in range(0, rows, step):
                found = self._mapped(name, shape)[start : start + step]
                self._bytes_read += found.nbytes
                if wanted.added is not None:
                    # Summed before it is rounded, as a model in full precision would.
                    found = found.float() + self._mapped(wanted.added, (1, *columns)).float()
                yield found.to(self._dtype)

    def _mapped(self, name: str, shape: Shape) -> Tensor:
        """A tensor of the file; none of it is read yet."""
        if self._bytes_read >= _MAPPED_BYTES:
            self._read, self._bytes_read = open_weights(self._path), 0
        return self._read(name, shape)
