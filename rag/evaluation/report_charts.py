"""What the report draws: heat maps as tables, and bars in the rows of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
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
from rag.evaluation.results import CaseRow, Cell, Interval, Measure, Preference, Translations

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


def translation_bars(rows: Sequence[Translations]) -> Element:
    """One bar a pair of languages, and the mean over them."""
    head = [
        column("Languages"),
        _axis(),
        column("Mean", class_="number"),
        column("→", class_="number"),
        column("←", class_="number"),
        column("Sentences", class_="number"),
    ]
    shown: list[tuple[list[Element | str], tuple[float, ...], int]] = [
        (
            [*language_label(one.first), " – ", *language_label(one.second)],
            (one.mean, one.forth, one.back),
            one.sentences,
        )
        for one in rows
    ]
    if len(rows) > 1:
        columns = zip(*(values for _, values, _ in shown), strict=True)
        shown.append((["Mean of the pairs"], tuple(map(fmean, columns)), sum(one.sentences for one in rows)))
    body = [
        [
            row(*label),
            element("td", _plain_bar(values[0]), class_="bar"),
            *(element("td", number(value), class_="number") for value in values),
            element("td", f"{sentences:,}", class_="number quiet"),
        ]
        for label, values, sentences in shown
    ]
    return table(
        ["accuracy@1: the translation comes first among the sentences in its language"], head, body, class_="bars"
    )


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


def _plain_bar(value: float) -> Element:
    drawing = element("svg", element("title", f"accuracy@1 {number(value)}"), role="img")
    drawing.append(element("rect", x=0, y=3, width=_along(value), height=12, class_="top"))
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
