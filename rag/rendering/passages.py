"""Passages of documents on a screen, as they stand there."""

from __future__ import annotations

import itertools
from dataclasses import replace

from rag.normalization import without_controls
from rag.rendering.cells import wrapped
from rag.rendering.directions import arranged, base_direction
from rag.rendering.screen import BOLD, UNDERLINED, Screen
from rag.rendering.visual_order import Piece

_BEGINS, _ENDS = ">>", "<<"  # around what is highlighted, where there are no styles


def highlighted(text: str, start: int, end: int, screen: Screen) -> str:
    """`text` with [start, end) in bold and underlined, or between >> and << on a screen without styles.

    On a terminal it is wrapped to its width, right-to-left paragraphs at the right edge.

    Args:
        start: code point; with `end` the same, nothing is highlighted.
    """
    before, inside, after = (_shown(part) for part in (text[:start], text[start:end], text[end:]))
    if inside and not screen.colours:
        before, inside, after = before + _BEGINS, inside, _ENDS + after
    width = screen.width
    if width is None:
        return before + inside + after
    text, start, end = before + inside + after, len(before), len(before) + len(inside)
    if screen.order == "directed":
        # The direction of a line is taken back behind its end, and the end of the last one is the caller's.
        screen = replace(screen, order="padded")
    lines: list[str] = []
    at = 0
    for paragraph in text.split("\n"):
        direction = base_direction(paragraph)
        for first, last in wrapped(paragraph, width):
            pieces = arranged(_pieces(text, at + first, at + last, start, end), direction, width, screen)
            lines.append("".join(_styled(piece, screen) for piece in pieces))
        at += len(paragraph) + 1
    return "\n".join(lines)


def laid_out(text: str, screen: Screen) -> str:
    """Plain text, wrapped to the screen's width, right-to-left paragraphs at the right edge."""
    return highlighted(text, 0, 0, screen)


def _shown(text: str) -> str:
    return without_controls(text).expandtabs(4)


def _pieces(text: str, first: int, last: int, start: int, end: int) -> list[Piece]:
    """The line [first, last) in up to three pieces; the style of what is in [start, end) is true."""
    cuts = sorted({first, last, *(cut for cut in (start, end) if first < cut < last)})
    return [Piece(text[here:there], start <= here < end) for here, there in itertools.pairwise(cuts)]


def _styled(piece: Piece, screen: Screen) -> str:
    return screen.styled(piece.text, BOLD, UNDERLINED) if piece.style else piece.text
