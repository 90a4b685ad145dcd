"""Markdown as lines for a screen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from io import StringIO
from typing import NamedTuple

from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from rag.normalization import without_controls
from rag.rendering.blocks import THEME, direction_of, is_cell, renderable
from rag.rendering.cells import width_of
from rag.rendering.directions import RIGHT_TO_LEFT_LINE, arranged
from rag.rendering.markup import Continued, parsed
from rag.rendering.screen import Screen
from rag.rendering.visual_order import Piece


class Line(NamedTuple):
    """A line as it goes to the screen.

    Attributes:
        text: with its escape sequences, without a line end.
        cells: how far it reaches from the left edge.
    """

    text: str
    cells: int


EMPTY = Line("", 0)


def lines_of(source: str, screen: Screen, width: int, continued: Continued | None = None) -> list[Line]:
    """The lines of Markdown, none of them longer than `width` cells; an empty one between two blocks.

    Args:
        continued: the list that `source` begins in.
    """
    lines: list[Line] = []
    for tokens in parsed(source, continued, with_marks=not screen.colours):
        console = _console()
        rendered = console.render_lines(renderable(tokens), console.options.update(width=width), pad=False)
        block = [_line(segments, screen, width) for segments in rendered]
        filled = [at for at, line in enumerate(block) if line.text]
        if filled:
            lines += [*([EMPTY] if lines else []), *block[filled[0] : filled[-1] + 1]]
    return lines


@cache
def _console() -> Console:
    # Only its layout is used; it is never written to.
    return Console(file=StringIO(), theme=THEME, highlight=False, legacy_windows=False, width=80)


def _line(segments: Sequence[Segment], screen: Screen, width: int) -> Line:
    pieces = [_piece(segment) for segment in segments]
    while pieces and not pieces[-1].text.strip():
        pieces.pop()
    if pieces:
        pieces[-1] = pieces[-1]._replace(text=pieces[-1].text.rstrip())
    pieces = arranged(pieces, direction_of(segments), width, screen)
    cells = sum(width_of(piece.text) for piece in pieces if piece.text != RIGHT_TO_LEFT_LINE)
    return Line("".join(_styled(piece, screen) for piece in pieces), cells)


def _piece(segment: Segment) -> Piece:
    style = segment.style or Style.null()
    return Piece(without_controls(segment.text), style, is_cell(style))


def _styled(piece: Piece, screen: Screen) -> str:
    if not screen.colours or not isinstance(piece.style, Style):
        return piece.text
    return piece.style.render(piece.text, legacy_windows=False)
