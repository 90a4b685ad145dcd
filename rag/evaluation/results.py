"""What an evaluation of retrieval says; made by `measure`, shown by `table` and `report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Measure = Literal["nDCG@10", "R@1", "R@10", "R@100", "RR@10"]
MEASURES: Final[tuple[Measure, ...]] = ("nDCG@10", "R@1", "R@10", "R@100", "RR@10")
"""As ir-measures names them; RR@10 over many questions is MRR@10."""

Case = Literal["all", "foreign", "one", "own"]
CASES: Final[Mapping[Case, str]] = {
    "all": "every language holds the answer",
    "foreign": "every language but the question's own holds it",
    "one": "exactly one foreign language holds it",
    "own": "only the question's own language holds it",
}
"""Which documents of an index that mixes languages are relevant; those with the same answer that are not are left out
of the pool."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over questions, with the percentile bootstrap's 95 % interval (Efron 1979).

    Attributes:
        mean: 0 to 1.
        low: 2.5 % quantile of the means of resampled questions.
        high: 97.5 % quantile.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair of languages: questions in one, documents in the other alone.

    Attributes:
        question_language: BCP-47 primary tag.
        document_language: BCP-47 primary tag.
        questions: how many were asked.
    """

    question_language: str
    document_language: str
    questions: int
    values: Mapping[Measure, Interval]


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One case of a pool that mixes all languages, over all questions or those in one language.

    Attributes:
        question_language: None for all.
        questions: how many question and pool pairs were ranked; in case `one` each question counts once a language.
    """

    case: Case
    question_language: str | None
    questions: int
    values: Mapping[Measure, Interval]


@dataclass(frozen=True, slots=True)
class Preference:
    """How much of the first ten a language takes in the pool of case `all`, against its share of what is relevant.

    Attributes:
        question_language: of the questions counted.
        document_language: whose share it is.
        top_share: 0 to 1, of the first ten places.
        gold_share: 0 to 1, of the relevant documents.
    """

    question_language: str
    document_language: str
    top_share: float
    gold_share: float


@dataclass(frozen=True, slots=True)
class Truncation:
    """Dense retrieval with vectors cut to their first components and normalised again.

    Attributes:
        dimension: components kept.
        within: mean nDCG@10 over pairs of the same language.
        across: mean nDCG@10 over pairs of different languages.
    """

    dimension: int
    within: float
    across: float


@dataclass(frozen=True, slots=True)
class Translations:
    """How often a sentence finds its translation first, among the sentences of one pair of languages.

    Attributes:
        first: BCP-47 primary tag; English, where it is one of the two.
        second: likewise.
        forth: accuracy@1 of questions in `first`, which is recall@1.
        back: of questions in `second`.
        sentences: pairs.
    """

    first: str
    second: str
    forth: float
    back: float
    sentences: int

    @property
    def mean(self) -> float:
        """Of both directions, as it is published."""
        return (self.forth + self.back) / 2


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of two runs over the same questions.

    Attributes:
        place: of what: `de → ja`, or a case.
        first: mean of the first run.
        second: mean of the second.
        p_value: of the paired, two-sided randomization test (Smucker et al. 2007); 1 where all differences are 0.
        questions: pairs.
    """

    place: str
    measure: Measure
    first: float
    second: float
    p_value: float
    questions: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the same data set.

    Attributes:
        first: name of the run that the other is tested against.
        second: name of the other.
        differences: every measure at every place.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One run: a data set, a model, and a way of ranking.

    Attributes:
        name: of the run, as it was asked for: `dense`, `hybrid dense=1 sparse=0.3`.
        dataset: its name or path.
        model: the embedder's name.
        fingerprint: the embedder's.
        documents: how many documents or paragraphs.
        questions: how many questions.
        matrix: every pair of languages that has questions.
        cases: empty where no question has an answer in two languages.
        preferences: empty likewise.
        truncations: empty where vectors were not cut.
        translations: of a bitext, every pair of languages; else empty.
        seconds: wall time, embedding included.
    """

    name: str
    dataset: str
    model: str
    fingerprint: str
    documents: int
    questions: int
    matrix: tuple[Cell, ...]
    cases: tuple[CaseRow, ...] = ()
    preferences: tuple[Preference, ...] = ()
    truncations: tuple[Truncation, ...] = ()
    translations: tuple[Translations, ...] = ()
    seconds: float = 0.0
