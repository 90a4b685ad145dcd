"""What an archive's lines say, checked: each function gives a value or refuses the line."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rag.errors import ReadError

LARGEST = 2**53
"""What every JSON reader takes for an exact integer."""
_MOST_TERMS = 1_000_000


def fields_of(line: bytes) -> dict[str, Any]:
    """The JSON object on a line.

    Raises:
        ReadError: there is none.
    """
    try:
        found = json.loads(line.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError, too, as is an integer without end
        raise ReadError(f"is not a line of JSON ({shown(str(error))})") from error
    if not isinstance(found, dict):
        refuse("is no JSON object")
    return found


def array(fields: Mapping[str, Any], name: str, kind: str, most: int = _MOST_TERMS) -> NDArray[Any]:
    """The numbers that a field holds as base64, at most `most`; NumPy's name of their kind is given."""
    try:
        content = base64.b64decode(text(fields, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReadError(f"{name} is not base64 ({error})") from error
    if len(content) % 4 or len(content) > 4 * most:
        refuse(f"{name} holds {len(content)} bytes, which are not up to {most} numbers of 4")
    return np.frombuffer(content, dtype=kind)


def require_keys(fields: Mapping[str, Any], expected: Collection[str]) -> None:
    """Refuses fields that are missing or too many."""
    if fields.keys() != set(expected):
        wrong = sorted(fields.keys() ^ set(expected))
        refuse(f"has fields that do not belong there, or lacks some: {shown(', '.join(wrong))}")


def integer(fields: Mapping[str, Any], name: str, least: int = 0, most: int = LARGEST) -> int:
    """A field that is an integer within its bounds."""
    value = fields[name]
    if type(value) is not int or not least <= value <= most:
        refuse(f"{name} is {shown(value)}, not an integer from {least} to {most}")
    return int(value)


def text(fields: Mapping[str, Any], name: str) -> str:
    """A field that is Unicode text."""
    value = fields[name]
    if not isinstance(value, str):
        refuse(f"{name} is {shown(value)}, not a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ReadError(
            f"{name} holds a lone surrogate at position {error.start}, which is not Unicode text"
        ) from error
    return str(value)


def matching(fields: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    """A field that is text of this form."""
    value = text(fields, name)
    if not pattern.fullmatch(value):
        refuse(f"{name} is {shown(value)}, which does not match {pattern.pattern}")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def shown(value: object) -> str:
    """A value in a message: printable and short, whatever it is."""
    said = ascii(value)
    return said if len(said) <= 80 else f"{said[:79]}…"


def refuse(what: str) -> NoReturn:
    """Raises a ReadError that says what of the line is wrong."""
    raise ReadError(what)
