"""A tree of HTML to blocks of text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ingest.readers.assembly import LINE, PARAGRAPH, Assembly
from ingest.readers.cleaning import clean, single_line

if TYPE_CHECKING:
    from lxml.etree import _Element

# fmt: off
DROPPED = frozenset({
    "aside", "audio", "button", "canvas", "dialog", "embed", "footer", "head", "iframe", "input", "link", "map", "math",
    "meta", "nav", "noscript", "object", "option", "progress", "rp", "rt", "script", "select", "style", "svg",
    "template", "textarea", "title", "video",
})
"""Elements whose text is not the page's: navigation, scripts, form fields, the readings above Japanese characters."""
_BLOCKS = frozenset({
    "address", "article", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "legend", "li",
    "main", "menu", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})
# fmt: on
_DROPPED_ROLES = frozenset({"banner", "complementary", "contentinfo", "dialog", "navigation", "search", "tooltip"})
_DROPPED_CLASSES = frozenset({"headerlink", "mw-editsection", "sr-only", "visually-hidden"})
_ANCHORS = frozenset({"#", "¶", "§", "🔗"})
_SECTIONS = frozenset({"article", "main", "section"})
_LISTS = frozenset({"ul", "ol", "menu"})
_TIGHT = frozenset({"dt", "dd"})
_CELLS = frozenset({"td", "th"})
_HEADING = re.compile("h([1-6])")
_INSIDE_LAYOUT = ("table", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "article", "section", "main")
_HIDDEN = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)


def add_blocks(root: _Element, assembly: Assembly) -> None:
    """Adds the text of `root` to `assembly`: paragraphs apart, list items and table rows on lines of their own."""
    _Walk(root, assembly).run()


class _Walk:
    """One pass over a tree, in document order; not recursive, for pages nest as deep as they like."""

    def __init__(self, root: _Element, assembly: Assembly) -> None:
        self._root = root
        self._assembly = assembly
        self._words: list[str] = []
        self._lists: list[int] = []  # open lists, each with its item count
        self._marker = ""  # of a list item whose first words are still to come
        self._tight = False  # the next block follows on the next line
        self._preformatted = 0
        self._layouts: dict[_Element | None, bool] = {}

    def run(self) -> None:
        from lxml import etree

        walk = etree.iterwalk(self._root, events=("start", "end"))
        for event, element in walk:
            if not isinstance(element.tag, str):
                self._tail(element, event)
            elif event == "start":
                if self._whole(element):
                    walk.skip_subtree()
                else:
                    self._open(element)
            else:
                self._close(element)
        self._flush()

    def _whole(self, element: _Element) -> bool:
        """Deals with elements that are not entered: dropped ones, headings and rows of data."""
        if element is self._root:
            return False
        if _is_dropped(element):
            return True
        level = _level(element)
        if level:
            self._flush()
            self._leave_list()
            self._assembly.add(single_line(_text(element)), level=level)
            return True
        if element.tag == "tr" and not self._is_layout(next(element.iterancestors("table"), None)):
            self._flush()
            cells = [single_line(_text(cell)) for cell in element if cell.tag in _CELLS]
            if any(cells):
                self._add(" | ".join(cells))
                self._tight = True
            return True
        return False

    def _is_layout(self, table: _Element | None) -> bool:
        """Looked at once a table: a row at a time, long tables took quadratic time."""
        if table not in self._layouts:
            self._layouts[table] = _is_layout(table)
        return self._layouts[table]

    def _open(self, element: _Element) -> None:
        tag = element.tag
        if tag in _BLOCKS:
            self._flush()
        if tag in _LISTS:
            self._lists.append(0)
        elif tag == "li":
            depth = max(len(self._lists), 1)
            ordered = (parent := element.getparent()) is not None and parent.tag == "ol"
            if self._lists:
                self._lists[-1] += 1
            number = f"{self._lists[-1]}." if ordered and self._lists else "-"
            self._marker = f"{'  ' * (depth - 1)}{number} "
        elif tag == "br":
            self._words.append("\v")
        elif tag == "pre":
            self._preformatted += 1
        if element.text:
            self._words.append(element.text if self._preformatted else element.text.replace("\v", " "))

    def _close(self, element: _Element) -> None:
        tag = element.tag
        if element is not self._root and not _is_dropped(element):
            if tag in _BLOCKS:
                self._flush()
            if tag in _LISTS and self._lists:
                self._lists.pop()
                if not self._lists:
                    self._tight = False
            elif tag == "li":
                self._marker = ""
            elif tag == "table":
                self._tight = False
            elif tag in _TIGHT:
                self._tight = True
            elif tag == "dl":
                self._tight = False
            elif tag == "pre":
                self._preformatted -= 1
        self._tail(element, "end")

    def _tail(self, element: _Element, event: str) -> None:
        if event == "end" and element is not self._root and element.tail:
            self._words.append(element.tail)

    def _flush(self) -> None:
        """Ends the block whose words have been collected."""
        text = "".join(self._words)
        self._words.clear()
        if self._preformatted:
            text = clean(text.replace("\v", "\n")).strip("\n")
        else:
            text = "\n".join(filter(None, (single_line(line) for line in text.split("\v"))))
        if text.strip():
            self._add(text)
            if self._lists:
                self._tight = True

    def _add(self, text: str) -> None:
        if self._lists and not self._marker:  # a further paragraph of an item
            self._marker = "  " * len(self._lists)
        self._assembly.add(self._marker + text, LINE if self._tight else PARAGRAPH)
        self._marker = ""

    def _leave_list(self) -> None:
        self._marker = ""
        self._tight = False


def _is_dropped(element: _Element) -> bool:
    tag = element.tag
    if tag in DROPPED or element.get("role") in _DROPPED_ROLES:
        return True
    if tag == "header":  # of the page; that of an article holds its title
        return not any(ancestor.tag in _SECTIONS for ancestor in element.iterancestors())
    if "hidden" in element.attrib or element.get("aria-hidden") == "true" or _HIDDEN.search(element.get("style", "")):
        return True
    if not _DROPPED_CLASSES.isdisjoint(element.get("class", "").split()):
        return True
    # The sign that leads to a heading's own anchor.
    return tag == "a" and element.get("href", "").startswith("#") and single_line(_text(element)) in _ANCHORS


def _level(element: _Element) -> int | None:
    found = _HEADING.fullmatch(str(element.tag))
    return int(found[1]) if found else None


def _is_layout(table: _Element | None) -> bool:
    """Whether a table only arranges the page: its cells hold the page's structure, or there is one cell a row."""
    if table is None or table.get("role") in ("presentation", "none"):
        return table is not None
    if next(table.iterdescendants(*_INSIDE_LAYOUT), None) is not None:
        return True
    return all(sum(cell.tag in _CELLS for cell in line) == 1 for line in table.iterdescendants("tr"))


def _text(element: _Element) -> str:
    """All words inside `element` save those of dropped elements; a block inside begins with a space."""
    from lxml import etree

    words: list[str] = []
    walk = etree.iterwalk(element, events=("start", "end"))
    for event, inner in walk:
        if event == "start":
            if inner is not element and (not isinstance(inner.tag, str) or _is_dropped(inner)):
                walk.skip_subtree()
                continue
            if inner is not element and (inner.tag in _BLOCKS or inner.tag == "br"):
                words.append(" ")
            words.append(inner.text or "")
        elif inner is not element:
            if inner.tag in _BLOCKS:
                words.append(" ")
            words.append(inner.tail or "")
    return "".join(words)
