"""Where a text quotes: what stands in quotation marks of any language, nested ones included. Pure.

The same mark opens in one language and closes in another (“ ” in English, „ “ in German, » « and « »), so what a mark
does is told by those that are open before it and by the space around it. A quotation ends with its paragraph at the
latest: one that is not closed there is none.
"""

from __future__ import annotations

from typing import Final

import regex

LONGEST: Final = 2000
"""Characters within which a quotation must be closed."""

_DEEPEST: Final = 20
"""Quotations within one another: more than anyone nests."""

_BLOCK: Final = regex.compile(r"^[ \t]*>.*$", regex.MULTILINE)
_MARK: Final = regex.compile(r"[“”„«»‹›「」『』《》〈〉\"\n]")
# Mark that can close to the marks that it closes.
_CLOSES: Final = dict(zip('“”»«›‹"', ["„", "“„”", "«»", "»", "‹›", "›", '"'], strict=True)) | dict(
    zip("」』》〉", "「『《〈", strict=True)
)
_ALWAYS_OPEN: Final = frozenset("“„«「『《〈")


def without_quotations(text: str) -> str:
    """`text` with a space for each quotation and each Markdown block quote."""
    text = _BLOCK.sub(" ", text)
    kept: list[str] = []
    position = 0
    for start, end in _quotations(text)[0]:
        kept += [text[position:start], " "]
        position = end
    return "".join([*kept, text[position:]])


def ends_in_quotation(text: str) -> bool:
    """Whether a quotation or a code span that began in the last line of `text` may still be going on."""
    return text[text.rfind("\n") + 1 :].count("`") % 2 == 1 or bool(_quotations(text)[1])


def _quotations(text: str) -> tuple[list[tuple[int, int]], list[int]]:
    """Spans of the outermost quotations in order, and where those begin that are still open."""
    spans: list[tuple[int, int]] = []
    opened: list[int] = []
    for found in _MARK.finditer(text):
        at, mark = found.start(), found.group()
        if mark == "\n":
            opened.clear()
            continue
        if opened and (at - opened[0] > LONGEST or len(opened) > _DEEPEST):
            opened.pop(0)
        matching = [depth for depth, start in enumerate(opened) if text[start] in _CLOSES.get(mark, "")]
        if matching and not (mark in "“«»" and len(matching) < 2 and _begins_word(text, at)):
            depth = matching[-1]
            if depth == 0:
                spans.append((opened[0], at + 1))
            del opened[depth:]
        elif mark in _ALWAYS_OPEN or _begins_word(text, at):
            opened.append(at)
    return spans, opened


def _begins_word(text: str, at: int) -> bool:
    """Whether the mark at `at` stands as one that opens does: not right after a word, and right before one."""
    before, after = text[at - 1 : at] or " ", text[at + 1 : at + 2] or " "
    return not (before.isalnum() or before in ".!?…,;。！？") and not after.isspace()
