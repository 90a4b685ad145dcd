"""BGE-M3 (Chen et al. 2024, arXiv 2402.03216): dense, lexical and ColBERT vectors of a text from one forward pass.

What it does not do: prompts (BGE-M3 has none) and truncation (a text beyond the window is refused).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from logging import getLogger
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from rag.checkpoint import Checkpoint
from rag.embedders.encoding import Encoded, Encoder
from rag.embedders.sparse import lexical_weights
from rag.embedders.steps import Steps
from rag.embedders.tokenization import Tokenization
from rag.errors import EmbeddingError, InputError
from rag.types import Embedding

logger = getLogger(__name__)


class BgeM3Embedder:
    """An `Embedder` over a BGE-M3 checkpoint.

    Making one reads no file: the tokenizer is loaded by the first call that counts tokens, the weights by the first
    that embeds. Calls from several threads are safe and run side by side.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        dtype: str = "auto",
        backend: str = "torch",
        batch_tokens: int | None = None,
        keep_copy: bool = True,
    ) -> None:
        """Args:
        checkpoint: as `rag.checkpoint.inspect` gives it.
        device: `auto`, or a torch device such as `cpu` or `cuda:1`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; precision of the forward pass. Vectors are float32 always.
        backend: what computes it: `torch`, `openvino` or `flagembedding`, the reference, in float32 by default.
        batch_tokens: most tokens in one forward pass; a longer text gets one of its own. None takes what a short
            measurement finds fastest (`rag.embedders.step_budget`).
        keep_copy: whether large weights are kept on disk a second time, in the precision they are computed in.
        """
        self._checkpoint = checkpoint
        self._device, self._dtype, self._backend = device, dtype, backend
        self._batch_tokens, self._keep_copy = batch_tokens, keep_copy
        self._tokenize = Tokenization(checkpoint)
        self._steps: Steps | None = None
        self._loading = Lock()

    @property
    def model(self) -> str:
        """The name the model was asked for."""
        return self._checkpoint.name

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the vectors."""
        return self._checkpoint.fingerprint

    @property
    def dimension(self) -> int:
        """Length of the dense vectors."""
        return self._checkpoint.hidden_size

    @property
    def window(self) -> int:
        """Longest text in tokens, special tokens included."""
        return self._checkpoint.window

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included; an empty text has two.

        Raises:
            EmbeddingError: a text holds a lone surrogate, which is no character.
            CheckpointError: tokenizer.json cannot be used.
        """
        return [len(ids) for ids in self._tokenize(texts)]

    def embed_passages(self, texts: Sequence[str], *, colbert: bool = False) -> list[Embedding]:
        """Embeddings in the order of `texts`.

        Some 2**17 characters are checked before the first of their texts is embedded. The next ones are prepared
        meanwhile, because a model that waits for the tokenizer of all texts computes nothing.

        Args:
            colbert: whether `Embedding.colbert` is filled, too.

        Raises:
            EmbeddingError: a text is empty, longer than the window or no valid Unicode, or a vector is not finite.
            CheckpointError: the tokenizer or the weights cannot be used.
            InputError, ModelUnavailableError: the device, the precision or the backend cannot be used.
        """
        embeddings: dict[int, Embedding] = {}
        start = 0
        for token_ids in self._tokenize.embeddable(texts):
            for batch, encoded in self._encoded(token_ids, colbert):
                made = self._embeddings([token_ids[index] for index in batch], encoded)
                embeddings.update(zip((start + index for index in batch), made, strict=True))
            start += len(token_ids)
        return [embeddings[index] for index in range(len(texts))]

    def embed_query(self, text: str) -> Embedding:
        """Embedding of a question; BGE-M3 embeds questions and passages alike.

        Raises:
            EmbeddingError: as for `embed_passages`.
        """
        return self.embed_queries([text])[0]

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """Embeddings of questions, made together.

        Raises:
            EmbeddingError: as for `embed_passages`.
        """
        return self.embed_passages(texts)

    def beginnings(self, texts: Sequence[str], tokens: int) -> Mapping[int, NDArray[np.float32]]:
        """Dense vectors of the first `tokens` tokens, special tokens included, by index of those texts that have more.

        Raises:
            EmbeddingError: as for `embed_passages`, but that a text may be of any length.
        """
        longer = {index: ids for index, ids in enumerate(self._tokenize(texts)) if len(ids) > tokens}
        indices = list(longer)
        found: dict[int, NDArray[np.float32]] = {}
        for batch, encoded in self._encoded([_first(ids, tokens) for ids in longer.values()], colbert=False):
            found.update(zip((indices[position] for position in batch), encoded.dense, strict=True))
        return found

    def late_interaction(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """ColBERT's score of each text for a question, -1 to 1: float32 of shape (texts,).

        The mean over the question's vectors of the highest cosine with any vector of a text: Khattab & Zaharia 2020
        (arXiv 2004.12832, equation 3), divided by the question's tokens as FlagEmbedding does. Each text costs a
        forward pass. One beyond the window counts with as much of it as fits.

        Raises:
            EmbeddingError: the question is empty or longer than the window, a text is no valid Unicode, or a vector is
                not finite.
            CheckpointError: the tokenizer, the weights or the ColBERT head cannot be used.
            InputError, ModelUnavailableError: the device, the precision or the backend cannot be used.
        """
        [asked] = self._tokenize.embeddable([question])
        told = [_first(ids, self.window) for ids in self._tokenize(texts)]
        [(_, of_question)] = self._encoded(asked, colbert=True)
        [wanted] = _token_vectors(asked, of_question)
        scores = np.zeros(len(texts), dtype=np.float32)
        for batch, encoded in self._encoded(told, colbert=True):
            offered = _token_vectors([told[index] for index in batch], encoded)
            scores[batch] = [(wanted @ vectors.T).max(axis=1).mean() for vectors in offered]
        return scores

    def terms(self, text: str) -> Mapping[int, str]:
        """Id of each token that may have a lexical weight → the word of `text` in which it occurs first.

        Raises:
            EmbeddingError: the text holds a lone surrogate, which is no character.
            CheckpointError: tokenizer.json cannot be used.
        """
        return self._tokenize.terms(text)

    def _embeddings(self, token_ids: list[list[int]], encoded: Encoded) -> list[Embedding]:
        sparse = lexical_weights(
            np.concatenate([np.asarray(ids, dtype=np.int64) for ids in token_ids]),
            encoded.token_weights,
            [len(ids) for ids in token_ids],
            self._tokenize.without_weight,
        )
        colbert = [None] * len(token_ids) if encoded.colbert is None else _token_vectors(token_ids, encoded)
        return [Embedding(*parts) for parts in zip(encoded.dense, sparse, colbert, strict=True)]

    def _encoded(self, token_ids: list[list[int]], colbert: bool) -> Iterator[tuple[list[int], Encoded]]:
        """Indices of texts with what a forward pass made of them, its numbers checked."""
        steps = self._loaded()
        for batch, encoded in steps(token_ids, colbert=colbert):
            made = (encoded.dense, encoded.token_weights, encoded.colbert)
            if not all(np.isfinite(each).all() for each in made if each is not None):
                raise EmbeddingError(
                    f"{self.model} on {steps.encoder.description} gave vectors that are not finite: "
                    "set RAG_EMBEDDER__DTYPE=float32, or check the model's weights"
                )
            yield batch, encoded

    def _loaded(self) -> Steps:
        with self._loading:
            if self._steps is None:
                started = perf_counter()
                encoder = self._load_encoder()
                self._steps = Steps(encoder, self._batch_tokens)
                logger.info("loaded %s on %s in %.1f s", self.model, encoder.description, perf_counter() - started)
            return self._steps

    def _load_encoder(self) -> Encoder:
        if self._backend == "openvino":
            from rag.embedders.openvino_encoder import OpenVinoEncoder

            if self._device not in ("auto", "cpu"):
                raise InputError(f"device {self._device!r}: the backend openvino computes on the CPU; use auto or cpu")
            return OpenVinoEncoder(self._checkpoint, self._dtype)
        from rag.embedders.devices import choose_device, choose_dtype

        device = choose_device(self._device)
        # The reference is computed in full precision unless another is asked for.
        wanted = "float32" if self._backend == "flagembedding" and self._dtype == "auto" else self._dtype
        dtype = choose_dtype(wanted, device, self._checkpoint.hidden_size)
        if self._backend == "flagembedding":
            from rag.embedders.flag_encoder import FlagEncoder

            return FlagEncoder(self._checkpoint, device, dtype)
        if self._backend == "torch":
            from rag.embedders.encoder import PackedEncoder

            return PackedEncoder(self._checkpoint, device, dtype, keep_copy=self._keep_copy)
        raise InputError(f"backend {self._backend!r} is unknown: use torch, openvino or flagembedding")


def _first(token_ids: list[int], count: int) -> list[int]:
    """At most `count` of a text's tokens, the special ones at both ends among them."""
    return token_ids if len(token_ids) <= count else [*token_ids[: count - 1], token_ids[-1]]


def _token_vectors(token_ids: list[list[int]], encoded: Encoded) -> list[NDArray[np.float32]]:
    """The ColBERT vectors of each text, as an encoder was asked for them."""
    assert encoded.colbert is not None
    return np.split(encoded.colbert, np.cumsum([len(ids) - 1 for ids in token_ids[:-1]], dtype=np.int64))
