"""BGE-M3's forward pass over packed texts: one pass gives dense vectors and token weights, or the tokens' own vectors.

XLM-R's encoder (Conneau et al. 2020, arXiv 1911.02116) in post-norm order, as transformers' XLMRobertaModel computes
it, without padding: every linear layer runs once on the concatenated tokens of many texts, and only attention looks at
each text alone. Inference only: no dropout, no pooler, no attention mask.

Importing this module loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rag.checkpoint import Checkpoint
from rag.embedders.tensors import Shape, embedding_tensors, layer_tensors
from rag.embedders.weights import TensorReader, open_head, open_weights
from rag.errors import CheckpointError, InputError, ModelUnavailableError

_Tensors = Callable[[str], Tensor]
"""Tensor of the encoder by its name, its shape checked."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str) -> torch.device:
    """The torch device of that name; `auto` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        InputError: the name is no device this program computes on.
        ModelUnavailableError: this machine has no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:  # how torch says that a name is unknown
        raise InputError(f"device {device!r} is unknown: use auto, cpu, cuda, cuda:1 or mps") from error
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.mps.is_available())}
    if chosen.type not in counts:
        raise InputError(f"device {device!r} is not supported: use auto, cpu, cuda, cuda:1 or mps")
    if (chosen.index or 0) >= counts[chosen.type]:
        raise ModelUnavailableError(f"device {device!r} is not on this machine: use auto or cpu")
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The torch dtype of that name; `auto` takes 16 bits where the hardware computes in them, else float32.

    Raises:
        InputError: the name is none of auto, float32, bfloat16, float16.
    """
    if dtype in _DTYPES:
        return _DTYPES[dtype]
    if dtype != "auto":
        raise InputError(f"dtype {dtype!r} is unknown: use auto, {', '.join(_DTYPES)}")
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return torch.float32


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, hidden: Tensor) -> Tensor:
        return functional.layer_norm(hidden, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Tensor
    bias: Tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    query_key_value: _Linear
    attention_output: _Linear
    attention_norm: _Norm
    intermediate: _Linear
    output: _Linear
    output_norm: _Norm


class PackedEncoder:
    """An encoder with its sparse head, loaded onto one device. Safe to call from several threads."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        """Loads the weights, converted one tensor at a time so that the file's precision never lies in memory whole.

        Raises:
            CheckpointError: a file cannot be read, or a tensor is missing or has the wrong shape.
        """
        self._device, self._dtype = device, dtype
        self._heads, self._padding_id = checkpoint.heads, checkpoint.padding_id
        size = checkpoint.hidden_size
        read, head = open_weights(checkpoint.weights), open_head(checkpoint.sparse_head)
        weights = _of_shapes(read, embedding_tensors(checkpoint))
        self._words = self._place(weights("embeddings.word_embeddings.weight"))
        # There is one token type, so its vector can be added to every position's once and for all.
        self._positions = self._place(
            weights("embeddings.position_embeddings.weight").float()
            + weights("embeddings.token_type_embeddings.weight").float()
        )
        self._norm = self._load_norm(weights, "embeddings.LayerNorm", checkpoint)
        self._layers = [self._load_layer(read, number, checkpoint) for number in range(checkpoint.layers)]
        self._sparse_head = _Linear(
            head("weight", (1, size)).to(device, torch.float32), head("bias", (1,)).to(device, torch.float32)
        )
        self._size, self._colbert_file = size, checkpoint.colbert_head
        self._colbert_head: _Linear | None = None  # few ask for it

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
        token_weights = torch.relu(self._sparse_head(hidden)).squeeze(-1)
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
        ids = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
        lengths = [len(text) for text in texts]
        positions = np.concatenate([self._position_ids(text) for text in texts])
        hidden = self._norm(
            functional.embedding(torch.from_numpy(ids).to(self._device), self._words)
            + functional.embedding(torch.from_numpy(positions).to(self._device), self._positions)
        )
        for layer in self._layers:
            attended = self._attend(layer.query_key_value(hidden), lengths)
            hidden = layer.attention_norm(layer.attention_output(attended) + hidden)
            widened = functional.gelu(layer.intermediate(hidden))
            hidden = layer.output_norm(layer.output(widened) + hidden)
        return hidden.float()

    def _first_tokens(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Where each text begins."""
        lengths = [len(text) for text in texts]
        return torch.tensor([0, *np.cumsum(lengths)[:-1].tolist()], device=self._device)

    def _loaded_colbert_head(self) -> _Linear:
        # Two threads may both load it: they load the same.
        if self._colbert_head is None:
            head = open_head(self._colbert_file)
            weight = head("weight", (None, self._size))
            if len(weight) == 1:
                raise CheckpointError(
                    f"{self._colbert_file} makes one number of a token, as the sparse head does: "
                    "copy it again from the model"
                )
            self._colbert_head = _Linear(
                weight.to(self._device, torch.float32), head("bias", (len(weight),)).to(self._device, torch.float32)
            )
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

    def _load_layer(self, read: TensorReader, number: int, checkpoint: Checkpoint) -> _Layer:
        weights, name = _of_shapes(read, layer_tensors(checkpoint, number)), f"encoder.layer.{number}"
        parts = [self._load_linear(weights, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        return _Layer(
            query_key_value=_Linear(
                torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
            ),
            attention_output=self._load_linear(weights, f"{name}.attention.output.dense"),
            attention_norm=self._load_norm(weights, f"{name}.attention.output.LayerNorm", checkpoint),
            intermediate=self._load_linear(weights, f"{name}.intermediate.dense"),
            output=self._load_linear(weights, f"{name}.output.dense"),
            output_norm=self._load_norm(weights, f"{name}.output.LayerNorm", checkpoint),
        )

    def _load_linear(self, weights: _Tensors, name: str) -> _Linear:
        return _Linear(self._place(weights(f"{name}.weight")), self._place(weights(f"{name}.bias")))

    def _load_norm(self, weights: _Tensors, name: str, checkpoint: Checkpoint) -> _Norm:
        return _Norm(
            self._place(weights(f"{name}.weight")), self._place(weights(f"{name}.bias")), checkpoint.layer_norm_eps
        )

    def _place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self._dtype)


def _of_shapes(read: TensorReader, shapes: Mapping[str, Shape]) -> _Tensors:
    return lambda name: read(name, shapes[name])


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """First token, number of texts and their length, for each run of texts of equal length."""
    start = 0
    for length, run in groupby(lengths):
        texts = len(list(run))
        yield start, texts, length
        start += texts * length
