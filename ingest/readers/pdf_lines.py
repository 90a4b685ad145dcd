"""A PDF page's characters to lines with their place and size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median_low
from typing import Any

from ingest.readers.cleaning import is_spaceless, single_line
from ingest.readers.pdf_characters import Character, Space, characters_of, spaces_of
from ingest.readers.pdf_directions import direction, read_in_order

# What pdfium writes for the hyphen of a word that goes on in the next line, which it then does not mark.
_HYPHENS = frozenset("\x02\ufffe")
# Ems of blank inside a line that separate columns of a table, not words.
_WIDE_GAP = 2.0
# The dots between an entry and its page in a table of contents.
_LEADERS = re.compile(r"(?: ?\.){5,} ?")
# No word is longer in ems; what has no blank for longer (a path, a script without spaces) can be broken anywhere.
_LONGEST_WORD = 12.0


@dataclass(frozen=True, slots=True)
class Line:
    """A printed line; lengths in points, as the page is seen: x to the right, y upwards.

    Attributes:
        left, right: its ink's extent.
        base: height of its baseline.
        size: its font's em, the median of its characters; 0 where the line has no ink to measure.
        lead: width of its first word: what would have had to fit on the line before.
        row: whether it is made of columns.
        rtl: whether it is written from right to left.
    """

    text: str
    left: float
    right: float
    base: float
    size: float
    lead: float
    row: bool
    rtl: bool


def lines_of(page: Any) -> list[Line]:
    """The lines of a pypdfium2 page in the order of the file, each in the order of reading."""
    text_page = page.get_textpage()
    try:
        characters = list(characters_of(page, text_page))
    finally:
        text_page.close()
    complex_script = any(character.group or _is_right_to_left(character.text) for character in characters)
    spaces = spaces_of(page) if complex_script else []
    return [line for piece in _pieces(characters) if (line := _line(piece, spaces))]


def _pieces(characters: Sequence[Character]) -> list[list[Character]]:
    """The characters of each line. What pdfium broke off a right-to-left line because of its order is put back."""
    pieces: list[list[Character]] = [[]]
    for character in characters:
        if character.text in _HYPHENS:
            pieces[-1].append(replace(character, text="-"))
        elif character.text not in "\r\n":
            pieces[-1].append(character)
            continue
        pieces.append([])
    whole: list[list[Character]] = []
    for piece in filter(None, pieces):
        if whole and _is_broken_off(whole[-1], piece):
            whole[-1].extend(piece)
        else:
            whole.append(piece)
    return whole


def _is_broken_off(before: Sequence[Character], piece: Sequence[Character]) -> bool:
    first, second = _ink(before), _ink(piece)
    if not first or not second or not any(_is_right_to_left(character.text) for character in (*first, *second)):
        return False
    size = second[0].size
    gap = max(
        min(character.left for character in second) - max(character.right for character in first),
        min(character.left for character in first) - max(character.right for character in second),
    )
    return abs(first[-1].base - second[0].base) < 0.3 * size and gap < 0.5 * size


def _ink(characters: Sequence[Character]) -> list[Character]:
    return [character for character in characters if character.right > character.left and character.text.strip()]


def _line(characters: Sequence[Character], spaces: Sequence[Space]) -> Line | None:
    """The line these characters make; None without words."""
    ink = _ink(characters)
    if not ink:
        text = _joined(characters)
        return Line(text, 0, 0, 0, 0, 0, row=True, rtl=False) if text else None
    size = median_low(character.size for character in ink)
    base = median_low(character.base for character in ink)
    if any(_is_right_to_left(character.text) for character in ink):
        here = [space.left for space in spaces if abs(space.base - base) < size / 2]
        here.extend(character.left for character in characters if character.text == " " and character.placed)
        text = single_line(read_in_order([*characters], here))
    else:
        text = _joined(_without_false_spaces(characters, [s.left for s in spaces if abs(s.base - base) < size / 2]))
    text, leaders = _LEADERS.subn(" … ", text)
    if not text:
        return None
    across = sorted(ink, key=lambda character: character.left)
    gap = max((after.left - before.right for before, after in pairwise(across)), default=0)
    rtl = direction(text) > 0
    first = sorted(ink, key=lambda character: -character.right) if rtl else ink
    first = first[: 1 if is_spaceless(text[0]) else len(text.split(" ", 1)[0])]
    lead = max(character.right for character in first) - min(character.left for character in first)
    return Line(
        text=text,
        left=across[0].left,
        right=max(character.right for character in ink),
        base=base,
        size=size,
        lead=min(lead, _LONGEST_WORD * size),
        row=leaders > 0 or gap > _WIDE_GAP * size,
        rtl=rtl,
    )


def _is_right_to_left(text: str) -> bool:
    return text >= "\u0590" and direction(text) > 0


def _joined(characters: Sequence[Character]) -> str:
    # Characters beyond the first plane may come as two halves.
    halves = "".join(character.text for character in characters).encode("utf-16", "surrogatepass")
    return single_line(halves.decode("utf-16", "replace"))


def _without_false_spaces(characters: Sequence[Character], spaces: Sequence[float]) -> list[Character]:
    """`characters` without spaces that pdfium made up on a line with groups although the file has none there."""
    if not any(character.group for character in characters):
        return list(characters)
    kept = []
    for position, character in enumerate(characters):
        if character.text == " " and not character.placed and 0 < position < len(characters) - 1:
            before, after = characters[position - 1], characters[position + 1]
            middles = (before.left + before.right) / 2, (after.left + after.right) / 2
            if not any(middles[0] < space < middles[1] for space in spaces):
                continue
        kept.append(character)
    return kept
