"""BGE-M3's forward pass over packed texts: one pass gives dense vectors, token weights and the tokens' own vectors.

XLM-R's encoder (Conneau et al. 2020, arXiv 1911.02116) in post-norm order, as transformers' XLMRobertaModel computes
it, without padding: every linear layer runs once on the concatenated tokens of many texts, and only attention looks at
each text alone. Inference only: no dropout, no pooler, no attention mask.

Importing this module loads torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rag.checkpoint import Checkpoint
from rag.embedders.attention import Attention, attention_over
from rag.embedders.devices import hardware
from rag.embedders.encoding import Encoded, MeasuredEncoder
from rag.embedders.layers import Layer, load, load_colbert_head
from rag.embedders.linear import Linear, prepacked

_FEED_FORWARD_TOKENS = 1024
"""Tokens that are widened at once: what bounds the memory of a long text."""
_REHEARSED_LENGTH = 256
"""Tokens of a text in the measurement: the middle of what passages have."""


def step_setup(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Mapping[str, str | int]:
    """All that the speed of a pass depends on, as `MeasuredEncoder.setup`; known without the weights."""
    return {
        "hardware": hardware(device),
        "computes": _computes(device, dtype),
        "threads": torch.get_num_threads(),
        "hidden_size": checkpoint.hidden_size,
        "intermediate_size": checkpoint.intermediate_size,
        "heads": checkpoint.heads,
        "torch": torch.__version__,
    }


def step_sizes(device: torch.device) -> Sequence[int]:
    """Tokens of a pass to choose among, ascending; a GPU needs more to be busy."""
    return (4096, 8192, 16384, 32768) if device.type == "cuda" else (512, 1024, 2048, 4096)


def _computes(device: torch.device, dtype: torch.dtype) -> str:
    return f"{device} in {str(dtype).removeprefix('torch.')}"


class PackedEncoder(MeasuredEncoder):
    """An encoder with its sparse head, loaded onto one device. Safe to call from several threads."""

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, *, keep_copy: bool = True
    ) -> None:
        """Loads the weights.

        Args:
            keep_copy: as for `rag.embedders.layers.load`.

        Raises:
            CheckpointError: a file cannot be read, or a tensor is missing or has the wrong shape.
        """
        self._checkpoint, self._device, self._dtype = checkpoint, device, dtype
        self._heads, self._padding_id = checkpoint.heads, checkpoint.padding_id
        self._weights = load(checkpoint, device, dtype, keep_copy=keep_copy)
        for number, layer in enumerate(self._weights.layers):  # one after the other, so that each is let go of at once
            self._weights.layers[number] = _prepacked(layer)
        self._colbert_head: Linear | None = None  # few ask for it

    @property
    def description(self) -> str:
        """Device and precision, for messages."""
        return _computes(self._device, self._dtype)

    @property
    def setup(self) -> Mapping[str, str | int]:
        """All that the speed of a pass depends on."""
        return step_setup(self._checkpoint, self._device, self._dtype)

    @property
    def step_sizes(self) -> Sequence[int]:
        """Tokens of a pass to choose among, ascending."""
        return step_sizes(self._device)

    @torch.inference_mode()
    def rehearse(self, tokens: int) -> None:
        """Computes one layer of a pass over texts of 256 tokens."""
        lengths = [_REHEARSED_LENGTH] * (tokens // _REHEARSED_LENGTH)
        attend = attention_over(lengths, self._heads, self._device, self._dtype)
        hidden = torch.ones(sum(lengths), self._checkpoint.hidden_size, dtype=self._dtype, device=self._device)
        # What a GPU has computed is known only once it is back.
        self._through(self._weights.layers[0], hidden, attend)[-1].cpu()

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Sequence[int]], *, colbert: bool = False) -> Encoded:
        """Encodes one batch; texts of equal length that stand side by side share one attention call: sort by length.

        Args:
            texts: token ids of each text, special tokens included, none longer than the window.
            colbert: whether the tokens' own vectors are wanted, too.

        Raises:
            CheckpointError: the ColBERT head was asked for and cannot be read, or is of another model.
        """
        head = self._loaded_colbert_head() if colbert else None
        hidden = self._hidden_states(texts)
        first = torch.tensor([0, *accumulate(len(text) for text in texts[:-1])], device=self._device)
        dense = functional.normalize(hidden[first], dim=-1)
        token_weights = torch.relu(self._weights.sparse_head(hidden)).squeeze(-1)
        vectors = None
        if head is not None:
            others = torch.ones(len(hidden), dtype=torch.bool, device=self._device)
            others[first] = False
            vectors = functional.normalize(head(hidden[others]), dim=-1).cpu().numpy()
        return Encoded(dense.cpu().numpy(), token_weights.cpu().numpy(), vectors)

    def _hidden_states(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """The last layer's states of all tokens, one text after the other: float32 of shape (tokens, hidden size)."""
        weights = self._weights
        ids = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
        positions = np.concatenate([self._position_ids(text) for text in texts])
        attend = attention_over([len(text) for text in texts], self._heads, self._device, self._dtype)
        hidden = weights.norm(
            weights.embed_words(ids)
            + functional.embedding(torch.from_numpy(positions).to(self._device), weights.positions)
        )
        for layer in weights.layers:
            hidden = self._through(layer, hidden, attend)
        return hidden.float()

    def _through(self, layer: Layer, hidden: Tensor, attend: Attention) -> Tensor:
        attended = layer.attention_output(attend(layer.query_key_value(hidden)))
        hidden = layer.attention_norm(attended.add_(hidden))
        # A position's feed-forward looks at no other position: in pieces it is the same.
        pieces = [layer.output(layer.intermediate.gelu(piece)) for piece in torch.split(hidden, _FEED_FORWARD_TOKENS)]
        return layer.output_norm(torch.cat(pieces).add_(hidden))

    def _loaded_colbert_head(self) -> Linear:
        # Two threads may both load it: they load the same.
        if self._colbert_head is None:
            self._colbert_head = load_colbert_head(self._checkpoint, self._device)
        return self._colbert_head

    def _position_ids(self, text: Sequence[int]) -> NDArray[np.int64]:
        """XLM-R counts positions from `padding_id` + 1 and passes over `<pad>`, which a text may hold literally."""
        counted = np.asarray(text) != self._padding_id
        positions: NDArray[np.int64] = np.cumsum(counted, dtype=np.int64) * counted + self._padding_id
        return positions


def _prepacked(layer: Layer) -> Layer:
    return replace(
        layer,
        query_key_value=prepacked(layer.query_key_value),
        attention_output=prepacked(layer.attention_output),
        intermediate=prepacked(layer.intermediate),
        output=prepacked(layer.output),
    )
