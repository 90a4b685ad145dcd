"""The weights of BGE-M3's encoder as its forward pass wants them: on one device, in one precision.

Importing this module loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rag.checkpoint import Checkpoint
from rag.embedders.tensors import Shape, embedding_tensors, layer_tensors
from rag.embedders.weights import TensorReader, open_head, open_weights
from rag.errors import CheckpointError

_Tensors = Callable[[str], Tensor]
"""Tensor of the encoder by its name, its shape checked."""


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
class Linear:
    """An affine map, `weight` of shape (outputs, inputs)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        """Of the same leading shape."""
        return functional.linear(hidden, self.weight, self.bias)


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
        words: (vocabulary, hidden size).
        positions: (window + padding id + 1, hidden size), the one token type's vector added.
        norm: of the sum of both.
        layers: the lowest first.
        sparse_head: to one number, in float32.
    """

    words: Tensor
    positions: Tensor
    norm: Norm
    layers: list[Layer]
    sparse_head: Linear


def load(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> EncoderWeights:
    """Reads a checkpoint, converting one tensor at a time: the file's precision never lies in memory whole.

    Raises:
        CheckpointError: a file cannot be read, or a tensor is missing or has the wrong shape.
    """
    read, head = open_weights(checkpoint.weights), open_head(checkpoint.sparse_head)
    place = _Placing(device, dtype, checkpoint.layer_norm_eps)
    weights = _of_shapes(read, embedding_tensors(checkpoint))
    return EncoderWeights(
        words=place.tensor(weights("embeddings.word_embeddings.weight")),
        # There is one token type, so its vector can be added to every position's once and for all.
        positions=place.tensor(
            weights("embeddings.position_embeddings.weight").float()
            + weights("embeddings.token_type_embeddings.weight").float()
        ),
        norm=place.norm(weights, "embeddings.LayerNorm"),
        layers=[
            place.layer(_of_shapes(read, layer_tensors(checkpoint, number)), f"encoder.layer.{number}")
            for number in range(checkpoint.layers)
        ],
        sparse_head=_head(head, (1, checkpoint.hidden_size), device),
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


@dataclass(frozen=True, slots=True)
class _Placing:
    """Puts tensors where they are computed with."""

    device: torch.device
    dtype: torch.dtype
    epsilon: float

    def layer(self, weights: _Tensors, name: str) -> Layer:
        parts = [self.linear(weights, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        return Layer(
            query_key_value=Linear(
                torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
            ),
            attention_output=self.linear(weights, f"{name}.attention.output.dense"),
            attention_norm=self.norm(weights, f"{name}.attention.output.LayerNorm"),
            intermediate=self.linear(weights, f"{name}.intermediate.dense"),
            output=self.linear(weights, f"{name}.output.dense"),
            output_norm=self.norm(weights, f"{name}.output.LayerNorm"),
        )

    def linear(self, weights: _Tensors, name: str) -> Linear:
        return Linear(self.tensor(weights(f"{name}.weight")), self.tensor(weights(f"{name}.bias")))

    def norm(self, weights: _Tensors, name: str) -> Norm:
        return Norm(self.tensor(weights(f"{name}.weight")), self.tensor(weights(f"{name}.bias")), self.epsilon)

    def tensor(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype)


def _of_shapes(read: TensorReader, shapes: Mapping[str, Shape]) -> _Tensors:
    return lambda name: read(name, shapes[name])
