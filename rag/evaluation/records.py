"""Lines of JSON to records, and the fields that data sets share; what cannot be used is noted with its line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from rag.errors import InputError
from rag.evaluation.problems import Problems
from rag.language import detect, parse_tag, primary
from rag.normalization import visible
from rag.types import UNDETERMINED

_SHOWN = 60
"""Code points of a value in a message."""


def records(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with its file and line; empty lines are passed over.

    Raises:
        InputError: the file cannot be read.
    """
    for number, line in enumerate(lines(path), start=1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except UnicodeDecodeError as error:
            problems.add(place, f"is not UTF-8 (byte {error.start}): save the file as UTF-8")
            continue
        except json.JSONDecodeError as error:
            problems.add(place, f"is no JSON ({error.msg}, character {error.colno}): write one object a line")
            continue
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
            problems.add(place, f"is no JSON that can be read ({error}): write one object a line")
            continue
        if not isinstance(record, dict):
            problems.add(place, f"is no JSON object but {shown(record)}: write one object a line")
            continue
        yield place, record


def lines(path: Path) -> list[bytes]:
    """The lines of a file, without a byte order mark; unpacked where its name ends in .gz.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {str(path)!r}: check the path") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{str(path)!r} is no whole gzip file ({error}): make it again, or copy it again") from error
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
    return content.removeprefix(b"\xef\xbb\xbf").split(b"\n")


def text_of(record: dict[str, Any], place: str, problems: Problems, *names: str) -> str | None:
    """The first of the fields `names` that is there; None, and a problem, where it holds nothing to embed."""
    name = next((name for name in names if name in record), None)
    if name is None:
        problems.add(place, f"has no {' or '.join(repr(name) for name in names)}: add the field")
        return None
    text = record[name]
    if not isinstance(text, str):
        problems.add(place, f"{name!r} is {shown(text)}: write a string")
        return None
    if not visible(text).strip():
        problems.add(place, f"{name!r} is empty: write a text, or leave the line out")
        return None
    return text


def id_of(record: dict[str, Any], place: str, problems: Problems) -> str | None:
    """The field `_id` or `id` as a string; None, and a problem, where there is none."""
    value = record.get("_id", record.get("id"))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        return value
    problems.add(place, "has no '_id' or 'id'" if value is None else f"the id is {shown(value)}: write a string")
    return None


def language_of(record: dict[str, Any], text: str, place: str, problems: Problems) -> str | None:
    """The primary tag of the field `lang` or `language`, else of the language that `text` seems to be in."""
    tag = record.get("lang", record.get("language"))
    if tag is None:
        code = detect(text).code
        if code == UNDETERMINED:
            problems.add(place, f"the language of {shown(text)} cannot be told: add 'lang'")
            return None
        return code
    if not isinstance(tag, str):
        problems.add(place, f"the language is {shown(tag)}: write a BCP-47 tag such as 'de'")
        return None
    try:
        return primary_tag(tag)
    except InputError as error:
        problems.add(place, str(error))
        return None


def shown(value: object) -> str:
    """`value` as JSON, or as much of it as a message takes."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


@lru_cache(maxsize=1024)
def primary_tag(tag: str) -> str:
    """The language subtag of a BCP-47 tag or an ISO 639 code: `zh` of `zh-Hant` and of `cmn`.

    Raises:
        InputError: it is none.
    """
    return primary(parse_tag(tag))
