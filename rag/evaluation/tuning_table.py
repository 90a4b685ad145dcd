"""What tuning tried and found, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rag.evaluation import specs
from rag.evaluation.results import Interval
from rag.evaluation.tuning import Outcome, Tried
from rag.fusion import Ranking
from rag.rendering.cells import padded, width_of

_GAP = "  "
_PLACES_SHOWN = 6
"""More, as of pairs of languages, are told by their mean alone."""


def tried_text(tried: Tried, outcome: Outcome) -> str:
    """All that was tried: weights of the sparse score in columns, the rest in rows."""
    values = dict(zip(tried.rankings, tried.values(), strict=True))
    weights = sorted({_ratio(ranking) for ranking in values if _weighed(ranking)})
    rows: dict[tuple[int, int], list[str]] = {}
    labels: dict[tuple[int, int], str] = {}
    for ranking, value in values.items():
        key, label = _row(ranking)
        labels[key] = label
        row = rows.setdefault(key, [""] * len(weights))
        mark = "*" if ranking == outcome.chosen else " "
        row[weights.index(_ratio(ranking)) if _weighed(ranking) else 0] = f"{_value(value)}{mark}"
    head = ["", *(f"{weight:g} " for weight in weights)]
    table = _rows([head, *([labels[key], *rows[key]] for key in sorted(rows))])
    return f"nDCG@10 of all questions; sparse weight beside a dense weight of 1 in columns, * the best\n{table}"


def outcome_text(tried: Tried, outcome: Outcome, objective: str) -> str:
    """The present and the best ranking place by place, and what the difference rests on."""
    shown = tried.places if 1 < len(tried.places) <= _PLACES_SHOWN else ()
    rows = [["", *shown, objective]]
    for label, ranking, value in (
        ("present", outcome.present, outcome.present_value),
        ("best", outcome.chosen, outcome.chosen_value),
    ):
        places = [_value(each) for each in tried.by_place(ranking)] if shown else []
        rows.append([label, *places, _value(value)])
    rows.append(["out of fold", *([""] * len(shown)), _value(outcome.out_of_fold)])
    return "\n".join(
        [
            f"present: {specs.name(outcome.present)}",
            f"best:    {specs.name(outcome.chosen)}",
            "",
            _rows(rows),
            "",
            f"On questions that had no part in the choice: {_gain(outcome.gain)} over the present settings "
            f"({outcome.questions} questions, translations counted as one; 95 % interval).",
            _agreement(outcome),
        ]
    )


def depths_text(depths: Sequence[tuple[int, float]]) -> str:
    """How many candidates are worth their time."""
    values = " · ".join(f"{depth} {_value(value)}" for depth, value in depths)
    return f"The best ranking by candidates of each vector (retrieval.depth): {values}."


def verdict(outcome: Outcome) -> str:
    """What follows."""
    if outcome.chosen == outcome.present:
        return "The present settings are the best of what was tried: nothing is changed."
    if not outcome.certain:
        return "No gain that can be told from chance: nothing is changed."
    return f"A gain that can be told from chance. In rag.toml:\n\n{toml(outcome.chosen)}"


def toml(ranking: Ranking) -> str:
    """The settings that rank so."""
    lines = ["[retrieval]", 'mode = "hybrid"', f'fusion = "{ranking.method}"']
    if ranking.mode != "hybrid":
        return f'[retrieval]\nmode = "{ranking.mode}"'
    lines.append(f"centring = {ranking.centring!r}")
    if ranking.method == "rrf":
        return "\n".join([*lines, f"rrf_k = {ranking.rrf_k}"])
    lines += [
        f"coverage = {ranking.coverage!r}",
        f"dense_weight = {ranking.dense_weight!r}",
        f"sparse_weight = {ranking.sparse_weight!r}",
    ]
    return "\n".join([*lines, f"level_k = {ranking.level_k}"] if ranking.normalizes else lines)


def outcome_fields(tried: Tried, outcome: Outcome) -> dict[str, Any]:
    """For --json; the names are a contract (docs/evaluation.md)."""
    return {
        "present": {**_fields(outcome.present), "value": _rounded(outcome.present_value)},
        "best": {**_fields(outcome.chosen), "value": _rounded(outcome.chosen_value)},
        "out_of_fold": _rounded(outcome.out_of_fold),
        "gain": {name: _rounded(getattr(outcome.gain, name)) for name in ("mean", "low", "high")},
        "certain": outcome.certain,
        "by_fold": [_fields(ranking) for ranking in outcome.by_fold],
        "questions": outcome.questions,
        "tried": [
            {
                **_fields(ranking),
                "value": _rounded(value),
                "places": dict(zip(tried.places, map(_rounded, tried.by_place(ranking).tolist()), strict=True)),
            }
            for ranking, value in zip(tried.rankings, tried.values().tolist(), strict=True)
        ],
    }


def _agreement(outcome: Outcome) -> str:
    folds = len(outcome.by_fold)
    text = f"{outcome.agreement} of {folds} folds chose the same"
    others = dict.fromkeys(specs.name(each) for each in outcome.by_fold if each != outcome.chosen)
    return f"{text}; the others {' · '.join(others)}." if others else f"{text}."


def _fields(ranking: Ranking) -> dict[str, Any]:
    return {
        "mode": ranking.mode,
        "fusion": ranking.method,
        "dense_weight": ranking.dense_weight,
        "sparse_weight": ranking.sparse_weight,
        "level_k": ranking.level_k,
        "coverage": ranking.coverage,
        "centring": ranking.centring,
        "rrf_k": ranking.rrf_k,
    }


def _weighed(ranking: Ranking) -> bool:
    return ranking.mode == "hybrid" and ranking.method != "rrf"


def _ratio(ranking: Ranking) -> float:
    """Of the weights; rounded, so that what is shown alike is one column."""
    return float(f"{ranking.sparse_weight / max(ranking.dense_weight, 1e-9):.4g}")


def _row(ranking: Ranking) -> tuple[tuple[int, int], str]:
    """Where it comes, and what it is called."""
    if ranking.mode != "hybrid":
        return (3, 0), ranking.mode
    if ranking.method == "rrf":
        return (2, ranking.rrf_k), f"rrf, rrf_k {ranking.rrf_k}"
    if ranking.method == "weighted":
        return (1, 0), "weighted"
    return (0, ranking.level_k), f"normalized, level_k {ranking.level_k}"


def _rows(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(width_of(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        _GAP.join(padded(cell, widths[at], to_the_right=at > 0) for at, cell in enumerate(row)).rstrip() for row in rows
    )


def _value(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _gain(gain: Interval) -> str:
    mean, low, high = (
        f"{round(each, 3) + 0.0:+.3f}".replace("0.", ".", 1) for each in (gain.mean, gain.low, gain.high)
    )
    return f"{mean} [{low}, {high}]"


def _rounded(value: float) -> float:
    return round(value, 6)
