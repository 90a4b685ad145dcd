"""Question to passages; works, and can be evaluated, without a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import PurePath

import numpy as np

from rag.errors import EmbeddingError, InputError
from rag.fusion import Ranking, rank
from rag.locations import path_of
from rag.ports import Embedder, PassageReader
from rag.types import ANYWHERE, Embedding, MatchedTerm, Mode, Passage, SparseVector, StoredDocument, Where


def matches(document: StoredDocument, glob: str) -> bool:
    """Whether `glob` names the document: by its source, path, URI, a folder above it or, without a slash, its name.

    `*` also matches slashes. A name that holds wildcards itself is matched as it is written.
    """
    path = path_of(document.uri)
    folder = PurePath(glob).as_posix()  # without a leading ./ and a trailing /
    names = [document.source, document.uri, path] + ([] if "/" in glob else [PurePath(path).name])
    return any(
        name == glob or fnmatchcase(name, pattern) for name in names for pattern in (glob, folder, f"{folder}/*")
    )


class Retriever:
    """Embeds a question, fetches candidates of both vectors in one round trip, and ranks them."""

    def __init__(self, embedder: Embedder, reader: PassageReader, ranking: Ranking, *, depth: int = 100) -> None:
        """Puts the parts together.

        Args:
            depth: candidates taken from each vector; at least the number of passages asked for is taken.
        """
        self._embedder = embedder
        self._reader = reader
        self._ranking = ranking
        self._depth = depth

    def retrieve(self, question: str, *, k: int, where: Where = ANYWHERE, mode: Mode | None = None) -> list[Passage]:
        """The `k` best passages, best first.

        Args:
            mode: which scores rank; by default as the retriever was made.

        Raises:
            InputError: the question is empty or longer than the model's window, or `k` is not positive.
        """
        _refuse_empty(question)
        if k < 1:
            raise InputError(f"k is {k}: ask for at least 1 passage")
        where = self._expanded(where)
        query = self._embedded(question)
        ranking = self._ranking if mode is None else replace(self._ranking, mode=mode)
        return rank(self._reader.candidates(query, max(self._depth, k), where), ranking, k)

    def matched_terms(self, question: str, passages: Sequence[Embedding | None]) -> list[tuple[MatchedTerm, ...]]:
        """The words of `question` that each passage shares, the one with the highest weight first.

        Args:
            passages: embeddings of passages; of None nothing is known, and no term is given.

        Raises:
            InputError: the question is empty or longer than the model's window.
        """
        _refuse_empty(question)
        query = self._embedded(question).sparse
        words = self._embedder.terms(question)
        return [() if passage is None else _shared(query, passage.sparse, words) for passage in passages]

    def warm_up(self) -> None:
        """Loads the model."""
        self._embedder.embed_query("warm up")

    def _embedded(self, question: str) -> Embedding:
        try:
            return self._embedder.embed_query(question)
        except EmbeddingError as error:
            raise InputError(f"the question cannot be searched for: {error}") from error

    def _expanded(self, where: Where) -> Where:
        """`where` with its source globs turned into the URIs of the documents they match."""
        if not where.sources:
            return where
        uris = tuple(
            document.uri
            for document in self._reader.documents()
            if any(matches(document, glob) for glob in where.sources)
        )
        if where.uris is not None:
            allowed = set(where.uris)
            uris = tuple(uri for uri in uris if uri in allowed)
        return replace(where, sources=(), uris=uris)


def _refuse_empty(question: str) -> None:
    if not question.strip():
        raise InputError("the question is empty: ask something")


def _shared(query: SparseVector, passage: SparseVector, words: Mapping[int, str]) -> tuple[MatchedTerm, ...]:
    """Words whose tokens lie in both vectors, each with the sum of the products of its tokens' weights."""
    ids, of_query, of_passage = np.intersect1d(query.ids, passage.ids, assume_unique=True, return_indices=True)
    products = query.weights[of_query] * passage.weights[of_passage]
    weights: dict[str, float] = {}
    for token_id, product in zip(ids.tolist(), products.tolist(), strict=True):
        weights[words[token_id]] = weights.get(words[token_id], 0.0) + product
    return tuple(MatchedTerm(*term) for term in sorted(weights.items(), key=lambda term: (-term[1], term[0])))
