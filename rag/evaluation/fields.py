"""Evaluations as programs read them; the names of fields are a contract (docs/evaluation.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rag.evaluation.results import CaseRow, Cell, Comparison, Evaluation, Interval, Measure, Translations


def evaluation_fields(evaluation: Evaluation) -> dict[str, Any]:
    """A run for --json."""
    return {
        "name": evaluation.name,
        "dataset": evaluation.dataset,
        "model": evaluation.model,
        "fingerprint": evaluation.fingerprint,
        "documents": evaluation.documents,
        "questions": evaluation.questions,
        "matrix": [_cell_fields(cell) for cell in evaluation.matrix],
        "cases": [_case_fields(row) for row in evaluation.cases],
        "preferences": [
            {
                "question_language": each.question_language,
                "document_language": each.document_language,
                "top_share": _rounded(each.top_share),
                "gold_share": _rounded(each.gold_share),
            }
            for each in evaluation.preferences
        ],
        "truncations": [
            {"dimension": each.dimension, "within": _rounded(each.within), "across": _rounded(each.across)}
            for each in evaluation.truncations
        ],
        "accuracy@1": _translation_fields(evaluation.translations),
        "seconds": round(evaluation.seconds, 1),
    }


def comparison_fields(comparison: Comparison) -> dict[str, Any]:
    """Two runs for --json."""
    return {
        "first": comparison.first,
        "second": comparison.second,
        "places": [
            {
                "place": each.place,
                "measure": each.measure,
                "first": _rounded(each.first),
                "second": _rounded(each.second),
                "p_value": _rounded(each.p_value),
                "questions": each.questions,
            }
            for each in comparison.differences
        ],
    }


def _translation_fields(rows: Sequence[Translations]) -> dict[str, Any] | None:
    if not rows:
        return None
    return {
        "pairs": [
            {
                "first": each.first,
                "second": each.second,
                "forth": _rounded(each.forth),
                "back": _rounded(each.back),
                "mean": _rounded(each.mean),
                "sentences": each.sentences,
            }
            for each in rows
        ],
        "mean": _rounded(fmean(each.mean for each in rows)),
    }


def _cell_fields(cell: Cell) -> dict[str, Any]:
    return {
        "question_language": cell.question_language,
        "document_language": cell.document_language,
        "questions": cell.questions,
        "values": _values(cell.values),
    }


def _case_fields(row: CaseRow) -> dict[str, Any]:
    return {
        "case": row.case,
        "question_language": row.question_language,
        "questions": row.questions,
        "values": _values(row.values),
    }


def _values(values: Mapping[Measure, Interval]) -> dict[str, dict[str, float]]:
    return {
        measure: {"mean": _rounded(each.mean), "low": _rounded(each.low), "high": _rounded(each.high)}
        for measure, each in values.items()
    }


def _rounded(value: float) -> float:
    """More digits would promise what no set of questions tells."""
    return round(value, 6)
