"""Markers of citations in an answer's text, as models write them. Pure.

A marker is a number, or a list or range of them, in square brackets: `[1]`, `[1, 2]`, `[1 and 2]`, `[1-3]`, also in
full-width, lenticular or tortoise-shell brackets and in the digits of any script. A bare `[n]` is always a marker,
even right after a word, because models write it so where no space is customary: `array[1]` outside of code is a
citation, and `[9]` of eight goes. Left alone are: what stands in code (see `rag.untrusted.code`), numbers of four
digits (`[2024]`), ranges with a leading zero (`[01-15]`), lists that hold a zero (`the interval [0, 1]`), ranges that
go down, and every other bracket. What models have learnt elsewhere is read, too: `[^1]`, `[Passage 1]`, `【1†source】`,
`[¹]`, and Chinese numerals with words or, behind other words of the line, in lenticular brackets: `【一】`.

A marker may carry words of its passage: `[2: "words"]`, with the colon and the quotation marks of any language, several
of them in one bracket (`[1: "…", "…", 3: "…"]`), or without quotation marks (`[2: words]`, if there is a letter in
them). The words end at the first mark that can end them, unless the passage goes on in the same way,
brackets and quotation marks included. Words that the end of the text cuts off count as far as they go.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import regex

from rag.untrusted.code import Code as Code
from rag.untrusted.code import CodeReader
from rag.verbatim import QUOTATION_MARKS, Passages

LONGEST_QUOTE: Final = 600
"""Code points of the words in a marker; longer ones are nobody's. Bounds how much text is held back."""
MOST_QUOTES: Final = 8
"""Quotations in one bracket; further ones are nobody's."""

OPENING: Final = "[［【〔〖"
CLOSING: Final = "]］】〕〗"
SPACES: Final = " \u00a0\u202f\u3000"
_STARTS: Final = frozenset(SPACES + OPENING)
_HIGHEST: Final = 999

# No repetition without a bound: it limits how much text can be held back while a marker may still be coming.
_DIGIT: Final = r"[\p{Nd}⁰¹²³⁴-⁹₀-₉①-⑨]"
_NUMBER: Final = rf"{_DIGIT}{{1,3}}"
_AND: Final = r"&|(?i:and|und|et|y|e|en|i|и|і|та|ve|dan|và)(?!\p{L})|و|और|と|和|及|與|与|및|와|과"
_BETWEEN: Final = rf"(?: ?[,;、，；،؛\-–—] ?(?:(?:{_AND}) ?)?| ?(?:{_AND}) ?)"
_LIST: Final = rf"{_NUMBER}(?:{_BETWEEN}{_NUMBER}){{0,15}}"
_ITEM: Final = regex.compile(rf"({_DIGIT}+)(?: ?[-–—] ?({_DIGIT}+))?")
_OPEN: Final = rf"(?P<space>[{SPACES}]?)[{regex.escape(OPENING)}] ?"
_CLOSE: Final = f"[{regex.escape(CLOSING)}]"
# What models call a passage in a marker: the requests' labels, and what they have learnt elsewhere.
_NAMES: Final = (
    r"passages?|sources?|documents?|docs?|refs?\.?|references?|citations?|cit\.?|textstellen?|quellen?|extraits?"
    r"|fragmentos?|fragment|fuentes?|trechos?|fontes?|brano|brani|fonti|bron|źródło|alıntı|kaynak|kutipan|sumber"
    r"|đoạn trích|nguồn|отрывок|источник|уривок|джерело|مقطع|المقطع|مصدر|المصدر|अंश|स्रोत|抜粋|出典|文段|来源|來源"
    r"|资料|資料|발췌문|출처"
)
_CALLED: Final = rf"(?:\^|(?i:{_NAMES})[{SPACES}]?[#:№]?[{SPACES}]?)?"
_BEGIN: Final = rf"{_OPEN}{_CALLED}(?P<numbers>{_LIST})"
# The form that OpenAI's models were taught: 【1†source】, 【4:0†source】 where the first number is no passage's.
_DAGGER: Final = (
    rf"{_OPEN}(?P<message>{_NUMBER}[:：])?(?P<numbers>{_NUMBER})[†‡]"
    rf"[^\n{regex.escape(OPENING + CLOSING)}]{{0,80}}{_CLOSE}"
)
_MARKER: Final = regex.compile(f"{_BEGIN} ?{_CLOSE}|{_DAGGER}")
_HAN_DIGITS: Final = "一二三四五六七八九"
_HAN: Final = f"[{_HAN_DIGITS}]?十[{_HAN_DIGITS}]?|[{_HAN_DIGITS}]"
_HAN_MARKER: Final = regex.compile(f"(?P<space>[{SPACES}]?)[【〖](?P<numbers>{_HAN})[】〗]")

_DOUBLE: Final = '"“”„‟«»「」『』〝〞〟＂'
_MARK: Final = f"[{QUOTATION_MARKS}]"
_BREAK: Final = rf"[{SPACES}\n]?"
_COLON: Final = f" ?[:：﹕∶]{_BREAK}"
# Without a colon a quotation mark must stand apart: `[2's complement]` and `[5" pipe]` are none.
_QUOTED: Final = regex.compile(
    f"{_BEGIN}(?:{_COLON}{_MARK}|[{SPACES}][{_DOUBLE}])"
    rf"|{_OPEN}{_CALLED}(?P<numbers>\p{{Nd}}{{4,9}}|{_HAN}){_COLON}{_MARK}"
)
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
        depth: of brackets at the end, where the words go on that are nobody's; None where the marker is closed.
    """

    end: int
    space: str
    items: list[tuple[list[int], str | None]]
    depth: int | None = None


class Undecided:
    """More text is needed to tell."""


UNDECIDED: Final = Undecided()


def can_begin(character: str) -> bool:
    """Whether a marker can begin with `character`."""
    return character in _STARTS


def read(text: str, position: int, passages: Passages, *, last: bool, before: str = "") -> Marker | Undecided | None:
    """The marker that begins at `position`; None where none does.

    Args:
        before: what was shown of the line; Chinese numerals in lenticular brackets begin a heading where it has no
            letters.
        last: whether the text ends here; else it may go on, and what that can change is undecided.
    """
    plain = _MARKER.match(text, position, partial=not last)
    if plain is not None and not plain.partial:
        numbers = [] if plain["message"] else _numbers(plain["numbers"])
        return None if numbers is None else Marker(plain.end(), plain["space"], [(numbers, None)])
    han = _HAN_MARKER.match(text, position, partial=not last)
    if han is not None and not han.partial and any(map(str.isalpha, before)):
        return Marker(han.end(), han["space"], [([_value(han["numbers"])], None)])
    begun = _QUOTED.match(text, position, partial=not last)
    quoted = begun is not None and not begun.partial
    bare = None if quoted else _BARE.match(text, position, partial=not last)
    if any(found is not None and found.partial for found in (plain, han, begun, bare)):
        return UNDECIDED
    begun = begun or bare
    if begun is None:
        return None
    items = _items(begun["numbers"])
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
            return Marker(words.until, begun["space"], items, words.depth)
        groups = words.after.groupdict()
        items += _items(groups["numbers"] or "") if "numbers" in groups else []
        start = words.after.end()
        if groups["closed"] is not None:
            return Marker(start, begun["space"], items)
    return Marker(start, begun["space"], items, 0)


def markers(text: str) -> Iterator[tuple[int, int, list[int]]]:
    """Start, end and numbers of each marker without words in a whole text; numbers from 1 to 999.

    The start is that of the space before the bracket, if there is one.
    """
    code = CodeReader(settled=True)
    position = 0
    while position < len(text):
        piece = code.read(text, position, last=True)
        found = _MARKER.match(text, position) if piece is None and text[position] in _STARTS else None
        numbers = _numbers(found["numbers"]) if found is not None else None
        if found is not None and numbers is not None:
            yield found.start(), found.end(), [number for number in numbers if 1 <= number <= _HIGHEST]
        end = piece.end if piece is not None else found.end() if found is not None else position + 1
        code.pass_over(text[position:end])
        position = end


def cited(text: str) -> tuple[int, ...]:
    """The numbers of the markers in `text`, each once, ascending."""
    return tuple(sorted({number for _, _, numbers in markers(text) for number in numbers}))


class _Words(NamedTuple):
    """Words in a marker: their end, and what follows them.

    Where that is nothing: one past what was read, and the depth of brackets where the words go on.
    """

    end: int
    after: regex.Match[str] | None
    until: int = 0
    depth: int | None = None


def _words(
    text: str, start: int, numbers: Sequence[int], passages: Passages, *, quoted: bool, last: bool
) -> _Words | Undecided | None:
    """The words that begin at `start` and are said to be of the passages `numbers`; None where they have no end."""
    best: _Words | None = None  # where the words may end, though the passage goes on in the same way
    forgotten: _Words | None = None  # where they end if their second quotation mark does not come on this line
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
        if end is not None and pattern is _FORGOTTEN_END:
            if forgotten is None or passages.say(numbers, text[start:position]):
                forgotten = _Words(position, end)
        elif end is not None:
            found = _Words(position, end)
            if not passages.say(numbers, text[start : end.end()]):
                return best if best is not None and not passages.say(numbers, text[start:position]) else found
            # Further words that the passage has there, too, are the same words going on; and a bracket ends them once.
            further = not any(end.groupdict().values())
            if not further and (best is None or best.after is None or best.after.end() != end.end()):
                best = found
        if forgotten is not None and (
            other is not None or (character == "\n" and not passages.say(numbers, text[start:position]))
        ):
            return best or forgotten
        # Another marker begins, or a line: words that no passage says have had their end, or they have none.
        if (other is not None or (not quoted and character == "\n")) and not passages.say(
            numbers, text[start : other.end() if other is not None else position]
        ):
            return best
        if best is not None and not passages.say(numbers, text[start : position + 1]):
            return best
        depth += (character in OPENING) - (depth > 0 and character in CLOSING)
    best = best or forgotten
    if best is not None and (last or len(text) > start + LONGEST_QUOTE):
        return best
    if len(text) > start + LONGEST_QUOTE:
        return _Words(start + LONGEST_QUOTE, None, start + LONGEST_QUOTE + 1, depth)
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
    return _Words(end, None, len(text)) if in_the_midst or (words.strip() and passages.say(numbers, words)) else None


def _numbers(written: str) -> list[int] | None:
    """The numbers of a list of them, in order, each once; None where it is not a list of markers."""
    numbers: list[int] = []
    for item in _ITEM.finditer(written):
        if item[2] and any(len(part) > 1 and _value(part[0]) == 0 for part in item.groups()):
            return None
        first, last = _value(item[1]), _value(item[2] or item[1])
        if first > last:
            return None
        numbers.extend(range(first, last + 1))
    if 0 in numbers and len(numbers) > 1:
        return None
    return list(dict.fromkeys(numbers))


def _items(written: str) -> list[tuple[list[int], str | None]]:
    """The numbers of a list beside words, range by range; whatever they are, no text but a marker has them there."""
    if written and written[0] in f"{_HAN_DIGITS}十":
        return [([_value(written)], None)]
    pairs = [(_value(item[1]), _value(item[2] or item[1])) for item in _ITEM.finditer(written)]
    return [(list(range(first, last + 1)) or [first, last], None) for first, last in pairs]


def _value(number: str) -> int:
    """What a number in the digits of any script says, or a Chinese numeral up to 99."""
    if number[0] in f"{_HAN_DIGITS}十":
        tens, ten, ones = number.rpartition("十")
        of = " " + _HAN_DIGITS
        return 10 * (of.index(tens) if tens else 1 if ten else 0) + (of.index(ones) if ones else 0)
    return int("".join(str(unicodedata.digit(digit)) for digit in number))
