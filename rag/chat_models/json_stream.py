"""JSON that is still coming: what of it is known so far. Pure.

Only as strict as it must be to know where a value belongs: commas may be missing, and what follows the outermost value
is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import regex

_SPACE: Final = " \t\r\n"
_SCALAR: Final = regex.compile(r"[-+.0-9A-Za-z]*")
_HIGH_HALF: Final = regex.compile(r"\\u[dD][89abAB]")
_LOW_HALF: Final = regex.compile(r"\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_LONE_HALF: Final = regex.compile(r"[\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that has become known.

    Attributes:
        kind: `open` and `close` of an object or array, `text` for a further part of a string that is still coming,
            `value` for a scalar that is complete, a string as a whole.
        path: the keys that lead to it; arrays add none.
    """

    kind: Literal["open", "text", "value", "close"]
    path: tuple[str, ...]
    value: Scalar = None


class JSONStream:
    """Reads one JSON value as it comes; the pieces joined do not depend on how it is cut into deltas."""

    def __init__(self) -> None:
        self._held = ""
        self._open: list[str] = []
        self._keys: list[str | None] = []
        self._string: list[str] | None = None
        self._done = False
        self._failed = False

    @property
    def done(self) -> bool:
        """Whether the outermost value is complete."""
        return self._done

    def feed(self, delta: str) -> Iterator[Piece]:
        """What `delta` makes known. After a syntax error nothing more comes."""
        self._held += delta
        while self._held and not self._done and not self._failed:
            before = len(self._held)
            yield from self._string_part() if self._string is not None else self._structure()
            if len(self._held) == before:
                return

    @property
    def _path(self) -> tuple[str, ...]:
        return tuple(key for key in self._keys if key is not None)

    def _structure(self) -> Iterator[Piece]:
        self._held = self._held.lstrip(_SPACE)
        mark = self._held[:1]
        if mark in ("{", "["):
            yield Piece("open", self._path)
            self._open.append(mark)
            self._keys.append(None)
        elif mark in ("}", "]") and self._open and self._open[-1] == {"}": "{", "]": "["}[mark]:
            self._open.pop()
            self._keys.pop()
            yield Piece("close", self._path)
            self._end_value()
        elif mark == '"':
            self._string = []
        elif mark == ",":
            self._forget_key()
        elif mark != ":":
            yield from self._scalar()
            return
        self._held = self._held[1:]

    def _scalar(self) -> Iterator[Piece]:
        found = _SCALAR.match(self._held)
        word = found.group() if found else ""
        if len(word) == len(self._held):
            return  # it may go on
        try:
            value = json.loads(word)
        except ValueError:
            self._failed = True
            return
        yield Piece("value", self._path, value)
        self._end_value()
        self._held = self._held[len(word) :]

    def _string_part(self) -> Iterator[Piece]:
        assert self._string is not None
        is_key = bool(self._open) and self._open[-1] == "{" and self._keys[-1] is None
        end = min((at for at in (self._held.find('"'), self._held.find("\\")) if at >= 0), default=len(self._held))
        text, self._held = self._held[:end], self._held[end:]
        if self._held.startswith("\\"):
            length = _escape_length(self._held)
            text += _unescaped(self._held[:length])
            self._held = self._held[length:]
        if text:
            self._string.append(text)
            if not is_key:
                yield Piece("text", self._path, text)
        if self._held.startswith('"'):
            value, self._string = "".join(self._string), None
            self._held = self._held[1:]
            if is_key:
                self._keys[-1] = value
                return
            yield Piece("value", self._path, value)
            self._end_value()

    def _end_value(self) -> None:
        self._forget_key()
        self._done = not self._open

    def _forget_key(self) -> None:
        if self._open and self._open[-1] == "{":
            self._keys[-1] = None


def _escape_length(text: str) -> int:
    """Characters of the escape with which `text` begins; 0 where it may still go on."""
    if text[1:2] != "u":
        return 2 if len(text) > 1 else 0
    if len(text) < 6:
        return 0
    if not _HIGH_HALF.match(text):
        return 6
    # The two halves of a surrogate pair are one character.
    low = _LOW_HALF.fullmatch(text[6:12], partial=True)
    return 6 if low is None else 0 if low.partial else 12


def _unescaped(escape: str) -> str:
    try:
        return _LONE_HALF.sub(_REPLACEMENT, json.loads(f'"{escape}"'))
    except ValueError:
        return escape  # models forget to write a backslash twice
