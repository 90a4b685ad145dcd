"""Markers of citations in an answer's text, as models write them. Pure.

A marker is a number, or a list or range of them, in square brackets: `[1]`, `[1, 2]`, `[1-3]`, also in full-width,
lenticular or tortoise-shell brackets and in the digits of any script. A bare `[n]` is always a marker, even right after
a word, because models write it so where no space is customary: `array[1]` outside of code is a citation, and `[9]` of
eight goes. Left alone are: what stands in code (between backticks; on one line where they are one or two), numbers of
four digits or with a leading zero (`[2024]`, `[01-15]`), lists that hold a zero (`the interval [0, 1]`), ranges that go
down, and every other bracket.

A marker may carry words of its passage: `[2: "words"]`, with the colon and the quotation marks of any language, several
of them in one bracket (`[1: "…", "…", 3: "…"]`), or without quotation marks (`[2: words]`, if there is a passage 2 and
a letter in them). The words end at the first mark that can end them, unless the passage goes on in the same way,
brackets and quotation marks included. Words that the end of the text cuts off count as far as they go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import regex

from rag.verbatim import QUOTATION_MARKS, StoredText

LONGEST_QUOTE: Final = 600
"""Code points of the words in a marker; longer ones make it none. Bounds how much text is held back."""
MOST_QUOTES: Final = 8
"""Quotations in one bracket."""

OPENING: Final = "[［【〔〖"
CLOSING: Final = "]］】〕〗"
SPACES: Final = " \u00a0\u202f\u3000"
_STARTS: Final = frozenset(SPACES + OPENING)
_HIGHEST: Final = 999

# No repetition without a bound: it limits how much text can be held back while a marker may still be coming.
_NUMBER: Final = r"\p{Nd}{1,3}"
_LIST: Final = rf"{_NUMBER}(?: ?[,;、，؛،\-–—] ?{_NUMBER}){{0,15}}"
_ITEM: Final = regex.compile(rf"({_NUMBER})(?: ?[-–—] ?({_NUMBER}))?")
_BEGIN: Final = rf"(?P<space>[{SPACES}]?)[{regex.escape(OPENING)}] ?(?P<numbers>{_LIST})"
_CLOSE: Final = f"[{regex.escape(CLOSING)}]"
_MARKER: Final = regex.compile(f"{_BEGIN} ?{_CLOSE}")

_DOUBLE: Final = '"“”„‟«»「」『』〝〞〟＂'
_MARK: Final = f"[{QUOTATION_MARKS}]"
_BREAK: Final = rf"[{SPACES}\n]?"
_COLON: Final = f" ?[:：﹕∶]{_BREAK}"
# Without a colon a quotation mark must stand apart: `[2's complement]` and `[5" pipe]` are none.
_QUOTED: Final = regex.compile(f"{_BEGIN}(?:{_COLON}{_MARK}|[{SPACES}][{_DOUBLE}])")
_BARE: Final = regex.compile(rf"{_BEGIN}{_COLON}(?=[^\s{QUOTATION_MARKS}])")
# What ends words in quotation marks: the bracket, a number with or without its own words, or further words.
_QUOTED_END: Final = regex.compile(
    rf"{_MARK}[.,;。，]?(?:{_BREAK}(?P<closed>{_CLOSE})"
    rf"|[{SPACES}]?[,;、，；،؛]?{_BREAK}(?P<numbers>{_LIST})(?:{_COLON}{_MARK}| ?(?P<closed>{_CLOSE}))"
    rf"|[,;、，；،؛]{_BREAK}{_MARK})"
)
# A bracket that was not opened within the words: their second quotation mark was forgotten.
_FORGOTTEN_END: Final = regex.compile(f"{_BREAK}(?P<closed>{_CLOSE})")
_BARE_END: Final = regex.compile(
    rf"{_BREAK}(?P<closed>{_CLOSE})|[,;、，；،؛]{_BREAK}(?P<numbers>{_NUMBER}){_COLON}(?=[^\s\p{{Nd}}])"
)
_MAY_END: Final = frozenset(f"{SPACES}\n{CLOSING},;、，；،؛")
# Where the text ends after the words, but before the bracket.
_CUT_OFF: Final = regex.compile(rf"{_MARK}[\s\p{{Nd}}.,;:、，；：،؛。\-–—]*{_MARK}?\Z")


class Marker(NamedTuple):
    """A marker as it is written.

    Attributes:
        end: one past its last code point.
        space: the one before its bracket, or nothing.
        items: numbers and, for each quotation, once more those that it is of, with it.
    """

    end: int
    space: str
    items: list[tuple[list[int], str | None]]


class Undecided:
    """More text is needed to tell."""


UNDECIDED: Final = Undecided()


class Passages:
    """The passages' texts by number, folded when they are first needed."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Args:
        texts: the first is that of marker 1.
        """
        self._texts = texts
        self._stored: dict[int, StoredText] = {}

    def has(self, number: int) -> bool:
        """Whether there is a passage of this number."""
        return 1 <= number <= len(self._texts)

    def stored(self, number: int) -> StoredText:
        """The text of a passage that there is."""
        if number not in self._stored:
            self._stored[number] = StoredText(self._texts[number - 1])
        return self._stored[number]

    def say(self, numbers: Sequence[int], words: str) -> bool:
        """Whether one of the passages of these numbers says `words`, or begins to."""
        return any(self.stored(number).holds(words) for number in numbers if self.has(number))


def can_begin(character: str) -> bool:
    """Whether a marker can begin with `character`."""
    return character in _STARTS


def read(text: str, position: int, passages: Passages, *, last: bool) -> Marker | Undecided | None:
    """The marker that begins at `position`; None where none does.

    Args:
        last: whether the text ends here; else it may go on, and what that can change is undecided.
    """
    plain = _MARKER.match(text, position, partial=not last)
    if plain is not None and not plain.partial:
        numbers = _numbers(plain["numbers"])
        return None if numbers is None else Marker(plain.end(), plain["space"], [(numbers, None)])
    begun = _QUOTED.match(text, position, partial=not last)
    quoted = begun is not None and not begun.partial
    bare = None if quoted else _BARE.match(text, position, partial=not last)
    if any(found is not None and found.partial for found in (plain, begun, bare)):
        return UNDECIDED
    begun = begun or bare
    if begun is None:
        return None
    items = _items(begun["numbers"])
    if not quoted and not passages.has(items[-1][0][-1]):
        return None
    start = begun.end()
    for _ in range(MOST_QUOTES):
        numbers = items[-1][0]
        words = _words(text, start, numbers, passages, quoted=quoted, last=last)
        if not isinstance(words, _Words):
            return words
        said = text[start : words.end].strip()
        if not quoted and regex.search(r"\p{L}", said) is None:
            return None
        items.append((numbers, said))
        if words.after is None:
            return Marker(len(text), begun["space"], items)
        groups = words.after.groupdict()
        items += _items(groups["numbers"] or "") if "numbers" in groups else []
        start = words.after.end()
        if groups["closed"] is not None:
            return Marker(start, begun["space"], items)
    return None


def markers(text: str) -> Iterator[tuple[int, int, list[int]]]:
    """Start, end and numbers of each marker without words in a whole text; numbers from 1 to 999.

    The start is that of the space before the bracket, if there is one.
    """
    code = Code()
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


def cited(text: str) -> tuple[int, ...]:
    """The numbers of the markers in `text`, each once, ascending."""
    return tuple(sorted({number for _, _, numbers in markers(text) for number in numbers}))


class _Words(NamedTuple):
    """Words in a marker: their end, and what follows them; None where the text is cut off."""

    end: int
    after: regex.Match[str] | None


def _words(
    text: str, start: int, numbers: Sequence[int], passages: Passages, *, quoted: bool, last: bool
) -> _Words | Undecided | None:
    """The words that begin at `start` and are said to be of the passages `numbers`; None where they have no end."""
    best: _Words | None = None  # where the words may end, though the passage goes on in the same way
    depth = 0
    for position in range(start, min(len(text), start + LONGEST_QUOTE + 1)):
        character = text[position]
        pattern = _end(character, depth, quoted=quoted)
        end = pattern.match(text, position, partial=not last) if pattern is not None else None
        other = None
        if character in OPENING:
            other = _QUOTED.match(text, position, partial=not last)
            if other is None and not quoted:
                other = _BARE.match(text, position, partial=not last)
        if any(found is not None and found.partial for found in (end, other)):
            return UNDECIDED
        if end is not None:
            found = _Words(position, end)
            if not passages.say(numbers, text[start : end.end()]):
                return best if best is not None and not passages.say(numbers, text[start:position]) else found
            # Further words that the passage has there, too, are the same words going on; and a bracket ends them once.
            further = not any(end.groupdict().values())
            if not further and (best is None or best.after is None or best.after.end() != end.end()):
                best = found
        # Another marker begins, or a line: words that no passage says have had their end, or they have none.
        if (other is not None or (not quoted and character == "\n")) and not passages.say(
            numbers, text[start : other.end() if other is not None else position]
        ):
            return best
        if best is not None and not passages.say(numbers, text[start : position + 1]):
            return best
        depth += (character in OPENING) - (depth > 0 and character in CLOSING)
    if len(text) > start + LONGEST_QUOTE or (last and best is not None):
        return best
    return _cut_off(text, start, numbers, passages, quoted=quoted) if last else UNDECIDED


def _end(character: str, depth: int, *, quoted: bool) -> regex.Pattern[str] | None:
    """What may end words at `character`, which stands in `depth` brackets within them."""
    if not quoted:
        return _BARE_END if character in _MAY_END else None
    if character in QUOTATION_MARKS:
        return _QUOTED_END
    return _FORGOTTEN_END if depth == 0 and character in _MAY_END else None


def _cut_off(text: str, start: int, numbers: Sequence[int], passages: Passages, *, quoted: bool) -> _Words | None:
    """The words from `start` on where `text` ends within the marker; None where its bracket was just never closed."""
    ended = _CUT_OFF.search(text, start) if quoted else None
    end = len(text) if ended is None else ended.start()
    words = text[start:end]
    in_the_midst = quoted and not any(mark in words for mark in _DOUBLE)
    return _Words(end, None) if in_the_midst or (words.strip() and passages.say(numbers, words)) else None


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


def _items(written: str) -> list[tuple[list[int], str | None]]:
    """The numbers of a list beside words, range by range; whatever they are, no text but a marker has them there."""
    pairs = [(int(item[1]), int(item[2] or item[1])) for item in _ITEM.finditer(written)]
    return [(list(range(first, last + 1)) or [first, last], None) for first, last in pairs]


class Code:
    """Whether the next character stands in Markdown code (CommonMark 6.1 and 4.5, for text that is still coming).

    A run of backticks opens, a run as long closes; a run of fewer than three is forgotten at the end of its line, since
    a stray backtick must not switch off the markers of all that follows.
    """

    def __init__(self) -> None:
        """At the beginning of a text."""
        self._open = 0
        self._run = 0

    def holds(self, character: str) -> bool:
        """Whether `character`, which comes next and is no backtick, is code."""
        self._end_run()
        return self._open > 0

    def pass_over(self, text: str) -> None:
        """Goes on behind `text`."""
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
