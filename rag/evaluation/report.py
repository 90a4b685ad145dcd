"""The report of `rag eval retrieval`: one page of HTML that asks for no other file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata, resources
from pathlib import Path
from statistics import fmean
from xml.etree.ElementTree import Element, tostring

from rag.errors import InputError
from rag.evaluation import report_charts as charts
from rag.evaluation import report_colours as colours
from rag.evaluation.report_lines import truncation_lines, truncation_table
from rag.evaluation.report_markup import (
    column,
    counted,
    definitions,
    element,
    folded,
    foreign,
    number,
    row,
    scrolling,
    signed,
    spoken,
    table,
)
from rag.evaluation.results import CASES, MEASURES, CaseRow, Comparison, Difference, Evaluation, Measure

_FIRST: Measure = MEASURES[0]
_OF_BITEXT: Measure = "R@1"
_SURE = 0.05


def check(path: Path) -> None:
    """Says before the work what `write` would say after it, as far as that can be known.

    Raises:
        InputError: the report cannot be written there.
    """
    try:
        if path.is_dir():
            raise _refusal(path, "it is a folder")
        nearest = path if path.exists() else next(folder for folder in path.absolute().parents if folder.exists())
        if nearest != path and not nearest.is_dir():
            raise _refusal(path, f"{nearest} is not a folder")
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise _refusal(path, error.strerror or str(error)) from error
    if not os.access(nearest, os.W_OK):
        raise _refusal(path, f"no permission to write to {nearest}")


def write(evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison], path: Path) -> None:
    """Writes the page, over what was there; folders on the way are made.

    Raises:
        InputError: it cannot be written.
    """
    content = page(evaluations, comparisons).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise _refusal(path, error.strerror or str(error)) from error


def page(
    evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison], *, written: datetime | None = None
) -> str:
    """The page as text that is valid Unicode.

    Args:
        comparisons: of pairs of these runs.
        written: date in the head; now, where it is None.
    """
    moment = written or datetime.now().astimezone()
    names = ", ".join(dict.fromkeys(one.dataset for one in evaluations))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Not that anything is asked for: a browser holds the page to it, whatever a data set is called.
        element("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        element("title", " · ".join(filter(None, ["Retrieval across languages", names]))),
        element("style", f"{_rules()}\n{colours.style()}\n"),
    )
    body = element("body", element("h1", "Retrieval across languages"), _made(moment))
    body.append(_summary(evaluations, comparisons) if evaluations else element("p", "No run was made."))
    top = _scale(evaluations)
    body.extend(_run(at, one, top) for at, one in enumerate(evaluations, start=1))
    first = _OF_BITEXT if _only_bitext(evaluations) else _FIRST
    body.extend(_comparison(at, one, first) for at, one in enumerate(comparisons, start=1))
    text: str = tostring(element("html", head, body, lang="en"), encoding="unicode", method="html")
    # A path's bytes that are no UTF-8 come as lone surrogates, which no file can hold.
    return f"<!doctype html>\n{text}\n".encode(errors="replace").decode()


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(f"the report cannot be written to {path} ({reason}): give --report a file that can be written")


def _rules() -> str:
    return resources.files("rag.evaluation").joinpath("report.css").read_text(encoding="utf-8")


def _made(moment: datetime) -> Element:
    shown = element("time", f"{moment:%Y-%m-%d %H:%M %z}".strip(), datetime=moment.isoformat(timespec="seconds"))
    return element("p", shown, f" · cross-lingual-rag {metadata.version('cross-lingual-rag')}", class_="quiet")


def _summary(evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison]) -> Element:
    """One row a run: what is asked first; then the way to what stands further down."""
    if _only_bitext(evaluations):
        summary = element("div", scrolling(_accuracies(evaluations), "Runs"))
    else:
        toggle = element("label", element("input", type="checkbox", id="intervals"), "Show the 95 % intervals")
        summary = element("div", scrolling(_means(evaluations), "Runs"), element("p", toggle, class_="screen"))
    if comparisons:
        links = [
            element("li", element("a", *_names(one), href=f"#comparison-{at}"))
            for at, one in enumerate(comparisons, start=1)
        ]
        summary.append(element("p", "Runs compared:"))
        summary.append(element("ul", *links))
    return summary


def _only_bitext(evaluations: Sequence[Evaluation]) -> bool:
    return bool(evaluations) and all(one.translations for one in evaluations)


def _accuracies(evaluations: Sequence[Evaluation]) -> Element:
    head = [column("Run"), column("accuracy@1 of translations", class_="number")]
    body = [
        [
            row(element("a", foreign(one.name), href=f"#run-{at}")),
            element("td", number(fmean(each.mean for each in one.translations)), class_="number"),
        ]
        for at, one in enumerate(evaluations, start=1)
    ]
    return table(["Mean accuracy@1 of each run, over pairs of languages"], head, body, class_="plain")


def _means(evaluations: Sequence[Evaluation]) -> Element:
    shown = {
        case: text
        for case, text in CASES.items()
        if any(found.case == case and found.question_language is None for one in evaluations for found in one.cases)
    }
    head = [
        column("Run"),
        column("Within a language", class_="number"),
        column("Across languages", class_="number"),
        *(column(f"Mixed: {text}", class_="number") for text in shown.values()),
    ]
    body = []
    for at, one in enumerate(evaluations, start=1):
        pairs = [(cell.question_language == cell.document_language, cell.values.get(_FIRST)) for cell in one.matrix]
        overall = {found.case: found.values.get(_FIRST) for found in one.cases if found.question_language is None}
        means = [[value.mean for same, value in pairs if value and same == wanted] for wanted in (True, False)]
        cells = [element("td", number(fmean(some)) if some else "–", class_="number") for some in means]
        for case in shown:
            value = overall.get(case)
            title = {"title": spoken(value)} if value else {}
            cells.append(element("td", number(value.mean) if value else "–", class_="number", **title))
        body.append([row(element("a", foreign(one.name), href=f"#run-{at}")), *cells])
    return table([f"Mean {_FIRST} of each run"], head, body, class_="plain")


def _run(at: int, one: Evaluation, top: float) -> Element:
    section = element("section", element("h2", foreign(one.name)), id=f"run-{at}")
    facts: dict[str, Element | str] = {
        "Data set": foreign(one.dataset),
        "Model": foreign(one.model),
        "Documents": f"{one.documents:,}",
        "Questions": f"{one.questions:,}",
        "Seconds": f"{one.seconds:,.1f}",
        "Fingerprint": element("code", one.fingerprint),
    }
    section.append(definitions(facts))
    section.extend(_pairs(one))
    if one.cases:
        section.extend(_cases(one))
    if one.preferences:
        section.extend(_preferences(one))
    if one.truncations:
        section.append(element("h3", "Shorter vectors"))
        lines, values = truncation_lines(one.truncations, top), truncation_table(one.truncations)
        section.append(element("div", lines, values, class_="pairwise"))
    return section


def _pairs(one: Evaluation) -> list[Element]:
    if one.translations:
        shown = scrolling(charts.translation_bars(one.translations), "Translations")
        return [element("h3", "Sentences and their translations"), shown]
    measures = [measure for measure in MEASURES if any(measure in cell.values for cell in one.matrix)]
    maps = [charts.heat_map(one.matrix, measure) for measure in measures]
    title = element("h3", "Questions in one language, documents in another")
    if not maps:
        return [title, element("p", "No pair of languages has questions.")]
    others = [folded(measure, shown) for measure, shown in zip(measures[1:], maps[1:], strict=True)]
    return [title, maps[0], *others]


def _cases(one: Evaluation) -> list[Element]:
    measures = [measure for measure in MEASURES if any(measure in found.values for found in one.cases)]
    text = "All languages in one index. Documents that hold the answer and are not counted as relevant are left out."
    found = [_case_charts(one.cases, measure) for measure in measures]
    others = [folded(measure, *drawn) for measure, drawn in zip(measures[1:], found[1:], strict=True)]
    return [element("h3", "Languages mixed"), element("p", text), *found[0], *others]


def _case_charts(rows: Sequence[CaseRow], measure: Measure) -> list[Element]:
    overall = []
    panels = []
    for case, sentence in CASES.items():
        of_case = [one for one in rows if one.case == case and measure in one.values]
        overall += [
            ([f"{case}: {sentence}"], one.values[measure], one.questions)
            for one in of_case
            if one.question_language is None
        ]
        if any(one.question_language is not None for one in of_case):
            panels.append(charts.case_bars(of_case, measure, f"{case}: {sentence}"))
    made = []
    if overall:
        chart = charts.bars(overall, measure, f"{measure} over all questions", labels="Relevant")
        made.append(element("div", chart, class_="overall"))
    return [*made, element("div", *panels, class_="panels")] if panels else made


def _preferences(one: Evaluation) -> list[Element]:
    text = (
        "Which languages take the first ten places where every language holds the answer. "
        "Above what is relevant: the language is preferred; below: it is passed over."
    )
    made = [element("h3", "Language preference"), element("p", text)]
    if any(pair.question_language == pair.document_language for pair in one.preferences):
        made.append(element("div", charts.own_language_bars(one.preferences), class_="overall"))
    return [*made, charts.preference_map(one.preferences)]


def _comparison(at: int, compared: Comparison, first: Measure) -> Element:
    differences = compared.differences
    sure = sum(one.p_value < _SURE for one in differences)
    told = (
        f"{counted(len(differences), 'comparison was', 'comparisons were')} made; {sure:,} with p < .05, marked *. "
        f"Between runs that do not differ, chance alone would mark up to {len(differences) * _SURE:,.1f} on average. "
        "p is of the paired, two-sided randomization test."
    )
    section = element("section", element("h2", *_names(compared)), element("p", told), id=f"comparison-{at}")
    measures = sorted({one.measure for one in differences}, key=lambda one: (one != first, MEASURES.index(one)))
    for place, measure in enumerate(measures):
        rows = [_compared(one) for one in differences if one.measure == measure]
        head = [
            column("Where"),
            column(foreign(compared.first), class_="number"),
            column(foreign(compared.second), class_="number"),
            column("Difference", class_="number"),
            column("p", class_="number"),
            column("Questions", class_="number"),
        ]
        label = f"{compared.first} against {compared.second}, {measure}"
        made = scrolling(table([measure], head, rows, class_="plain"), label)
        section.append(folded(measure, made) if place else made)
    return section


def _names(compared: Comparison) -> list[Element | str]:
    return [foreign(compared.second), " against ", foreign(compared.first)]


def _compared(one: Difference) -> list[Element]:
    sentence = next((text for case, text in CASES.items() if case == one.place), None)
    where = [foreign(one.place), f": {sentence}"] if sentence else [foreign(one.place)]
    sure = one.p_value < _SURE
    shown = "< .0001" if one.p_value < 0.0001 else number(one.p_value, decimals=4)
    return [
        row(*where),
        element("td", number(one.first), class_="number"),
        element("td", number(one.second), class_="number"),
        element("td", signed(one.second - one.first), class_="number sure" if sure else "number"),
        element("td", f"{shown} *" if sure else shown, class_="number sure" if sure else "number"),
        element("td", f"{one.questions:,}", class_="number"),
    ]


def _scale(evaluations: Sequence[Evaluation]) -> float:
    """The upper end of all line charts, so that runs can be compared by eye."""
    values = [value for one in evaluations for cut in one.truncations for value in (cut.within, cut.across)]
    return next(tenth / 10 for tenth in range(1, 11) if tenth == 10 or tenth / 10 >= max(values, default=1.0))
