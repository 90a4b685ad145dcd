"""What of a text that is still coming is Markdown code (CommonMark 4.5 and 6.1). Pure.

Code is what stands between two runs of backticks of the same length on one line, within `LONGEST_SPAN`, and what stands
between fences at the beginning of their lines. Every other backtick is none, an apostrophe (``It`s``) among them: it
becomes a look-alike, so that no later reader of the text can take what follows for code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import regex

LONGEST_SPAN: Final = 300
"""Code points held back at most until a backtick's line tells whether it is code."""
LOOK_ALIKE: Final = "ˋ"
"""For a backtick that is no code's."""

_LINE_END: Final = regex.compile(r"[\r\n]")
_BEFORE_FENCE: Final = regex.compile(r"[ \t]*(?:(?:>|[-*+]|\d{1,9}[.)])[ \t]*)*\Z")
# Their letters are written in words with spaces between, so that code does not begin in the midst of one.
_LETTER: Final = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}]")
_INFO_ALONE: Final = regex.compile(r"[\w+#.-]{0,20}[ \t]{0,20}[\r\n]")
_LONGEST_LINE: Final = 80


class Piece(NamedTuple):
    """Code, or backticks that are none.

    Attributes:
        end: one past its last code point.
        shown: what is to be shown for it.
    """

    end: int
    shown: str


class CodeReader:
    """Where a text is code; to be asked at each position where a piece of it begins, in order."""

    def __init__(self, *, settled: bool = False) -> None:
        """At the beginning of a text.

        Args:
            settled: the text is whole and has no backticks but those of its code.
        """
        self._settled = settled
        self._line = ""  # the beginning and the last code point of what was passed of the line
        self._fence = ""  # of the block that is open
        self._unopened = 0  # length of a fence that is none, as words stand before it: what closes it opens none either
        self._closing = ""  # what may stand before the fence that closes it
        self._quoted = False  # whether it stands in a block quote

    def read(
        self, text: str, at: int, *, last: bool, over: Callable[[int], int | None] = lambda _: None
    ) -> Piece | None:
        """The piece that begins at `at`; None where other text does. A piece that ends at `at` needs more text.

        Args:
            last: whether the text ends here.
            over: the end of what begins at a position and in which no code may end; None for nothing, a position
                before it if more text is needed to tell.
        """
        if self._fence:
            return self._in_block(text, at, last=last)
        sign = text[at]
        if sign not in "`~" or (sign == "~" and self._line.endswith("~")):
            return None
        run = min(_run(text, at), LONGEST_SPAN)
        if at + run == len(text) and run < LONGEST_SPAN and not last:
            return Piece(at, "")
        if run >= 3 and _BEFORE_FENCE.match(self._line) and run < LONGEST_SPAN:
            opened = self._opened(text, at, run, last=last)
            if opened is not None:
                return opened
        if sign == "~":
            return None
        if self._is_apostrophe(text, at, run):
            return Piece(at + run, LOOK_ALIKE * run)
        end = self._span(text, at, run, last=last, over=over)
        if end is None and run >= 3 and _INFO_ALONE.match(text, at + run):
            self._unopened = run
        return Piece(at + run, LOOK_ALIKE * run) if end is None else Piece(end, text[at:end])

    def pass_over(self, shown: str) -> None:
        """Goes on behind `shown`."""
        for character in shown:
            if character in "\r\n":
                self._line = ""
            elif len(self._line) < _LONGEST_LINE:
                self._line += character
            else:
                self._line = self._line[:-1] + character

    def _is_apostrophe(self, text: str, at: int, run: int) -> bool:
        if self._line.endswith("\\"):
            return True
        around = self._line[-1:], text[at + 1 : at + 2]
        return run == 1 and not self._settled and all(map(_LETTER.fullmatch, around))

    def _span(self, text: str, at: int, run: int, *, last: bool, over: Callable[[int], int | None]) -> int | None:
        """The end of the code that a run of backticks opens; `at` where more must come first, None where it is none."""
        most = len(text) + 1 if self._settled else at + LONGEST_SPAN
        position = at + run
        while position < min(most, len(text)):
            if text[position] in "\r\n":
                return None
            if text[position] != "`":
                beyond = over(position)
                if beyond is not None and beyond < position:
                    return at
                # Other readers of Markdown would end the code, or the line, in there.
                if beyond and regex.search(rf"[\r\n]|(?<!`)`{{{run}}}(?!`)", text, pos=position, endpos=beyond):
                    return None
                position = beyond or position + 1
                continue
            closing = _run(text, position)
            if position + closing >= most:
                return None
            if position + closing == len(text) and not last:
                return at
            position += closing
            if closing == run:
                return position
        return None if last or len(text) >= most else at

    def _opened(self, text: str, at: int, run: int, *, last: bool) -> Piece | None:
        """The fence that may begin at `at`, to the end of its line; None where none does."""
        end = _LINE_END.search(text, at)
        if end is None and not last and len(text) - at < LONGEST_SPAN:
            return Piece(at, "")
        stop = end.start() if end is not None else len(text)
        if stop - at >= LONGEST_SPAN or (text[at] == "`" and "`" in text[at + run : stop]):
            return None
        if text[at] == "`" and 0 < self._unopened <= run and not text[at + run : stop].strip():
            self._unopened = 0
            return Piece(at + run, LOOK_ALIKE * run)
        self._fence = text[at] * run
        self._closing = "[ \\t>]{0,20}" if self._line.strip(" ") or len(self._line) > 3 else " {0,3}"
        self._quoted = ">" in self._line
        return Piece(stop, text[at:stop])

    def _in_block(self, text: str, at: int, *, last: bool) -> Piece | None:
        """A line end, or what is there of a line of the open block; the block ends with the line that closes it."""
        end = _LINE_END.search(text, at)
        stop = end.start() if end is not None else len(text)
        if stop == at:
            return Piece(at + 1, text[at])
        if not self._line:
            closing = rf"{self._closing}{self._fence[0]}{{{len(self._fence)},}}[ \t]*"
            unsure = end is None and not last
            found = regex.fullmatch(closing, text[at:stop][: LONGEST_SPAN * 10], partial=unsure)
            if found is not None and unsure:
                return Piece(at, "")
            if found is not None:
                self._fence = ""
            elif self._quoted and not text[at:stop].lstrip(" \t").startswith(">"):
                if unsure and not text[at:stop].strip(" \t"):
                    return Piece(at, "")
                self._fence = ""  # with its quotation
                return self.read(text, at, last=last)
        return Piece(stop, text[at:stop])


class Code:
    """Whether the next character may stand in code, for readers that hold nothing back.

    A run of backticks opens, a run as long closes; a run of fewer than three is forgotten at the end of its line.
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


def _run(text: str, at: int) -> int:
    """How many times the character at `at` stands there in a row."""
    end = at
    while end < len(text) and text[end] == text[at]:
        end += 1
    return end - at
