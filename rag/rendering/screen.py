"""What an output stream can do, and how right-to-left text must be given to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Literal, NamedTuple

Order = Literal["plain", "isolated", "padded", "directed", "visual"]
"""How right-to-left text is given to a terminal; all but `visual` keep the order in which it is read.

plain: nothing is added. isolated: pieces in lines of columns are marked as runs of their own. padded: right-to-left
lines are marked as such and moved to the right edge by spaces. directed: the terminal is told the direction of each
line. visual: characters are put where they are to be seen, for a terminal that shows them as they come.
"""

RightToLeft = Literal["auto", "logical", "visual"]

_FIRST_VTE_THAT_ORDERS = 5800  # 0.58
_FALLBACK = (80, 24)


class Size(NamedTuple):
    """Of a window, in cells."""

    columns: int
    lines: int


class _Terminal(NamedTuple):
    """What a variable tells of the terminal that sets it."""

    variable: str
    value: str | None  # None: any
    order: Order
    reflows: bool


# Seen by eye in VTE 0.70, Konsole 22.12, mlterm 3.9, Alacritty 0.11 and xterm 379. Konsole takes no direction of lines
# but obeys isolates; mlterm finds the direction of a line by itself and shows isolates as boxes. Of those that cannot
# be tried on Linux, the issues of their makers tell: microsoft/terminal 538 and 18659, xtermjs/xterm.js 701.
# Only of VTE and Alacritty is it certain that they reflow and take the cursor along. To think so wrongly erases lines
# above a block that is drawn again in a window made narrower; not to think so leaves old lines there.
_TERMINALS = (
    _Terminal("VTE_VERSION", None, "directed", True),
    _Terminal("KONSOLE_VERSION", None, "padded", False),
    _Terminal("MLTERM", None, "plain", False),
    _Terminal("TERM_PROGRAM", "Apple_Terminal", "isolated", False),
    _Terminal("TERM_PROGRAM", "vscode", "visual", False),
    _Terminal("WT_SESSION", None, "visual", False),
    _Terminal("ALACRITTY_WINDOW_ID", None, "visual", True),
    _Terminal("XTERM_VERSION", None, "visual", False),
    _Terminal("TERM", "linux", "visual", False),
)
_UNKNOWN = _Terminal("", None, "isolated", False)


@dataclass(frozen=True, slots=True)
class Screen:
    """What a stream can do.

    Attributes:
        is_terminal: a person looks at it; otherwise it is a pipe or a file, to which nothing is ever added.
        is_dumb: a terminal without a cursor that can be moved (TERM=dumb).
        colours: styles may be used: a terminal, not dumb, and NO_COLOR is not set.
        order: how right-to-left text must be given to it.
        reflows: a narrower window breaks the lines that no longer fit, so that they take more rows.
        measure: the size of the window as it is now; None for a pipe.
    """

    is_terminal: bool = False
    is_dumb: bool = False
    colours: bool = False
    order: Order = "plain"
    reflows: bool = False
    measure: Callable[[], Size] | None = None

    @classmethod
    def of(
        cls, stream: IO[Any] | None, environ: Mapping[str, str] = os.environ, *, right_to_left: RightToLeft = "auto"
    ) -> Screen:
        """The screen behind `stream`.

        Inside tmux and screen, and where the variables of several terminals are set because one was started from the
        other, the terminal counts as unknown. Over ssh it does too, as these variables do not travel.

        Args:
            stream: None where the caller has closed it.
            right_to_left: what the terminal needs, where the user knows better than its variables: `logical` if it
                orders right-to-left text itself, `visual` if it does not.
        """
        if stream is None or not stream.isatty():
            return cls()
        dumb = environ.get("TERM") == "dumb"
        terminal = _terminal(environ)
        order = terminal.order
        if right_to_left == "visual" or (right_to_left == "logical" and order == "visual"):
            order = "visual" if right_to_left == "visual" else "isolated"
        if dumb and order in ("padded", "directed"):
            order = "isolated"
        return cls(
            is_terminal=True,
            is_dumb=dumb,
            colours=not dumb and not environ.get("NO_COLOR"),
            order=order,
            reflows=terminal.reflows,
            measure=lambda: _size(stream, environ),
        )

    @property
    def size(self) -> Size | None:
        """Of the window as it is now; None for a pipe."""
        return self.measure() if self.measure else None

    @property
    def width(self) -> int | None:
        """Columns of the window as it is now; None for a pipe."""
        size = self.size
        return size.columns if size else None

    def styled(self, text: str, *codes: int) -> str:
        """`text` in the style of these SGR codes (ECMA-48, 8.3.117) where styles may be used."""
        return f"\x1b[{';'.join(map(str, codes))}m{text}\x1b[0m" if self.colours and text else text


BOLD, UNDERLINED = 1, 4
RED, GREEN, YELLOW = 31, 32, 33
"""SGR codes."""


def _terminal(environ: Mapping[str, str]) -> _Terminal:
    multiplexed = "TMUX" in environ or "STY" in environ or environ.get("TERM", "").startswith(("screen", "tmux"))
    known = [
        terminal
        for terminal in _TERMINALS
        if environ.get(terminal.variable) and terminal.value in (None, environ[terminal.variable])
    ]
    if multiplexed or len(known) != 1:
        return _UNKNOWN
    if known[0].variable == "VTE_VERSION" and _number(environ["VTE_VERSION"]) < _FIRST_VTE_THAT_ORDERS:
        return known[0]._replace(order="visual")
    return known[0]


def _size(stream: IO[Any], environ: Mapping[str, str]) -> Size:
    """COLUMNS and LINES can make a window smaller than it is: a line that is too long would be broken anywhere."""
    try:
        real = os.get_terminal_size(stream.fileno())
    except OSError:
        real = os.terminal_size((0, 0))
    sizes = zip(real, (_number(environ.get("COLUMNS")), _number(environ.get("LINES"))), _FALLBACK, strict=True)
    return Size(*(min(filter(None, (found, asked)), default=fallback) for found, asked, fallback in sizes))


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
