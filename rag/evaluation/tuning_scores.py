"""Scores of questions and their candidates, taken once, and what any ranking makes of them.

An evaluation puts the documents of a pool in order for one ranking; here some sixty are tried, so what does not depend
on the ranking is kept, and only the places of relevant documents are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rag.errors import InputError
from rag.evaluation import pools
from rag.evaluation.datasets import Dataset
from rag.evaluation.measure import pair
from rag.evaluation.pools import Pool
from rag.evaluation.tuning import Tried
from rag.evaluation.tuning_candidates import Candidates
from rag.fusion import Ranking, fused, levelled

Objective = Literal["mean", "all", "foreign", "one", "own", "pairs"]
"""Whose nDCG@10 is to be high: the mean of the cases that the data have, one of them, or the mean of the pairs of
languages, each in the documents of one language alone."""

_CUTOFF = 10
_SCORES_AT_ONCE = 100_000
"""Small enough to stay in a processor's cache while all rankings have their turn."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Rows of a pool. What is shorter than the longest is filled up with -1.

    Attributes:
        questions: (rows,) positions in the data set.
        relevant: (rows, most) positions of documents.
        grades: float64, likewise; 0 in the filling.
        ideal: (rows,) discounted gain of the best order.
        left_out: (rows, most) positions of documents.
        language: the only one of the pool; None for all.
    """

    questions: NDArray[np.intp]
    relevant: NDArray[np.intp]
    grades: NDArray[np.float64]
    ideal: NDArray[np.float64]
    left_out: NDArray[np.intp]
    language: str | None


def try_all(
    dataset: Dataset,
    candidates: Candidates,
    rankings: Sequence[Ranking],
    objective: Objective,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tried:
    """What each ranking is worth.

    Args:
        on_progress: told how many questions of how many have been put.

    Raises:
        InputError: the data have no question for the objective.
    """
    found = list(_places(dataset, objective))
    if not found:
        cases = [case for case, _ in pools.cases(dataset)]
        raise InputError(
            f"{dataset.name} has no question for the objective {objective!r}: take "
            f"{', '.join(['mean', 'pairs', *cases])}"
        )
    names = {name: at for at, name in enumerate(dict.fromkeys(question.group for question in dataset.questions))}
    groups = np.array([names[question.group] for question in dataset.questions])
    sums = np.zeros((len(rankings), len(found), len(names)))
    counts = np.zeros((len(found), len(names)))
    total, done = sum(len(pool.questions) for _, pool in found), 0
    for place, (_, pool) in enumerate(found):
        asked = _asked(pool)
        counts[place] = np.bincount(groups[asked.questions], minlength=len(names))
        for rows, values in _gains(candidates, asked, rankings):
            of_rows = groups[asked.questions[rows]]
            for at, gained in enumerate(values):
                sums[at, place] += np.bincount(of_rows, gained, minlength=len(names))
            done += len(of_rows)
            if on_progress:
                on_progress(done, total)
    return Tried(tuple(rankings), tuple(name for name, _ in found), tuple(names), sums, counts)


def _places(dataset: Dataset, objective: Objective) -> Iterator[tuple[str, Pool]]:
    cases = [] if objective == "pairs" else list(pools.cases(dataset))
    if objective in ("mean", "pairs") and not cases:
        for asked, held, pool in pools.matrix(dataset):
            yield pair(asked, held), pool
    for case, pool in cases:
        if objective in ("mean", case):
            yield case, pool


def _asked(pool: Pool) -> _Asked:
    relevant = [list(each) for each in pool.relevant]
    grades = _filled([list(each.values()) for each in pool.relevant], 0).astype(np.float64)
    best = -np.sort(-grades, axis=1)[:, :_CUTOFF]
    return _Asked(
        np.array(pool.questions),
        _filled(relevant, -1),
        grades,
        (best / np.log2(np.arange(best.shape[1]) + 2)).sum(axis=1),
        _filled([sorted(each) for each in pool.left_out], -1),
        pool.language,
    )


def _filled(rows: Sequence[Sequence[int]], filling: int) -> NDArray[np.intp]:
    found = np.full((len(rows), max(map(len, rows), default=0)), filling, np.intp)
    for at, row in enumerate(rows):
        found[at, : len(row)] = row
    return found


def _gains(
    candidates: Candidates, asked: _Asked, rankings: Sequence[Ranking]
) -> Iterator[tuple[slice, list[NDArray[np.float64]]]]:
    """Some rows at a time, nDCG@10 of each ranking."""
    columns = candidates.columns(asked.language)
    if not len(columns):  # nothing was found in that language
        yield slice(None), [np.zeros(len(asked.questions)) for _ in rankings]
        return
    step = max(1, _SCORES_AT_ONCE // len(columns))
    for first in range(0, len(asked.questions), step):
        rows = slice(first, first + step)
        questions = asked.questions[rows]
        documents = candidates.documents[questions]
        out = _any_of(documents, asked.left_out[rows])
        there = ~candidates.of_holders(questions, columns, out)
        dense = np.where(there, candidates.dense[np.ix_(questions, columns)], -np.inf).astype(np.float64)
        sparse = candidates.sparse[np.ix_(questions, columns)].astype(np.float64)
        languages, own = candidates.languages[columns], candidates.own(questions, columns)
        relevant = _columns(documents, asked.relevant[rows])
        values = []
        joined: dict[Ranking, NDArray[np.float64]] = {}
        for ranking in rankings:
            # Levels of several depths are taken out of the same scores.
            before = replace(ranking, method="weighted", level_k=1) if ranking.normalizes else ranking
            if before not in joined:
                joined = {before: fused(dense, sparse, candidates.own_sparse[questions], before)}
            scores = joined[before]
            if ranking.normalizes:
                levels, more = levelled(scores, languages, own, ranking)
                scores = scores - levels - more
            held = candidates.of_documents(questions, columns, scores)
            values.append(_ndcg(held, documents, relevant, asked, rows))
        yield rows, values


def _any_of(documents: NDArray[np.intp], some: NDArray[np.intp]) -> NDArray[np.bool_]:
    found = np.zeros(documents.shape, dtype=bool)
    for each in some.T:
        found |= (documents == each[:, None]) & (each[:, None] >= 0)
    return found


def _columns(documents: NDArray[np.intp], some: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where documents are in their rows; -1 for those that are not."""
    found = np.full(some.shape, -1, np.intp)
    for at, each in enumerate(some.T):
        own = (documents == each[:, None]) & (each[:, None] >= 0)
        found[:, at] = np.where(own.any(axis=1), own.argmax(axis=1), -1)
    return found


def _ndcg(
    scores: NDArray[np.float64], documents: NDArray[np.intp], relevant: NDArray[np.intp], asked: _Asked, rows: slice
) -> NDArray[np.float64]:
    """nDCG@10 with linear gains (Järvelin & Kekäläinen 2002), as ir-measures has it; equal scores by position.

    Args:
        relevant: columns of `scores`; -1 for none.
    """
    each_row = np.arange(len(scores))
    found = np.zeros(len(scores))
    for columns, grades in zip(relevant.T, asked.grades[rows].T, strict=True):
        score = np.where(columns >= 0, scores[each_row, columns], -np.inf)
        place = np.count_nonzero(scores > score[:, None], axis=1)
        near = np.flatnonzero((score > -np.inf) & (place < _CUTOFF))
        same = (scores[near] == score[near, None]) & (documents[near] < documents[near, columns[near]][:, None])
        place = place[near] + np.count_nonzero(same, axis=1)
        found[near] += np.where(place < _CUTOFF, grades[near] / np.log2(place + 2), 0.0)
    return np.asarray(found / asked.ideal[rows])
