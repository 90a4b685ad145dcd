"""The report's line chart: what is left of dense retrieval with shorter vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from rag.evaluation.report_markup import column, element, number, row, table
from rag.evaluation.results import Truncation


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

    drawing = element("svg", viewBox="0 0 590 250", role="img", class_="lines")
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


def _mark(x: float, y: float, name: str) -> Element:
    """Round and square: the lines differ without their colours too."""
    if name == "within":
        return element("circle", cx=x, cy=y, r=4, class_=f"mark {name}")
    return element("rect", x=round(x - 4, 1), y=round(y - 4, 1), width=8, height=8, class_=f"mark {name}")
