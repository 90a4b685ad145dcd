"""Markdown: the text keeps its markup; headings come from a CommonMark parser, metadata from the front matter."""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ingest.readers.cleaning import clean, single_line, trim
from ingest.readers.decoding import decode
from ingest.readers.metadata import as_metadata, as_title, first_title
from rag.types import Document, Heading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

logger = logging.getLogger(__name__)

_YAML = re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_TOML = re.compile(r"\+\+\+[ \t]*\n(.*?)^\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
# A block between two rules that begins with a key is front matter even where it does not parse; any other is text.
_BEGINS_WITH_KEY = re.compile(r"\s*(?:#.*\n\s*)*[\w\"'-]+[ \t]*:(?:\s|\Z)")
# Anchors and classes behind a heading (Hugo, Pandoc, kramdown): {#install .wide}
_ATTRIBUTES = re.compile(r"\s*\{:?\s*[#.][^{}]*\}$")


def read(uri: str, data: bytes) -> Document:
    """The Markdown without its front matter.

    The title is the front matter's, else the first heading of level 1. A heading's span is its whole lines with markup,
    a setext heading's underline included.

    Raises:
        ReadError: binary content, no encoding fits, or no text in it.
    """
    values, body = _split(clean(decode(data)))
    text = trim(body)
    headings = _headings(text)
    front_title = next((as_title(value) for name, value in values.items() if str(name).lower() == "title"), "")
    first = next((heading.title for heading in headings if heading.level == 1), "")
    return Document(
        uri=uri,
        text=text,
        title=first_title(uri, (front_title, first)),
        format="md",
        headings=headings,
        metadata=as_metadata({name: value for name, value in values.items() if str(name).lower() != "title"}),
    )


def _split(text: str) -> tuple[Mapping[object, object], str]:
    """Front matter and what follows it."""
    if found := _YAML.match(text):
        values = _yaml(found[1])
        if values is None and found[1].strip() and not _BEGINS_WITH_KEY.match(found[1]):
            return {}, text
    elif found := _TOML.match(text):
        values = _toml(found[1])
    else:
        return {}, text
    return values or {}, text[found.end() :]


def _yaml(block: str) -> Mapping[object, object] | None:
    """The mapping in `block`; None where it is none."""
    import yaml

    try:
        values = yaml.safe_load(block)
    # Besides its own errors the library lets those of the conversions through: a 13th month, an unknown boolean.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        logger.info("front matter is not valid YAML; read without metadata")
        return None
    return values if isinstance(values, dict) else None


def _toml(block: str) -> Mapping[object, object]:
    try:
        return cast(Mapping[object, object], tomllib.loads(block))
    except (tomllib.TOMLDecodeError, RecursionError):
        logger.info("front matter is not valid TOML; read without metadata")
        return {}


def _headings(text: str) -> tuple[Heading, ...]:
    """Headings of the document itself; one inside a quote or a list heads nothing that follows."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").disable("inline")  # only headings need their inline markup parsed
    references: dict[str, object] = {}
    tokens = parser.parse(text, references)
    parser.enable("inline")
    starts = [0]
    starts.extend(found.end() for found in re.finditer("\n", text))
    starts.append(len(text) + 1)
    headings = []
    for position, token in enumerate(tokens):
        if token.type != "heading_open" or token.level != 0 or token.map is None:
            continue
        inline = parser.parseInline(tokens[position + 1].content, references)[0]
        title = _ATTRIBUTES.sub("", single_line(_words(inline.children or ())))
        if title:
            first, end = token.map
            headings.append(Heading(int(token.tag[1:]), starts[first], starts[end] - 1, title))
    return tuple(headings)


def _words(tokens: Sequence[Token]) -> str:
    """The text of inline tokens without markup and HTML tags."""
    words = []
    for token in tokens:
        if token.type in ("text", "code_inline", "text_special"):
            words.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            words.append("\n")
        elif token.type == "image":
            words.append(_words(token.children or ()))
    return "".join(words)
