"""Any sentence-transformers model (Reimers & Gurevych 2019, arXiv 1908.10084), its prompts applied by themselves.

Such a model makes dense vectors alone. The lexical weights beside them are BM25's: see `rag.lexical_terms`
and `rag.bm25`. Code that comes with a model is not run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rag.embedders.tokenization import refuse_surrogates, which
from rag.errors import CheckpointError, EmbeddingError
from rag.lexical_terms import passage_vector, question_vector, words
from rag.sentence_files import read_json
from rag.sentence_model import SentenceModel
from rag.types import Embedding, SparseVector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

_BATCH_TOKENS = 2048
"""Tokens of a forward pass, padding included."""

_LOG = logging.getLogger(__name__)


class SentenceTransformerEmbedder:
    """An `Embedder` over a sentence-transformers model.

    Making one reads no file: the tokenizer is loaded by the first call that counts tokens, the weights by the first
    that embeds. Calls from several threads are safe; their forward passes wait for each other.
    """

    def __init__(
        self, found: SentenceModel, *, device: str = "auto", dtype: str = "auto", batch_tokens: int | None = None
    ) -> None:
        """Args:
        found: as `rag.sentence_model.inspect` gives it.
        device: `auto`, or a torch device such as `cpu` or `cuda:1`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; precision of the forward pass. Vectors are float32 always.
        batch_tokens: most tokens in one forward pass, padding included; a longer text gets one of its own.
        """
        self._found = found
        self._device, self._dtype, self._batch_tokens = device, dtype, batch_tokens or _BATCH_TOKENS
        self._tokenizer: Tokenizer | None = None
        self._tokenizer_lock = Lock()
        self._model: SentenceTransformer | None = None
        self._model_lock = Lock()

    @property
    def model(self) -> str:
        """The name the model was asked for."""
        return self._found.name

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the vectors."""
        return self._found.fingerprint

    @property
    def dimension(self) -> int:
        """Length of the dense vectors."""
        return self._found.dimension

    @property
    def window(self) -> int:
        """Longest text in tokens, special tokens and the prompt included."""
        return self._found.window

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each passage, special tokens and the prompt before it included.

        Raises:
            EmbeddingError: a text holds a lone surrogate, which is no character.
            CheckpointError: the tokenizer cannot be used.
        """
        return [len(ids) for ids in self._tokenize(texts, self._found.passage_prompt)]

    def embed_passages(self, texts: Sequence[str]) -> list[Embedding]:
        """Embeddings in the order of `texts`; all texts are checked before the first is embedded.

        Raises:
            EmbeddingError: a text is empty, longer than the window or no valid Unicode, or a vector is not finite.
            CheckpointError: the tokenizer or the weights cannot be used.
            InputError, ModelUnavailableError: the device or the precision cannot be used.
        """
        return self._embed(texts, self._found.passage_prompt, passage_vector)

    def embed_query(self, text: str) -> Embedding:
        """Embedding of a question; its lexical weights are counts of terms, see `rag.bm25`.

        Raises:
            EmbeddingError: as for `embed_passages`.
        """
        return self.embed_queries([text])[0]

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """Embeddings of questions, made together.

        Raises:
            EmbeddingError: as for `embed_passages`.
        """
        return self._embed(texts, self._found.query_prompt, question_vector)

    def terms(self, text: str) -> Mapping[int, str]:
        """Id of each term → the word of `text` in which it occurs first.

        Raises:
            EmbeddingError: the text holds a lone surrogate, which is no character.
        """
        refuse_surrogates([text])
        return words(text)

    def _embed(self, texts: Sequence[str], prompt: str, sparse: Callable[[str], SparseVector]) -> list[Embedding]:
        lengths = self._checked_lengths(texts, prompt)
        dense = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in _batches(lengths, self._batch_tokens):
            dense[batch] = self._encode([texts[index] for index in batch], prompt)
        return [Embedding(vector, sparse(text)) for vector, text in zip(dense, texts, strict=True)]

    def _encode(self, texts: list[str], prompt: str) -> NDArray[np.float32]:
        """(texts, dimension) unit vectors, of one forward pass unless it wants more memory than a GPU has."""
        import torch

        with self._model_lock:
            model = self._model = self._model or self._load_model()
            try:
                made = model.encode(texts, prompt=prompt, batch_size=len(texts), show_progress_bar=False)
            except torch.OutOfMemoryError as error:
                if len(texts) == 1:
                    raise EmbeddingError(
                        f"a text does not fit into the memory of {self._described(model)}: ingest with smaller chunks"
                    ) from error
                made = None
        if made is None:  # tried again when the error, which holds on to tensors, is gone
            half = len(texts) // 2
            _LOG.warning("%d texts do not fit into the memory of %s: halved", len(texts), self._described(model))
            return np.concatenate([self._encode(texts[:half], prompt), self._encode(texts[half:], prompt)])
        vectors = np.asarray(made, dtype=np.float32)[:, : self.dimension]
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        if not (np.isfinite(norms).all() and norms.all()):
            raise EmbeddingError(
                f"{self.model} on {self._described(model)} gave vectors that are not finite, or zero: "
                "set RAG_EMBEDDER__DTYPE=float32, or check the model's weights"
            )
        return np.asarray(vectors / norms, dtype=np.float32)

    def _checked_lengths(self, texts: Sequence[str], prompt: str) -> list[int]:
        lengths = [len(ids) for ids in self._tokenize(texts, prompt)]
        for index, (text, length) in enumerate(zip(texts, lengths, strict=True)):
            if length > self.window:
                raise EmbeddingError(
                    f"{which(index, len(texts))} has {length} tokens and the window of {self.model} is {self.window}: "
                    "split it; nothing is cut off in silence"
                )
            if not any(map(str.isalnum, text)) and self._says_nothing(text):
                raise EmbeddingError(f"{which(index, len(texts))} is empty or has no visible character: leave it out")
        return lengths

    def _says_nothing(self, text: str) -> bool:
        """Whether a text is no more than an empty one is to the model; white space may be tokens of its own."""
        [own], [nothing] = self._tokenize([text.strip()], ""), self._tokenize([""], "")
        return own == nothing

    def _tokenize(self, texts: Sequence[str], prompt: str) -> list[list[int]]:
        refuse_surrogates(texts)
        with self._tokenizer_lock:
            tokenizer = self._tokenizer = self._tokenizer or self._load_tokenizer()
        return [each.ids for each in tokenizer.encode_batch_fast([prompt + text for text in texts])]

    def _load_tokenizer(self) -> Tokenizer:
        """A copy of its own: the model's sets truncation and padding with every call."""
        from tokenizers import Tokenizer, normalizers
        from transformers import AutoTokenizer

        folder = self._found.tokenizer.parent
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        except Exception as error:  # transformers and tokenizers raise of every kind
            raise CheckpointError(
                f"the tokenizer in {folder} cannot be read ({_line(error)}): copy it again from the model"
            ) from error
        own.no_truncation()
        own.no_padding()
        if read_json(folder / "sentence_bert_config.json", missing={}).get("do_lower_case"):
            steps = [normalizers.Lowercase(), *([own.normalizer] if own.normalizer else [])]
            own.normalizer = normalizers.Sequence(steps)
        return own

    def _load_model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        from rag.embedders.devices import choose_device, choose_dtype

        # A report on every tensor and a bar for every file would stand between question and answer.
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        started = perf_counter()
        device = choose_device(self._device)
        dtype = choose_dtype(self._dtype, device)
        try:
            model: SentenceTransformer = SentenceTransformer(
                str(self._found.folder), device=str(device), local_files_only=True, model_kwargs={"dtype": dtype}
            ).to(dtype)
            model.max_seq_length = self.window
            [vector] = model.encode(["warm up"], prompt="", show_progress_bar=False)
        except Exception as error:  # sentence-transformers and what it stands on raise of every kind
            raise CheckpointError(
                f"{self.model} in {self._found.folder} cannot be loaded ({_line(error)}): copy it again from the hub"
            ) from error
        if len(vector) < self.dimension or (self._found.truncate_dim is None and len(vector) != self.dimension):
            raise CheckpointError(
                f"{self.model} makes vectors of {len(vector)} components where its configuration says "
                f"{self.dimension}: copy it again from the hub"
            )
        _LOG.info("loaded %s on %s in %.1f s", self.model, self._described(model), perf_counter() - started)
        return model

    def _described(self, model: SentenceTransformer) -> str:
        return f"{model.device} in {str(next(model.parameters()).dtype).removeprefix('torch.')}"


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of texts, longest first, so that padded to its first one a batch holds at most `batch_tokens`."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    while order:
        size = max(1, batch_tokens // lengths[order[0]])
        yield order[:size]
        order = order[size:]


def _line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
