"""Markdown on a screen while it is still being written."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rag.normalization import without_controls
from rag.rendering.directions import LEFT_TO_RIGHT_LINE, RIGHT_TO_LEFT_LINE
from rag.rendering.screen import Screen, Size

if TYPE_CHECKING:
    from rag.rendering.lines import Line
    from rag.rendering.markup import Continued, LastLine

_FRAME = 0.05
"""Seconds between two drawings: twenty a second, as text need not flow more smoothly than it is read."""
_REST = 4  # times as long as a drawing took nothing is drawn: a fifth of one core at most, however long the block
_ERASE_BELOW = "\x1b[J"
_RESET = "\x1b[0m"


class MarkdownStream:
    """Shows Markdown as it comes, beginning at the left edge. Use it in a `with`, which calls `finish`.

    On a terminal finished blocks are printed once and for all; the last one, which is still growing, is drawn again
    where it stands. One that is taller than the window shows its last lines until it is finished. The cursor is never
    hidden. On a pipe or a dumb terminal each delta is written as it comes, without its control characters.
    """

    def __init__(self, stream: TextIO, screen: Screen, *, frame: float = _FRAME) -> None:
        """Writes nothing yet.

        Args:
            frame: seconds between two drawings; with 0 each delta is drawn.
        """
        self._stream = stream
        self._screen = screen
        self._frame = frame
        self._lock = threading.RLock()  # what is not drawn at once is drawn by a timer, from another thread
        self._timer: threading.Timer | None = None
        self._is_plain = not screen.is_terminal or screen.is_dumb
        self._source = ""  # what is not finished
        self._looked_at: LastLine | None = None  # of it, when finished blocks were last looked for
        self._continued: Continued | None = None  # the list that it begins in
        self._follows_a_block = False
        self._shown: list[Line] = []  # of the last block, the lines now on the screen
        self._is_cropped = False
        self._size = screen.size or Size(80, 24)
        self._not_before = 0.0
        self._is_torn = False
        self._is_finished = False
        self._last = "\n"  # character that a pipe got
        if not self._is_plain:
            from rag.rendering import lines  # noqa: F401  now, not when the first word is there to be seen

    def feed(self, delta: str) -> None:
        """Shows what has come: at once, or with the next drawing."""
        text = without_controls(delta)
        with self._lock:
            if self._is_finished or not text:
                return
            self._last = text[-1]
            if self._is_plain:
                self._write(text)
                return
            self._source += text
            wait = self._not_before - time.monotonic()
            if wait <= 0 or not self._frame:
                self._draw_next()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self._catch_up)
                self._timer.daemon = True
                self._timer.start()

    def finish(self) -> None:
        """Shows what is left, and ends the last line."""
        with self._lock:
            if self._is_finished:
                return
            self._is_finished = True
            if self._timer is not None:
                self._timer.cancel()
            if self._is_plain:
                if self._last != "\n":
                    self._write("\n")
                return
            if self._is_torn:  # a drawing was broken off, and nobody knows where the cursor is
                self._write(f"{_RESET}\n")
                self._shown = []
            self._draw(is_last=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish()

    def _catch_up(self) -> None:
        with self._lock:
            self._timer = None
            if not self._is_finished:
                # A stream that cannot be written to says so to the next `feed` or `finish` too, where it is heard.
                with suppress(OSError, ValueError):
                    self._draw_next()

    def _draw_next(self) -> None:
        started = time.monotonic()
        self._draw(is_last=False)
        now = time.monotonic()
        self._not_before = now + max(self._frame, _REST * (now - started))

    def _draw(self, *, is_last: bool) -> None:
        from rag.rendering.lines import EMPTY, lines_of
        from rag.rendering.markup import last_line, settled

        size = self._screen.size or self._size
        looked_at = last_line(self._source)
        count, continued = (len(self._source), None) if is_last else self._finished(looked_at)
        rest = self._source[count:]
        for_good = lines_of(self._source[:count], self._screen, size.columns, self._continued)
        live = lines_of(settled(rest), self._screen, size.columns, continued)
        if for_good and self._follows_a_block and self._continued is None:
            for_good = [EMPTY, *for_good]
        follows_a_block = self._follows_a_block or bool(for_good)
        if live and follows_a_block and continued is None:
            live = [EMPTY, *live]
        if not live and (for_good or self._shown):
            live = [EMPTY]
        room = max(size.lines - 1, 1)
        is_cropped, live = len(live) > room, live[-room:]
        same = 0
        if not (is_cropped or self._is_cropped or size.columns != self._size.columns):
            same = _in_common(self._shown, [*for_good, *live])
        self._is_torn = True
        self._replace(same, [*for_good, *live], self._rows(size))
        self._source, self._continued, self._follows_a_block = rest, continued, follows_a_block
        self._looked_at = looked_at._replace(start=looked_at.start - count)
        self._shown, self._is_cropped, self._size = live, is_cropped, size
        self._is_torn = False

    def _finished(self, looked_at: LastLine) -> tuple[int, Continued | None]:
        """How many characters can be printed for good, and the list that is cut there."""
        from rag.rendering.markup import finished

        if looked_at == self._looked_at:
            return 0, self._continued
        known = self._source if looked_at.is_known else self._source[: looked_at.start]
        return finished(known, self._continued)

    def _rows(self, size: Size) -> int:
        """Rows that the lines on the screen take now."""
        if not (self._screen.reflows and size.columns < self._size.columns):
            return len(self._shown)
        return sum(max(1, -(-line.cells // size.columns)) for line in self._shown)

    def _replace(self, same: int, lines: list[Line], rows: int) -> None:
        """Puts `lines` in the place of those that are shown, the first `same` of which stay as they are."""
        text = ""
        before = self._shown
        if same < len(before):
            # A line is written again from its beginning, the last one at any rate: the cursor has to end behind it.
            same = min(same, len(lines) - 1)
            up = rows - 1 - same
            reset = LEFT_TO_RIGHT_LINE if any(map(_is_directed, before)) else ""
            text = (f"\x1b[{up}A" if up else "") + f"\r{_ERASE_BELOW}{reset}"
        elif before and len(lines) > same:
            text = _line_end(before[-1])
        text += "".join(f"{line.text}{_line_end(line)}" for line in lines[same:-1])
        text += lines[-1].text if len(lines) > same else ""
        if text:
            self._write(text)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _in_common(before: list[Line], after: list[Line]) -> int:
    """How many lines at the beginning are the same."""
    pairs = zip(before, after, strict=False)
    return next((at for at, (old, new) in enumerate(pairs) if old != new), min(len(before), len(after)))


def _is_directed(line: Line) -> bool:
    return line.text.startswith(RIGHT_TO_LEFT_LINE)


def _line_end(line: Line) -> str:
    return f"\n{LEFT_TO_RIGHT_LINE}" if _is_directed(line) else "\n"
