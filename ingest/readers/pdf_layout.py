"""Printed lines to paragraphs and headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ingest.readers.assembly import LINE, PARAGRAPH, Assembly
from ingest.readers.cleaning import is_spaceless, join_lines
from ingest.readers.pdf_lines import Line

_JOINED = ""
_CLOSING = re.compile(r"[.!?:;…。！？：；؟۔।॥։]['\"”’»)\]」』）]*$")
_BULLET = re.compile(r"[•‣◦▪●○■□◆◇▶►①-⑳](?:\s|$)")
# These also come at the beginning of a line by chance: "on the\n12. of May", "a pause\n– and then".
_NUMBER = re.compile(r"(?:[\-–—*·・]|\(?(?:\d{1,3}|[A-Za-zа-яА-Я])[.)])\s")
_DIGITS = re.compile(r"\d+")

# How much larger than the body's a heading's letters are at least: 13 points over 11 is 1.18, 14 over 12 is 1.17.
_LARGER = 1.12
_LONGEST_HEADING = 200
# Distance between baselines, as a multiple of the usual one, from which on a gap parts two paragraphs.
_GAP = 1.25
_ROW_GAP = 1.65  # the same around a row of a table
_BESIDE = 3.0  # and the most between neighbouring cells
_FAR = 3.0  # and what no gap on purpose exceeds
# Running heads and feet: lines that come back at the same height on this many pages and this share of all.
_RUNNING_PAGES = 3
_RUNNING_SHARE = 0.3
_RUNNING_LINES = 2  # at the top and at the bottom of a page
_RUNNING_BAND = 0.08  # of the printed height, each


def without_running_lines(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without heads and feet that repeat but for numbers; of each the first stays, unless it is a number."""
    seen: Counter[tuple[str, int]] = Counter()
    edges = []
    heights = [line.base for lines in pages for line in lines] or [0.0]
    band = _RUNNING_BAND * (max(heights) - min(heights))
    for lines in pages:
        by_height = sorted(lines, key=lambda line: line.base)
        few = len(lines) <= 2 * _RUNNING_LINES
        edge = [] if few else [*by_height[:_RUNNING_LINES], *by_height[-_RUNNING_LINES:]]
        outside = [line for line in edge if not min(heights) + band < line.base < max(heights) - band]
        edges.append({_place(line) for line in outside})
        seen.update(edges[-1])
    least = max(_RUNNING_PAGES, _RUNNING_SHARE * len(pages))
    running = {place for place, count in seen.items() if count >= least}
    kept = []
    shown: set[tuple[str, int]] = set()
    for lines, edge_places in zip(pages, edges, strict=True):
        rest = []
        for line in lines:
            place = _place(line)
            if place in running and place in edge_places:
                if place in shown or not any(character.isalpha() for character in line.text):
                    continue
                shown.add(place)
            rest.append(line)
        kept.append(rest)
    return kept


def _place(line: Line) -> tuple[str, int]:
    return _DIGITS.sub("0", line.text), round(line.base / 6)


def body_size(pages: Sequence[Sequence[Line]]) -> float:
    """The size most characters have, in half points rounded; 0 without characters."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[round(line.size * 2) / 2] += len(line.text)
    return max(sizes, key=lambda size: (sizes[size], size), default=0)


def largest_text(lines: Sequence[Line], body: float) -> str:
    """The lines of a page that are the largest, where they are larger than the body; empty where none is."""
    largest = max((line.size for line in lines), default=0.0)
    if not body or largest < _LARGER * body:
        return ""
    places = [place for place, line in enumerate(lines) if line.size > 0.98 * largest]
    text = ""
    for before, place in zip([places[0] - 1, *places], places, strict=False):
        if place != before + 1:
            break
        text = join_lines(text, lines[place].text) if text else lines[place].text
    return text if len(text) <= _LONGEST_HEADING and any(character.isalpha() for character in text) else ""


class Layout:
    """Puts pages of lines together."""

    def __init__(self, pages: Sequence[Sequence[Line]], outline: Mapping[tuple[int, int], tuple[int, int]]) -> None:
        """Takes lines by page, and headings as (page, first line) → (level, number of lines).

        Without known headings the lines larger than the body are headings, a level for each size.
        """
        self._pages = pages
        self._outline = outline
        self._body = body_size(pages)
        sizes = {self._rank(line) for lines in pages for line in lines} - {0.0}
        self._levels = {size: level for level, size in enumerate(sorted(sizes, reverse=True), start=1)}
        self._step = self._usual_step()

    def assemble(self) -> Assembly:
        """All pages; a paragraph that runs over a page's end goes on behind a single space or line end."""
        assembly = Assembly()
        last: tuple[str, Line] | None = None
        for number, lines in enumerate(self._pages):
            assembly.begin_page()
            blocks = self._blocks(number, lines)
            for position, (text, level, separator, first, end) in enumerate(blocks):
                if position == 0 and last and not level and _goes_on(last[0], last[1], first):
                    separator = " "
                assembly.add(text, separator, level)
                last = None if level or end.row else (text, end)
        return assembly

    def _blocks(self, page: int, lines: Sequence[Line]) -> list[tuple[str, int, str, Line, Line]]:
        """Text, heading level, separator before it, first and last line of each block of a page."""
        margins = _margins(lines)
        blocks: list[tuple[str, int, str, Line, Line]] = []
        position = 0
        while position < len(lines):
            level, end = self._heading_at(page, lines, position)
            separator = PARAGRAPH
            if not level:
                end = position + 1
                while end < len(lines) and not self._heading_at(page, lines, end)[0]:
                    if self._between(lines[end - 1], lines[end], margins[end - 1], lines[position]) != _JOINED:
                        break
                    end += 1
                if position and not (blocks and blocks[-1][1]):
                    before = lines[position - 1]
                    separator = self._between(before, lines[position], margins[position - 1], before) or PARAGRAPH
            text = lines[position].text
            for line in lines[position + 1 : end]:
                text = join_lines(text, line.text)
            blocks.append((text, level, separator, lines[position], lines[end - 1]))
            position = end
        return blocks

    def _heading_at(self, page: int, lines: Sequence[Line], position: int) -> tuple[int, int]:
        """Level and end of the heading that begins at `position`; level 0 where none does."""
        if self._outline:
            level, count = self._outline.get((page, position), (0, 1))
            return level, position + count
        rank = self._rank(lines[position])
        if not rank:
            return 0, position + 1
        end = position + 1
        while end < len(lines) and self._rank(lines[end]) == rank and self._is_close(lines[end - 1], lines[end]):
            end += 1
        text = " ".join(line.text for line in lines[position:end])
        is_heading = len(text) <= _LONGEST_HEADING and any(character.isalpha() for character in text)
        return (self._levels[rank] if is_heading else 0), end

    def _rank(self, line: Line) -> float:
        """0 for the body's size and below, else the line's own, in half points."""
        return round(line.size * 2) / 2 if self._body and line.size >= _LARGER * self._body else 0.0

    def _is_close(self, before: Line, line: Line) -> bool:
        return abs(before.base - line.base) <= 1.6 * max(before.size, line.size)

    def _usual_step(self) -> float:
        """Ems between the baselines of one paragraph's lines: the lower quartile, for gaps are larger."""
        steps = sorted(
            (before.base - line.base) / line.size
            for lines in self._pages
            for before, line in pairwise(lines)
            if line.size and not self._rank(line) and 0.8 * line.size < before.base - line.base < 3 * line.size
        )
        return steps[len(steps) // 4] if steps else 1.2

    def _between(self, before: Line, line: Line, margin: float, first: Line) -> str:
        """What parts two lines that follow each other: nothing where they are one paragraph.

        Args:
            before: the line before.
            line: the line.
            margin: how far the column of `before` reaches, in its direction of writing.
            first: the line with which the paragraph of `before` begins.
        """
        if not before.size or not line.size:
            return LINE
        down = before.base - line.base
        if abs(down) < 0.3 * line.size:  # one printed line in pieces, such as a bullet and its text
            return _JOINED
        if self._rank(before) != self._rank(line):
            return PARAGRAPH
        step = self._step * max(line.size, min(before.size, self._body))
        beside = line.left >= before.right or line.right <= before.left
        if beside and abs(down) <= _BESIDE * step:  # the next cell of a table whose cells have several lines
            return LINE
        if down < 0 or down > _FAR * step:  # the next column, or past a picture
            return _JOINED if _goes_on(before.text, before, line) else PARAGRAPH
        gap = down > _GAP * step
        if before.row or line.row:
            return PARAGRAPH if down > _ROW_GAP * step else LINE
        closed = _CLOSING.search(before.text) is not None
        # Whoever breaks a line although the next word would have fitted meant to. Scripts that break anywhere keep some
        # punctuation off a line's beginning, which may leave a blank of a letter or two.
        slack = 1.6 * line.size if is_spaceless(before.text[-1]) else 0.3 * line.size
        room = before.left - margin if before.rtl else margin - before.right
        meant = room > line.lead + slack
        if _BULLET.match(line.text) or (_NUMBER.match(line.text) and (closed or meant or gap)):
            return PARAGRAPH if gap else LINE
        if gap:
            return PARAGRAPH
        if meant:
            return PARAGRAPH if closed else LINE
        indent = before.right - line.right if before.rtl else line.left - before.left
        if indent > 0.8 * line.size and closed and not _is_item(first):
            return PARAGRAPH
        return _JOINED


def _is_item(line: Line) -> bool:
    return bool(_BULLET.match(line.text) or _NUMBER.match(line.text))


def _goes_on(text: str, before: Line, line: Line) -> bool:
    """Whether `line`, elsewhere on the paper, goes on with the sentence of `before`."""
    if before.row or line.row or _CLOSING.search(text) or _is_item(line):
        return False
    return line.text[0].islower() or (
        is_spaceless(text[-1]) and is_spaceless(line.text[0]) and before.size == line.size
    )


def _margins(lines: Sequence[Line]) -> list[float]:
    """For each line how far its column reaches: to the right, or to the left where it is written that way."""
    margins = []
    for line in lines:
        column = [
            other
            for other in lines
            if other.rtl == line.rtl
            and abs(other.size - line.size) <= 0.1 * line.size
            and abs((other.right - line.right) if line.rtl else (other.left - line.left)) <= 6 * line.size
        ]
        if len(column) < 3:  # too few to show where the column ends
            column = [other for other in lines if other.size] or [line]
        margins.append(min(other.left for other in column) if line.rtl else max(other.right for other in column))
    return margins
