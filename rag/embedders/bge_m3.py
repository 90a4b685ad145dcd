"""BGE-M3 (Chen et al. 2024, arXiv 2402.03216): dense and lexical vectors of a text from one forward pass.

What it does not do: prompts (BGE-M3 has none), truncation (a text beyond the window is refused) and keeping ColBERT
vectors: `late_interaction` makes them for the texts it is given and returns scores.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from logging import getLogger
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from rag.checkpoint import Checkpoint
from rag.embedders.sparse import lexical_weights
from rag.errors import CheckpointError, EmbeddingError
from rag.segmentation import word_starts
from rag.types import Embedding

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from rag.embedders.encoder import PackedEncoder

_WITHOUT_WEIGHT = ("<s>", "<pad>", "</s>", "<unk>")
"""Tokens that never count lexically, as in FlagEmbedding."""
_WITHOUT_CONTENT = ("<s>", "<pad>", "</s>")
"""A text of these alone says nothing; an unknown character does."""
_WORD_BEGINNING = "▁"
"""How SentencePiece writes the white space before a word; a token of its own where none begins with it."""
_REMOVED = "".join(map(chr, (*range(0x01, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F)))
"""Control characters that XLM-R's normalization removes; nothing is left of them."""

logger = getLogger(__name__)


class BgeM3Embedder:
    """An `Embedder` over a BGE-M3 checkpoint.

    Making one reads no file: the tokenizer is loaded by the first call that counts tokens, the weights by the first
    that embeds. Calls from several threads are safe and run side by side.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "auto", dtype: str = "auto", batch_tokens: int = 2048
    ) -> None:
        """Args:
        checkpoint: as `rag.checkpoint.inspect` gives it.
        device: `auto`, or a torch device such as `cpu` or `cuda:1`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; precision of the forward pass. Vectors are float32 always.
        batch_tokens: most tokens in one forward pass; a longer text gets one of its own. 2048 measured best on a CPU.
        """
        self._checkpoint = checkpoint
        self._device, self._dtype, self._batch_tokens = device, dtype, batch_tokens
        self._tokenizer: Tokenizer | None = None
        self._tokenizer_lock = Lock()
        self._encoder: PackedEncoder | None = None
        self._encoder_lock = Lock()

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

    def embed_passages(self, texts: Sequence[str]) -> list[Embedding]:
        """Embeddings in the order of `texts`; all texts are checked before the first is embedded.

        Raises:
            EmbeddingError: a text is empty, longer than the window or no valid Unicode, or a vector is not finite.
            CheckpointError: the tokenizer or the weights cannot be used.
            InputError, ModelUnavailableError: the device or the precision cannot be used.
        """
        token_ids = self._tokenize(texts)
        self._refuse_unusable(texts, token_ids)
        embeddings: dict[int, Embedding] = {}
        for batch in _batches([len(ids) for ids in token_ids], self._batch_tokens):
            for index, embedding in zip(batch, self._embed([token_ids[index] for index in batch]), strict=True):
                embeddings[index] = embedding
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

    def late_interaction(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """ColBERT's score of each text for a question, -1 to 1: float32 of shape (texts,).

        Each text costs a forward pass. One beyond the window counts with as much of it as fits.

        Raises:
            EmbeddingError: the question is empty or longer than the window, a text is no valid Unicode, or a score is
                not finite.
            CheckpointError: the tokenizer, the weights or the ColBERT head cannot be used.
            InputError, ModelUnavailableError: the device or the precision cannot be used.
        """
        [asked] = self._tokenize([question])
        self._refuse_unusable([question], [asked])
        told = [ids if len(ids) <= self.window else [*ids[: self.window - 1], ids[-1]] for ids in self._tokenize(texts)]
        encoder = self._loaded_encoder()
        vectors = encoder.token_vectors([asked])
        scores = np.zeros(len(texts), dtype=np.float32)
        for batch in _batches([len(ids) for ids in told], self._batch_tokens):
            scores[batch] = encoder.late_interaction(vectors, [told[index] for index in batch])
        self._require_finite(scores)
        return scores

    def terms(self, text: str) -> Mapping[int, str]:
        """Id of each token that may have a lexical weight → the word of `text` in which it occurs first.

        Raises:
            EmbeddingError: the text holds a lone surrogate, which is no character.
            CheckpointError: tokenizer.json cannot be used.
        """
        _refuse_surrogates([text])
        text = text.lstrip(_REMOVED)  # tokenizers 0.23 shifts all offsets of a text that begins with what it removes
        tokenizer = self._loaded_tokenizer()
        without_weight = _ids(tokenizer, _WITHOUT_WEIGHT)
        encoding = tokenizer.encode(text)  # the fast one tells no offsets
        bounds = [*word_starts(text), len(text)]
        words: dict[int, str] = {}
        for place, token_id in enumerate(encoding.ids):
            if token_id in words or token_id in without_weight:
                continue
            # A bare word beginning lies on the first character of the token after it: there it belongs.
            start, end = encoding.offsets[place + (encoding.tokens[place] == _WORD_BEGINNING)]
            # The full stop of "z.B." also ends sentences: what it matches is no abbreviation.
            if not all(category(character).startswith("P") for character in text[start:end]):
                # Outwards to whole words: compounds are joined, and marks that the offsets leave out kept.
                start, end = bounds[bisect_right(bounds, start) - 1], bounds[bisect_left(bounds, end)]
            # The end of a ligature before a removed character may be laid upon that: then the token speaks for itself.
            word = text[start:end].strip(_REMOVED).strip()
            words[token_id] = word or encoding.tokens[place].strip(_WORD_BEGINNING)
        return words

    def _embed(self, token_ids: list[list[int]]) -> list[Embedding]:
        encoder = self._loaded_encoder()
        dense, token_weights = encoder(token_ids)
        self._require_finite(dense, token_weights)
        tokenizer = self._loaded_tokenizer()
        sparse = lexical_weights(
            np.concatenate([np.asarray(ids, dtype=np.int64) for ids in token_ids]),
            token_weights,
            [len(ids) for ids in token_ids],
            _ids(tokenizer, _WITHOUT_WEIGHT),
        )
        return [Embedding(*pair) for pair in zip(dense, sparse, strict=True)]

    def _require_finite(self, *made: NDArray[np.float32]) -> None:
        if not all(np.isfinite(each).all() for each in made):
            raise EmbeddingError(
                f"{self.model} on {self._loaded_encoder().description} gave vectors that are not finite: "
                "set RAG_EMBEDDER__DTYPE=float32, or check the model's weights"
            )

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        _refuse_surrogates(texts)
        return [encoding.ids for encoding in self._loaded_tokenizer().encode_batch_fast(list(texts))]

    def _refuse_unusable(self, texts: Sequence[str], token_ids: list[list[int]]) -> None:
        without_content = set(_ids(self._loaded_tokenizer(), _WITHOUT_CONTENT))
        for index, ids in enumerate(token_ids):
            if len(ids) > self.window:
                raise EmbeddingError(
                    f"{_which(index, texts)} has {len(ids)} tokens and the window of {self.model} is {self.window}: "
                    "split it; nothing is cut off in silence"
                )
            if without_content.issuperset(ids):
                raise EmbeddingError(f"{_which(index, texts)} is empty or has no visible character: leave it out")

    def _loaded_tokenizer(self) -> Tokenizer:
        with self._tokenizer_lock:
            if self._tokenizer is None:
                self._tokenizer = _load_tokenizer(self._checkpoint)
            return self._tokenizer

    def _loaded_encoder(self) -> PackedEncoder:
        with self._encoder_lock:
            if self._encoder is None:
                from rag.embedders.devices import choose_device, choose_dtype
                from rag.embedders.encoder import PackedEncoder

                started = perf_counter()
                device = choose_device(self._device)
                self._encoder = PackedEncoder(self._checkpoint, device, choose_dtype(self._dtype, device))
                description = self._encoder.description
                logger.info("loaded %s on %s in %.1f s", self.model, description, perf_counter() - started)
            return self._encoder


def _refuse_surrogates(texts: Sequence[str]) -> None:
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise EmbeddingError(
                f"{_which(index, texts)} holds a lone surrogate at code point {error.start}: "
                "decode its source again, or replace the character"
            ) from error


def _load_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    from tokenizers import Tokenizer

    path = checkpoint.tokenizer
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for every fault of the file
        raise CheckpointError(f"{path} cannot be read ({error}): copy it again from the model") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if tokenizer.get_vocab_size() > checkpoint.vocabulary_size:
        raise CheckpointError(
            f"{path} has {tokenizer.get_vocab_size()} tokens and config.json says {checkpoint.vocabulary_size}: "
            "take both files from one model"
        )
    missing = [token for token in _WITHOUT_WEIGHT if tokenizer.token_to_id(token) is None]
    if missing or tokenizer.encode("").tokens != ["<s>", "</s>"]:
        raise CheckpointError(f"{path} is not XLM-R's tokenizer: take it from the same model as the weights")
    return tokenizer


def _ids(tokenizer: Tokenizer, tokens: Sequence[str]) -> list[int]:
    ids = (tokenizer.token_to_id(token) for token in tokens)
    return [token_id for token_id in ids if token_id is not None]


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of texts, longest first, cut so that each batch holds at most `batch_tokens` or a single text.

    The longest first: what does not fit into memory fails at once, and equal lengths stand side by side.
    """
    batch: list[int] = []
    tokens = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and tokens + lengths[index] > batch_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += lengths[index]
    if batch:
        yield batch


def _which(index: int, texts: Sequence[str]) -> str:
    return "the text" if len(texts) == 1 else f"text {index + 1} of {len(texts)}"
