"""Words that people write to narrow a search, to a `Where`."""

from __future__ import annotations

from collections.abc import Mapping

from rag.errors import InputError
from rag.language import parse_tag
from rag.types import Where


def where_from(
    languages: tuple[str, ...], source: tuple[str, ...], where: tuple[str, ...], not_languages: tuple[str, ...] = ()
) -> Where:
    """The filter that the options of `filter_options` ask for."""
    return Where(
        languages=_primary(languages),
        sources=source,
        metadata=pairs(where, "--where"),
        not_languages=_primary(not_languages),
    )


def _primary(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(parse_tag(tag).split("-")[0] for tag in tags)


def pairs(values: tuple[str, ...], option: str) -> Mapping[str, str]:
    """`key=value` words as a mapping.

    Raises:
        InputError: a word without `=` or without a key.
    """
    found: dict[str, str] = {}
    for word in values:
        key, equals, value = word.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"{option} {word!r} is not of the form key=value")
        if key in found:
            raise InputError(f"{option} names {key!r} twice: give it one value")
        found[key] = value.strip()
    return found
