"""An answer's markers while it is streamed: the asker sees `[2]` where the model wrote `[2: "words"]`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import regex

from rag.marker_syntax import CLOSING, OPENING, Marker, Undecided, can_begin, read
from rag.types import Passage
from rag.untrusted.code import CodeReader
from rag.verbatim import Passages

_OPEN_LIST: Final = regex.compile(rf"[{regex.escape(OPENING)}][\p{{Nd}}\p{{L}}\p{{M}}& ,;、，؛،\-–—]*\Z")
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
    Words that find no end go up to the bracket that closes theirs, or the end of the line. A backtick that is no code's
    becomes a look-alike, so that whoever reads the text next finds code where this did. Text is held back only as long
    as it may still become a marker or code. The output does not depend on how the text is cut into deltas.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Args:
        passages: the first is that of marker 1.
        """
        self._passages = Passages([passage.chunk.text for passage in passages])
        self._held = ""
        self._tail = ""  # the end of what was shown
        self._gone = False  # whether a marker has just gone from behind it
        self._code = CodeReader()
        self._depth: int | None = None  # of brackets in words that are left out
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
            if self._depth is not None:
                position += self._left_out(text[position])
                continue
            if (code := self._code.read(text, position, last=last, over=partial(self._over, text, last))) is not None:
                piece, end = code.shown, code.end
            else:
                piece, end = text[position], position + 1
                found = self._marker(text, position, last=last) if can_begin(piece) else None
                if isinstance(found, Undecided):
                    break
                if found is not None:
                    piece, end, self._depth = self._rewritten(found), found.end, found.depth
            if end == position:
                break
            if self._gone and piece.startswith("`") and self._tail.endswith("`"):
                piece = " " + piece  # they would be read as one
            self._gone = not piece
            self._code.pass_over(piece)
            self._tail = (self._tail + piece)[-_LONGEST_LIST:]
            shown.append(piece)
            position = end
        self._held = text[position:]
        return "".join(shown)

    def _marker(self, text: str, position: int, *, last: bool) -> Marker | Undecided | None:
        return read(text, position, self._passages, last=last, before=self._tail.rpartition("\n")[2])

    def _over(self, text: str, last: bool, position: int) -> int | None:
        """For `CodeReader`: the end of the marker at `position`, which code cannot begin before and end in."""
        if text[position] not in OPENING:
            return None
        found = self._marker(text, position, last=last)
        return -1 if isinstance(found, Undecided) else found and found.end

    def _left_out(self, character: str) -> int:
        """How much of `character` goes with the words that found no end."""
        depth = self._depth or 0
        closed = character in CLOSING and depth == 0
        self._depth = None if closed or character == "\n" else depth + (character in OPENING) - (character in CLOSING)
        return int(character != "\n")

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
