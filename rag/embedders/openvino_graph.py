"""BGE-M3's encoder with its dense and sparse heads as one OpenVINO graph, whose shapes are all dynamic.

The graph is put together operation by operation from the checkpoint's weights. Nothing is traced, so there is no shape
that it was made at.

As in `rag.embedders.encoder` the texts lie packed, so that no linear layer computes padding; only for attention each
text is laid into a row of its own, padded to the longest.

Importing this module loads OpenVINO and torch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rag.checkpoint import Checkpoint
from rag.embedders.layers import Layer, Norm, load
from rag.embedders.linear import Linear
from rag.embedders.openvino_runtime import openvino, operations


def encoder_graph(checkpoint: Checkpoint) -> openvino.Model:
    """The graph in float32; its constants are the weights as they were loaded, not copies.

    Inputs, in this order, all int32 but the mask, for t tokens of n texts of which the longest has m:
        token ids (t,), position ids (t,);
        packed (n, m): which token stands in which place of a row; any token where the row has ended;
        mask (n, 1, 1, m), float32: 0 where a row has a token, minus infinity behind its end;
        unpacked (t,): the place of each token among the n · m;
        first tokens (n,): where each text begins.
    Outputs, in this order, all float32: dense vectors (n, hidden size), of unit length; token weights (t,), relu'd;
    the last layer's hidden states (t, hidden size).

    Raises:
        CheckpointError: a file cannot be read, or a tensor is missing or has the wrong shape.
    """
    weights = load(checkpoint, torch.device("cpu"), torch.float32)
    token_ids, positions, unpacked, first_tokens = (
        _input(name, 1) for name in ("ids", "positions", "unpacked", "first")
    )
    packed = _input("packed", 2)
    mask = operations.parameter([-1, 1, 1, -1], np.float32, name="mask")
    attention = _Attention(checkpoint, packed, mask, unpacked)
    embedded = operations.add(_rows(weights.words, token_ids), _rows(weights.positions, positions))
    hidden = _normed(embedded, weights.norm)
    for layer in weights.layers:
        hidden = _through(layer, hidden, attention)
    dense = operations.normalize_l2(operations.gather(hidden, first_tokens, _numbers(0)), _numbers(-1), 1e-24, "max")
    # A sum of products and no matrix product, which OpenVINO would compute in bfloat16.
    products = operations.multiply(hidden, _constant(weights.sparse_head.weight))
    summed = operations.reduce_sum(products, _numbers(-1), keep_dims=False)
    token_weights = operations.relu(operations.add(summed, _constant(weights.sparse_head.bias)))
    return openvino.Model(
        [operations.result(output) for output in (dense, token_weights, hidden)],
        [token_ids, positions, packed, mask, unpacked, first_tokens],
        "bge-m3",
    )


def _through(layer: Layer, hidden: openvino.Node, attention: _Attention) -> openvino.Node:
    attended = _linear(attention(_linear(hidden, layer.query_key_value)), layer.attention_output)
    hidden = _normed(operations.add(attended, hidden), layer.attention_norm)
    widened = operations.gelu(_linear(hidden, layer.intermediate), "erf")
    return _normed(operations.add(_linear(widened, layer.output), hidden), layer.output_norm)


class _Attention:
    """Self-attention of each text over its own tokens: (tokens, 3 · hidden size) to (tokens, hidden size)."""

    def __init__(
        self, checkpoint: Checkpoint, packed: openvino.Node, mask: openvino.Node, unpacked: openvino.Node
    ) -> None:
        self._size, self._heads = checkpoint.hidden_size, checkpoint.heads
        self._packed, self._mask, self._unpacked = packed, mask, unpacked

    def __call__(self, query_key_value: openvino.Node) -> openvino.Node:
        rows = operations.gather(query_key_value, self._packed, _numbers(0))
        # In OpenVINO a 0 keeps the length that is there.
        split = operations.reshape(rows, _numbers(0, 0, 3, self._heads, self._size // self._heads), special_zero=True)
        parts = operations.split(operations.transpose(split, _numbers(2, 0, 3, 1, 4)), operations.constant(0), 3)
        query, key, value = (operations.squeeze(part, _numbers(0)) for part in parts.outputs())
        mixed = operations.scaled_dot_product_attention(query, key, value, self._mask)
        joined = operations.reshape(
            operations.transpose(mixed, _numbers(0, 2, 1, 3)), _numbers(-1, self._size), special_zero=False
        )
        return operations.gather(joined, self._unpacked, _numbers(0))


def _input(name: str, dimensions: int) -> openvino.Node:
    return operations.parameter([-1] * dimensions, np.int32, name=name)


def _rows(table: Tensor, indices: openvino.Node) -> openvino.Node:
    return operations.gather(_constant(table), indices, _numbers(0))


def _linear(hidden: openvino.Node, linear: Linear) -> openvino.Node:
    product = operations.matmul(hidden, _constant(linear.weight), transpose_a=False, transpose_b=True)
    return operations.add(product, _constant(linear.bias))


def _normed(hidden: openvino.Node, norm: Norm) -> openvino.Node:
    normed = operations.mvn(hidden, _numbers(-1), True, norm.epsilon, "inside_sqrt")
    return operations.add(operations.multiply(normed, _constant(norm.weight)), _constant(norm.bias))


def _constant(tensor: Tensor) -> openvino.Node:
    return operations.constant(tensor.numpy(), shared_memory=True)


def _numbers(*numbers: int) -> openvino.Node:
    return operations.constant(np.array(numbers, dtype=np.int64))
