"""The sentences of an answer, and which of them claim something that a source must bear out. Pure.

A sentence claims something if it has letters and is none of these: a question; a heading (also a paragraph that is bold
from end to end without a full stop, and the first row of a table); a lead-in, which ends in a colon; a quotation and
nothing else (in quotation marks, or a Markdown block quote). A row of a table is a sentence. Code is none.

Markers belong to the sentence they stand in or right behind (`It is so. [1]`); at the beginning of a paragraph or an
item to its first one. Those of a quotation that stands alone bear out a claim right before it, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

import regex

from rag.quotations import without_quotations
from rag.segmentation import sentences, trim
from rag.types import UNDETERMINED

_SentenceKind = Literal["claim", "quotation", "other"]
_BlockKind = Literal["text", "heading", "quotation", "row"]

_FENCE: Final = regex.compile(r"[ \t]*(`{3,}|~{3,})")
_RULE: Final = regex.compile(r"[ \t]*(?:\|[ \t:|-]*-[ \t:|-]*|:?-{2,}:?[ \t]*(?:\|[ \t:|-]*)?)")
# What marks the first line of a block, by its kind.
_MARKED: Final[dict[_BlockKind, regex.Pattern[str]]] = {
    "quotation": regex.compile(r"[ \t]*(?:>[ \t]?)+"),
    "heading": regex.compile(r"[ \t]*#{1,6}[ \t]+"),
    "row": regex.compile(r"(?=[ \t]*\|)"),
    "text": regex.compile(r"[ \t\u3000]*(?:[*+•‣◦▪・–—-]|\p{Nd}{1,3}[.)．、])[ \t\u3000]+"),
}
_BOLD: Final = regex.compile(r"(\*\*|__)(?:(?!\1).)*[^.!?。！？｡।॥؟۔።…*_](?:\1)")
_LETTER: Final = regex.compile(r"\p{L}")
_QUESTION: Final = regex.compile(r"[?？؟⁇⁈፧⸮\u037e]\Z|՞|(?<=\p{Greek}.*);\Z")
_LEAD_IN: Final = regex.compile(r"[:：﹕]\Z")
_KEPT: Final = "*_~)）] \t\n"  # what may stand behind the mark that ends a sentence


@dataclass(slots=True)
class Sentence:
    """A sentence, or a piece of one that stands on its own.

    Attributes:
        start: first code point in the answer's text.
        end: one past the last; markers behind its full stop not included.
        markers: positions in the sequence of the answer's markers.
    """

    start: int
    end: int
    kind: _SentenceKind
    markers: list[int] = field(default_factory=list)


def split(text: str, markers: Sequence[tuple[int, int]], language: str = UNDETERMINED) -> list[Sentence]:
    """The sentences of `text`, in order, each with its markers.

    Args:
        markers: spans of the markers of `text`, ascending.
        language: BCP-47 tag of the text.
    """
    found: list[Sentence] = []
    at = 0
    for start, end, kind in _blocks(text):
        while at < len(markers) and markers[at][1] <= start:
            at += 1  # in code
        first = at
        while at < len(markers) and markers[at][0] < end:
            at += 1
        own = _of_block(text, start, end, kind, markers[first:at], language)
        for number in range(first, at):
            before = [each for each in own if each.start < markers[number][0]] or own[:1] or found[-1:]
            for sentence in before[-1:]:
                sentence.markers.append(number)
        found += own
    for sentence, following in pairwise(found):
        if sentence.kind == "claim" and following.kind == "quotation":
            sentence.markers += following.markers
    return found


def _blocks(text: str) -> Iterator[tuple[int, int, _BlockKind]]:
    """Start, end and kind of each run of lines that belong together, without what marks the first of them."""
    block: tuple[int, int, _BlockKind] | None = None
    for start, end, kind in _lines(text):
        if block is not None:
            if (kind == "more" and block[2] in ("text", "quotation")) or kind == block[2] == "quotation":
                block = (block[0], end, block[2])
                continue
            yield block if kind != "rule" or block[2] != "row" else (block[0], block[1], "heading")
        block = None if kind == "none" or kind == "rule" else (start, end, "text" if kind == "more" else kind)
    if block is not None:
        yield block


def _lines(text: str) -> Iterator[tuple[int, int, _BlockKind | Literal["more", "rule", "none"]]]:
    """Start and end of the words of each line, and what begins with it: `more` if nothing marks it, `none` in code."""
    position = 0
    fence = ""
    for line in text.splitlines(keepends=True):
        start, end = position, position + len(line.rstrip())
        position += len(line)
        fenced = _FENCE.match(line)
        if fenced is not None and fenced[1].startswith(fence):
            fence = "" if fence else str(fenced[1])
            yield start, end, "none"
        elif fence or start == end:
            yield start, end, "none"
        elif _RULE.fullmatch(text, start, end):
            yield start, end, "rule"
        else:
            marks = ((kind, pattern.match(text, start, end)) for kind, pattern in _MARKED.items())
            marked = next(((kind, found.end()) for kind, found in marks if found is not None), None)
            yield (start, end, "more") if marked is None else (marked[1], end, marked[0])


def _of_block(
    text: str, start: int, end: int, kind: _BlockKind, markers: Sequence[tuple[int, int]], language: str
) -> list[Sentence]:
    """The sentences of one block, as it reads without its markers."""
    gaps = [start, *(bound for span in markers for bound in span), end]
    positions = [at for first, last in zip(gaps[::2], gaps[1::2], strict=True) for at in range(first, last)]
    bare = "".join(text[at] for at in positions)
    spans = sentences(bare, language) if kind == "text" else [trim(bare, 0, len(bare))]
    no_claim = kind == "heading" or _BOLD.fullmatch(bare.strip()) is not None
    found = []
    for first, last in spans:
        words = bare[first:last]
        ended = words.rstrip(_KEPT)
        called: _SentenceKind = "claim"
        if no_claim or not _LETTER.search(words):
            called = "other"
        elif kind == "quotation" or not _LETTER.search(without_quotations(words.rstrip(f"{_KEPT}.,。，"))):
            called = "quotation"
        elif _QUESTION.search(ended) or _LEAD_IN.search(ended):
            called = "other"
        if first < last:
            found.append(Sentence(positions[first], positions[last - 1] + 1, called))
    return found
