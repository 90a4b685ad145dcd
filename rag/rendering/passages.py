"""Passages of documents on a screen, as they stand there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from rag.normalization import without_controls
from rag.rendering.cells import wrapped
from rag.rendering.directions import arranged, base_direction
from rag.rendering.screen import BOLD, UNDERLINED, Screen
from rag.rendering.visual_order import Piece

_BEGINS, _ENDS = ">>", "<<"  # around what is highlighted, where there are no styles


def highlighted(text: str, spans: Sequence[tuple[int, int]], screen: Screen) -> str:
    """`text` with what is in `spans` in bold and underlined, or between >> and << on a screen without styles.

    On a terminal it is wrapped to its width, right-to-left paragraphs at the right edge.

    Args:
        spans: [start, end) in code points, in any order; they may overlap.
    """
    shown, marked = _marked(text, _joined(spans), with_signs=not screen.colours)
    width = screen.width
    if width is None:
        return shown
    if screen.order == "directed":
        # The direction of a line is taken back behind its end, and the end of the last one is the caller's.
        screen = replace(screen, order="padded")
    lines: list[str] = []
    at = 0
    for paragraph in shown.split("\n"):
        direction = base_direction(paragraph)
        for first, last in wrapped(paragraph, width):
            pieces = arranged(_pieces(shown, at + first, at + last, marked), direction, width, screen)
            lines.append("".join(_styled(piece, screen) for piece in pieces))
        at += len(paragraph) + 1
    return "\n".join(lines)


def laid_out(text: str, screen: Screen) -> str:
    """Plain text, wrapped to the screen's width, right-to-left paragraphs at the right edge."""
    return highlighted(text, (), screen)


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, without empty ones, those that overlap made one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _marked(text: str, spans: Sequence[tuple[int, int]], *, with_signs: bool) -> tuple[str, list[tuple[int, int]]]:
    """`text` as it can be shown, and where its spans are then."""
    shown, marked, at = "", [], 0
    for start, end in spans:
        shown += _shown(text[at:start]) + (_BEGINS if with_signs else "")
        begin = len(shown)
        shown += _shown(text[start:end])
        marked.append((begin, len(shown)))
        shown += _ENDS if with_signs else ""
        at = end
    return shown + _shown(text[at:]), marked


def _shown(text: str) -> str:
    return without_controls(text).expandtabs(4)


def _pieces(text: str, first: int, last: int, marked: Sequence[tuple[int, int]]) -> list[Piece]:
    """The line [first, last) cut where a mark begins or ends; the style of what is marked is true."""
    cuts = sorted({first, last, *(cut for span in marked for cut in span if first < cut < last)})
    return [
        Piece(text[here:there], any(start <= here < end for start, end in marked))
        for here, there in itertools.pairwise(cuts)
    ]


def _styled(piece: Piece, screen: Screen) -> str:
    return screen.styled(piece.text, BOLD, UNDERLINED) if piece.style else piece.text
