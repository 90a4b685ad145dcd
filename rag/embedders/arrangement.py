"""The encoder's weights as its forward pass computes with them, and what of a checkpoint each is made of.

Query, key and value stand in one matrix, and the one token type's vector is added to every position's. Neither torch
nor a file is needed to know this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from rag.checkpoint import Checkpoint
from rag.embedders.tensors import Shape, embedding_tensors, layer_tensors

LAYOUT = "1"
"""Changes with the names, shapes and contents below: copies of another layout are written anew."""


@dataclass(frozen=True, slots=True)
class Arranged:
    """A tensor that the forward pass computes with.

    Attributes:
        shape: of the whole.
        stacked: the checkpoint's tensors, of equal shape, whose rows it holds one after the other.
        added: the checkpoint's tensor of shape (1, columns) that is added to each row.
    """

    shape: Shape
    stacked: tuple[str, ...]
    added: str | None = None

    @property
    def shape_of_each(self) -> Shape:
        """Of each of `stacked`."""
        return (self.shape[0] // len(self.stacked), *self.shape[1:])


def below_layers(checkpoint: Checkpoint) -> dict[str, Arranged]:
    """By name, what comes before the first layer."""
    shapes = embedding_tensors(checkpoint)
    words, positions = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
    return {
        "words": Arranged(shapes[words], (words,)),
        "positions": Arranged(shapes[positions], (positions,), added="embeddings.token_type_embeddings.weight"),
        **_affine(shapes, "norm", "embeddings.LayerNorm"),
    }


def of_layer(checkpoint: Checkpoint, layer: int) -> dict[str, Arranged]:
    """By name, what one layer computes with, the first being 0."""
    shapes = layer_tensors(checkpoint, layer)
    ours, theirs = f"layers.{layer}", f"encoder.layer.{layer}"
    attention = f"{theirs}.attention"
    return {
        **_affine(
            shapes, f"{ours}.query_key_value", *(f"{attention}.self.{part}" for part in ("query", "key", "value"))
        ),
        **_affine(shapes, f"{ours}.attention_output", f"{attention}.output.dense"),
        **_affine(shapes, f"{ours}.attention_norm", f"{attention}.output.LayerNorm"),
        **_affine(shapes, f"{ours}.intermediate", f"{theirs}.intermediate.dense"),
        **_affine(shapes, f"{ours}.output", f"{theirs}.output.dense"),
        **_affine(shapes, f"{ours}.output_norm", f"{theirs}.output.LayerNorm"),
    }


def arranged(checkpoint: Checkpoint) -> Iterator[tuple[str, Arranged]]:
    """All of them, in the order in which they are computed with."""
    yield from below_layers(checkpoint).items()
    for layer in range(checkpoint.layers):
        yield from of_layer(checkpoint, layer).items()


def parameters(checkpoint: Checkpoint) -> int:
    """Numbers in all of them; no layer but the first is looked at, because a configuration may claim too many."""
    layer = sum(prod(part.shape) for part in of_layer(checkpoint, 0).values())
    return sum(prod(part.shape) for part in below_layers(checkpoint).values()) + checkpoint.layers * layer


def _affine(shapes: dict[str, Shape], name: str, *stacked: str) -> dict[str, Arranged]:
    """Weight and bias of a linear layer or a norm."""
    found: dict[str, Arranged] = {}
    for part in ("weight", "bias"):
        rows, *columns = shapes[f"{stacked[0]}.{part}"]
        found[f"{name}.{part}"] = Arranged((rows * len(stacked), *columns), tuple(f"{each}.{part}" for each in stacked))
    return found
