"""What `rag models` shows: for each model its facts, where it is, and figures, published and the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.catalogue import figures, local
from rag.catalogue.figures import OwnFigure
from rag.catalogue.models import Model, models


@dataclass(frozen=True, slots=True)
class Score:
    """A figure, whoever measured it; `within` and `across` are between 0 and 1, None where not measured.

    Attributes:
        own: the user measured it.
        metric: `nDCG@10`, `accuracy@1`, `R@100` or `F1`.
        benchmark: what it was measured on.
        source: who says so; of the user's own the file.
        questions: how many were asked for the user's own; None for published figures.
        other_weights: the user's own figure is of weights that are not those now on this machine; None where that
            cannot be told, and for published figures.
    """

    own: bool
    benchmark: str
    metric: str
    ranking: str
    within: float | None
    across: float | None
    source: str
    questions: int | None = None
    other_weights: bool | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the list.

    Attributes:
        model: None for one that is not in the catalogue, of which the user has figures.
        presence: likewise.
    """

    id: str
    model: Model | None
    presence: local.Presence | None
    scores: tuple[Score, ...]


def entries(own: Sequence[OwnFigure]) -> list[Entry]:
    """All models of the catalogue, then those of which there are only figures of the user's own.

    Args:
        own: figures of the user's; without any, no model's files are looked at.
    """
    fingerprints = {}
    if own:
        fingerprints = {model.id: found.fingerprint for model in models() if (found := local.files(model))}
    measured = figures.by_model(own, fingerprints)
    listed = [
        Entry(
            model.id,
            model,
            local.presence(model),
            (*_published(model), *_own(measured.pop(model.id, []), fingerprints.get(model.id))),
        )
        for model in models()
    ]
    return listed + [Entry(name, None, None, _own(of_it, None)) for name, of_it in measured.items()]


def entry_fields(entry: Entry) -> dict[str, Any]:
    """A model for --json; the names of fields are a contract."""
    model = entry.model
    return {
        "id": entry.id,
        "use": model.use if model else None,
        "presence": entry.presence,
        "revision": model.revision if model else None,
        "dimension": model.dimension if model else None,
        "window": model.window if model else None,
        "language_count": model.language_count if model else None,
        "languages": list(model.languages) if model else [],
        "size": model.size if model else None,
        "licence": model.licence if model else None,
        "vectors": list(model.vectors) if model else [],
        "query_prompt": model.query_prompt if model else None,
        "passage_prompt": model.passage_prompt if model else None,
        "figures": [_score_fields(score) for score in entry.scores],
    }


def _score_fields(score: Score) -> dict[str, Any]:
    fields = {
        "own": score.own,
        "benchmark": score.benchmark,
        "metric": score.metric,
        "ranking": score.ranking,
        "within": _rounded(score.within),
        "across": _rounded(score.across),
        "source": score.source,
    }
    own = {"questions": score.questions, "other_weights": score.other_weights}
    return {**fields, **own} if score.own else fields


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _published(model: Model) -> tuple[Score, ...]:
    return tuple(
        Score(
            own=False,
            benchmark=figure.benchmark.name,
            metric=figure.benchmark.metric,
            ranking=figure.ranking,
            within=figure.within,
            across=figure.across,
            source=figure.benchmark.source,
        )
        for figure in model.figures
    )


def _own(measured: Sequence[OwnFigure], fingerprint: str | None) -> tuple[Score, ...]:
    return tuple(
        Score(
            own=True,
            benchmark=_short(figure.dataset),
            metric=figure.metric,
            ranking=figure.ranking,
            within=figure.within,
            across=figure.across,
            source=str(figure.file),
            questions=figure.questions,
            other_weights=None if fingerprint is None else figure.fingerprint != fingerprint,
        )
        for figure in measured
    )


def _short(dataset: str) -> str:
    """A data set's own name, without the folders above it."""
    return Path(dataset).name or dataset
