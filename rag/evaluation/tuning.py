"""Which ranking is best for these questions, and how sure that is: cross-validation over questions; pure.

A choice is judged by questions that had no part in it: the questions are dealt into folds, each fold is answered with
the ranking that is best for all others, and what that gains over the present ranking is what may be hoped for (Stone
1974). The interval is a percentile bootstrap of questions (Efron 1979). A question and its translations fare alike, so
they are one unit of both: else the choice would be judged by what made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag.errors import InputError
from rag.evaluation.results import Interval
from rag.fusion import Ranking

SPARSE_WEIGHTS: Final = (0.0, 0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Tried beside a dense weight of 1: without words, the paper's, and up to where they outweigh the dense vectors."""
LEVEL_KS: Final = (2, 4, 8, 16, 32)
FOLDS: Final = 5
RESAMPLES: Final = 2000
"""Of the bootstrap."""

_SEED: Final = 20260801
_EQUAL: Final = 1e-9
"""Means that differ by less are equal: they were added in another order."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What rankings are worth, question by question.

    Attributes:
        rankings: the first is the present one.
        places: cases or pairs of languages whose means count alike.
        names: of the questions; translations are one.
        sums: float64 of shape (rankings, places, names): the sum of nDCG@10 over a question's translations.
        counts: float64 of shape (places, names): how many they are.
    """

    rankings: tuple[Ranking, ...]
    places: tuple[str, ...]
    names: tuple[str, ...]
    sums: NDArray[np.float64]
    counts: NDArray[np.float64]

    def by_place(self, ranking: Ranking) -> NDArray[np.float64]:
        """The mean of each place."""
        return np.asarray(self.sums[self.rankings.index(ranking)].sum(axis=1) / self.counts.sum(axis=1))

    def values(self, some: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Of each ranking the mean over places, of all questions or of some; places without any are left out."""
        kept = slice(None) if some is None else some
        asked = self.counts[:, kept].sum(axis=1)
        there = asked > 0
        return np.asarray((self.sums[:, there][:, :, kept].sum(axis=2) / asked[there]).mean(axis=1))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was chosen, and what it is worth.

    Attributes:
        present: as the settings say.
        chosen: the best for all questions; of equal ones the nearest to `present`.
        present_value: mean over places, of all questions.
        chosen_value: likewise; it was chosen for these questions, so it promises too much.
        out_of_fold: mean over places where each fold has the ranking that is best for the others.
        gain: `out_of_fold` less the present value.
        by_fold: what was chosen without each fold.
        questions: how many there are; translations count as one.
    """

    present: Ranking
    chosen: Ranking
    present_value: float
    chosen_value: float
    out_of_fold: float
    gain: Interval
    by_fold: tuple[Ranking, ...]
    questions: int

    @property
    def certain(self) -> bool:
        """Whether there is a gain that can be told from chance."""
        return self.chosen != self.present and self.gain.low > 0

    @property
    def agreement(self) -> int:
        """How many folds chose what all questions chose."""
        return sum(ranking == self.chosen for ranking in self.by_fold)


def grid(
    present: Ranking, sparse_weights: Sequence[float] = SPARSE_WEIGHTS, level_ks: Sequence[int] = LEVEL_KS
) -> tuple[Ranking, ...]:
    """Rankings to try: the present one, then the others, the nearest to it first."""
    found = {
        replace(present, mode="hybrid", method="rrf"),
        *(ranking for weight in sparse_weights for ranking in _with_weight(present, weight, level_ks)),
    }
    others = [each for each in found if _told(each) != _told(present)]
    return (present, *sorted(others, key=lambda each: (_distance(each, present), _told(each))))


def choose(tried: Tried, folds: int = FOLDS) -> Outcome:
    """The best ranking, and what it gains on questions that did not choose it.

    Raises:
        InputError: there are fewer questions than folds.
    """
    asked = tried.counts.sum(axis=0) > 0  # of an objective, perhaps not all
    tried = replace(
        tried,
        names=tuple(name for name, is_asked in zip(tried.names, asked, strict=True) if is_asked),
        sums=tried.sums[:, :, asked],
        counts=tried.counts[:, asked],
    )
    count = len(tried.names)
    if count < max(folds, 2):
        raise InputError(
            f"{count} question{'' if count == 1 else 's'} (translations count as one) cannot be dealt into {folds} "
            "folds, so nothing could be said of any choice: give more, as `rag eval generate` makes them"
        )
    fold_of = dealt(tried.names, folds)
    best = [_best(tried.values(fold_of != fold)) for fold in range(folds)]
    chosen = _best(tried.values())
    each = np.arange(count)
    out_of_fold = tried.sums[np.array(best)[fold_of], :, each].T  # (places, names)
    present = tried.sums[0]
    gain, drawn = _gains(out_of_fold - present, tried.counts)
    values = tried.values()
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Outcome(
        tried.rankings[0],
        tried.rankings[chosen],
        float(values[0]),
        float(values[chosen]),
        float(values[0]) + gain,
        Interval(gain, float(low), float(high)),
        tuple(tried.rankings[at] for at in best),
        count,
    )


def dealt(names: Sequence[str], folds: int) -> NDArray[np.intp]:
    """(names,) the fold of each, from 0: as good as chance, and the same on every machine."""
    order = sorted(range(len(names)), key=lambda at: sha256(names[at].encode()).digest())
    found = np.empty(len(names), np.intp)
    found[order] = np.arange(len(names)) % folds
    return found


def _with_weight(present: Ranking, weight: float, level_ks: Sequence[int]) -> Iterator[Ranking]:
    of_weight = replace(present, mode="hybrid", method="weighted", dense_weight=1.0, sparse_weight=weight)
    yield of_weight
    for level_k in level_ks:
        yield replace(of_weight, method="normalized", level_k=level_k)


def _told(ranking: Ranking) -> tuple[str, ...]:
    """All that makes a difference to the order."""
    if ranking.mode != "hybrid":
        return (ranking.mode,)
    if ranking.method == "rrf":
        return ("rrf", str(ranking.rrf_k))
    level = (f"{ranking.level_k:4}",) if ranking.normalizes else ()
    return (ranking.method, f"{_ratio(ranking):.9g}", *level)


def _distance(ranking: Ranking, present: Ranking) -> tuple[bool, float, float]:
    weight = abs(log((_ratio(ranking) + 0.01) / (_ratio(present) + 0.01)))
    return ranking.method != present.method, weight, abs(log(ranking.level_k / present.level_k))


def _ratio(ranking: Ranking) -> float:
    return ranking.sparse_weight / max(ranking.dense_weight, 1e-9)


def _best(values: NDArray[np.float64]) -> int:
    """The first of the best."""
    return int(np.flatnonzero(values >= values.max() - _EQUAL)[0])


def _gains(differences: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The mean over places of the mean difference, and that of each resample of questions."""
    names = counts.shape[1]
    rng = np.random.default_rng(_SEED)
    drawn = rng.multinomial(names, np.full(names, 1 / names), size=RESAMPLES).astype(np.float64)
    asked = drawn @ counts.T
    # A place of few questions may have none in a resample; then the others speak.
    means = np.divide(drawn @ differences.T, asked, out=np.full_like(asked, np.nan), where=asked > 0)
    there = np.isfinite(means)
    resampled = np.where(there, means, 0.0).sum(axis=1) / np.maximum(1, there.sum(axis=1))
    return float((differences.sum(axis=1) / counts.sum(axis=1)).mean()), resampled
