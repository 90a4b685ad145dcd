"""What the report draws: heat maps as tables, bars in the rows of tables, lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from xml.etree.ElementTree import Element

from rag.evaluation.report_colours import FULL_PREFERENCE, STEPS, difference_class, value_class
from rag.evaluation.report_markup import (
    MINUS,
    column,
    counted,
    element,
    interval_text,
    language_label,
    number,
    percent,
    row,
    scrolling,
    signed,
    spoken,
    table,
)
from rag.evaluation.results import CaseRow, Cell, Interval, Measure, Preference, Truncation

_MANY_COLUMNS = 16
"""From here on a matrix is set in small type on paper: on A4 more columns do not fit."""


def heat_map(cells: Sequence[Cell], measure: Measure) -> Element:
    """Questions down, documents across; the diagonal is framed."""
    values = {
        (cell.question_language, cell.document_language): (cell.values[measure], cell.questions)
        for cell in cells
        if measure in cell.values
    }

    def shown(question: str, document: str) -> Element:
        found = values.get((question, document))
        if found is None:
            return _missing()
        interval, questions = found
        return element(
            "td",
            number(interval.mean),
            interval_text(interval),
            class_=_framed(value_class(interval.mean), question == document),
            title=f"{question} → {document}: {spoken(interval)}, {counted(questions, 'question', 'questions')}",
        )

    return _matrix(f"{measure} of every pair of languages", values, shown, _legend("v", "0", "1"))


def preference_map(preferences: Sequence[Preference]) -> Element:
    """Share of the first ten minus share of what is relevant, for every pair."""
    found = {(one.question_language, one.document_language): one for one in preferences}

    def shown(question: str, document: str) -> Element:
        one = found.get((question, document))
        if one is None:
            return _missing()
        difference = one.top_share - one.gold_share
        return element(
            "td",
            signed(difference),
            class_=_framed(difference_class(difference), question == document),
            title=f"{question} → {document}: {percent(one.top_share)} of the first ten, "
            f"{percent(one.gold_share)} of what is relevant",
        )

    ends = (f"{MINUS}{number(FULL_PREFERENCE)} or less", f"+{number(FULL_PREFERENCE)} or more")
    return _matrix("Share of the first ten minus share of what is relevant", found, shown, _legend("d", *ends))


def bars(
    rows: Sequence[tuple[Sequence[Element | str], Interval, int]],
    measure: Measure,
    caption: str,
    labels: str = "Questions in",
) -> Element:
    """One bar a row, from 0 to 1, with the interval as a whisker.

    Args:
        rows: label, value, and how many questions it is the mean of.
    """
    head = [column(labels), _axis(), column(measure, class_="number"), column("Asked", class_="number")]
    body = [
        [
            row(*label),
            element("td", _bar(value, measure), class_="bar"),
            element("td", number(value.mean), interval_text(value), class_="number"),
            element("td", f"{questions:,}", class_="number quiet"),
        ]
        for label, value, questions in rows
    ]
    return table([caption], head, body, class_="bars")


def case_bars(rows: Sequence[CaseRow], measure: Measure, caption: str) -> Element:
    """One case, a bar for each language of questions."""
    labelled = [
        (language_label(one.question_language or ""), one.values[measure], one.questions)
        for one in sorted(rows, key=lambda one: one.question_language or "")
        if one.question_language is not None and measure in one.values
    ]
    return bars(labelled, measure, caption)


def own_language_bars(preferences: Sequence[Preference]) -> Element:
    """How much of the first ten the question's own language takes: two bars a language."""
    own = sorted(
        (one for one in preferences if one.question_language == one.document_language),
        key=lambda one: one.question_language,
    )
    head = [column("Questions in"), _axis(), column("First ten", class_="number"), column("Relevant", class_="number")]
    body = [
        [
            row(*language_label(one.question_language)),
            element("td", _pair(one), class_="bar"),
            element("td", percent(one.top_share), class_="number top"),
            element("td", percent(one.gold_share), class_="number quiet"),
        ]
        for one in own
    ]
    caption: list[Element | str] = [
        "The question's own language: ",
        element("span", class_="swatch top"),
        " its share of the first ten, ",
        element("span", class_="swatch gold"),
        " its share of what is relevant",
    ]
    return table(caption, head, body, class_="bars")


def truncation_lines(truncations: Sequence[Truncation], top: float) -> Element:
    """Mean nDCG@10 by the number of components, on a logarithmic scale.

    Args:
        top: value at the upper end of the scale, a multiple of .1; it begins at 0.
    """
    left, right, upper, lower = 44.0, 430.0, 14.0, 210.0
    points = sorted(truncations, key=lambda one: one.dimension)
    first, last = math.log2(points[0].dimension), math.log2(points[-1].dimension)

    def across(dimension: int) -> float:
        return (
            left + 20 + (right - left - 40) * ((math.log2(dimension) - first) / (last - first) if last > first else 0.5)
        )

    def height(value: float) -> float:
        return lower - (lower - upper) * value / top

    drawing = element("svg", viewBox="0 0 540 250", role="img", class_="lines")
    drawing.append(element("title", "Mean nDCG@10 by number of components; the table beside it has the values"))
    for tenth in range(round(10 * top) + 1):
        if top <= 0.5 or tenth % 2 == 0:
            at = round(height(tenth / 10), 1)
            drawing.append(element("line", x1=left, x2=right, y1=at, y2=at, class_="rule"))
            drawing.append(
                element(
                    "text", f".{tenth}" if 0 < tenth < 10 else str(tenth // 10), x=left - 8, y=at + 4, text_anchor="end"
                )
            )
    reached = math.inf
    for one in reversed(points):  # from the right: the whole vector is always named
        if reached - across(one.dimension) >= 34:
            reached = across(one.dimension)
            drawing.append(element("text", str(one.dimension), x=round(reached, 1), y=lower + 18, text_anchor="middle"))
    drawing.append(element("text", "components", x=(left + right) / 2, y=lower + 36, text_anchor="middle"))
    ends = {"within": height(points[-1].within), "across": height(points[-1].across)}
    if abs(ends["within"] - ends["across"]) < 14:  # two names on one place
        middle, sign = sum(ends.values()) / 2, 1 if ends["within"] <= ends["across"] else -1
        ends = {"within": middle - 7 * sign, "across": middle + 7 * sign}
    for name in ("within", "across"):
        places = [(round(across(one.dimension), 1), round(height(getattr(one, name)), 1)) for one in points]
        drawing.append(element("polyline", points=" ".join(f"{x},{y}" for x, y in places), class_=f"line {name}"))
        for x, y in places:
            drawing.append(_mark(x, y, name))
        drawing.append(
            element(
                "text",
                "within a language" if name == "within" else "across languages",
                x=right - 10,
                y=round(ends[name] + 4, 1),
                class_=name,
            )
        )
    return drawing


def truncation_table(truncations: Sequence[Truncation]) -> Element:
    """The values of the lines."""
    head = [
        column("Components"),
        column("Within a language", class_="number"),
        column("Across languages", class_="number"),
    ]
    body = [
        [
            row(str(one.dimension)),
            element("td", number(one.within), class_="number"),
            element("td", number(one.across), class_="number"),
        ]
        for one in sorted(truncations, key=lambda one: one.dimension)
    ]
    return table(["Mean nDCG@10 over pairs, dense vectors alone"], head, body, class_="plain")


def _matrix(
    caption: str, pairs: Iterable[tuple[str, str]], shown: Callable[[str, str], Element], legend: Element
) -> Element:
    known = list(pairs)
    questions, documents = sorted({pair[0] for pair in known}), sorted({pair[1] for pair in known})
    corner = element("td", "questions ↓ documents →", class_="corner")
    head = [corner, *(column(*language_label(one), class_="upright") for one in documents)]
    body = [[row(*language_label(one)), *(shown(one, other) for other in documents)] for one in questions]
    size = "heat many" if len(documents) > _MANY_COLUMNS else "heat"
    return element("div", scrolling(table([caption], head, body, class_=size), caption), legend)


def _framed(colour: str, same: bool) -> str:
    return f"{colour} same" if same else colour


def _missing() -> Element:
    return element("td", "–", class_="none", title="not asked")


def _legend(kind: str, low: str, high: str) -> Element:
    steps = (element("i", class_=f"{kind}{step}") for step in range(0, STEPS + 1, 2))
    strip = element("span", *steps, class_="strip", aria_hidden="true")
    return element("p", f"{low} ", strip, f" {high}; framed: the same language", class_="legend")


def _axis() -> Element:
    return column(*(element("span", text) for text in ("0", ".5", "1")), class_="axis")


def _bar(value: Interval, measure: Measure) -> Element:
    drawing = element("svg", element("title", f"{measure} {spoken(value)}"), role="img")
    drawing.append(element("rect", x=0, y=3, width=_along(value.mean), height=12, class_="top"))
    low, high = _along(value.low), _along(value.high)
    for x1, x2, y1, y2 in ((low, high, 9, 9), (low, low, 5, 13), (high, high, 5, 13)):
        drawing.append(element("line", x1=x1, x2=x2, y1=y1, y2=y2, class_="whisker"))
    return drawing


def _pair(one: Preference) -> Element:
    said = f"{percent(one.top_share)} of the first ten, {percent(one.gold_share)} of what is relevant"
    drawing = element("svg", element("title", said), role="img")
    drawing.append(element("rect", x=0, y=1, width=_along(one.top_share), height=8, class_="top"))
    drawing.append(element("rect", x=0, y=10, width=_along(one.gold_share), height=6, class_="gold"))
    return drawing


def _along(value: float) -> str:
    """A place on a scale from 0 to 1, as SVG wants it."""
    return f"{100 * min(max(value, 0.0), 1.0):.2f}%"


def _mark(x: float, y: float, name: str) -> Element:
    """Round and square: the lines differ without their colours too."""
    if name == "within":
        return element("circle", cx=x, cy=y, r=4, class_=f"mark {name}")
    return element("rect", x=round(x - 4, 1), y=round(y - 4, 1), width=8, height=8, class_=f"mark {name}")
