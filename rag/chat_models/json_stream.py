"""JSON that is still coming: what of it is known so far. Pure.

Only as strict as it must be to know where a value belongs: commas may be missing, a quotation mark that was not escaped
belongs to its string unless the object goes on behind it, words that are no JSON are passed over, and what follows the
outermost value is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import regex

_SPACE: Final = " \t\r\n"
_OPENINGS: Final = {"}": "{", "]": "["}
_SCALAR: Final = regex.compile(r"[-+.0-9A-Za-z]*")
# What follows a string that is a value of an object: the next key, or the end of the object, after which no string
# begins at once; where a brace is forgotten, two brackets.
_AFTER_VALUE: Final = regex.compile(r'"[\s,]*(?:"\w{1,60}"\s*:|\}\s*[^"\s]|\]\s*[\]}])')
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
        self._whole = True

    @property
    def done(self) -> bool:
        """Whether the outermost value is complete."""
        return self._done

    @property
    def whole(self) -> bool:
        """Whether it is complete, and nothing in it was passed over."""
        return self._done and self._whole

    def feed(self, delta: str) -> Iterator[Piece]:
        """What `delta` makes known."""
        self._held += delta
        yield from self._drain(last=False)

    def finish(self) -> Iterator[Piece]:
        """What the end makes known of what was still held back."""
        yield from self._drain(last=True)

    def _drain(self, *, last: bool) -> Iterator[Piece]:
        while self._held and not self._done:
            before = len(self._held)
            yield from self._string_part(last) if self._string is not None else self._structure()
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
        elif (opening := _OPENINGS.get(mark)) in self._open:
            # What is still open within it was forgotten.
            while True:
                closed = self._open.pop()
                self._keys.pop()
                yield Piece("close", self._path)
                self._end_value()
                if closed == opening:
                    break
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
            self._whole = False
            self._held = self._held[max(1, len(word)) :]
            return
        yield Piece("value", self._path, value)
        self._end_value()
        self._held = self._held[len(word) :]

    def _string_part(self, last: bool) -> Iterator[Piece]:
        assert self._string is not None
        in_object = bool(self._open) and self._open[-1] == "{"
        is_key = in_object and self._keys[-1] is None
        end = min((at for at in (self._held.find('"'), self._held.find("\\")) if at >= 0), default=len(self._held))
        text, self._held = self._held[:end], self._held[end:]
        if self._held.startswith("\\"):
            length = _escape_length(self._held)
            text += _unescaped(self._held[:length])
            self._held = self._held[length:]
        ends = self._held.startswith('"')
        if ends and in_object and not is_key:
            found = _AFTER_VALUE.match(self._held, partial=True)
            ends = found is not None and (last or not found.partial)
            if found is None:
                text += '"'
                self._held = self._held[1:]
        if text:
            self._string.append(text)
            if not is_key:
                yield Piece("text", self._path, text)
        if ends:
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
