"""Lines over steps, in panels side by side: one SVG file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from rag.evaluation.report_markup import element, number

_COLOURS = ("#0b62a4", "#c2410c", "#4d7c0f", "#7c3aed")
_DASHES = ("none", "7 4", "2 4", "9 3 2 3")  # the lines differ without their colours, too
_PANEL, _LEFT, _RIGHT, _UPPER, _LOWER, _HEIGHT = 460.0, 50.0, 15.0, 52.0, 262.0, 340.0
_STYLE = (
    "svg { background: #fff; font: 13px system-ui, sans-serif } text { fill: #222 } "
    ".rule { stroke: #ddd } .title { font-weight: 600 } .quiet { fill: #555 }"
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A line.

    Attributes:
        values: 0 to 1, one for each step.
    """

    name: str
    values: Sequence[float]


def curves(panels: Mapping[str, Sequence[Curve]], steps: Sequence[float], *, across: str, up: str) -> str:
    """The picture; all panels have the same steps, and the first one's curves are named below.

    Args:
        panels: title → curves.
        steps: at least one, from 0 and ascending; set out as log(1 + step).
        across: what the steps are.
        up: what the values are.
    """
    width = _PANEL * len(panels)
    drawing = element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width:g} {_HEIGHT:g}", role="img")
    drawing.append(element("title", f"{up} by {across}"))
    drawing.append(element("style", _STYLE))
    for position, (title, some) in enumerate(panels.items()):
        drawing.append(_panel(title, some, steps, position * _PANEL, across, up))
    for position, curve in enumerate(next(iter(panels.values()))):
        x = _LEFT + 190 * position
        drawing.append(_line([(x, _HEIGHT - 16), (x + 34, _HEIGHT - 16)], position))
        drawing.append(element("text", curve.name, x=x + 42, y=_HEIGHT - 12))
    return ElementTree.tostring(drawing, encoding="unicode") + "\n"


def _panel(title: str, some: Sequence[Curve], steps: Sequence[float], left: float, across: str, up: str) -> Element:
    made = element("g", transform=f"translate({left:g} 0)")
    made.append(element("text", title, x=_LEFT, y=22, class_="title"))
    made.append(element("text", up, x=_LEFT, y=42, class_="quiet"))
    right = _PANEL - _RIGHT
    for tenth in range(0, 11, 2):
        y = _height(tenth / 10)
        made.append(element("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="rule"))
        made.append(element("text", number(tenth / 10, 1), x=_LEFT - 8, y=y + 4, text_anchor="end"))
    furthest = math.log1p(steps[-1]) or 1.0
    places = [round(_LEFT + 12 + (right - _LEFT - 24) * math.log1p(step) / furthest, 1) for step in steps]
    for step, x in zip(steps, places, strict=True):
        made.append(element("text", f"{step:g}", x=x, y=_LOWER + 18, text_anchor="middle"))
    made.append(element("text", across, x=(_LEFT + right) / 2, y=_LOWER + 38, text_anchor="middle", class_="quiet"))
    for position, curve in enumerate(some):
        points = [(x, _height(value)) for x, value in zip(places, curve.values, strict=True)]
        made.append(_line(points, position))
        for (x, y), value, step in zip(points, curve.values, steps, strict=True):
            mark = element("circle", cx=x, cy=y, r=3.5, fill=_COLOURS[position])
            mark.append(element("title", f"{curve.name}, {step:g}: {number(value)}"))
            made.append(mark)
    return made


def _line(points: Sequence[tuple[float, float]], position: int) -> Element:
    return element(
        "polyline",
        points=" ".join(f"{x:g},{y:g}" for x, y in points),
        fill="none",
        stroke=_COLOURS[position],
        stroke_width=2.5,
        stroke_dasharray=_DASHES[position],
    )


def _height(value: float) -> float:
    return round(_LOWER - (_LOWER - _UPPER) * value, 1)
