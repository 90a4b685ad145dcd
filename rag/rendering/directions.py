"""Right-to-left text on terminals (Unicode bidirectional algorithm, UAX #9; BiDi in terminal emulators)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rag.rendering.screen import Screen
from rag.rendering.visual_order import Direction, Piece, in_visual_order

_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_RIGHT_TO_LEFT_ISOLATE, _ISOLATE, _END_OF_ISOLATE = "\u2067", "\u2068", "\u2069"
_OPENS, _CLOSES = ("LRI", "RLI", "FSI"), "PDI"
_STRONG: dict[str, Direction] = {"L": "ltr", "R": "rtl", "AL": "rtl"}

RIGHT_TO_LEFT_LINE = "\x1b[2 k"
LEFT_TO_RIGHT_LINE = "\x1b[0 k"
"""SCP, ECMA-48 8.3.111: the direction of this line and of those that are begun after it; 0 is the terminal's own."""


def has_right_to_left(text: str) -> bool:
    """Whether `text` has a letter that is written from right to left."""
    return not text.isascii() and _RIGHT_TO_LEFT.search(text) is not None


def base_direction(text: str) -> Direction:
    """The direction of a paragraph: that of its first strong character outside of isolates (UAX #9, P2 and P3)."""
    depth = 0
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in _OPENS:
            depth += 1
        elif kind == _CLOSES:
            depth = max(0, depth - 1)
        elif depth == 0 and kind in _STRONG:
            return _STRONG[kind]
    return "ltr"


def oriented(cell: str, screen: Screen) -> str:
    """`cell` as it must be given to `screen` inside a left-to-right line; the spaces after it stay outside."""
    if not has_right_to_left(cell) or screen.order == "plain":
        return cell
    text = cell.rstrip()
    if screen.order != "visual":
        return f"{_ISOLATE}{text}{_END_OF_ISOLATE}{cell[len(text) :]}"
    from rag.rendering.cells import width_of

    seen = "".join(piece.text for piece in in_visual_order([Piece(text)], base_direction(text)))
    return seen + " " * (width_of(text) - width_of(seen)) + cell[len(text) :]


def arranged(pieces: Sequence[Piece], direction: Direction, width: int, screen: Screen) -> list[Piece]:
    """A line as it must be given to `screen`, without its line end; a right-to-left one at the right edge.

    The first piece may be an escape sequence; `width` is that of the whole line, in cells.
    """
    pieces = list(pieces)
    if direction == "ltr" and not any(has_right_to_left(piece.text) for piece in pieces):
        return pieces
    if screen.order == "plain":
        return pieces
    pieces = _with_isolated_cells(pieces)
    if screen.order == "visual":
        pieces = in_visual_order(pieces, direction)
    if direction == "ltr" or screen.order == "isolated":
        return pieces
    if screen.order == "directed":
        return [Piece(RIGHT_TO_LEFT_LINE), *pieces]
    from rag.rendering.cells import width_of

    spaces = Piece(" " * max(0, width - sum(width_of(piece.text) for piece in pieces)))
    if screen.order == "visual":
        return [spaces, *pieces]
    return [spaces, Piece(_RIGHT_TO_LEFT_ISOLATE), *pieces, Piece(_END_OF_ISOLATE)]


def _with_isolated_cells(pieces: Sequence[Piece]) -> list[Piece]:
    """Each run of cell pieces between isolates; the spaces around its text stay outside, so that columns do."""
    found: list[Piece] = []
    at = 0
    while at < len(pieces):
        end = at
        while end < len(pieces) and pieces[end].is_cell:
            end += 1
        if end == at:
            found.append(pieces[at])
            at += 1
            continue
        found += _isolated(pieces[at:end])
        at = end
    return found


def _isolated(run: Sequence[Piece]) -> list[Piece]:
    first, last = run[0], run[-1]
    if not "".join(piece.text for piece in run).strip():
        return list(run)
    before = first.text[: len(first.text) - len(first.text.lstrip())]
    after = last.text[len(last.text.rstrip()) :]
    inner = list(run)
    inner[0] = inner[0]._replace(text=inner[0].text[len(before) :])
    inner[-1] = inner[-1]._replace(text=inner[-1].text[: len(inner[-1].text) - len(after)])
    return [Piece(before), Piece(_ISOLATE), *inner, Piece(_END_OF_ISOLATE), Piece(after)]
