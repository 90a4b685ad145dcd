"""Figures of the user's own: what `rag eval retrieval --json` has printed into files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rag.errors import InputError

METRIC = "nDCG@10"
"""The measure that is shown of a data set of documents; every run has it."""

ACCURACY = "accuracy@1"
"""The measure that is shown of a bitext."""


@dataclass(frozen=True, slots=True)
class OwnFigure:
    """One run of an evaluation.

    Attributes:
        model: the embedder's name, as it was asked for.
        fingerprint: the embedder's.
        dataset: its name or path.
        ranking: the run's name, as `dense` or `hybrid dense=1 sparse=0.3`.
        questions: how many were asked.
        metric: `METRIC` or `ACCURACY`.
        within: its mean over pairs of the same language, 0 to 1; None where there is none.
        across: likewise over pairs of different languages.
        file: where it was read.
    """

    model: str
    fingerprint: str
    dataset: str
    ranking: str
    questions: int
    metric: str
    within: float | None
    across: float | None
    file: Path


class _UnfitError(ValueError):
    """The document is not what `rag eval retrieval` prints; the message says where."""


def read(file: Path) -> list[OwnFigure]:
    """The runs of a document of `rag eval retrieval --json`, in their order.

    Raises:
        InputError: it cannot be read, or is no such document.
    """
    try:
        document = json.loads(file.read_bytes())
        return list(_runs(document, file))
    except FileNotFoundError as error:
        raise InputError(f"there is no file {str(file)!r}: check the path") from error
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read: {error.strerror or error}") from error
    except _UnfitError as error:
        what = str(error)
        raise InputError(_message(file, what)) from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of thousands of digits
        raise InputError(_message(file, "it is no JSON")) from error


def _message(file: Path, what: str) -> str:
    return f"{str(file)!r} holds no figures, {what}: give what `rag eval retrieval … --json` has printed"


def _runs(document: object, file: Path) -> Iterator[OwnFigure]:
    runs = document.get("runs") if isinstance(document, dict) else None
    if not isinstance(runs, list) or not runs:
        raise _UnfitError("there are no 'runs' in it")
    for number, run in enumerate(runs, start=1):
        if not isinstance(run, dict):
            raise _UnfitError(f"run {number} is no object")
        texts = {key: _field(run, key, str, number) for key in ("model", "fingerprint", "dataset", "name")}
        accuracy = _accuracy(run, number)
        within: list[float] = []
        across: list[float] = []
        for cell in _field(run, "matrix", list, number):
            asked, held, value = _cell(cell, number)
            (within if asked == held else across).append(value)
        if accuracy is not None:
            within, across = [], [accuracy]
        yield OwnFigure(
            model=texts["model"],
            fingerprint=texts["fingerprint"],
            dataset=texts["dataset"],
            ranking=texts["name"],
            questions=_field(run, "questions", int, number),
            metric=METRIC if accuracy is None else ACCURACY,
            within=fmean(within) if within else None,
            across=fmean(across) if across else None,
            file=file,
        )


def _field(run: dict[str, Any], key: str, kind: type, number: int) -> Any:
    value = run.get(key)
    if type(value) is not kind:
        raise _UnfitError(f"run {number} has no {key!r} as it should be")
    return value


def _accuracy(run: dict[str, Any], number: int) -> float | None:
    """Of a bitext the mean over its pairs of languages; None for another data set."""
    translations = run.get(ACCURACY)
    if translations is None:
        return None
    mean: Any = translations.get("mean") if isinstance(translations, dict) else None
    if type(mean) not in (int, float) or not 0 <= mean <= 1:
        raise _UnfitError(f"{ACCURACY} of run {number} has the mean {mean!r:.40}")
    return float(mean)


def _cell(cell: object, number: int) -> tuple[str, str, float]:
    """Languages of question and document, and the mean of `METRIC`."""
    try:
        asked, held = cell["question_language"], cell["document_language"]  # type: ignore[index]  # tried out here
        mean = cell["values"][METRIC]["mean"]  # type: ignore[index]
    except (KeyError, TypeError) as error:
        raise _UnfitError(f"the matrix of run {number} has a cell without languages or {METRIC}") from error
    if not (isinstance(asked, str) and isinstance(held, str) and type(mean) in (int, float) and 0 <= mean <= 1):
        raise _UnfitError(f"the matrix of run {number} has a cell whose {METRIC} is {mean!r:.40}")
    return asked, held, float(mean)


def by_model(own: Sequence[OwnFigure], fingerprints: Mapping[str, str]) -> dict[str, list[OwnFigure]]:
    """Figures by the model they are of: a copy of a known model in some folder counts as that model.

    Args:
        fingerprints: of known models, by id.
    """
    ids = {fingerprint: name for name, fingerprint in fingerprints.items()}
    found: dict[str, list[OwnFigure]] = {}
    for figure in own:
        known = figure.model in fingerprints
        found.setdefault(figure.model if known else ids.get(figure.fingerprint, figure.model), []).append(figure)
    return found
