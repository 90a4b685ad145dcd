"""Whether words stand in a text, and where: the letter counts, the typesetting does not. Pure.

Two texts are the same here when they are after compatibility decomposition (Unicode TR 15; NFKD tells no more and no
less apart than NFKC) with quotation marks and dashes made alike, and without white space and what nobody sees. Case is
not folded.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

import regex

from rag.normalization import visible
from rag.untrusted import FOLDED

QUOTATION_MARKS: Final = "\"“”„‟«»「」『』〝〞〟＂'‘’‚‛‹›＇"
"""What may open or close a quotation in some language (CLDR, delimiters), and what models write for it."""

_FEWEST_LETTERS: Final = 4
"""A quotation of fewer letters and digits says too little about where in the text it is; an ideograph counts two."""
_NO_WORDS: Final = f"{QUOTATION_MARKS} \t\n.,;:!?…。、，；：！？｡।॥؟،؛۔*_"
"""What a quotation may have at either end that is its author's and not the document's."""
_LEFT_OUT: Final = regex.compile(r"[\[(]?(?:…+|\.{3,}|⋯+)[\])]?")
# Models write straight marks for typographic ones, and the other way round; and they read passages escaped.
_ALIKE: Final = {
    **FOLDED,
    **dict.fromkeys(map(ord, "“”„‟«»「」『』〝〞〟＂″"), '"'),
    **dict.fromkeys(map(ord, "‘’‚‛‹›＇′"), "'"),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－"), "-"),
    # Joiners and variation selectors; what else is invisible, `visible` knows.
    **dict.fromkeys((0x200C, 0x200D, *range(0xFE00, 0xFE10)), None),
}


class StoredText:
    """A text in which quotations are looked up."""

    def __init__(self, text: str) -> None:
        """Folds `text` once for all quotations."""
        self._folded, self._starts, self._ends = _folded(text)

    def find(self, words: str) -> tuple[int, int] | None:
        """The first span of the text that says `words`; None where none does, or `words` are fewer than four letters.

        Sentence and quotation marks around the words need not be the document's. A span never begins or ends between a
        letter and its accents. Where `words` leave something out (`…`, `...`), each part must stand in the text, in
        that order, and the span is that of the first.
        """
        found = self._find(words, 0)
        parts = [part for part in _LEFT_OUT.split(words) if part.strip(_NO_WORDS)] if found is None else []
        if len(parts) > 1:
            found = following = self._find(parts[0], 0)
            for part in parts[1:]:
                following = self._find(part, following[1] + 1) if following is not None else None
            found = found if following is not None else None
        return (self._starts[found[0]], self._ends[found[1]]) if found is not None else None

    def _find(self, words: str, begin: int) -> tuple[int, int] | None:
        """The first and last of the folded characters, not before `begin`, that say `words`."""
        for candidate in dict.fromkeys((words, words.strip(_NO_WORDS))):
            folded, _, _ = _folded(candidate)
            if _letters(folded) < _FEWEST_LETTERS:
                continue
            position = self._folded.find(folded, begin)
            while position >= 0:
                last = position + len(folded) - 1
                if self._is_whole(position, last):
                    return position, last
                position = self._folded.find(folded, position + 1)
        return None

    def holds(self, words: str) -> bool:
        """Whether the text says `words`, however few and even if the last letter is still to get its accents."""
        return _folded_alone(words) in self._folded

    def _is_whole(self, first: int, last: int) -> bool:
        """Whether the folded characters from `first` to `last` are all of what they were folded from."""
        begins = first == 0 or self._starts[first - 1] != self._starts[first]
        return begins and (last + 1 == len(self._starts) or self._starts[last + 1] != self._starts[last])


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


def _folded(text: str) -> tuple[str, list[int], list[int]]:
    """`text` as it is compared, and for each of its characters the span in `text` of what it was folded from."""
    folded: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _clusters(text):
        alike = visible(text[start:end]).translate(_ALIKE)
        for character in alike if alike.isascii() else unicodedata.normalize("NFKD", alike):
            if not character.isspace():
                folded.append(character)
                starts.append(start)
                ends.append(end)
    return "".join(folded), starts, ends


@lru_cache(maxsize=1024)  # words that are still coming are asked for again with every piece of them
def _folded_alone(text: str) -> str:
    return _folded(text)[0]


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the characters of `text`, each with the marks that combine with it: their order is put right."""
    start = 0
    for position in range(1, len(text) + 1):
        if position == len(text) or not unicodedata.combining(text[position]):
            yield start, position
            start = position


def _letters(folded: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in folded if each.isalnum())
