"""rich's Markdown blocks as answers need them: flush left, nothing cut on narrow screens, each with its direction."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cache
from typing import ClassVar

from markdown_it.token import Token
from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, OverflowMethod, RenderResult
from rich.containers import Lines
from rich.markdown import (
    BlockQuote,
    CodeBlock,
    Heading,
    HorizontalRule,
    ListElement,
    ListItem,
    Markdown,
    MarkdownContext,
    MarkdownElement,
    Paragraph,
    TableDataElement,
    TableElement,
)
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from rag.rendering.cells import folded, width_of, wrapped
from rag.rendering.directions import base_direction
from rag.rendering.visual_order import Direction

_NARROWEST = 10  # columns; a block inside another that had fewer is not moved to the right any more
_NARROWEST_COLUMN = 8  # of a table; with less, each of its rows becomes a list of its cells
_LONGEST_RULE = 40  # columns

THEME = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold underline",
        **{f"markdown.h{level}": "bold" for level in range(3, 7)},
        "markdown.code": "magenta",
        "markdown.code_block": "magenta",
        "markdown.block_quote": "none",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.table.header": "bold",
        "markdown.table.border": "none",
    }
)
"""Colours that can be read on light and on dark."""

# Styles carry through rich's layout what a line must know of itself: its direction, and which parts of it are cells.
_DIRECTIONS: dict[Direction, Style] = {
    "ltr": Style.from_meta({"direction": "ltr"}),
    "rtl": Style.from_meta({"direction": "rtl"}),
}
_CELL = Style.from_meta({"cell": True})


def direction_of(segments: Sequence[Segment]) -> Direction:
    """The direction of the paragraph that a line belongs to."""
    metas = (segment.style.meta for segment in segments if segment.style)
    return next((meta["direction"] for meta in metas if "direction" in meta), "ltr")


def is_cell(style: Style) -> bool:
    """Whether what has this style stands in the cell of a table."""
    return "cell" in style.meta


class WrappedText(Text):
    """Text that is broken where its script breaks lines."""

    def wrap(
        self,
        console: Console,
        width: int,
        *,
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        tab_size: int = 8,
        no_wrap: bool | None = None,
    ) -> Lines:
        """Lines of at most `width` cells."""
        if "\t" in self.plain:
            self.expand_tabs(tab_size)
        offsets = [offset for span in wrapped(self.plain, width) for offset in span]
        lines = Lines(self.divide(offsets)[1::2])
        if justify in ("center", "right"):
            lines.justify(console, width, justify=justify)
        return lines


def _directed(text: Text) -> Text:
    text.style = _DIRECTIONS[base_direction(text.plain)]
    return text


class _Paragraph(Paragraph):
    def on_enter(self, context: MarkdownContext) -> None:
        super().on_enter(context)
        self.text = WrappedText()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _directed(self.text)


class _Heading(Heading):
    def on_enter(self, context: MarkdownContext) -> None:
        super().on_enter(context)
        self.text = WrappedText()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _directed(self.text)


class _CodeBlock(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style("markdown.code_block") + _DIRECTIONS["ltr"]
        indent = "  " if options.max_width >= _NARROWEST else ""
        for line in self.text.plain.rstrip().expandtabs(4).split("\n"):
            for piece in folded(line, options.max_width - len(indent)):
                yield Segment(indent + piece, style)
                yield Segment.line()


class _Rule(HorizontalRule):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment("─" * min(options.max_width, _LONGEST_RULE), console.get_style("markdown.hr"))
        yield Segment.line()


def _behind(mark: str, following: str, style: Style, lines: Sequence[list[Segment]], *, own_line: bool) -> RenderResult:
    """`lines` behind a mark, all but the first behind `following`; or below the mark, if there is no room beside it."""
    directed = style + _DIRECTIONS[direction_of(lines[0]) if lines else "ltr"]
    if own_line or not lines:
        yield Segment(mark, directed)
        yield Segment.line()
    for at, line in enumerate(lines):
        if not own_line:
            yield Segment(following if at else mark, directed)
        yield from line
        yield Segment.line()


class _BlockQuote(BlockQuote):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        mark = "▌ " if options.max_width - 2 >= _NARROWEST else ""
        inside = options.update(width=options.max_width - len(mark))
        for line in console.render_lines(self.elements, inside, style=self.style, pad=False):
            yield from _behind(mark, mark, self.style, [line], own_line=False)


class _ListItem(ListItem):
    def marked(self, mark: str, console: Console, options: ConsoleOptions) -> RenderResult:
        """The item behind a bullet or number."""
        own_line = options.max_width - len(mark) < _NARROWEST
        inside = options if own_line else options.update(width=options.max_width - len(mark))
        lines = console.render_lines(self.elements, inside, style=self.style, pad=False)
        style = console.get_style("markdown.item.bullet")
        yield from _behind(mark, " " * len(mark), style, lines, own_line=own_line)


class _ListElement(ListElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        first = 1 if self.list_start is None else self.list_start
        for number, item in enumerate(self.items, first):
            assert isinstance(item, _ListItem)
            # The room for a number does not hang on the numbers to come: what is on the screen stays where it is.
            mark = " • " if self.list_type == "bullet_list_open" else f"{number}.".rjust(3) + " "
            yield from item.marked(mark, console, options)


class _TableCell(TableDataElement):
    def __init__(self, justify: JustifyMethod) -> None:
        super().__init__(justify)
        self.content = WrappedText("", style=_CELL, justify=justify)


class _TableElement(TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        header = [cell.content for cell in self.header.row.cells] if self.header and self.header.row else []
        rows = [[cell.content for cell in row.cells] for row in self.body.rows] if self.body else []
        for heading in header:
            heading.stylize("markdown.table.header")
        columns = list(zip(header, *rows, strict=False))
        needed = sum(max(width_of(cell.plain) for cell in column) + 2 for column in columns)
        if needed > options.max_width and options.max_width // len(columns) - 2 < _NARROWEST_COLUMN:
            yield from _records(header, rows)
            return
        table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, border_style="markdown.table.border")
        for heading in header:
            table.add_column(heading, justify=heading.justify or "default", overflow="fold")
        for row in rows:
            table.add_row(*row)
        direction = base_direction(" ".join(cell.plain for row in (header, *rows) for cell in row))
        yield from Segment.apply_style(console.render(table, options), _DIRECTIONS[direction])


def _records(header: Sequence[Text], rows: Sequence[Sequence[Text]]) -> RenderResult:
    """A table too narrow for its columns: a line a cell, behind the name of its column."""
    for row in rows or [header]:
        for heading, cell in zip(header, row, strict=False):
            line = WrappedText()
            if rows and heading.plain:
                line.append_text(heading).append(": ")
            yield _directed(line.append_text(cell))
        yield Text()


class _Blocks(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "paragraph_open": _Paragraph,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "blockquote_open": _BlockQuote,
        "hr": _Rule,
        "bullet_list_open": _ListElement,
        "ordered_list_open": _ListElement,
        "list_item_open": _ListItem,
        "table_open": _TableElement,
        "td_open": _TableCell,
        "th_open": _TableCell,
    }


def renderable(tokens: Sequence[Token]) -> Markdown:
    """What rich can render, from the tokens of one block."""
    # rich's constructor builds a parser of its own, which takes longer than to render a block.
    blocks = copy(_empty())
    blocks.parsed = list(tokens)
    return blocks


@cache
def _empty() -> Markdown:
    return _Blocks("", hyperlinks=False)
