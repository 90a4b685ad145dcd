"""Right-to-left text from the order in which it is seen to the order in which it is read.

A PDF stores glyphs where they are seen, and neither the order in the file nor pdfium's guess is reliable for words in
Arabic or Hebrew: places are. This is the inverse of the reordering in the Unicode Bidirectional Algorithm (UAX #9,
rules W2 to W7, N1, L2 and L4) for one line without explicit marks: lines are read right to left, and numbers and words
of other scripts in them left to right.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingest.readers.pdf_characters import Character

_RIGHT_TO_LEFT = ("R", "AL")
_NUMBERS = ("EN", "AN")
_MIRRORED = dict(zip("()[]{}<>«»‹›⟨⟩", ")(][}{><»«›‹⟩⟨", strict=True))
_OPENING, _CLOSING = "([{«‹⟨", ")]}»›⟩"
# Ems between two letters that only a space explains where the file has none: letters of one word that do not join stand
# up to 0.19 apart, words at least 0.3 (measured on Noto and DejaVu as Chromium sets them).
_WORD_GAP = 0.25
# Ems between cells of a table or other pieces that only share a line: each has its own order.
_CELL_GAP = 1.5
_UNWRITTEN_GAP = 0.5  # the same where the line has spaces in the file, but none here
_CELL = "cell"


@dataclass(frozen=True, slots=True)
class _Sign:
    """What is seen at one place: a character with its marks, or a space."""

    text: str
    left: float
    right: float
    size: float
    kind: str  # its bidirectional class, or _CELL


def direction(text: str) -> int:
    """More than 0 where most letters are written from right to left, less where they are not, 0 without letters."""
    kinds = [unicodedata.bidirectional(character) for character in text]
    return sum(kind in _RIGHT_TO_LEFT for kind in kinds) - kinds.count("L")


def read_in_order(characters: Sequence[Character], spaces: Sequence[float]) -> str:
    """The words of a line in which something is written from right to left, in the order of reading.

    Args:
        characters: of one line, in any order.
        spaces: where spaces of the file begin on this line; where there are none, distances part the words.
    """
    cells: list[list[_Sign]] = [[]]
    for sign in _seen(characters, spaces):
        if sign.kind == _CELL:
            cells.append([])
        else:
            cells[-1].append(sign)
    whole = direction("".join(character.text for character in characters)) > 0
    words = [_read(cell, whole) for cell in cells]
    return " ".join(reversed(words) if whole else words)


def _read(signs: Sequence[_Sign], from_right: bool) -> str:
    """The words of a cell or of a line without cells; `from_right` for one that has no letters of its own."""
    letters = direction("".join(sign.text for sign in signs))
    if letters > 0 or (letters == 0 and from_right):
        return _mirrored(_reversed(signs))
    words: list[str] = []
    position = 0
    while position < len(signs):
        if signs[position].kind not in _RIGHT_TO_LEFT:
            words.append(signs[position].text)
            position += 1
            continue
        end = last = position
        while end < len(signs) and signs[end].kind != "L":
            last = end if signs[end].kind in _RIGHT_TO_LEFT else last
            end += 1
        words.append(_mirrored(_reversed(signs[position : last + 1])))
        position = last + 1
    return "".join(words)


def _seen(characters: Sequence[Character], spaces: Sequence[float]) -> list[_Sign]:
    """What is seen from left to right, spaces included."""
    letters = [character for character in characters if character.text.strip() and not _is_mark(character.text)]
    marks: dict[int, str] = {}
    for position, character in enumerate(characters):
        if _is_mark(character.text) and letters:
            middle = (character.left + character.right) / 2
            # A letter of its own group, else the nearest; among these the one next to the mark in the file.
            base = min(
                range(len(letters)),
                key=lambda place: (
                    not character.group or letters[place].group != character.group,
                    max(letters[place].left - middle, middle - letters[place].right, 0),
                    abs(_place(characters, letters[place]) - position),
                ),
            )
            marks[base] = marks.get(base, "") + character.text
    signs = sorted(
        (
            _Sign(
                letter.text + marks.get(place, ""),
                letter.left,
                letter.right,
                letter.size,
                unicodedata.bidirectional(letter.text[0]),
            )
            for place, letter in enumerate(letters)
        ),
        key=lambda sign: sign.left + sign.right,
    )
    parted: list[_Sign] = signs[:1]
    for before, sign in pairwise(signs):
        gap = (sign.left - before.right) / sign.size if sign.size else 0.0
        middles = (before.left + before.right) / 2, (sign.left + sign.right) / 2
        written = any(middles[0] < space < middles[1] for space in spaces)
        if gap > (_CELL_GAP if written or not spaces else _UNWRITTEN_GAP):
            parted.append(_Sign(" ", before.right, sign.left, sign.size, _CELL))
        elif written or (not spaces and gap > _WORD_GAP):
            parted.append(_Sign(" ", before.right, sign.left, sign.size, "WS"))
        parted.append(sign)
    return parted


def _place(characters: Sequence[Character], wanted: Character) -> int:
    return next(place for place, character in enumerate(characters) if character is wanted)


def _is_mark(text: str) -> bool:
    return unicodedata.category(text[0]).startswith("M")


def _reversed(signs: Sequence[_Sign]) -> str:
    """Signs of a right-to-left stretch in the order of reading: from the right, numbers and foreign words whole."""
    arabic = any(sign.kind == "AL" for sign in signs)
    # W4 and W5: what may stand inside a number, and at its end.
    inside = ("CS",) if arabic else ("CS", "ES")
    beside = () if arabic else ("ET",)
    runs: list[list[_Sign]] = []
    position = 0
    while position < len(signs):
        end = position + 1
        if signs[position].kind in ("L", *_NUMBERS, *beside):
            end = _end_of_run(signs, position, inside, beside)
        runs.append(list(signs[position:end]))
        position = end
    return "".join(sign.text for run in reversed(runs) for sign in run)


def _end_of_run(signs: Sequence[_Sign], start: int, inside: tuple[str, ...], beside: tuple[str, ...]) -> int:
    """One past the last sign of the left-to-right run that begins at `start`."""
    end = start + 1
    latin = signs[start].kind == "L"
    for position in range(start + 1, len(signs)):
        kind = signs[position].kind
        if kind in _RIGHT_TO_LEFT:
            break
        if kind == "L":
            if end != position and not latin:  # N1: blanks between a number and a word belong to the line
                break
            latin, end = True, position + 1
        elif kind in _NUMBERS:
            between = [sign.kind for sign in signs[end:position]]
            if between and not latin and not (len(between) == 1 and between[0] in inside):
                break
            end = position + 1
        elif kind in beside and end == position:
            end = position + 1
    return end


def _mirrored(text: str) -> str:
    """`text` with brackets turned as they are read: their shapes were stored, unless they already match better."""
    turned = "".join(_MIRRORED.get(character, character) for character in text)
    return text if _pairs(text) > _pairs(turned) else turned


def _pairs(text: str) -> int:
    waiting: list[str] = []
    pairs = 0
    for character in text:
        if character in _OPENING:
            waiting.append(character)
        elif character in _CLOSING and waiting and _OPENING.index(waiting[-1]) == _CLOSING.index(character):
            waiting.pop()
            pairs += 1
    return pairs
