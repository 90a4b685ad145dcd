"""Markdown as tokens, and which of its blocks are finished while it is still being written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

_LISTS = ("bullet_list_open", "ordered_list_open")
_EMPHASIS = ("strong_open", "strong_close", "em_open", "em_close", "s_open", "s_close")
# A last line of only these may become anything: a list, a rule, emphasis, the underline of a heading.
_UNDECIDED = re.compile(r"(?:^|\n)[ \t>]*(?:[-+*_=#`~|:>]+|\d{1,9}[.)]?)[ \t]*\Z")
_DANGLING = re.compile(r"[*_`~]+\Z")
# A line that begins so is text, or an item of a list, whatever follows.
_KNOWN = re.compile(r" {0,3}(?:(?:[-+*]|\d{1,9}[.)]) +)*[*`\[(\"'„“«「]?[^\W\d_]")
_FENCE = re.compile(r"^ {0,3}(?:`{3,}|~{3,})", re.MULTILINE)


class Continued(NamedTuple):
    """A list whose first items have been cut off.

    Attributes:
        kind: of the list's token.
        number: of its next item; of no account in a list without numbers.
    """

    kind: str
    number: int


def parsed(source: str, continued: Continued | None = None, *, with_marks: bool = False) -> list[list[Token]]:
    """The blocks of `source`, each as its tokens; links as text with their address, HTML as it stands.

    Args:
        continued: the list that `source` begins in.
        with_marks: the marks of emphasis, code and headings stay, for a screen that has no styles.
    """
    blocks: list[list[Token]] = []
    for token in _parser().parse(source):
        if token.level == 0 and token.nesting >= 0:
            blocks.append([])
        if token.type == "inline":
            token.children = list(_shown(token.children or [], with_marks=with_marks))
            if with_marks and blocks[-1][-1].type == "heading_open":
                token.children.insert(0, _text("#" * int(blocks[-1][-1].tag[1:]) + " "))
        blocks[-1].append(token)
    if continued and blocks and blocks[0][0].type == continued.kind == "ordered_list_open":
        blocks[0][0].attrs["start"] = continued.number
    return blocks


class LastLine(NamedTuple):
    """The line that is being written.

    Attributes:
        start: its first character.
        is_known: nothing that follows on it can change what kind of block it belongs to.
    """

    start: int
    is_known: bool


def last_line(source: str) -> LastLine:
    """The last line of `source`, empty behind a line feed."""
    start = source.rfind("\n") + 1
    return LastLine(start, _KNOWN.match(source, start) is not None)


def finished(source: str, continued: Continued | None = None) -> tuple[int, Continued | None]:
    """How many characters of `source` hold blocks and items of lists that nothing to come can change.

    Args:
        source: whole lines, and the last one if its kind is known.
        continued: the list that `source` begins in.

    Returns:
        With it, the list that is cut there, None if the cut is between blocks.
    """
    tokens = _block_parser().parse(source)
    tops = [token for token in tokens if token.level == 0 and token.nesting >= 0]
    if not tops or not tops[-1].map:
        return 0, continued
    last, line, cut = tops[-1], tops[-1].map[0], None
    if last.type in _LISTS:
        items = [token.map[0] for token in tokens if token.type == "list_item_open" and token.level == 1 and token.map]
        items = [start for start in items if start >= line]
        line = items[-1]
        if len(items) > 1 or (last is tops[0] and continued and continued.kind == last.type):
            number = int(last.attrs.get("start", 1))
            if last is tops[0] and continued and continued.kind == last.type:
                number = continued.number
            cut = Continued(last.type, number + len(items) - 1)
    return sum(len(each) + 1 for each in source.split("\n")[:line]), cut


def settled(source: str) -> str:
    """Unfinished Markdown as it will most likely look when it is finished: emphasis and code that are open closed."""
    source = _UNDECIDED.sub("", source)
    paragraph = source[source.rfind("\n\n") + 1 :]
    if len(_FENCE.findall(source)) % 2 or paragraph.count("```"):
        return source
    if paragraph.count("`") % 2:
        return source.rstrip("`") if source.endswith("`") else f"{source}`"
    kept = _DANGLING.sub("", source)
    if (paragraph.count("**") - (source.count("**") - kept.count("**"))) % 2:
        return f"{kept.rstrip()}**"
    return kept if kept[-1:].isspace() or kept.endswith("(") else source


def _shown(children: Sequence[Token], *, with_marks: bool) -> Iterator[Token]:
    links: list[tuple[str, list[str]]] = []
    for token in children:
        if token.type == "link_open":
            links.append((str(token.attrs.get("href", "")), []))
            continue
        if token.type == "link_close":
            address, label = links.pop()
            words = "".join(label)
            closing = "]" if words.isdecimal() else ""
            yield _text(closing + ("" if address in (words, f"mailto:{words}") else f" ({address})"))
            continue
        if links:
            if not links[-1][1] and token.content.isdecimal():
                yield _text("[")  # [1](address) is a citation too
            links[-1][1].append(token.content)
        if token.type == "image":
            yield _text(f"{token.content} ({token.attrs.get('src', '')})")
        elif with_marks and token.type in _EMPHASIS:
            yield _text(token.markup)
        elif with_marks and token.type == "code_inline":
            yield _text(f"{token.markup}{token.content}{token.markup}")
        else:
            yield token


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


@cache
def _parser() -> MarkdownIt:
    # "[1]: handbook.pdf" is a source at the end of an answer, not the definition of a link, which would not be shown.
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("reference")
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]  # shown as it is written
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # it is only text here
    return parser


@cache
def _block_parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(["reference", "inline", "text_join"])
