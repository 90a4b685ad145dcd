"""A BGE-M3 checkpoint's vectors with what its model card adds to them; see `rag.model_card.Representation`.

Small models gain by it: a page's beginning says what it is about, which a bag of few hundred tokens drowns, and words
weighed by how rare they are in the index find more than weights that were learned elsewhere (docs/training.md). BGE-M3
itself asks for nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rag.embedders.bge_m3 import BgeM3Embedder
from rag.embedders.tokenization import refuse_surrogates
from rag.lexical_terms import passage_vector, question_vector, words
from rag.model_card import Representation
from rag.types import Embedding, SparseVector


class AsRecommended:
    """An `Embedder` over a checkpoint's own. Safe to call from several threads."""

    def __init__(self, embedder: BgeM3Embedder, representation: Representation) -> None:
        """Keeps both; nothing is loaded before the first text."""
        self._embedder = embedder
        self._representation = representation

    @property
    def model(self) -> str:
        """The name the model was asked for."""
        return self._embedder.model

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the vectors, the representation included."""
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        """Length of the dense vectors."""
        return self._embedder.dimension

    @property
    def window(self) -> int:
        """Longest text in tokens, special tokens included."""
        return self._embedder.window

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included."""
        return self._embedder.count_tokens(texts)

    def embed_passages(self, texts: Sequence[str], *, colbert: bool = False) -> list[Embedding]:
        """Embeddings in the order of `texts`.

        Args:
            colbert: whether `Embedding.colbert` is filled, too.

        Raises:
            EmbeddingError: a text is empty, longer than the window or no valid Unicode, or a vector is not finite.
        """
        embeddings = self._embedder.embed_passages(texts, colbert=colbert)
        weight = np.float32(self._representation.beginning_weight)
        if weight:
            for index, beginning in self._embedder.beginnings(texts, self._representation.beginning_tokens).items():
                dense = embeddings[index].dense + weight * beginning
                embeddings[index] = replace(embeddings[index], dense=dense / np.linalg.norm(dense))
        return self._worded(texts, embeddings, passage_vector)

    def embed_query(self, text: str) -> Embedding:
        """Embedding of a question; with BM25 its lexical weights are counts of terms, see `rag.bm25`.

        Raises:
            EmbeddingError: as for `embed_passages`.
        """
        return self.embed_queries([text])[0]

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """Embeddings of questions, made together.

        Raises:
            EmbeddingError: as for `embed_passages`.
        """
        return self._worded(texts, self._embedder.embed_queries(texts), question_vector)

    def late_interaction(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """ColBERT's score of each text for a question: float32 of shape (texts,); see the checkpoint's own embedder."""
        return self._embedder.late_interaction(question, texts)

    def terms(self, text: str) -> Mapping[int, str]:
        """Id of each term that may have a lexical weight → the word of `text` in which it occurs first.

        Raises:
            EmbeddingError: the text holds a lone surrogate, which is no character.
        """
        if self._representation.lexical == "own":
            return self._embedder.terms(text)
        refuse_surrogates([text])
        return words(text)

    def _worded(
        self, texts: Sequence[str], embeddings: list[Embedding], sparse: Callable[[str], SparseVector]
    ) -> list[Embedding]:
        if self._representation.lexical == "own":
            return embeddings
        return [replace(each, sparse=sparse(text)) for each, text in zip(embeddings, texts, strict=True)]
