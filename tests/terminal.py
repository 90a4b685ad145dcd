"""A real terminal for a real process: a pseudo-terminal, and pyte's emulator to see what a person would see.

with Terminal(["rag", "chat"], rows=30, columns=90, environment={...}, folder=here) as terminal:
    terminal.wait_for("Ctrl-D leaves")
    terminal.type("How long?\\r")
    assert "two years" in terminal.wait_for("two years")
    terminal.press("ctrl-d")
    assert terminal.exit_code() == 0
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pexpect
import pyte
from pyte.screens import Char

KEYS = {
    "enter": "\r",
    "alt-enter": "\x1b\r",
    "tab": "\t",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
    "ctrl-u": "\x15",
    "backspace": "\x7f",
}
_PATIENCE = 40.0
"""Seconds after which what is waited for will not come: a process that loads torch beside others takes some."""
_QUIET = 0.3  # seconds without output after which a screen is complete


class _Screen(pyte.HistoryScreen):
    """Answers the program's questions, as where the cursor is."""

    def __init__(self, columns: int, rows: int, answer: pexpect.spawn) -> None:
        super().__init__(columns, rows, history=2000, ratio=0.5)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer.send(data)


class Terminal:
    """A program in `folder`, on a terminal of the given size; ended when the `with` is left."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        rows: int = 30,
        columns: int = 90,
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        self._process = pexpect.spawn(
            command[0],
            list(command[1:]),
            dimensions=(rows, columns),
            env={**_outside(), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment},
            timeout=_PATIENCE,
            cwd=folder,
        )
        self._process.delaybeforesend = None
        self._screen = _Screen(columns, rows, self._process)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    def type(self, text: str) -> None:
        """Sends what a person types; `\\r` is Enter."""
        self._process.send(text)

    def press(self, *names: str) -> None:
        """Presses keys by name, one after the other."""
        for name in names:
            self._process.send(KEYS[name])

    def wait_for(self, text: str, *, seconds: float = _PATIENCE) -> str:
        """Waits until `text` stands on the screen or above it; returns all that does.

        Line ends count as spaces, since a narrow terminal puts them anywhere.
        """
        wanted = _squeezed(text)
        until = time.monotonic() + seconds
        while wanted not in _squeezed(self.everything()):
            assert time.monotonic() < until, f"{text!r} did not appear within {seconds:g} s:\n{self.everything()}"
            self._read(0.05)
        return self.everything()

    def settle(self) -> str:
        """Waits until nothing more comes for a while; returns all that was shown."""
        while self._read(_QUIET):
            pass
        return self.everything()

    def everything(self) -> str:
        """All that scrolled off the top, then the screen; lines without their trailing spaces."""
        above = [_text(line, self._screen.columns) for line in self._screen.history.top]
        return "\n".join([*above, *self.lines()]).rstrip()

    def lines(self) -> list[str]:
        """The screen, line by line."""
        return [line.rstrip() for line in self._screen.display]

    def clear(self) -> None:
        """Forgets what was shown so far, so that the next `wait_for` waits for something new."""
        self.settle()
        self._screen.history.top.clear()
        self._screen.erase_in_display(2)
        self.raw = b""

    def exit_code(self) -> int:
        """Waits for the end of the program."""
        until = time.monotonic() + _PATIENCE
        while self._process.isalive() and time.monotonic() < until:
            self._read(0.05)
        assert not self._process.isalive(), f"the program does not end:\n{self.everything()}"
        self._process.close()
        status: int | None = self._process.exitstatus
        return -int(self._process.signalstatus) if status is None else status

    def _read(self, seconds: float) -> bool:
        """Whether something came within `seconds`."""
        try:
            data = self._process.read_nonblocking(65536, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # By itself, close() fails where a busy machine takes longer than some tenths of a second to end a process.
        if self._process.isalive():
            self._process.kill(signal.SIGKILL)
            self._process.wait()
        self._process.close()


def _outside() -> dict[str, str]:
    """The environment without the size of another terminal."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


def _text(line: Mapping[int, Char], columns: int) -> str:
    return "".join(line[column].data for column in range(columns)).rstrip()


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)
