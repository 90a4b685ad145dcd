"""Least values that a run must reach, so that a build fails where retrieval has become worse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rag.errors import InputError
from rag.evaluation import pools
from rag.evaluation.datasets import Dataset
from rag.evaluation.measure import Measured, pair
from rag.evaluation.records import primary_tag
from rag.evaluation.results import CASES, MEASURES, Measure


@dataclass(frozen=True, slots=True)
class Gate:
    """A least value.

    Attributes:
        place: `de → ja`, or a case; None for every pair of languages.
        least: 0 to 1.
    """

    measure: Measure
    place: str | None
    least: float


def parse(texts: Iterable[str], measure: Measure, option: str) -> list[Gate]:
    """Gates from `0.4` for all pairs, `de-ja=0.4` for one (or `deu-jpn=0.4`), `one=0.2` for a case.

    Raises:
        InputError: none of these, or not from 0 to 1.
    """
    return [_gate(text, measure, option) for text in texts]


def _gate(text: str, measure: Measure, option: str) -> Gate:
    where, equals, number = text.rpartition("=")
    refusal = InputError(f"{option} {text!r} cannot be used: give 0.4, de-ja=0.4 or one=0.2, from 0 to 1")
    try:
        least = float(number)
    except ValueError as error:
        raise refusal from error
    if not 0 <= least <= 1:
        raise refusal
    if not equals:
        return Gate(measure, None, least)
    if where in CASES:
        return Gate(measure, where, least)
    languages = where.split("-")  # two words: with more, one could not tell where the first tag ends
    if len(languages) != 2:
        raise refusal
    try:
        return Gate(measure, pair(primary_tag(languages[0]), primary_tag(languages[1])), least)
    except InputError as error:
        raise refusal from error


def require_known(gates: Sequence[Gate], dataset: Dataset) -> None:
    """Refuses gates for pairs and cases that the data set has not: they would never fall.

    Raises:
        InputError: there is such a gate.
    """
    known = [pair(asked, held) for asked, held, _ in pools.matrix(dataset)]
    known += [case for case, _ in pools.cases(dataset)]
    for gate in gates:
        if gate.place is not None and gate.place not in known:
            raise InputError(f"nothing is measured for {gate.place!r}: {dataset.name} has {', '.join(known)}")


def fallen(measured: Measured, gates: Sequence[Gate]) -> list[str]:
    """One line for each gate and place whose value is below the least."""
    lines: list[str] = []
    for gate in gates:
        column = MEASURES.index(gate.measure)
        for place, values in measured.places.items():
            if gate.place == place or (gate.place is None and place not in CASES):
                value = float(values.values[:, column].mean())
                if value < gate.least:
                    lines.append(
                        f"{measured.evaluation.name}: {place}: {gate.measure} {value:.4f} is below {gate.least:g}"
                    )
    return lines
