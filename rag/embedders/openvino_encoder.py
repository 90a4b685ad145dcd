"""BGE-M3 on OpenVINO: the same vectors as torch's, on a CPU.

Importing this module loads neither OpenVINO nor torch; a checkpoint that has been exported before needs torch only for
ColBERT vectors, whose head is not part of the graph.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rag.checkpoint import Checkpoint
from rag.embedders.encoding import Encoded, Encoder
from rag.errors import InputError, ModelUnavailableError, NotConfiguredError

if TYPE_CHECKING:
    from rag.embedders.linear import Linear

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}
"""What OpenVINO calls them, and what a processor that computes in them."""


class OpenVinoEncoder(Encoder):
    """An encoder on the CPU, exported to OpenVINO at first use (`rag.embedders.openvino_export`)."""

    def __init__(self, checkpoint: Checkpoint, dtype: str) -> None:
        """Loads the graph, after exporting it if need be.

        Args:
            dtype: `auto` (bfloat16 where the processor computes in it, else float32) or a precision.

        Raises:
            NotConfiguredError: OpenVINO is not installed.
            InputError: the precision is unknown, or this processor does not compute in it.
            ModelUnavailableError: OpenVINO gives other vectors than torch, or none.
            DiskError: the exported graph cannot be kept.
            CheckpointError: the checkpoint's files cannot be used.
        """
        try:
            from rag.embedders.openvino_runtime import openvino
        except ImportError as error:
            raise NotConfiguredError(
                f"backend 'openvino' cannot be imported ({error}): "
                "pip install 'cross-lingual-rag[openvino]', or set RAG_EMBEDDER__BACKEND=torch"
            ) from error
        from rag.embedders.openvino_export import exported
        from rag.embedders.openvino_pass import ForwardPass

        self._dtype = choose_dtype(dtype, openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        precision = _PRECISIONS[self._dtype]
        graph = exported(checkpoint, precision)
        try:
            self._forward = ForwardPass(graph, precision, checkpoint.padding_id)
        except RuntimeError as error:  # of whatever kind, as OpenVINO's are
            raise ModelUnavailableError(
                f"OpenVINO cannot load {graph}: delete its folder, or set RAG_EMBEDDER__BACKEND=torch"
            ) from error
        self._checkpoint = checkpoint
        self._colbert_head: Linear | None = None  # few ask for it

    @property
    def description(self) -> str:
        """Device and precision, for messages."""
        return f"cpu in {self._dtype} with OpenVINO"

    def __call__(self, texts: Sequence[Sequence[int]], *, colbert: bool = False) -> Encoded:
        """Encodes one batch; attention is padded to the longest text: sort by length.

        Args:
            texts: token ids of each text, special tokens included, none longer than the window.
            colbert: whether the tokens' own vectors are wanted, too.

        Raises:
            CheckpointError: the ColBERT head was asked for and cannot be read, or is of another model.
        """
        encoded, hidden = self._forward(texts)
        if not colbert:
            return encoded
        others = np.ones(len(hidden), dtype=np.bool_)
        others[[0, *accumulate(len(text) for text in texts[:-1])]] = False
        return replace(encoded, colbert=self._token_vectors(hidden[others]))

    def _token_vectors(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch
        from torch.nn import functional

        from rag.embedders.layers import load_colbert_head

        # Two threads may both load it: they load the same.
        if self._colbert_head is None:
            self._colbert_head = load_colbert_head(self._checkpoint, torch.device("cpu"))
        vectors: NDArray[np.float32] = functional.normalize(
            self._colbert_head(torch.from_numpy(hidden)), dim=-1
        ).numpy()
        return vectors


def choose_dtype(dtype: str, capabilities: Collection[str]) -> str:
    """The precision to compute in: `auto` is bfloat16 where the processor computes in it, else float32.

    Args:
        capabilities: what OpenVINO says of the processor.

    Raises:
        InputError: the precision is unknown, or not among them.
    """
    if dtype == "auto":
        return "bfloat16" if _CAPABILITIES["bfloat16"] in capabilities else "float32"
    if dtype not in _PRECISIONS:
        raise InputError(f"dtype {dtype!r} is unknown: use auto, {', '.join(_PRECISIONS)}")
    # Else OpenVINO would compute in another one, and not say so.
    if _CAPABILITIES[dtype] not in capabilities:
        raise InputError(f"OpenVINO does not compute in {dtype} on this processor: use auto or float32")
    return dtype
