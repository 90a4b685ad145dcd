"""Texts to vectors, and exact rankings of all documents of a pool: no candidate is lost to an index.

The order is that of `rag.fusion.rank` over all documents of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rag.bm25 import TermCounts, frequencies, weighted
from rag.centring import centred
from rag.evaluation.datasets import Dataset
from rag.evaluation.pools import Pool
from rag.evaluation.windows import refuse_long_questions, within_window
from rag.fusion import Ranking, fused, levelled, numbered
from rag.language import primary
from rag.ports import Embedder
from rag.types import Embedding

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DEPTH = 100
"""How far down a ranking is kept: the deepest measure is R@100."""

_TEXTS_AT_ONCE = 256
_SCORES_AT_ONCE = 2_000_000
"""Scores held at a time: 16 MB as float64, and a few times that while they are sorted."""


class Ranker(Protocol):
    """Puts the documents of a pool in order."""

    def ranked(self, pool: Pool) -> Iterator[list[int]]:
        """Of each question in turn: positions of the `DEPTH` best documents, best first."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """A data set as a model sees it.

    Attributes:
        documents: dense, float32 of shape (documents, dimension), unit norm.
        questions: dense, float32 of shape (questions, dimension), unit norm.
        sparse_documents: float32 of shape (documents, tokens that occur).
        sparse_questions: float32 of shape (questions, tokens that occur).
        seconds: wall time it took to make them.
        remarks: what a reader of the figures must know; one line each.
    """

    documents: NDArray[np.float32]
    questions: NDArray[np.float32]
    sparse_documents: csr_array
    sparse_questions: csr_array
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def dimension(self) -> int:
        """Components of the dense vectors."""
        return int(self.documents.shape[1])

    def own_sparse(self, questions: NDArray[np.intp] | slice) -> NDArray[np.float64]:
        """Of each question the sparse score with itself."""
        some = self.sparse_questions[questions].astype(np.float64)
        return np.asarray(some.multiply(some).sum(axis=1)).reshape(-1)

    def truncated(self, dimension: int) -> Vectors:
        """With the first `dimension` components of the dense vectors, normalised again."""
        return replace(
            self, documents=_unit(self.documents[:, :dimension]), questions=_unit(self.questions[:, :dimension])
        )


def embed(dataset: Dataset, embedder: Embedder, on_progress: Callable[[int, int], None] | None = None) -> Vectors:
    """Embeds all documents and questions; of documents beyond the model's window the beginning, which a remark says.

    The two sides of a bitext are alike: a sentence has one vector, that of a passage, whether it asks or answers.

    Args:
        on_progress: told how many texts are done and how many there are.

    Raises:
        DatasetError: questions are longer than the window.
    """
    started = perf_counter()
    if not dataset.is_bitext:
        refuse_long_questions(dataset, embedder)
    texts, remarks = within_window(dataset, embedder)
    asked = [] if dataset.is_bitext else [question.text for question in dataset.questions]
    total = len(set(texts)) + len(set(asked))
    done = 0

    def in_batches(texts: Sequence[str], embed_some: Callable[[Sequence[str]], list[Embedding]]) -> list[Embedding]:
        nonlocal done
        embeddings: dict[str, Embedding] = {}
        each_once = list(dict.fromkeys(texts))
        for first in range(0, len(each_once), _TEXTS_AT_ONCE):
            some = each_once[first : first + _TEXTS_AT_ONCE]
            embeddings.update(zip(some, embed_some(some), strict=True))
            if on_progress:
                on_progress(done + len(embeddings), total)
        done += len(embeddings)
        return [embeddings[text] for text in texts]

    documents = in_batches(texts, embedder.embed_passages)
    if dataset.is_bitext:
        vector_of = {document.id: vector for document, vector in zip(dataset.documents, documents, strict=True)}
        questions = [vector_of[question.id] for question in dataset.questions]
    else:
        questions = in_batches(asked, embedder.embed_queries)
        known = frequencies(
            (document.language, each.sparse.ids) for document, each in zip(dataset.documents, documents, strict=True)
        )
        questions = [
            replace(each, sparse=weighted(each.sparse, known)) if isinstance(each.sparse, TermCounts) else each
            for each in questions
        ]
    return replace(vectors(documents, questions), seconds=perf_counter() - started, remarks=remarks)


def vectors(documents: Sequence[Embedding], questions: Sequence[Embedding]) -> Vectors:
    """Embeddings, at least one of each, as matrices."""
    ids = np.unique(np.concatenate([each.sparse.ids for each in (*documents, *questions)]))
    return Vectors(
        np.stack([each.dense for each in documents]),
        np.stack([each.dense for each in questions]),
        _sparse(documents, ids),
        _sparse(questions, ids),
    )


class ExactRanker:
    """Ranks by the scores of every question with every document of its pool."""

    def __init__(self, dataset: Dataset, vectors: Vectors, ranking: Ranking) -> None:
        self._vectors = vectors
        self._ranking = ranking
        self._questions = centred_questions(vectors, ranking)
        columns: dict[tuple[str, str], list[int]] = {}
        for position, document in enumerate(dataset.documents):
            columns.setdefault((document.pool, document.language), []).append(position)
        self._columns = {which: np.array(positions) for which, positions in columns.items()}
        self._all = np.arange(len(dataset.documents))
        held = [document.language for document in dataset.documents]
        self._languages = numbered(held)
        self._held = np.array([primary(language) for language in held])
        self._asked = np.array([primary(question.language) for question in dataset.questions])

    def ranked(self, pool: Pool) -> Iterator[list[int]]:
        """Of each question in turn: positions of the `DEPTH` best documents, best first."""
        for positions, _ in self.scored(pool):
            yield positions

    def scored(self, pool: Pool) -> Iterator[tuple[list[int], NDArray[np.float64]]]:
        """Likewise, each with its score."""
        columns = self._all if pool.language is None else self._columns[pool.name, pool.language]
        dense, sparse = self._vectors.documents[columns], self._vectors.sparse_documents[columns]
        rows = max(1, _SCORES_AT_ONCE // len(columns))
        for first in range(0, len(pool.questions), rows):
            asked = np.array(pool.questions[first : first + rows])
            dense_scores = (self._questions[asked] @ dense.T).astype(np.float64)
            sparse_scores = (self._vectors.sparse_questions[asked] @ sparse.T).toarray().astype(np.float64)
            left_out = np.zeros(dense_scores.shape, dtype=bool)
            for row, positions in enumerate(pool.left_out[first : first + rows]):
                left_out[row, np.searchsorted(columns, sorted(positions))] = True
            own = self._vectors.own_sparse(asked)
            of_own = self._asked[asked][:, None] == self._held[columns]
            languages, ranking = self._languages[columns], self._ranking
            for best, scores in order(dense_scores, sparse_scores, own, left_out, languages, of_own, ranking):
                yield columns[best].tolist(), scores


def centred_questions(vectors: Vectors, ranking: Ranking) -> NDArray[np.float32]:
    """Dense vectors of the questions as `ranking` compares them: all documents are the collection."""
    if not ranking.centres:
        return vectors.questions
    return centred(vectors.questions, vectors.documents.mean(axis=0), ranking.centring)


def order(
    dense: NDArray[np.float64],
    sparse: NDArray[np.float64],
    own_sparse: NDArray[np.float64],
    left_out: NDArray[np.bool_],
    languages: NDArray[np.intp],
    own: NDArray[np.bool_],
    ranking: Ranking,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Columns of the best documents of each row with their scores, best first; equal scores in the order of columns.

    Args:
        dense: of shape (questions, documents).
        sparse: likewise; 0 where no token is shared.
        own_sparse: (questions,) the sparse score of each question with itself.
        left_out: likewise; documents that are not there for that question.
        languages: (documents,) number of each one's language.
        own: (questions, documents) whether it is in the question's language.
        ranking: as for `rag.fusion.rank`, whose order this is.
    """
    scores = fused(np.where(left_out, -np.inf, dense), sparse, own_sparse, ranking)
    if ranking.normalizes:
        levels, more = levelled(scores, languages, own, ranking)
        scores = scores - levels - more
    found = np.count_nonzero(scores > -np.inf, axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    for row, columns, count in zip(scores, best, found, strict=True):
        yield columns[:count], row[columns[:count]]


def _sparse(embeddings: Sequence[Embedding], known: NDArray[np.uint32]) -> csr_array:
    """A column for each of `known`: the terms of BM25 are any of 32 bits."""
    from scipy.sparse import csr_array

    rows = [each.sparse for each in embeddings]
    starts = np.concatenate([[0], np.cumsum([len(row.ids) for row in rows])])
    columns = np.searchsorted(known, np.concatenate([row.ids for row in rows]))
    return csr_array((np.concatenate([row.weights for row in rows]), columns, starts), shape=(len(rows), len(known)))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # A vector may have nothing in its first components; it stays zero and is like nothing.
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
