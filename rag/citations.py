"""Markers in an answer's text to citations with words of the original. Pure.

A marker is a number, or a list or range of them, in square brackets: `[1]`, `[1, 2]`, `[1-3]`, also in full-width or
lenticular brackets and in the digits of any script. A bare `[n]` is always a marker, even right after a word, because
models write it so where no space is customary: `array[1]` outside of code is a citation, and `[9]` of eight goes.
Left alone are: what stands in code (between backticks; on one line where they are one or two), numbers of four digits
or with a leading zero (`[2024]`, `[01-15]`), lists that hold a zero (`the interval [0, 1]`), ranges that go down, and
every other bracket.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import regex

from rag.types import Citation, Passage

_NUMBER: Final = r"\p{Nd}{1,3}"
# No repetition without a bound: it limits how much text can be held back while a marker may still be coming.
_MARKER: Final = regex.compile(
    r"(?P<space>[ \u00A0\u202F\u3000]?)[\[［【] ?"
    rf"(?P<numbers>{_NUMBER}(?: ?[,;、，؛،\-–—] ?{_NUMBER}){{0,15}}) ?[\]］】]"
)
_STARTS: Final = frozenset(" \u00a0\u202f\u3000[［【")
_ITEM: Final = regex.compile(rf"({_NUMBER})(?: ?[-–—] ?({_NUMBER}))?")
_HIGHEST: Final = 999

# Closing mark to the marks that may open before it; quotation marks differ by language (CLDR, delimiters).
_OPENERS: Final = {"”": "“„”", "“": "„", "»": "«»", "«": "»", "」": "「", "』": "『", '"': '"', "›": "‹", "’": "‘‚"}
_LONGEST_QUOTATION: Final = 2000
"""Code points back from a marker within which its quotation may begin."""
_MOST_OPENERS: Final = 20
"""Opening marks looked at, from the closing one back: more than anyone nests quotations."""
_FEWEST_LETTERS: Final = 4
"""A quotation of fewer letters and digits says too little about where in the passage it is."""
# One character for one: models write straight marks for typographic ones, and the other way round.
_ALIKE: Final = str.maketrans("“”„«»‘’‚‹›‐‑–—", "\"\"\"\"\"'''''----")


class MarkerFilter:
    """Puts an answer's markers into the form `[n]` while it is streamed.

    `[1, 2]` becomes `[1][2]`. A marker that points at no passage goes, with one space before it. Text is held back only
    as long as it may still become a marker. The output does not depend on how the text is cut into deltas.
    """

    def __init__(self, passage_count: int) -> None:
        self._passage_count = passage_count
        self._held = ""
        self._code = _Code()

    def feed(self, delta: str) -> str:
        """What of the text so far can be shown now."""
        return self._drain(delta, last=False)

    def finish(self) -> str:
        """What was still held back; the text has ended."""
        return self._drain("", last=True)

    def _drain(self, delta: str, *, last: bool) -> str:
        text = self._held + delta
        shown: list[str] = []
        position = 0
        while position < len(text):
            character = text[position]
            if character in _STARTS and not self._code.holds(character):
                found = _MARKER.match(text, position, partial=not last)
                if found is not None and found.partial:
                    break
                if found is not None:
                    shown.append(self._rewritten(found))
                    self._code.pass_over(found.group())
                    position = found.end()
                    continue
            self._code.pass_over(character)
            shown.append(character)
            position += 1
        self._held = text[position:]
        return "".join(shown)

    def _rewritten(self, found: regex.Match[str]) -> str:
        numbers = _numbers(found["numbers"])
        if numbers is None:
            return str(found.group())
        markers = "".join(f"[{number}]" for number in numbers if 1 <= number <= self._passage_count)
        return found["space"] + markers if markers else ""


def cited(text: str) -> tuple[int, ...]:
    """The numbers of the markers in `text`, each once, ascending."""
    return tuple(sorted({number for _, _, numbers in _markers(text) for number in numbers}))


def citations(text: str, passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """The citations of each marker in `text` that points at one of `passages`, by marker, then in order of the text.

    Where a marker follows a quotation (in quotation marks, or as a Markdown block quote) that stands word for word in
    its passage, the quote is that quotation as the document has it: one citation for each. Line breaks, spacing and the
    shape of quotation marks and dashes may differ between the two. A marker that follows none has one citation, whose
    quote is the passage as it is stored.
    """
    spans: dict[int, list[tuple[int, int]]] = {}
    row_start = row_end = 0
    for start, end, numbers in _markers(text):
        # Markers in a row belong to the same quotation.
        row_start = row_start if row_end and not text[row_end:start].strip() else start
        row_end = end
        before = text[max(0, row_start - _LONGEST_QUOTATION) : row_start].rstrip()
        for number in numbers:
            if number <= len(passages):
                span = _quoted(before, passages[number - 1].chunk.text)
                known = spans.setdefault(number, [])
                if span is not None and span not in known:
                    known.append(span)
    return tuple(
        _citation(number, passages[number - 1], span)
        for number, found in sorted(spans.items())
        for span in found or [(0, len(passages[number - 1].chunk.text))]
    )


def _citation(number: int, passage: Passage, span: tuple[int, int]) -> Citation:
    chunk = passage.chunk
    start, end = span
    return Citation(
        marker=number,
        source=chunk.source,
        uri=chunk.uri,
        title=chunk.title,
        heading=chunk.heading,
        page=chunk.page_at(chunk.start + start),
        language=chunk.language,
        quote=chunk.text[start:end],
        span=(chunk.start + start, chunk.start + end),
    )


def _numbers(written: str) -> list[int] | None:
    """The numbers of a list of them, in order, each once; None where it is not a list of markers."""
    numbers: list[int] = []
    for item in _ITEM.finditer(written):
        if any(len(part) > 1 and int(part[0]) == 0 for part in item.groups() if part):
            return None
        first, last = int(item[1]), int(item[2] or item[1])
        if first > last:
            return None
        numbers.extend(range(first, last + 1))
    if 0 in numbers and len(numbers) > 1:
        return None
    return list(dict.fromkeys(numbers))


def _markers(text: str) -> Iterator[tuple[int, int, list[int]]]:
    """Start, end and numbers of each marker of a whole text; numbers from 1 to 999."""
    code = _Code()
    position = 0
    while position < len(text):
        character = text[position]
        found = _MARKER.match(text, position) if character in _STARTS and not code.holds(character) else None
        numbers = _numbers(found["numbers"]) if found is not None else None
        if found is not None and numbers is not None:
            yield found.start(), found.end(), [number for number in numbers if 1 <= number <= _HIGHEST]
        length = 1 if found is None else found.end() - found.start()
        code.pass_over(text[position : position + length])
        position += length


class _Code:
    """Whether the next character stands in Markdown code (CommonMark 6.1 and 4.5, for text that is still coming).

    A run of backticks opens, a run as long closes; a run of fewer than three is forgotten at the end of its line, since
    a stray backtick must not switch off the markers of all that follows.
    """

    def __init__(self) -> None:
        self._open = 0
        self._run = 0

    def holds(self, character: str) -> bool:
        """Whether `character`, which comes next and is no backtick, is code."""
        self._end_run()
        return self._open > 0

    def pass_over(self, text: str) -> None:
        for character in text:
            if character == "`":
                self._run += 1
                continue
            self._end_run()
            if character == "\n" and self._open < 3:
                self._open = 0

    def _end_run(self) -> None:
        if self._run:
            if self._open == 0:
                self._open = self._run
            elif self._run == self._open or self._run >= self._open >= 3:
                self._open = 0
            self._run = 0


def _quoted(before: str, passage: str) -> tuple[int, int] | None:
    """Where in `passage` the quotation lies with which `before` ends; None where it ends with none that is in there."""
    text, positions = _squeezed(passage)
    for candidate in _quotations(before):
        wanted, _ = _squeezed(unicodedata.normalize("NFC", candidate))
        if sum(character.isalnum() for character in wanted) < _FEWEST_LETTERS:
            continue
        found = text.find(wanted)
        if found >= 0:
            return positions[found], positions[found + len(wanted) - 1] + 1
    return None


def _quotations(before: str) -> Iterator[str]:
    """What may be the quotation at the end of `before`, the longest first."""
    lines = before.split("\n")
    quoted = len(lines)
    while quoted > 0 and lines[quoted - 1].lstrip().startswith(">"):
        quoted -= 1
    if quoted < len(lines):
        inside = "\n".join(line.lstrip().removeprefix(">") for line in lines[quoted:]).strip()
        yield inside
        yield regex.sub(r"^\W+|\W+$", "", inside)
    # A full stop may stand between the closing mark and the marker.
    ended = before.rstrip(" \t\n.,;:!?。、，；：！？…)")
    closing = ended[-1:]
    openers = _OPENERS.get(closing, "")
    positions = [position for position, character in enumerate(ended[:-1]) if character in openers]
    for position in positions[-_MOST_OPENERS:]:
        inside = ended[position + 1 : -1].strip()
        yield inside
        yield inside.rstrip(".,;:!?。、，；：！？… ")


def _squeezed(text: str) -> tuple[str, list[int]]:
    """`text` without white space, with marks made alike, and where each of its characters was."""
    positions = [position for position, character in enumerate(text) if not character.isspace()]
    return "".join(text[position] for position in positions).translate(_ALIKE), positions
