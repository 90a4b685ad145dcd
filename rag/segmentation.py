"""Where text may be cut: sentences of every script, and words and grapheme clusters (Unicode TR 29).

All positions are code points; a cut never falls inside a grapheme cluster.
"""

from __future__ import annotations

import regex
import sentencex

_CLUSTER = regex.compile(r"\X")
_WORD_BOUNDARY = regex.compile(r"(?w)\b")
_SURROGATE = regex.compile(r"[\ud800-\udfff]")


def cluster_starts(text: str) -> list[int]:
    """First code point of each grapheme cluster of `text`, ascending."""
    return [match.start() for match in _CLUSTER.finditer(text)]


def word_starts(text: str) -> list[int]:
    """First code point of each word of `text`, and of what stands between words, ascending.

    A mark of punctuation is a word of its own. Where a script sets no spaces, as Chinese and Thai, every letter is
    one: to know better takes a dictionary.
    """
    boundaries = {match.start() for match in _WORD_BOUNDARY.finditer(text)}
    return [start for start in cluster_starts(text) if start in boundaries]  # TR 29 alone would cut Thai's กำ


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """[start, end) without white space at either side; a space that carries a combining mark is not white space."""
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and text[start].isspace() and not _joins(text, start + 1, end):
        start += 1
    return start, end


def sentences(text: str, language: str) -> list[tuple[int, int]]:
    """Spans of the sentences of `text`, trimmed, in order; together they hold all that is not white space.

    Args:
        language: BCP-47 tag; its abbreviations are known ("z. B." ends no German sentence). Other languages are cut at
            the sentence marks of their script.
    """
    primary = language.split("-")[0]
    # A lone surrogate, which a damaged file can bring, is no text to the splitter; another mark of one code point is.
    text = _SURROGATE.sub("\ufffd", text)
    spans: list[tuple[int, int]] = []
    start = 0
    for boundary in sentencex.get_sentence_boundaries(primary, text):
        end = boundary["end_index"]
        if end < len(text) and _joins(text, end, len(text)):
            continue
        span = trim(text, start, end)
        if span[0] < span[1]:
            spans.append(span)
        start = end
    span = trim(text, start, len(text))
    if span[0] < span[1]:
        spans.append(span)
    return spans


def _joins(text: str, position: int, end: int) -> bool:
    """Whether the code point at `position` belongs to the cluster of the one before it."""
    if position >= end or (text[position].isascii() and text[position - 1].isascii()):
        return False
    # A cluster reaches back over a few code points; 64 hold any that is written by people.
    window = text[max(0, position - 64) : position + 1]
    return cluster_starts(window)[-1] < len(window) - 1
