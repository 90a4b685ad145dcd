"""Text by the cells it takes on a screen: a letter takes one, a Chinese character two, a combining mark none."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

# Japanese begins no line with these, though they are letters (Unicode TR 14, classes CJ and NS).
_NOT_FIRST = frozenset("々ゝゞヽヾーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ")
_STAYS_WITH_WHAT_IS_BEFORE = ("Pe", "Pf", "Po")
_STAYS_WITH_WHAT_FOLLOWS = ("Ps", "Pi")
_WORD = re.compile(r"\s+|\S+")
_NO_BREAK_SPACES = "\u00a0\u2007\u202f"


def width_of(text: str) -> int:
    """Cells that `text` takes where it takes most.

    Terminals differ in what is joined: a family of three is one emoji of two cells in some, three of them in others.
    What must fit into a line has to fit in all.
    """
    if text.isascii():
        return len(text)
    return sum(map(_cluster_width, _clusters(text)))


def padded(cell: str, width: int, *, to_the_right: bool = False) -> str:
    """`cell` with spaces up to `width` cells, before it if it is moved to the right."""
    spaces = " " * (width - width_of(cell))
    return spaces + cell if to_the_right else cell + spaces


def cut(text: str, width: int) -> str:
    """`text`, or as much of its beginning as fits into `width` cells with an ellipsis."""
    if width_of(text) <= width:
        return text
    return next(folded(text, width - 1)).rstrip() + "…"


def wrapped(text: str, width: int) -> list[tuple[int, int]]:
    """Spans of the lines into which `text` is broken so that each takes at most `width` cells.

    Lines are broken where white space is, which is in no span, and between Chinese and Japanese characters, but not
    before closing punctuation nor after opening; a word that is longer than a line is broken between grapheme clusters,
    which are never broken themselves.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for line in text.split("\n"):
        spans += [(start + first, start + last) for first, last in _wrapped_line(line, max(width, 1))]
        start += len(line) + 1
    return spans


def folded(text: str, width: int) -> Iterator[str]:
    """The pieces of one line of code that fit into `width` cells each, white space and all."""
    piece, used = "", 0
    for cluster in _clusters(text):
        taken = _cluster_width(cluster)
        if piece and used + taken > width:
            yield piece
            piece, used = "", 0
        piece, used = piece + cluster, used + taken
    yield piece


def _wrapped_line(text: str, width: int) -> Iterator[tuple[int, int]]:
    """The greedy way: as much on each line as fits."""
    if text.isascii() and len(text) <= width:
        yield 0, len(text.rstrip())
        return
    first = position = used = 0  # of the line: its beginning, the place now reached, the cells up to there
    ink = 0  # one past the last character that is not white space
    chance, chance_ink, since = 0, 0, 0  # the last place to break: where, the end of ink before it, the cells after it
    before = ""
    for cluster in _unbroken(text, width):
        taken = _cluster_width(cluster)
        if before and _may_break(before, cluster):
            chance, chance_ink, since = position, ink, 0
        is_space = _is_space(cluster)
        if not is_space and used + taken > width and position > first:
            if chance > first:
                if chance_ink > first:
                    yield first, chance_ink
                first, used = chance, since
            if used + taken > width and position > first:
                yield first, position
                first, used = position, 0
            since = min(since, used)
        position, used, since, before = position + len(cluster), used + taken, since + taken, cluster
        if not is_space:
            ink = position
    yield first, max(first, ink)


def _unbroken(text: str, width: int) -> Iterator[str]:
    """Grapheme clusters; of ASCII, which is most of all text, whole words and white space, where they fit."""
    if not text.isascii():
        yield from _clusters(text)
        return
    for word in _WORD.findall(text):
        if len(word) > width:
            yield from word
        else:
            yield word


@lru_cache(maxsize=8192)
def _cluster_width(cluster: str) -> int:
    from rich.cells import cell_len, get_character_cell_size

    # Vowel signs that stand beside their letter, as in Hindi, take none for rich and one in xterm and VTE.
    signs = sum(unicodedata.category(character) == "Mc" for character in cluster)
    apart = sum(map(get_character_cell_size, cluster))
    return max(cell_len(cluster), apart + (signs if apart <= 1 else 0))


def _clusters(text: str) -> Iterator[str]:
    if text.isascii():
        yield from text
        return
    from rag.segmentation import cluster_starts

    starts = [*cluster_starts(text), len(text)]
    for first, last in itertools.pairwise(starts):
        yield text[first:last]


def _is_space(cluster: str) -> bool:
    return cluster.isspace() and cluster not in _NO_BREAK_SPACES


@lru_cache(maxsize=8192)
def _may_break(before: str, after: str) -> bool:
    """Whether a line may be broken between two grapheme clusters; after the pattern of Unicode TR 14, much reduced."""
    if _is_space(after):
        return False
    if _is_space(before) or before == "\u200b":
        return True
    if not (_is_ideograph(before) or _is_ideograph(after)):
        return False
    if after[0] in _NOT_FIRST or unicodedata.category(after[0]) in _STAYS_WITH_WHAT_IS_BEFORE:
        return False
    return before not in _NO_BREAK_SPACES and unicodedata.category(before[0]) not in _STAYS_WITH_WHAT_FOLLOWS


def _is_ideograph(cluster: str) -> bool:
    """Wide, and not Korean, which is broken at its spaces."""
    return unicodedata.east_asian_width(cluster[0]) in "WF" and "HANGUL" not in unicodedata.name(cluster[0], "")
