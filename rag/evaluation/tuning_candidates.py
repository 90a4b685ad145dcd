"""The candidates of all questions as matrices: of a data set by vectors, of an index by its own searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag.evaluation.datasets import Dataset
from rag.evaluation.scoring import Vectors, centred_questions
from rag.fusion import Ranking, numbered
from rag.language import primary
from rag.types import Candidate

_WHOLE = 30_000_000
"""Questions times documents up to which all documents are candidates: 240 MB of scores."""
_NEAREST = 100
"""Beyond that, of each language so many by dense and so many by sparse score. One that is among neither could come
among the first ten by the sum of both alone; `rag search` has fewer candidates."""
_ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """A row a question; a column is a candidate of one language in every row.

    Attributes:
        dense: float32 of shape (questions, candidates); -inf where there is none.
        sparse: likewise; 0 where no token is shared.
        languages: (candidates,) number of each column's language.
        names: of the languages.
        documents: of shape (questions, documents): positions in the data set; -1 for none, or one that is not in it.
        asked: (questions,) primary tag of each question's language.
        own_sparse: float64 of shape (questions,): the sparse score of each question with itself.
        holders: of shape (questions, candidates): in which column of `documents` the candidate's is; None where each
            document has one candidate, in its own column.
    """

    dense: NDArray[np.float32]
    sparse: NDArray[np.float32]
    languages: NDArray[np.intp]
    names: tuple[str, ...]
    documents: NDArray[np.intp]
    asked: NDArray[np.str_]
    own_sparse: NDArray[np.float64]
    holders: NDArray[np.intp] | None = None

    def columns(self, language: str | None) -> NDArray[np.intp]:
        """Those of one language, or all."""
        if language is None:
            return np.arange(len(self.languages))
        own = np.array([primary(name) == language for name in self.names], dtype=bool)
        return np.flatnonzero(own[self.languages])

    def own(self, questions: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Of shape (questions, columns): whether a candidate is in its question's language."""
        held = np.array([primary(name) for name in self.names], dtype=str)[self.languages[columns]]
        return np.asarray(self.asked[questions][:, None] == held)

    def of_holders(
        self, questions: NDArray[np.intp], columns: NDArray[np.intp], values: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """What is said of documents, said of their candidates."""
        if self.holders is None:
            return values[:, columns]
        return np.take_along_axis(values, self.holders[np.ix_(questions, columns)], axis=1)

    def of_documents(
        self, questions: NDArray[np.intp], columns: NDArray[np.intp], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Scores of documents: those of their best candidates; -inf without one."""
        best = np.full((len(questions), self.documents.shape[1]), -np.inf)
        if self.holders is None:
            best[:, columns] = scores
            return best
        rows = np.repeat(np.arange(len(questions)), len(columns))
        np.maximum.at(best, (rows, self.holders[np.ix_(questions, columns)].ravel()), scores.ravel())
        return best

    def nearest(self, depth: int, language_depth: int) -> Candidates:
        """Those alone that a search of these depths gives: `depth` by either score, `language_depth` of each language.

        As in a search, the nearest of a language are those by dense score.
        """
        kept = (_ranks(self.dense) < depth) | ((self.sparse > 0) & (_ranks(self.sparse) < depth))
        for language in range(len(self.names)):
            columns = np.flatnonzero(self.languages == language)
            kept[:, columns] |= _ranks(self.dense[:, columns]) < language_depth
        return replace(self, dense=np.where(kept, self.dense, np.float32(-np.inf)))


def of_dataset(dataset: Dataset, vectors: Vectors, ranking: Ranking) -> Candidates:
    """By exact scores of all documents; where these are too many to keep, the nearest of each language.

    Args:
        ranking: whose centring the questions get; that of all that is tried.
    """
    asked = centred_questions(vectors, ranking)
    held = [document.language for document in dataset.documents]
    names, numbers = tuple(sorted(set(held))), numbered(held)
    of_each = [np.flatnonzero(numbers == language) for language in range(len(names))]
    whole = len(dataset.questions) * len(held) <= _WHOLE
    blocks: list[list[tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]]] = [[] for _ in names]
    for first in range(0, len(dataset.questions), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        dense = asked[rows] @ vectors.documents.T
        sparse = (vectors.sparse_questions[rows] @ vectors.sparse_documents.T).toarray().astype(np.float32)
        for language, positions in enumerate(of_each):
            if whole or len(positions) <= 2 * _NEAREST:
                some = np.broadcast_to(positions, (len(dense), len(positions)))
                blocks[language].append((some, dense[:, positions], sparse[:, positions]))
            else:
                blocks[language].append(_nearest(positions, dense[:, positions], sparse[:, positions]))
    joined = [tuple(np.concatenate(parts) for parts in zip(*block, strict=True)) for block in blocks]
    documents, dense, sparse = (np.concatenate(parts, axis=1) for parts in zip(*joined, strict=True))
    widths = [block[0].shape[1] for block in joined]
    languages = np.repeat(np.arange(len(names)), widths)
    return Candidates(dense, sparse, languages, names, documents, _asked(dataset), vectors.own_sparse(slice(None)))


def of_index(
    dataset: Dataset,
    fetch: Callable[[int], Sequence[Candidate]],
    own_sparse: Sequence[float],
    on_progress: Callable[[int, int], None] | None = None,
) -> Candidates:
    """By what an index gives.

    Args:
        fetch: position of a question → its candidates, with exact scores.
        own_sparse: of each question the sparse score with itself.
        on_progress: told how many questions of how many have been put.
    """
    found: list[dict[str, list[Candidate]]] = []
    for at in range(len(dataset.questions)):
        by_language: dict[str, list[Candidate]] = {}
        for candidate in fetch(at):
            by_language.setdefault(candidate.language, []).append(candidate)
        found.append(by_language)
        if on_progress:
            on_progress(at + 1, len(dataset.questions))
    names = tuple(sorted({language for row in found for language in row}))
    widths = [max(len(row.get(name, ())) for row in found) for name in names]
    starts = np.concatenate([[0], np.cumsum(widths)]).astype(int)
    shape = (len(found), int(starts[-1]))
    dense, sparse = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32)
    positions = {document.id: position for position, document in enumerate(dataset.documents)}
    holders, held = np.zeros(shape, np.intp), []
    for at, row in enumerate(found):
        columns: dict[int, int] = {}
        for name, start in zip(names, starts, strict=False):
            for column, candidate in enumerate(row.get(name, ()), start=start):
                dense[at, column], sparse[at, column] = candidate.dense_score, candidate.sparse_score
                document = positions.get(candidate.uri, -1)
                holders[at, column] = columns.setdefault(document, len(columns))
        held.append(list(columns))
    documents = np.full((len(found), max(1, *map(len, held))), -1, np.intp)
    for at, some in enumerate(held):
        documents[at, : len(some)] = some
    languages = np.repeat(np.arange(len(names)), widths)
    own = np.array(own_sparse, dtype=np.float64)
    return Candidates(dense, sparse, languages, names, documents, _asked(dataset), own, holders)


def _asked(dataset: Dataset) -> NDArray[np.str_]:
    return np.array([primary(question.language) for question in dataset.questions], dtype=str)


def _nearest(
    positions: NDArray[np.intp], dense: NDArray[np.float32], sparse: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """The nearest by either score, each once; -1 and -inf where one is near by both."""
    both = [np.argpartition(-scores, _NEAREST, axis=1)[:, :_NEAREST] for scores in (dense, sparse)]
    at = np.sort(np.concatenate(both, axis=1), axis=1)
    again = np.concatenate([np.zeros((len(at), 1), bool), at[:, 1:] == at[:, :-1]], axis=1)
    return (
        np.where(again, -1, positions[at]),
        np.where(again, -np.inf, np.take_along_axis(dense, at, axis=1)).astype(np.float32),
        np.where(again, 0, np.take_along_axis(sparse, at, axis=1)).astype(np.float32),
    )


def _ranks(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """From 0, in each row, the highest first."""
    return np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
