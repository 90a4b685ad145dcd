"""Rankings to figures: measures by ir-measures, means with bootstrap intervals, language preference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rag.evaluation import pools
from rag.evaluation.datasets import Dataset, in_order
from rag.evaluation.pools import Pool
from rag.evaluation.results import (
    MEASURES,
    Case,
    CaseRow,
    Cell,
    Evaluation,
    Interval,
    Measure,
    Preference,
    Translations,
    Truncation,
)
from rag.evaluation.scoring import ExactRanker, Ranker, Vectors
from rag.fusion import Ranking

RESAMPLES: Final = 1000
"""Of the bootstrap."""

_SEED: Final = 20260801
_TOP: Final = 10
_SMALLEST: Final = 32
"""Fewest components of a vector that is cut; published models with nested vectors go no lower."""


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The measures of each question that was put to one pool.

    Attributes:
        questions: positions in the data set, of shape (n,).
        values: float64 of shape (n, measures), in the order of `MEASURES`.
        groups: of shape (n,); equal for translations of one question.
    """

    questions: NDArray[np.intp]
    values: NDArray[np.float64]
    groups: NDArray[np.intp]

    def of(self, rows: NDArray[np.bool_]) -> Values:
        """Of some of the questions."""
        return Values(self.questions[rows], self.values[rows], self.groups[rows])

    def intervals(self) -> Mapping[Measure, Interval]:
        """The mean of each measure.

        A question and its translations are resampled together, because they fare alike: the bootstrap of single rows
        would promise more than they tell.
        """
        _, members = np.unique(self.groups, return_inverse=True)
        sizes = np.bincount(members).astype(np.float64)
        sums = np.stack([np.bincount(members, column) for column in self.values.T], axis=1)
        drawn = _resamples(len(sizes))
        means = (drawn @ sums) / (drawn @ sizes)[:, None]
        low, high = np.quantile(means, (0.025, 0.975), axis=0)
        return {
            measure: Interval(*(float(value) for value in triple))
            for measure, *triple in zip(MEASURES, self.values.mean(axis=0), low, high, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """An evaluation with the values of single questions, as a comparison needs them.

    Attributes:
        places: `de → ja`, or a case, → its values.
    """

    evaluation: Evaluation
    places: Mapping[str, Values]


def evaluate(
    dataset: Dataset,
    ranker: Ranker,
    *,
    name: str,
    model: str,
    fingerprint: str,
    truncations: tuple[Truncation, ...] = (),
    seconds: float = 0.0,
) -> Measured:
    """Ranks all pools of `dataset` and measures.

    Args:
        name: of the run.
        model: the embedder's name.
        fingerprint: the embedder's.
        truncations: to be told with it.
        seconds: that were spent before, as on embedding.
    """
    started = perf_counter()
    places: dict[str, Values] = {}
    matrix: list[Cell] = []
    for question_language, document_language, pool in pools.matrix(dataset):
        values = _values(dataset, pool, list(ranker.ranked(pool)))
        places[pair(question_language, document_language)] = values
        matrix.append(Cell(question_language, document_language, len(pool.questions), values.intervals()))
    languages = np.array([question.language for question in dataset.questions])
    rows: list[CaseRow] = []
    preferences: tuple[Preference, ...] = ()
    for case, pool in pools.cases(dataset):
        ranked = list(ranker.ranked(pool))
        places[case] = values = _values(dataset, pool, ranked)
        rows.append(CaseRow(case, None, len(pool.questions), values.intervals()))
        rows += _by_language(case, values, languages[values.questions])
        if case == "all":
            preferences = _preferences(dataset, pool, ranked)
    evaluation = Evaluation(
        name=name,
        dataset=dataset.name,
        model=model,
        fingerprint=fingerprint,
        documents=len(dataset.documents),
        questions=len(dataset.questions),
        matrix=tuple(matrix),
        cases=tuple(rows),
        preferences=preferences,
        truncations=truncations,
        translations=_translations(matrix) if dataset.is_bitext else (),
        seconds=seconds + perf_counter() - started,
    )
    return Measured(evaluation, places)


def pair(question_language: str, document_language: str) -> str:
    """What a pair of languages is called."""
    return f"{question_language} → {document_language}"


def truncations(dataset: Dataset, vectors: Vectors) -> tuple[Truncation, ...]:
    """Dense retrieval with whole vectors, and with a half, a quarter … of their components.

    Empty where no pair is of one language, or none of two: there is nothing to set side by side.
    """
    cells = list(pools.matrix(dataset))
    if len({asked == held for asked, held, _ in cells}) < 2:
        return ()
    found: list[Truncation] = []
    dimension = vectors.dimension
    column = MEASURES.index("nDCG@10")
    while dimension >= _SMALLEST or not found:
        ranker = ExactRanker(dataset, vectors.truncated(dimension), Ranking(mode="dense"))
        means: dict[bool, list[float]] = {True: [], False: []}
        for asked, held, pool in cells:
            values = of_rankings(list(ranker.ranked(pool)), pool.relevant)
            means[asked == held].append(float(values[:, column].mean()))
        found.append(Truncation(dimension, float(np.mean(means[True])), float(np.mean(means[False]))))
        dimension //= 2
    return tuple(found)


def of_rankings(ranked: Sequence[Sequence[int]], relevant: Sequence[Mapping[int, int]]) -> NDArray[np.float64]:
    """Values of `MEASURES` for each ranking, of shape (rankings, measures).

    They depend on nothing but the places at which relevant documents stand, and their grades: equal ones are given to
    ir-measures once. It breaks ties by document id, downwards, so it is told places and no scores.

    Args:
        ranked: documents, best first.
        relevant: document → grade, above 0.
    """
    import ir_measures

    seen: dict[tuple[tuple[tuple[int, int], ...], tuple[int, ...]], int] = {}
    which: list[int] = []
    for documents, grades in zip(ranked, relevant, strict=True):
        found = tuple((place, grades[each]) for place, each in enumerate(documents) if each in grades)
        listed = set(documents)
        missed = tuple(sorted(grade for each, grade in grades.items() if each not in listed))
        which.append(seen.setdefault((found, missed), len(seen)))
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for (found, missed), number in seen.items():
        last = found[-1][0] if found else 0
        run[str(number)] = {f"at {place}": -float(place) for place in range(last + 1)}
        qrels[str(number)] = {
            **{f"at {place}": grade for place, grade in found},
            **{f"missed {at}": grade for at, grade in enumerate(missed)},
        }
    measures = [ir_measures.parse_measure(name) for name in MEASURES]
    columns = {measure: column for column, measure in enumerate(measures)}
    values = np.zeros((len(seen), len(MEASURES)))
    for metric in ir_measures.iter_calc(measures, qrels, run):
        values[int(metric.query_id), columns[metric.measure]] = metric.value
    return values[which]


def _values(dataset: Dataset, pool: Pool, ranked: Sequence[Sequence[int]]) -> Values:
    names: dict[str, int] = {}
    groups = [names.setdefault(dataset.questions[at].group, len(names)) for at in pool.questions]
    return Values(np.array(pool.questions), of_rankings(ranked, pool.relevant), np.array(groups))


def _by_language(case: Case, values: Values, languages: NDArray[np.str_]) -> list[CaseRow]:
    rows = []
    for language in np.unique(languages).tolist():
        some = values.of(languages == language)
        rows.append(CaseRow(case, language, len(some.questions), some.intervals()))
    return rows


def _translations(matrix: Sequence[Cell]) -> tuple[Translations, ...]:
    cells = {(cell.question_language, cell.document_language): cell for cell in matrix}
    return tuple(
        Translations(*pair, cells[pair].values["R@1"].mean, cells[pair[::-1]].values["R@1"].mean, cell.questions)
        for pair, cell in cells.items()
        if pair == in_order(*pair)
    )


def _preferences(dataset: Dataset, pool: Pool, ranked: Sequence[Sequence[int]]) -> tuple[Preference, ...]:
    """Places that were filled, where fewer than ten documents share a token with the question."""
    top: dict[str, Counter[str]] = {}
    gold: dict[str, Counter[str]] = {}
    for at, documents, relevant in zip(pool.questions, ranked, pool.relevant, strict=True):
        asked_in = dataset.questions[at].language
        for counted, positions in ((top, documents[:_TOP]), (gold, list(relevant))):
            counted.setdefault(asked_in, Counter()).update(dataset.documents[each].language for each in positions)
    return tuple(
        Preference(
            asked_in,
            language,
            top[asked_in][language] / max(1, top[asked_in].total()),
            gold[asked_in][language] / gold[asked_in].total(),
        )
        for asked_in in sorted(gold)
        for language in dataset.document_languages
    )


@lru_cache(maxsize=2)
def _resamples(groups: int) -> NDArray[np.float64]:
    """How often each group is drawn in each resample, of shape (resamples, groups); always the same."""
    drawn = np.random.default_rng(_SEED).multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    return drawn.astype(np.float64)
