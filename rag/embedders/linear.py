"""Affine maps of a forward pass; on a CPU over weights that oneDNN has laid out for its kernels once and for all.

torch's own `linear` hands float32 to MKL, which is slow on CPUs that are not Intel's, and has oneDNN lay 16-bit weights
out anew in every call. Measured on an AMD CPU with AVX512-BF16, one thread, BGE-M3's shapes: 2.0 to 2.6 times as fast
in float32; in bfloat16 1.6 times for the 16 tokens of a question and 1.1 times for the 2048 of a step.

Importing this module loads torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Linear:
    """An affine map, `weight` of shape (outputs, inputs)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        """Of the same leading shape."""
        return functional.linear(hidden, self.weight, self.bias)

    def gelu(self, hidden: Tensor) -> Tensor:
        """The map, then the Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""
        return functional.gelu(self(hidden))


@dataclass(frozen=True, slots=True)
class PrepackedLinear(Linear):
    """The same over a weight in oneDNN's own layout. Inference only."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """Of the same leading shape."""
        mapped: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, self.weight, self.bias, "none", [], "")
        return mapped

    def gelu(self, hidden: Tensor) -> Tensor:
        """In one go."""
        mapped: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, self.weight, self.bias, "gelu", [], "none")
        return mapped


def prepacked(linear: Linear) -> Linear:
    """The map with its weight laid out for the CPU's kernels; itself where torch cannot do that. It costs a copy."""
    if linear.weight.device.type != "cpu" or not _can_prepack(linear.weight.dtype):
        return linear
    return PrepackedLinear(torch.ops.mkldnn._reorder_linear_weight(linear.weight.contiguous()), linear.bias)


@cache
def _can_prepack(dtype: torch.dtype) -> bool:
    """Whether torch has the operators, and they give what its own give on an example.

    They are those that torch.compile lowers linear layers to, and no public interface: so they are tried first.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch gives it no types
        return False
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((3, 64), (32, 64), (32,)))
    plain = Linear(weight, bias)
    try:
        packed = PrepackedLinear(torch.ops.mkldnn._reorder_linear_weight(weight), bias)
        found = (packed(hidden), packed.gelu(hidden))
    except (
        AttributeError,
        RuntimeError,
        TypeError,
    ):  # no such operator, not for this CPU or precision, other arguments
        return False
    expected = (plain(hidden), plain.gelu(hidden))
    return all(torch.allclose(one, other, rtol=2e-2, atol=2e-2) for one, other in zip(found, expected, strict=True))
