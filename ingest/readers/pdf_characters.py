"""The characters of a PDF page with their places, one for each character that was written.

Two things stand between the characters pdfium reports and those that were written. Programs that set Indic, Thai or
Arabic script say which characters a group of glyphs stands for (ActualText, ISO 32000-1, 14.9.4); pdfium reports these
characters again for every text object of the group. And where there are no space characters it makes them up from the
distances, which are misleading inside such groups; there, the spaces that are in the file decide.
"""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot
from typing import Any

# Letter shapes that old encodings stored as characters: Arabic initial, medial and final forms, Latin ligatures.
_SHAPES = re.compile("[\ufb00-\ufb06\ufb13-\ufb17\ufb1d-\ufdff\ufe70-\ufefc]")
_FIELD = 64  # room in UTF-16 units for the name of a mark


@dataclass(frozen=True, slots=True)
class Character:
    """A character; lengths in points, as the page is seen: x to the right, y upwards.

    Attributes:
        text: a character; several for a letter shape that stands for several.
        left, right: extent; equal where it has none.
        base: height of its baseline.
        size: its font's em.
        placed: whether it is in the file; pdfium makes up line ends and spaces.
        group: the group with ActualText it is part of, 0 for none.
    """

    text: str
    left: float
    right: float
    base: float
    size: float
    placed: bool = True
    group: int = 0


@dataclass(frozen=True, slots=True)
class Space:
    """A text object without ink: the beginning of a space."""

    left: float
    base: float


def characters_of(page: Any, text_page: Any) -> Iterator[Character]:
    """The characters of a pypdfium2 page in pdfium's order."""
    from pypdfium2 import raw

    rotation = page.get_rotation()
    groups = _groups(page)
    spoken_by: dict[int, int] = {}  # group → the object that has its characters
    box, matrix, x, y = raw.FS_RECTF(), raw.FS_MATRIX(), ctypes.c_double(), ctypes.c_double()
    for index in range(text_page.count_chars()):
        group = 0
        owner = 0
        if groups:
            owner = _address(raw.FPDFText_GetTextObject(text_page, index))
            group = groups.get(owner, 0)
            if group and spoken_by.setdefault(group, owner) != owner:
                continue
        code = raw.FPDFText_GetUnicode(text_page, index)
        text = _SHAPES.sub(lambda found: unicodedata.normalize("NFKC", found[0]), chr(min(code, 0x10FFFF)))
        if not (
            raw.FPDFText_GetLooseCharBox(text_page, index, box)
            and raw.FPDFText_GetMatrix(text_page, index, matrix)
            and raw.FPDFText_GetCharOrigin(text_page, index, x, y)
        ):
            yield Character(text, 0, 0, 0, 0, placed=False)
            continue
        yield Character(
            text,
            *_turned(box, x.value, y.value, rotation),
            size=raw.FPDFText_GetFontSize(text_page, index) * hypot(matrix.c, matrix.d),
            placed=raw.FPDFText_IsGenerated(text_page, index) == 0 and not (groups and text == " " and not owner),
            group=group,
        )


def spaces_of(page: Any) -> list[Space]:
    """The spaces that are text objects of their own, as browsers write them."""
    from pypdfium2 import raw

    rotation = page.get_rotation()
    groups = _groups(page)
    matrix, box = raw.FS_MATRIX(), raw.FS_RECTF()
    spaces = []
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]):
        if _address(item.raw) in groups:
            continue  # a sign without ink that only joins or parts letters
        left, bottom, right, top = item.get_bounds()
        if (right - left) * (top - bottom) < 1e-6 and raw.FPDFPageObj_GetMatrix(item.raw, matrix):
            box.left = box.right = matrix.e
            box.bottom = box.top = matrix.f
            start, _, base = _turned(box, matrix.e, matrix.f, rotation)
            spaces.append(Space(start, base))
    return spaces


def _turned(box: Any, x: float, y: float, rotation: int) -> tuple[float, float, float]:
    """Left, right and baseline on a page that is shown turned clockwise by `rotation` degrees."""
    if rotation == 90:
        return box.bottom, box.top, -x
    if rotation == 180:
        return -box.right, -box.left, -y
    if rotation == 270:
        return -box.top, -box.bottom, x
    return box.left, box.right, y


def _groups(page: Any) -> dict[int, int]:
    """Text objects that are part of a group with ActualText: address of the object → of the group's mark."""
    from pypdfium2 import raw

    groups = {}
    name, length = (ctypes.c_ushort * _FIELD)(), ctypes.c_ulong()
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]):
        for index in range(raw.FPDFPageObj_CountMarks(item.raw)):
            mark = raw.FPDFPageObj_GetMark(item.raw, index)
            for parameter in range(raw.FPDFPageObjMark_CountParams(mark)):
                size = 2 * _FIELD
                if not raw.FPDFPageObjMark_GetParamKey(mark, parameter, name, size, length):
                    continue
                if bytes(name)[: max(length.value - 2, 0)].decode("utf-16-le", "replace") == "ActualText":
                    groups[_address(item.raw)] = _address(mark)
    return groups


def _address(pointer: Any) -> int:
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0
