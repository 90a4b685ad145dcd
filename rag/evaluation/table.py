"""Evaluations for a terminal: matrices where they fit into its width, else lists."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rag.evaluation.measure import pair
from rag.evaluation.results import CASES, MEASURES, Comparison, Evaluation, Interval, Measure
from rag.rendering.cells import cut, padded, width_of

_GAP = "  "


def evaluation_text(evaluation: Evaluation, measure: Measure, width: int | None) -> str:
    """One run.

    Args:
        measure: what the matrix shows.
        width: columns of the terminal; None for a pipe.
    """
    facts = [
        evaluation.dataset,
        evaluation.model,
        evaluation.name,
        f"{evaluation.documents} documents",
        f"{evaluation.questions} questions",
        f"{evaluation.seconds:.1f} s",
    ]
    parts = [" · ".join(facts)]
    if evaluation.translations:
        parts.append(_translations(evaluation, "R@1"))
    if not evaluation.translations or measure != "R@1":
        parts.append(
            _translations(evaluation, measure) if evaluation.translations else _matrix(evaluation, measure, width)
        )
    if evaluation.cases:
        parts.append(_cases(evaluation, measure, width))
    if evaluation.preferences:
        parts.append(_preferences(evaluation, width))
    if evaluation.truncations:
        rows = [(str(each.dimension), _value(each.within), _value(each.across)) for each in evaluation.truncations]
        head = ("components", "same language", "other language")
        parts.append("Dense vectors cut short, mean nDCG@10\n" + _rows([head, *rows], to_the_right=True))
    return "\n\n".join(parts)


def comparison_text(comparison: Comparison, measure: Measure) -> str:
    """Two runs: their values, the difference, and how likely random signs make it as large."""
    head = ("", "first", "second", "difference", "p")
    rows = [
        (
            each.place,
            _value(each.first),
            _value(each.second),
            f"{round(each.second - each.first, 3) + 0.0:+.3f}",
            f"{each.p_value:.4f}",
        )
        for each in comparison.differences
        if each.measure == measure
    ]
    return f"{measure}, first: {comparison.first}, second: {comparison.second}\n" + _rows([head, *rows])


def _translations(evaluation: Evaluation, measure: Measure) -> str:
    """A row for each pair of languages: a matrix would be empty but for the row and the column of English."""
    values = {(cell.question_language, cell.document_language): cell.values[measure].mean for cell in evaluation.matrix}
    rows: list[tuple[str, tuple[float, ...]]] = []
    for each in evaluation.translations:
        both = (values[each.first, each.second], values[each.second, each.first])
        rows.append((f"{each.first} – {each.second}", (*both, fmean(both))))
    rows.append(("mean", tuple(map(fmean, zip(*(numbers for _, numbers in rows), strict=True)))))
    name = "accuracy@1 (R@1)" if measure == "R@1" else measure
    title = f"{name}: sentence → its translation, among those of the two languages alone"
    return f"{title}\n" + _rows([("", "→", "←", "mean"), *((label, *map(_value, numbers)) for label, numbers in rows)])


def _matrix(evaluation: Evaluation, measure: Measure, width: int | None) -> str:
    values = {(cell.question_language, cell.document_language): cell.values[measure] for cell in evaluation.matrix}
    columns = sorted({held for _, held in values})
    head = ("", *columns)
    rows = [
        (asked, *(_value(values[asked, held].mean) if (asked, held) in values else "" for held in columns))
        for asked in sorted({asked for asked, _ in values})
    ]
    table = _rows([head, *rows])
    if _fits(table, width):
        return f"{measure}: questions in rows, documents in columns\n{table}"
    listed = [(pair(*languages), _value(each.mean), _interval(each)) for languages, each in values.items()]
    return f"{measure}: question → document\n" + _rows(listed)


def _cases(evaluation: Evaluation, measure: Measure, width: int | None) -> str:
    whole = [row for row in evaluation.cases if row.question_language is None]
    head = ("", *MEASURES)
    table = _rows([head, *((row.case, *(_value(row.values[each].mean) for each in MEASURES)) for row in whole)])
    if not _fits(table, width):
        listed = [(row.case, _value(row.values[measure].mean), _interval(row.values[measure])) for row in whole]
        table = f"{measure}\n" + _rows(listed)
    meanings = _rows([(row.case, CASES[row.case]) for row in whole])
    if width is not None:
        meanings = "\n".join(cut(line, width) for line in meanings.splitlines())
    return f"All languages in one index\n{table}\n{meanings}"


def _preferences(evaluation: Evaluation, width: int | None) -> str:
    shares = {(each.question_language, each.document_language): each for each in evaluation.preferences}
    columns = sorted({held for _, held in shares})
    title = "Share of the first ten, and of what is relevant, in %"
    rows = [
        (asked, *(f"{100 * each.top_share:.0f}/{100 * each.gold_share:.0f}" for each in found))
        for asked in sorted({asked for asked, _ in shares})
        if (found := [shares[asked, held] for held in columns])
    ]
    table = _rows([("", *columns), *rows])
    if _fits(table, width):
        return f"{title}\n{table}"
    listed = [
        (pair(*languages), f"{100 * each.top_share:.0f}/{100 * each.gold_share:.0f}")
        for languages, each in shares.items()
    ]
    return f"{title}\n{_rows(listed)}"


def _rows(rows: Sequence[Sequence[str]], *, to_the_right: bool = False) -> str:
    """Columns as wide as their widest cell; numbers to the right, names to the left.

    Args:
        to_the_right: the first column holds numbers, too.
    """
    widths = [max(width_of(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        _GAP.join(
            padded(cell, widths[column], to_the_right=len(row) > 2 and (column > 0 or to_the_right))
            for column, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )


def _fits(table: str, width: int | None) -> bool:
    return width is None or max(map(width_of, table.splitlines())) <= width


def _value(value: float) -> str:
    """`.444`, as papers write what never is above 1."""
    return f"{value:.3f}".removeprefix("0")


def _interval(interval: Interval) -> str:
    return f"[{_value(interval.low)}, {_value(interval.high)}]"
