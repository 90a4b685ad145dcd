"""Whether two runs over the same questions differ: Fisher's randomization test (Smucker, Allan & Carterette 2007)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag.evaluation.measure import Measured, Values
from rag.evaluation.results import MEASURES, Comparison, Difference

RESAMPLES: Final = 10_000
"""Random exchanges of the two runs' values; where there are fewer than that in all, each is tried."""

_EXACT_UP_TO: Final = 13
"""2^13 = 8,192 exchanges."""
_AT_ONCE: Final = 1000
_SEED: Final = 20260801
_EQUAL: Final = 1e-9
"""Sums that differ by less, relative to the sum of all differences, are equal: they were added in another order."""


def compare(first: Measured, second: Measured) -> Comparison:
    """Every measure at every place of two runs over the same data set."""
    found: list[Difference] = []
    for place, values in first.places.items():
        others = second.places[place]
        p_values = randomization(_differences(values, others))
        for column, measure in enumerate(MEASURES):
            found.append(
                Difference(
                    place,
                    measure,
                    float(values.values[:, column].mean()),
                    float(others.values[:, column].mean()),
                    float(p_values[column]),
                    len(values.values),
                )
            )
    return Comparison(first.evaluation.name, second.evaluation.name, tuple(found))


def randomization(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two-sided p-value of the mean of each column: how often random signs make it as far from 0.

    With fewer than 14 rows all signs are tried and the value is exact; otherwise `RESAMPLES` seeded ones, and the value
    is at least 1 / (`RESAMPLES` + 1).

    Args:
        differences: of shape (pairs, columns).
    """
    observed = np.abs(differences.sum(axis=0))
    threshold = observed - _EQUAL * np.abs(differences).sum(axis=0)
    as_far = np.zeros(differences.shape[1])
    tried = 0
    for signs in _signs(len(differences)):
        as_far += (np.abs(signs @ differences) >= threshold).sum(axis=0)
        tried += len(signs)
    if len(differences) <= _EXACT_UP_TO:
        return np.asarray(as_far / tried)
    return np.asarray((as_far + 1) / (tried + 1))


def _differences(first: Values, second: Values) -> NDArray[np.float64]:
    """Of each question with its translations, which count as one pair because they fare alike."""
    _, members = np.unique(first.groups, return_inverse=True)
    return np.stack([np.bincount(members, column) for column in (second.values - first.values).T], axis=1)


def _signs(pairs: int) -> Iterator[NDArray[np.float64]]:
    """Rows of 1 and -1."""
    if pairs <= _EXACT_UP_TO:
        yield np.array(list(product((1.0, -1.0), repeat=pairs)))
        return
    rng = np.random.default_rng(_SEED)
    for _ in range(RESAMPLES // _AT_ONCE):
        yield rng.integers(0, 2, size=(_AT_ONCE, pairs), dtype=np.int8).astype(np.float64) * 2 - 1
