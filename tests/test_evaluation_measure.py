"""Measures against values worked out by hand, intervals and significance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from rag.evaluation.measure import Values, of_rankings
from rag.evaluation.results import MEASURES
from rag.evaluation.significance import RESAMPLES, randomization


def measured(ranked: Sequence[int], relevant: Mapping[int, int]) -> dict[str, float]:
    return dict(zip(MEASURES, of_rankings([ranked], [relevant])[0].tolist(), strict=True))


def test_one_relevant_document_in_third_place() -> None:
    assert measured([5, 6, 7, 8], {7: 1}) == pytest.approx(
        {"nDCG@10": 1 / log2(4), "R@1": 0.0, "R@10": 1.0, "R@100": 1.0, "RR@10": 1 / 3}
    )


def test_several_relevant_documents_of_which_one_is_not_found() -> None:
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert measured([1, 9, 2], {1: 1, 2: 1, 3: 1}) == pytest.approx(
        {"nDCG@10": (1 + 1 / log2(4)) / ideal, "R@1": 1 / 3, "R@10": 2 / 3, "R@100": 2 / 3, "RR@10": 1.0}
    )


def test_grades_count_as_gains_and_only_in_ndcg() -> None:
    assert measured([1, 2], {1: 1, 2: 3}) == pytest.approx(
        {"nDCG@10": (1 + 3 / log2(3)) / (3 + 1 / log2(3)), "R@1": 0.5, "R@10": 1.0, "R@100": 1.0, "RR@10": 1.0}
    )


def test_a_document_in_eleventh_place_counts_for_recall_at_100_alone() -> None:
    assert measured(list(range(20)), {10: 1}) == {"nDCG@10": 0, "R@1": 0, "R@10": 0, "R@100": 1, "RR@10": 0}


@pytest.mark.parametrize("ranked", [[], [4, 5]])
def test_where_nothing_is_found_every_measure_is_zero_and_the_question_still_counts(ranked: list[int]) -> None:
    values = of_rankings([ranked, [1]], [{1: 1}, {1: 1}])
    assert values.tolist() == [[0] * 5, [1] * 5]


def test_the_order_that_is_given_is_the_order_that_is_measured() -> None:
    """ir-measures would put equal scores in the order of ids, downwards; ranks leave it no choice."""
    for first in range(9):
        ranked = [first, *(each for each in range(9) if each != first)]
        assert measured(ranked, {first: 1})["nDCG@10"] == 1.0
        assert measured(ranked[::-1], {first: 1})["nDCG@10"] == pytest.approx(1 / log2(10))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.permutations(range(14)), st.dictionaries(st.integers(0, 16), st.integers(1, 3), min_size=1)),
        min_size=1,
        max_size=8,
    )
)
def test_rankings_measured_together_are_as_measured_alone_and_by_the_formula(
    rows: list[tuple[list[int], dict[int, int]]],
) -> None:
    together = of_rankings([ranked for ranked, _ in rows], [relevant for _, relevant in rows])
    for (ranked, relevant), values in zip(rows, together, strict=True):
        assert measured(ranked, relevant) == pytest.approx(dict(zip(MEASURES, values.tolist(), strict=True)))
        gains = [relevant.get(each, 0) / log2(place + 2) for place, each in enumerate(ranked[:10])]
        best = sorted(relevant.values(), reverse=True)[:10]
        assert values[0] == pytest.approx(sum(gains) / sum(g / log2(place + 2) for place, g in enumerate(best)))


# Intervals


def values_of(column: Sequence[float], groups: Sequence[int] | None = None) -> Values:
    count = len(column)
    return Values(np.arange(count), np.tile(np.array(column)[:, None], (1, 5)), np.array(groups or range(count)))


def test_an_interval_is_that_of_a_mean_of_resampled_questions() -> None:
    interval = values_of([0.0, 1.0] * 200).intervals()["R@10"]
    assert interval.mean == 0.5
    # The standard error of a share of one half among 400 is .025; 1.96 of them on each side.
    assert interval.low == pytest.approx(0.451, abs=0.01)
    assert interval.high == pytest.approx(0.549, abs=0.01)
    assert values_of([0.0, 1.0] * 200).intervals()["R@10"] == interval


def test_questions_that_fare_alike_tell_nothing() -> None:
    interval = values_of([0.25] * 7).intervals()["nDCG@10"]
    assert (interval.mean, interval.low, interval.high) == (0.25, 0.25, 0.25)


def test_translations_of_a_question_are_resampled_together() -> None:
    column = [0.0, 1.0] * 50
    alone = values_of([each for each in column for _ in range(4)]).intervals()["R@1"]
    tied = values_of([each for each in column for _ in range(4)], [at // 4 for at in range(400)]).intervals()["R@1"]
    assert tied.mean == alone.mean
    assert tied.high - tied.low == pytest.approx(2 * (alone.high - alone.low), rel=0.15)


# Significance


def test_with_few_questions_the_p_value_is_exact() -> None:
    """Of the 16 ways to exchange four pairs that all differ upwards, only all and none are as far from zero."""
    assert randomization(np.array([[0.1], [0.2], [0.3], [0.4]])).tolist() == [2 / 16]


def test_no_difference_has_p_value_one() -> None:
    assert randomization(np.zeros((5, 2))).tolist() == [1.0, 1.0]
    assert randomization(np.zeros((50, 1))).tolist() == [1.0]


def test_ties_count_as_being_as_far() -> None:
    """Sums of 0.1, 0.2 and -0.3 differ in the last bit by the order in which they are added."""
    assert randomization(np.array([[0.1], [0.2], [-0.3]])).tolist() == [1.0]


@pytest.mark.parametrize("count", [9, 60])
def test_p_values_are_those_of_scipy(count: int) -> None:
    differences = np.random.default_rng(1).normal(0.15, 1, size=count)
    theirs = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(2)
    )
    assert randomization(differences[:, None])[0] == pytest.approx(theirs.pvalue, abs=0 if count == 9 else 0.02)


def test_the_smallest_p_value_says_how_many_exchanges_were_tried() -> None:
    assert randomization(np.ones((100, 1)))[0] == pytest.approx(1 / (RESAMPLES + 1))
