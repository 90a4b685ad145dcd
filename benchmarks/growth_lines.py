"""Values over sizes on scales of logarithms, with the power law through them, in panels: one SVG file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from rag.evaluation.report_markup import element

_COLOUR = "#0b62a4"
_PANEL, _HEIGHT, _COLUMNS = 400.0, 260.0, 3
_LEFT, _RIGHT, _UPPER, _LOWER = 64.0, 20.0, 52.0, 204.0
_STYLE = (
    "svg { background: #fff; font: 13px system-ui, sans-serif } text { fill: #222 } "
    ".rule { stroke: #ddd } .title { font-weight: 600 } .quiet { fill: #555 } .law { stroke: #c2410c; stroke-width: 2 }"
)


@dataclass(frozen=True, slots=True)
class Growth:
    """Positive values, one for each size, and the law `at_one * size ** power` that was fitted to them."""

    title: str
    values: Sequence[float]
    power: float
    at_one: float


def growth_lines(panels: Sequence[Growth], sizes: Sequence[float], *, across: str) -> str:
    """The picture; all panels have the same sizes.

    Args:
        sizes: positive and ascending.
        across: what they count.
    """
    columns = min(_COLUMNS, len(panels))
    width, height = _PANEL * columns, _HEIGHT * math.ceil(len(panels) / columns)
    drawing = element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width:g} {height:g}", role="img")
    drawing.append(element("title", f"Growth with the {across}"))
    drawing.append(element("style", _STYLE))
    for position, panel in enumerate(panels):
        left, top = _PANEL * (position % columns), _HEIGHT * (position // columns)
        drawing.append(_panel(panel, sizes, left, top, across))
    return ElementTree.tostring(drawing, encoding="unicode") + "\n"


def _panel(growth: Growth, sizes: Sequence[float], left: float, top: float, across: str) -> Element:
    made = element("g", transform=f"translate({left:g} {top:g})")
    made.append(element("text", growth.title, x=_LEFT, y=22, class_="title"))
    made.append(element("text", f"the {across} to the power of {growth.power:.2f}", x=_LEFT, y=41, class_="quiet"))
    law = [growth.at_one * size**growth.power for size in sizes]
    # A decade at least, so that what does not grow looks like it.
    middle = math.log10(min(*growth.values, *law) * max(*growth.values, *law)) / 2
    half = max(0.5, abs(math.log10(max(*growth.values, *law)) - middle)) * 1.05
    lowest, highest = middle - half, middle + half
    for power in range(math.ceil(lowest), math.floor(highest) + 1):
        y = _place(power, lowest, highest, _LOWER, _UPPER)
        made.append(element("line", x1=_LEFT, x2=_PANEL - _RIGHT, y1=y, y2=y, class_="rule"))
        made.append(element("text", f"{10.0**power:,g}", x=_LEFT - 8, y=y + 4, text_anchor="end"))
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])
    places = [_place(math.log10(size), first, last, _LEFT + 12, _PANEL - _RIGHT - 12) for size in sizes]
    heights = [_place(math.log10(value), lowest, highest, _LOWER, _UPPER) for value in law]
    made.append(element("line", x1=places[0], x2=places[-1], y1=heights[0], y2=heights[-1], class_="law"))
    for size, x, value in zip(sizes, places, growth.values, strict=True):
        y = _place(math.log10(value), lowest, highest, _LOWER, _UPPER)
        mark = element("circle", cx=x, cy=y, r=4, fill=_COLOUR)
        mark.append(element("title", f"{size:,g} {across}: {value:,.4g}"))
        made.append(mark)
        made.append(
            element("text", f"{value:,.3g}" if value < 100 else f"{value:,.0f}", x=x, y=y - 9, text_anchor="middle")
        )
        made.append(element("text", f"{size:,g}", x=x, y=_LOWER + 20, text_anchor="middle"))
    made.append(element("text", across, x=(_LEFT + _PANEL - _RIGHT) / 2, y=_LOWER + 40, text_anchor="middle"))
    return made


def _place(value: float, lowest: float, highest: float, start: float, end: float) -> float:
    return round(start + (end - start) * (value - lowest) / ((highest - lowest) or 1.0), 1)
