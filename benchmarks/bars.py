"""Bars in panels one above the other: one SVG file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from rag.evaluation.report_markup import element

_OWN, _OTHER = "#0b62a4", "#a8a29e"
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _HEAD = 860.0, 220.0, 90.0, 18.0, 6.0, 40.0
_STYLE = (
    "svg { background: #fff; font: 13px system-ui, sans-serif } text { fill: #222 } "
    ".title { font-weight: 600 } .whisker { stroke: #222; stroke-width: 1.5 }"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with the least and the most that it was; `own` marks what this project did."""

    name: str
    value: float
    least: float
    most: float
    own: bool = False


def bars(panels: Mapping[str, Sequence[Bar]], *, title: str) -> str:
    """The picture; each panel has a scale of its own, from 0 to its largest value."""
    height = sum(_HEAD + len(some) * (_BAR + _GAP) + 16 for some in panels.values())
    drawing = element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH:g} {height:g}", role="img")
    drawing.append(element("title", title))
    drawing.append(element("style", _STYLE))
    top = 0.0
    for name, some in panels.items():
        drawing.append(_panel(name, some, top))
        top += _HEAD + len(some) * (_BAR + _GAP) + 16
    return ElementTree.tostring(drawing, encoding="unicode") + "\n"


def _panel(title: str, some: Sequence[Bar], top: float) -> Element:
    made = element("g", transform=f"translate(0 {top:g})")
    made.append(element("text", title, x=_LEFT, y=26, class_="title"))
    scale = (_WIDTH - _LEFT - _RIGHT) / (max((bar.most for bar in some), default=0.0) or 1.0)
    for position, bar in enumerate(some):
        y = _HEAD + position * (_BAR + _GAP)
        middle = y + _BAR / 2
        made.append(element("text", bar.name, x=_LEFT - 10, y=middle + 5, text_anchor="end"))
        width = round(scale * bar.value, 1)
        drawn = element("rect", x=_LEFT, y=y, width=width, height=_BAR, fill=_OWN if bar.own else _OTHER)
        drawn.append(element("title", f"{bar.name}: {bar.value:,.4g} ({bar.least:,.4g} to {bar.most:,.4g})"))
        made.append(drawn)
        least, most = (round(_LEFT + scale * end, 1) for end in (bar.least, bar.most))
        made.append(element("line", x1=least, x2=most, y1=middle, y2=middle, class_="whisker"))
        made.append(element("text", _short(bar.value), x=max(most, _LEFT + width) + 8, y=middle + 5))
    return made


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"
