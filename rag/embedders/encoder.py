"""BGE-M3's forward pass over packed texts: one pass gives dense vectors and token weights, or the tokens' own vectors.

XLM-R's encoder (Conneau et al. 2020, arXiv 1911.02116) in post-norm order, as transformers' XLMRobertaModel computes
it, without padding: every linear layer runs once on the concatenated tokens of many texts, and only attention looks at
each text alone. Inference only: no dropout, no pooler, no attention mask.

Importing this module loads torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rag.checkpoint import Checkpoint
from rag.embedders.layers import Linear, load, load_colbert_head


class PackedEncoder:
    """An encoder with its sparse head, loaded onto one device. Safe to call from several threads."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        """Loads the weights.

        Raises:
            CheckpointError: a file cannot be read, or a tensor is missing or has the wrong shape.
        """
        self._checkpoint, self._device, self._dtype = checkpoint, device, dtype
        self._heads, self._padding_id = checkpoint.heads, checkpoint.padding_id
        self._weights = load(checkpoint, device, dtype)
        self._colbert_head: Linear | None = None  # few ask for it

    @property
    def description(self) -> str:
        """Device and precision, for messages."""
        return f"{self._device} in {str(self._dtype).removeprefix('torch.')}"

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Dense vectors and token weights of one batch.

        Texts of equal length that stand side by side share one attention call: sort by length.

        Args:
            texts: token ids of each text, special tokens included, none longer than the window.

        Returns:
            Unit vectors of shape (texts, hidden size), and relu'd weights of all tokens one text after the other,
            shape (tokens,). Not finite where the precision overflowed.
        """
        hidden = self._hidden_states(texts)
        dense = functional.normalize(hidden[self._first_tokens(texts)], dim=-1)
        token_weights = torch.relu(self._weights.sparse_head(hidden)).squeeze(-1)
        return dense.cpu().numpy(), token_weights.cpu().numpy()

    @torch.inference_mode()
    def token_vectors(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """ColBERT vectors (BGE-M3, section 3.1) of one batch: of every token but the first, `</s>` among them.

        Args:
            texts: as for a call.

        Returns:
            Unit vectors on the encoder's device, one text after the other: float32 of shape (tokens - texts, d). Not
            finite where the precision overflowed.

        Raises:
            CheckpointError: the ColBERT head cannot be read, or is of another model.
        """
        head = self._loaded_colbert_head()
        hidden = self._hidden_states(texts)
        kept = torch.ones(len(hidden), dtype=torch.bool, device=self._device)
        kept[self._first_tokens(texts)] = False
        return functional.normalize(head(hidden[kept]), dim=-1)

    @torch.inference_mode()
    def late_interaction(self, question: Tensor, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Mean over the question's vectors of the highest cosine with any vector of a text: shape (texts,).

        Khattab & Zaharia 2020 (arXiv 2004.12832, equation 3), divided by the question's tokens as FlagEmbedding does.

        Args:
            question: the `token_vectors` of one text.
            texts: as for a call.

        Raises:
            CheckpointError: as `token_vectors`.
        """
        similarities = question @ self.token_vectors(texts).T
        by_text = torch.split(similarities, [len(text) - 1 for text in texts], dim=1)
        return torch.stack([each.amax(1).mean() for each in by_text]).cpu().numpy()

    def _hidden_states(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """The last layer's states of all tokens, one text after the other: float32 of shape (tokens, hidden size)."""
        weights = self._weights
        ids = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
        lengths = [len(text) for text in texts]
        positions = np.concatenate([self._position_ids(text) for text in texts])
        hidden = weights.norm(
            functional.embedding(torch.from_numpy(ids).to(self._device), weights.words)
            + functional.embedding(torch.from_numpy(positions).to(self._device), weights.positions)
        )
        for layer in weights.layers:
            attended = self._attend(layer.query_key_value(hidden), lengths)
            hidden = layer.attention_norm(layer.attention_output(attended) + hidden)
            widened = functional.gelu(layer.intermediate(hidden))
            hidden = layer.output_norm(layer.output(widened) + hidden)
        return hidden.float()

    def _first_tokens(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Where each text begins."""
        lengths = [len(text) for text in texts]
        return torch.tensor([0, *np.cumsum(lengths)[:-1].tolist()], device=self._device)

    def _loaded_colbert_head(self) -> Linear:
        # Two threads may both load it: they load the same.
        if self._colbert_head is None:
            self._colbert_head = load_colbert_head(self._checkpoint, self._device)
        return self._colbert_head

    def _attend(self, query_key_value: Tensor, lengths: Sequence[int]) -> Tensor:
        """Self-attention of each text over its own tokens: (tokens, 3 · hidden size) to (tokens, hidden size)."""
        attended = query_key_value.new_empty(len(query_key_value), query_key_value.shape[1] // 3)
        for start, texts, length in _runs(lengths):
            end = start + texts * length
            split = query_key_value[start:end].view(texts, length, 3, self._heads, -1)
            query, key, value = split.permute(2, 0, 3, 1, 4)  # each (texts, heads, length, size of a head)
            mixed = functional.scaled_dot_product_attention(query, key, value)
            attended[start:end] = mixed.transpose(1, 2).reshape(end - start, -1)
        return attended

    def _position_ids(self, text: Sequence[int]) -> NDArray[np.int64]:
        """XLM-R counts positions from `padding_id` + 1 and passes over `<pad>`, which a text may hold literally."""
        counted = np.asarray(text) != self._padding_id
        positions: NDArray[np.int64] = np.cumsum(counted, dtype=np.int64) * counted + self._padding_id
        return positions


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """First token, number of texts and their length, for each run of texts of equal length."""
    start = 0
    for length, run in groupby(lengths):
        texts = len(list(run))
        yield start, texts, length
        start += texts * length
