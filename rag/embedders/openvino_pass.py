"""Forward passes through an exported graph: packs texts for it, and lends each thread an inference request.

Importing this module loads OpenVINO, not torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.embedders.encoding import Encoded
from rag.embedders.openvino_runtime import openvino
from rag.embedders.padding import cuts


class ForwardPass:
    """A graph of `rag.embedders.openvino_graph`, compiled for the CPU. Safe to call from several threads."""

    def __init__(self, graph: Path, precision: str, padding_id: int) -> None:
        """Args:
        graph: file of the exported graph; its weights stay mapped into memory.
        precision: `f32`, `bf16` or `f16`, as OpenVINO calls them.
        padding_id: id of `<pad>`.

        Raises:
            RuntimeError: OpenVINO cannot read or compile the file.
        """
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = openvino.Core().compile_model(graph, "CPU", hints)
        self._padding_id = padding_id
        self._idle: deque[openvino.InferRequest] = deque()

    def __call__(self, texts: Sequence[Sequence[int]]) -> tuple[Encoded, NDArray[np.float32]]:
        """One batch, without ColBERT vectors, and its hidden states: float32 of shape (tokens, hidden size)."""
        parts = [self._infer(texts[cut]) for cut in cuts([len(text) for text in texts])]
        dense, token_weights, hidden = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Encoded(dense, token_weights), hidden

    def _infer(self, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        try:
            request = self._idle.pop()
        except IndexError:  # as many threads as there are requests are at work
            request = self._compiled.create_infer_request()
        try:
            outputs = request.infer(self._inputs(texts), share_inputs=True)
            return [outputs[place] for place in range(len(outputs))]
        finally:
            self._idle.append(request)

    def _inputs(self, texts: Sequence[Sequence[int]]) -> list[NDArray[np.int32] | NDArray[np.float32]]:
        """As `rag.embedders.openvino_graph.encoder_graph` describes them."""
        lengths = np.array([len(text) for text in texts], dtype=np.int32)
        first = np.cumsum(lengths, dtype=np.int32) - lengths
        places = np.arange(lengths.max(), dtype=np.int32)
        taken = places < lengths[:, None]
        return [
            np.concatenate([np.asarray(text, dtype=np.int32) for text in texts]),
            np.concatenate([self._position_ids(text) for text in texts]),
            np.where(taken, first[:, None] + places, 0),
            np.where(taken, np.float32(0), np.float32(-np.inf))[:, None, None, :],
            np.flatnonzero(taken).astype(np.int32),
            first,
        ]

    def _position_ids(self, text: Sequence[int]) -> NDArray[np.int32]:
        """XLM-R counts positions from `padding_id` + 1 and passes over `<pad>`, which a text may hold literally."""
        counted = np.asarray(text) != self._padding_id
        positions: NDArray[np.int32] = np.cumsum(counted, dtype=np.int32) * counted + np.int32(self._padding_id)
        return positions
