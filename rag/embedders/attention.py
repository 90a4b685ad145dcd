"""Self-attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2) of packed texts, each over its own tokens alone.

Importing this module loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate, groupby
from logging import getLogger

import torch
from torch import Tensor
from torch.nn import functional

Attention = Callable[[Tensor], Tensor]
"""Queries, keys and values of shape (tokens, 3 · hidden size) to what is attended to, (tokens, hidden size)."""

_TILE = 1 << 20
"""Attention weights a thread has at once, so that they stay in its cache: 2 MiB in bfloat16. Measured among 2**17
to 2**23 on texts of 16 to 8192 tokens."""

logger = getLogger(__name__)


def attention_over(lengths: Sequence[int], heads: int, device: torch.device, dtype: torch.dtype) -> Attention:
    """The attention of texts of these lengths, in tokens, that lie one after the other.

    Texts of equal length that stand side by side are done together.
    """
    if device.type == "cuda" and _can_nest(device, dtype):
        return _nested(lengths, heads, device)
    # torch's own kernel computes in float32 on a CPU whatever it is given.
    mix = _tiled if device.type == "cpu" and dtype == torch.bfloat16 else functional.scaled_dot_product_attention
    return _by_runs(lengths, heads, mix)


def _by_runs(lengths: Sequence[int], heads: int, mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Attention:
    """Texts of equal length that stand side by side in one call."""
    runs = list(_runs(lengths))

    def attend(query_key_value: Tensor) -> Tensor:
        attended = query_key_value.new_empty(len(query_key_value), query_key_value.shape[1] // 3)
        for start, texts, length in runs:
            end = start + texts * length
            split = query_key_value[start:end].view(texts, length, 3, heads, -1)
            query, key, value = split.permute(2, 0, 3, 1, 4)  # each (texts, heads, length, size of a head)
            attended[start:end].view(texts, length, heads, -1).copy_(mix(query, key, value).transpose(1, 2))
        return attended

    return attend


def _tiled(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As `scaled_dot_product_attention`, by matrix products in the tensors' own precision, a tile of weights at a time.

    On a CPU with AVX512-BF16, one thread, in bfloat16 1.3 times as fast for texts of 64 tokens, 1.7 times for 128 and
    2.4 times from 512 to 8192.
    """
    shape, (length, size) = query.shape, query.shape[-2:]
    # What is not contiguous would be copied anew for each tile.
    query, value = (each.reshape(-1, length, size).contiguous() for each in (query, value))
    key = key.transpose(2, 3).reshape(-1, size, length).contiguous()
    mixed = torch.empty_like(query)
    tile = _TILE * torch.get_num_threads()
    together, rows = max(1, tile // length**2), max(1, min(length, tile // length))
    unused = query.new_empty(1, 1, 1)
    for first in range(0, len(query), together):
        some = slice(first, first + together)
        for row in range(0, length, rows):
            # The scale is applied before the products are rounded.
            scores = torch.baddbmm(unused, query[some, row : row + rows], key[some], beta=0, alpha=size**-0.5)
            torch.bmm(scores.softmax(-1), value[some], out=mixed[some, row : row + rows])
    return mixed.view(shape)


def _nested(lengths: Sequence[int], heads: int, device: torch.device) -> Attention:
    """All texts in one call, as nested tensors: a GPU has kernels for sequences of varying length."""
    offsets = torch.tensor([0, *accumulate(lengths)], device=device)
    shortest, longest = min(lengths), max(lengths)

    def attend(query_key_value: Tensor) -> Tensor:
        split = query_key_value.view(len(query_key_value), 3, heads, -1).transpose(0, 1).contiguous()
        query, key, value = (
            torch.nested.nested_tensor_from_jagged(part, offsets, min_seqlen=shortest, max_seqlen=longest).transpose(
                1, 2
            )
            for part in split
        )
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        return mixed.values().reshape(len(query_key_value), -1)

    return attend


@cache
def _can_nest(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether that gives on an example what one text after the other gives; nested tensors are a prototype in torch."""
    lengths, heads, size = (3, 17, 1), 2, 64
    example = torch.randn(sum(lengths), 3 * heads * size, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    expected = _by_runs(lengths, heads, functional.scaled_dot_product_attention)(example)
    try:
        found = _nested(lengths, heads, device)(example)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        logger.info("attention by runs of equal length on %s: %s", device, error)
        return False
    return torch.allclose(found, expected, rtol=2e-2, atol=2e-2)


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """First token, number of texts and their length, for each run of texts of equal length."""
    start = 0
    for length, run in groupby(lengths):
        texts = len(list(run))
        yield start, texts, length
        start += texts * length
