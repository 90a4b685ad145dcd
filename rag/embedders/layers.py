"""The weights of BGE-M3's encoder as its forward pass wants them: on one device, in one precision.

Importing this module loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rag.checkpoint import Checkpoint
from rag.embedders.arrangement import Arranged, below_layers, of_layer
from rag.embedders.conversion import Conversion
from rag.embedders.linear import Linear
from rag.embedders.rows_on_disk import RowsOnDisk, rows_on_disk
from rag.embedders.weight_copy import kept_copy
from rag.embedders.weights import TensorReader, open_head
from rag.errors import CheckpointError

_ArrangedReader = Callable[[str, Arranged], Tensor]
"""Gives an arranged tensor by its name, on the device and in the precision that are computed with."""


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalization."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, hidden: Tensor) -> Tensor:
        """Of the same leading shape."""
        return functional.layer_norm(hidden, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer in post-norm order."""

    query_key_value: Linear
    attention_output: Linear
    attention_norm: Norm
    intermediate: Linear
    output: Linear
    output_norm: Norm


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """All but the ColBERT head.

    Attributes:
        words: (vocabulary, hidden size); `embed_words` gives its rows without holding all of it in memory.
        positions: (window + padding id + 1, hidden size), the one token type's vector added.
        norm: of the sum of both.
        layers: the lowest first.
        sparse_head: to one number, in float32.
        rows: reads those of `words` from disk; None where all of it lies in memory.
    """

    words: Tensor
    positions: Tensor
    norm: Norm
    layers: list[Layer]
    sparse_head: Linear
    rows: RowsOnDisk | None = None

    def embed_words(self, ids: NDArray[np.int64]) -> Tensor:
        """The word embeddings of these tokens on the encoder's device: (tokens, hidden size).

        Raises:
            CheckpointError: they are read from disk and cannot be read any more.
        """
        if self.rows is not None:
            return self.rows(ids)
        return functional.embedding(torch.from_numpy(ids).to(self.words.device), self.words)


def load(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, *, keep_copy: bool = True) -> EncoderWeights:
    """Reads a checkpoint, its copy in `dtype` where there is one; else it is converted a piece at a time.

    Args:
        keep_copy: whether large weights are kept on disk a second time, in `dtype`, for the next load.

    Raises:
        CheckpointError: a file cannot be read, or a tensor is missing or has the wrong shape.
    """
    head = open_head(checkpoint.sparse_head)
    copy = kept_copy(checkpoint, dtype) if keep_copy else None
    read = _reader(checkpoint, copy, device, dtype)
    below = _Parts(below_layers(checkpoint), read, checkpoint.layer_norm_eps)
    # Both first: they stay mapped, and so does what is read in the same mapping.
    positions, words = below.tensor("positions"), below.tensor("words")
    return EncoderWeights(
        words=words,
        positions=positions,
        norm=below.norm("norm"),
        layers=[
            _Parts(of_layer(checkpoint, number), read, checkpoint.layer_norm_eps).layer(f"layers.{number}")
            for number in range(checkpoint.layers)
        ],
        sparse_head=_head(head, (1, checkpoint.hidden_size), device),
        rows=None if copy is None else rows_on_disk(copy, "words", words),
    )


def load_colbert_head(checkpoint: Checkpoint, device: torch.device) -> Linear:
    """The ColBERT head, in float32.

    Raises:
        CheckpointError: it cannot be read, or is of another model.
    """
    found = _head(open_head(checkpoint.colbert_head), (None, checkpoint.hidden_size), device)
    if len(found.weight) == 1:
        raise CheckpointError(
            f"{checkpoint.colbert_head} makes one number of a token, as the sparse head does: "
            "copy it again from the model"
        )
    return found


def _head(read: TensorReader, shape: tuple[int | None, int], device: torch.device) -> Linear:
    weight = read("weight", shape).to(device, torch.float32)
    return Linear(weight, read("bias", (len(weight),)).to(device, torch.float32))


def _reader(checkpoint: Checkpoint, copy: Path | None, device: torch.device, dtype: torch.dtype) -> _ArrangedReader:
    conversion = Conversion(copy or checkpoint.weights, dtype)
    if copy is None:
        return lambda _, wanted: conversion.tensor(wanted, device)
    return lambda name, wanted: conversion.tensor(Arranged(wanted.shape, (name,)), device)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Some arranged tensors, put together."""

    arranged: Mapping[str, Arranged]
    read: _ArrangedReader
    epsilon: float

    def layer(self, name: str) -> Layer:
        return Layer(
            query_key_value=self.linear(f"{name}.query_key_value"),
            attention_output=self.linear(f"{name}.attention_output"),
            attention_norm=self.norm(f"{name}.attention_norm"),
            intermediate=self.linear(f"{name}.intermediate"),
            output=self.linear(f"{name}.output"),
            output_norm=self.norm(f"{name}.output_norm"),
        )

    def linear(self, name: str) -> Linear:
        return Linear(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))

    def norm(self, name: str) -> Norm:
        return Norm(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), self.epsilon)

    def tensor(self, name: str) -> Tensor:
        return self.read(name, self.arranged[name])
