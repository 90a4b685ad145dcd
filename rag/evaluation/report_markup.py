"""Elements of the report's page: a tree, so that whatever text comes from outside is escaped when it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from xml.etree.ElementTree import Element, SubElement

from rag import language
from rag.evaluation.results import Interval

MINUS = "−"


def element(tag: str, *content: Element | str, **attributes: object) -> Element:
    """An element around texts and other elements.

    Args:
        attributes: `class_` and `for_` stand for Python's own words, other underscores for hyphens.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()})
    for part in content:
        if not isinstance(part, str):
            made.append(part)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + part
        else:
            made.text = (made.text or "") + part
    return made


def foreign(text: str) -> Element:
    """A text from outside, which may run from right to left without turning what stands around it."""
    return element("bdi", text)


def number(value: float, decimals: int = 3) -> str:
    """Without the zero in front: `.512`."""
    text = f"{abs(value):.{decimals}f}"
    sign = MINUS if value < 0 and float(text) else ""
    return sign + (text[1:] if text.startswith("0") else text)


def signed(value: float) -> str:
    """As `number`, with a plus where it is above 0."""
    text = number(value)
    return text if text == ".000" or text.startswith(MINUS) else f"+{text}"


def percent(share: float) -> str:
    """A share of 1 with one decimal: `12.5 %`."""
    return f"{100 * share:.1f} %"


def spoken(interval: Interval) -> str:
    """A mean and its interval in words."""
    return f"{number(interval.mean)}, 95 % interval {number(interval.low)} to {number(interval.high)}"


def interval_text(interval: Interval) -> Element:
    """The interval as small text, which the page shows when asked to."""
    return element("small", f"{number(interval.low)}–{number(interval.high)}", class_="interval")


@cache
def language_name(tag: str) -> str:
    """The language's English name; the tag where it has none."""
    return language.name(tag, "en")


def language_label(tag: str) -> list[Element | str]:
    """Name and tag; the tag alone where no name is known."""
    code = element("code", tag)
    name = language_name(tag)
    return [code] if name == tag else [element("span", name, class_="name"), " ", code]


def counted(count: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{count:,} {one if count == 1 else many}"


def table(
    caption: Sequence[Element | str], head: Sequence[Element], rows: Sequence[Sequence[Element]], *, class_: str
) -> Element:
    """A table whose cells are made already."""
    made = element("table", element("caption", *caption), class_=class_)
    made.append(element("thead", element("tr", *head)))
    body = SubElement(made, "tbody")
    body.extend(element("tr", *row) for row in rows)
    return made


def column(*content: Element | str, **attributes: object) -> Element:
    """The head of a column."""
    return element("th", *content, scope="col", **attributes)


def row(*content: Element | str, **attributes: object) -> Element:
    """The head of a row."""
    return element("th", *content, scope="row", **attributes)


def scrolling(content: Element, label: str) -> Element:
    """Room for what may be wider than the screen; the keyboard reaches it too."""
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def folded(summary: str, *content: Element) -> Element:
    """Shown on a click."""
    return element("details", element("summary", summary), *content)


def definitions(pairs: Mapping[str, Element | str]) -> Element:
    """Terms with their values."""
    groups = (element("div", element("dt", term), element("dd", value)) for term, value in pairs.items())
    return element("dl", *groups)
