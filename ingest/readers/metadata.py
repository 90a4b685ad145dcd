"""What a file says of itself, as flat strings, and the title it goes by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from ingest.readers.cleaning import has_words, single_line

_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_-]+")
# What programs write into the title field by themselves: the name of a file, or of nothing.
_NO_TITLE = re.compile(
    r"microsoft (?:word|powerpoint|excel) ?- .*|untitled.*|word document|document\d*|slide \d+|title|\S*\.[a-z]{2,4}x?",
    re.IGNORECASE,
)
_LONGEST_TITLE = 300


def as_metadata(values: Mapping[object, object]) -> dict[str, str]:
    """`values` as strings: dates in ISO 8601, lists joined with `, `, truth as `true` and `false`.

    Runs of other characters than `[A-Za-z0-9_-]` in a key become one `-`. What is empty or nested is left out.
    """
    metadata: dict[str, str] = {}
    for name, value in values.items():
        key = _NOT_IN_KEYS.sub("-", str(name)).strip("-")
        text = _flat(value)
        if key and text:
            metadata.setdefault(key, text)
    return metadata


def _flat(value: object) -> str:
    if isinstance(value, (list, tuple, set)):
        return ", ".join(filter(None, (_scalar(item) for item in value)))
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (str, int, float)):
        try:
            return single_line(str(value))
        except ValueError:  # an integer with more digits than Python writes out
            return ""
    return ""


def as_title(value: object) -> str:
    """`value` on one line, empty where it is no text to go by."""
    title = single_line(value) if isinstance(value, str) else _scalar(value)
    return title if has_words(title) else ""


def own_title(value: str | None) -> str:
    """A title from a file's properties, empty where the program that wrote the file made it up."""
    title = as_title(value or "")
    return "" if _NO_TITLE.fullmatch(title) or len(title) > _LONGEST_TITLE else title


def first_title(uri: str, candidates: Iterable[str]) -> str:
    """The first of `candidates` that is not empty, else the name of the file at `uri` without its suffix."""
    for candidate in candidates:
        if candidate:
            return candidate
    name = PurePosixPath(unquote(urlsplit(uri).path, errors="replace")).stem
    return single_line(name) or uri
