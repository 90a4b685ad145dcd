"""An answer's markers while it is streamed: the asker sees `[2]` where the model wrote `[2: "words"]`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import regex

from rag.marker_syntax import OPENING, Code, Marker, Passages, Undecided, can_begin, read
from rag.types import Passage

_OPEN_LIST: Final = regex.compile(rf"[{regex.escape(OPENING)}][\p{{Nd}} ,;、，؛،\-–—]*\Z")
_LONGEST_LIST: Final = 200
"""More than the code points of the longest list of numbers that is a marker."""


class Offered(NamedTuple):
    """A marker as the asker sees it, and the words that the model gave for it.

    Attributes:
        number: of the passage, 1-based.
        quotes: as the model wrote them, without the quotation marks around them.
    """

    number: int
    quotes: tuple[str, ...] = ()


class CitationFilter:
    """Puts an answer's markers into the form `[n]` while it is streamed, and keeps the words that stood in them.

    `[1, 2: "words"]` becomes `[1][2]`. A marker that points at no passage goes, with its words and one space before it.
    Text is held back only as long as it may still become a marker. The output does not depend on how the text is cut
    into deltas.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Args:
        passages: the first is that of marker 1.
        """
        self._passages = Passages([passage.chunk.text for passage in passages])
        self._held = ""
        self._tail = ""  # the end of what was shown
        self._code = Code()
        self._offered: list[Offered] = []

    @property
    def offered(self) -> tuple[Offered, ...]:
        """Each marker shown so far, in order; for `rag.citations.check`."""
        return tuple(self._offered)

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
            piece, end = text[position], position + 1
            if can_begin(piece) and not self._code.holds(piece):
                found = read(text, position, self._passages, last=last)
                if isinstance(found, Undecided):
                    break
                if found is not None:
                    piece, end = self._rewritten(found), found.end
            self._code.pass_over(piece)
            self._tail = (self._tail + piece)[-_LONGEST_LIST:]
            shown.append(piece)
            position = end
        self._held = text[position:]
        return "".join(shown)

    def _rewritten(self, marker: Marker) -> str:
        quotes: dict[int, list[str]] = {}
        for numbers, words in marker.items:
            for number in filter(self._passages.has, numbers):
                quotes.setdefault(number, []).extend([words] if words else [])
        self._offered += [Offered(number, tuple(each)) for number, each in quotes.items()]
        if quotes:
            return marker.space + "".join(f"[{number}]" for number in quotes)
        # What is left of `[[9]1]` must be no marker either.
        return "  " if _OPEN_LIST.search(self._tail) else ""
