"""An answer's markers to citations with words of the original, and how much of the answer they bear out. Pure.

The words that a model offers for a claim count if they stand in the passage that it names; nothing else is believed of
them. Not looked for is where else they may stand: a quotation of another passage is a mistake, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from rag import claims
from rag.marker_syntax import markers
from rag.markers import Offered
from rag.types import UNDETERMINED, Citation, Passage
from rag.verbatim import Passages, StoredText

# Closing mark to the marks that may open before it; quotation marks differ by language (CLDR, delimiters).
_OPENERS: Final = {"”": "“„”", "“": "„", "»": "«»", "«": "»", "」": "「", "』": "『", '"': '"', "›": "‹", "’": "‘‚"}
_LONGEST_QUOTATION: Final = 2000
"""Code points back from a marker within which its quotation may begin."""
_MOST_OPENERS: Final = 20
"""Opening marks looked at, from the closing one back: more than anyone nests quotations."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the markers of an answer come to.

    Attributes:
        citations: by marker, then in order of the text: one for each quotation of a passage that was checked; for a
            passage of which none was, one whose quote is the whole of it.
        support: share of the sentences that claim something of which a quotation was checked; None without any.
        unsupported: of each other sentence that claims something, its span in the answer's text.
        invented: quotations that were offered and are not in the passage they name.
    """

    citations: tuple[Citation, ...]
    support: float | None
    unsupported: tuple[tuple[int, int], ...]
    invented: int


def check(
    text: str,
    offered: Sequence[Offered],
    passages: Sequence[Passage],
    *,
    language: str = UNDETERMINED,
    notice: str = "",
) -> Checked:
    """What the markers of `text` come to; those that point at none of `passages` come to nothing.

    A quotation is checked if it stands in its own passage, but for white space, invisible characters and the shape of
    letters, quotation marks and dashes (`rag.verbatim`). Its citation has the document's own words. Where a marker
    brought none that does, one in the text right before it counts (in quotation marks, or a Markdown block quote).

    Args:
        text: an answer whose markers have the form `[n]`.
        offered: what the markers brought, in order, see `rag.markers.CitationFilter`; markers that `text` hides in
            code are passed over.
        language: BCP-47 tag of `text`, for its abbreviations.
        notice: words of the program in `text`, which claim nothing.
    """
    found = list(markers(text))
    stored = Passages([passage.chunk.text for passage in passages])
    checked = _checked(text, found, offered, stored)
    sentences = claims.split(text, [(start, end) for start, end, _ in found], language)
    told = text.find(notice) if notice else -1
    own = range(told, told + len(notice)) if told >= 0 else ()
    claimed = [each for each in sentences if each.kind == "claim" and each.start not in own]
    supported = [any(any(checked[at].values()) for at in each.markers) for each in claimed]
    spans: dict[int, list[tuple[int, int]]] = {}
    for of_marker in checked:
        for number, quoted in of_marker.items():
            spans.setdefault(number, []).extend(quoted)
    return Checked(
        citations=tuple(
            _citation(number, passages[number - 1], span)
            for number, quoted in sorted(spans.items())
            for span in dict.fromkeys(quoted) or [None]
        ),
        support=sum(supported) / len(claimed) if claimed else None,
        unsupported=tuple(
            (each.start, each.end) for each, is_supported in zip(claimed, supported, strict=True) if not is_supported
        ),
        invented=sum(
            not stored.stored(each.number).holds(quote)
            for each in offered
            if stored.has(each.number)
            for quote in each.quotes
        ),
    )


def _checked(
    text: str, found: Sequence[tuple[int, int, list[int]]], offered: Sequence[Offered], passages: Passages
) -> list[dict[int, list[tuple[int, int]]]]:
    """For each marker, by number of those that are passages', the spans in the passage of the quotations checked."""
    checked: list[dict[int, list[tuple[int, int]]]] = []
    spoken: dict[tuple[int, int], list[tuple[int, int]]] = {}  # by the beginning of the row of markers, and number
    row_start = row_end = 0
    for start, end, numbers in found:
        # Markers in a row belong to the same quotation.
        row_start = row_start if row_end and not text[row_end:start].strip() else start
        row_end = end
        of_marker: dict[int, list[tuple[int, int]]] = {}
        for number in filter(passages.has, numbers):
            at = next((at for at, each in enumerate(offered) if each.number == number), None)
            quotes = () if at is None else offered[at].quotes
            offered = offered if at is None else offered[at + 1 :]
            of_marker[number] = _found(quotes, passages.stored(number))
            if not of_marker[number]:
                if (row_start, number) not in spoken:
                    before = text[max(0, row_start - _LONGEST_QUOTATION) : row_start].rstrip()
                    spoken[row_start, number] = _found(_quotations(before), passages.stored(number))[:1]
                of_marker[number] = spoken[row_start, number]
        checked.append(of_marker)
    return checked


def _found(quotations: Iterable[str], stored: StoredText) -> list[tuple[int, int]]:
    return [span for span in map(stored.find, quotations) if span is not None]


def _citation(number: int, passage: Passage, span: tuple[int, int] | None) -> Citation:
    """The citation of a checked quotation at `span` of the passage's text, or of the passage as it is stored."""
    chunk = passage.chunk
    start, end = span if span is not None else (0, len(chunk.text))
    return Citation(
        marker=number,
        source=chunk.source,
        uri=chunk.uri,
        title=chunk.title,
        heading=chunk.heading,
        page=chunk.page_at(chunk.start + start),
        language=chunk.language,
        quote=chunk.text[start:end],
        span=(chunk.start + start, chunk.start + end),
        checked=span is not None,
    )


def _quotations(before: str) -> Iterator[str]:
    """What may be the quotation at the end of `before`, the longest first."""
    lines = before.split("\n")
    quoted = len(lines)
    while quoted > 0 and lines[quoted - 1].lstrip().startswith(">"):
        quoted -= 1
    if quoted < len(lines):
        inside = "\n".join(line.lstrip().removeprefix(">") for line in lines[quoted:]).strip()
        yield inside
        yield regex.sub(r"^\W+|\W+$", "", inside)
    # A full stop may stand between the closing mark and the marker.
    ended = before.rstrip(" \t\n.,;:!?。、，；：！？…)")
    openers = _OPENERS.get(ended[-1:], "")
    positions = [position for position, character in enumerate(ended[:-1]) if character in openers]
    for position in positions[-_MOST_OPENERS:]:
        yield ended[position + 1 : -1].strip()
