"""Lines in the order in which they are seen, for terminals that put characters where they come.

Such a terminal joins no Arabic letters either, so they are replaced by the presentation forms that Unicode has for
their shapes. What is copied from such a screen is in this order and in these forms too.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

Direction = Literal["ltr", "rtl"]

_UNSEEN = ("BN", "B", "LRI", "RLI", "FSI", "PDI", "LRE", "RLE", "LRO", "RLO", "PDF")  # classes of UAX #9
_UNSEEN_MARKS = "\u061c\u200e\u200f"
_JOINER, _NON_JOINER, _TATWEEL = "\u200d", "\u200c", "\u0640"
_SHAPES = ("<isolated>", "<initial>", "<medial>", "<final>")


class Piece(NamedTuple):
    """A part of a line in one style.

    Attributes:
        style: anything; it stays with the text.
        is_cell: of a table: ordered for itself, whatever stands beside it.
    """

    text: str
    style: Any = None
    is_cell: bool = False


def in_visual_order(pieces: Sequence[Piece], direction: Direction) -> list[Piece]:
    """A whole line, left to right as it is seen; each grapheme cluster keeps its style.

    Args:
        direction: of the paragraph that the line belongs to.
    """
    from bidi import get_display
    from bidi.mirror import MIRRORED

    clusters = list(_clusters(pieces))
    # The vendor returns text alone, but styles must follow it: each cluster is sent as one character and a combining
    # mark of its own, which takes the level of the character before it (UAX #9, W1); the marks come back in order.
    marks = _combining_marks()
    if len(clusters) > len(marks):
        return list(pieces)  # no line of a terminal is so long
    heads = _with_whole_numbers([_head(text) for text, _ in clusters])
    sent = [
        text if _is_unseen(text) else head + mark for (text, _), head, mark in zip(clusters, heads, marks, strict=False)
    ]
    number = {mark: at for at, mark in enumerate(marks[: len(clusters)])}
    seen = str(get_display("".join(sent), base_dir="R" if direction == "rtl" else "L"))
    seen = "".join(character for character in seen if character in number or not _is_unseen(character))
    joined = _joined([text for text, _ in clusters])
    found: list[Piece] = []
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        # What is read from the right has its mark before it; there brackets are turned around (UAX #9, L4).
        at = number[second] if second in number else number[first]
        text, piece = joined[at], clusters[at][1]
        if second not in number:
            text = MIRRORED.get(text[:1], text[:1]) + text[1:]
        if found and found[-1][1:] == piece[1:]:
            found[-1] = found[-1]._replace(text=found[-1].text + text)
        else:
            found.append(piece._replace(text=text))
    return found


def _clusters(pieces: Sequence[Piece]) -> Iterator[tuple[str, Piece]]:
    from rag.segmentation import cluster_starts

    for piece in pieces:
        starts = [*cluster_starts(piece.text), len(piece.text)]
        for first, last in itertools.pairwise(starts):
            cluster = piece.text[first:last]
            while len(cluster) > 1 and _is_unseen(cluster):  # a joiner that has no letter to join
                cluster = cluster[1:]
            yield cluster, piece


def _head(cluster: str) -> str:
    """The character that decides where a cluster goes; a combining mark without a letter goes like a sign."""
    return "\u25cc" if unicodedata.bidirectional(cluster[0]) == "NSM" else cluster[0]


def _with_whole_numbers(heads: Sequence[str]) -> list[str]:
    """`heads` with a digit for each separator that belongs to a number, such as `10:30` (UAX #9, W4).

    The rule takes a single separator between digits, and the mark that is sent with it would make two of it.
    """
    found = list(heads)
    kinds = [unicodedata.bidirectional(head[:1]) for head in heads]
    strong = ""
    for at in range(1, len(heads) - 1):
        strong = kinds[at - 1] if kinds[at - 1] in ("L", "R", "AL") else strong
        if kinds[at - 1] != kinds[at + 1]:
            continue
        # Behind an Arabic letter European digits count as Arabic ones (W2), which no sign joins.
        if (kinds[at] == "CS" and kinds[at - 1] in ("EN", "AN")) or (
            kinds[at] == "ES" and kinds[at - 1] == "EN" and strong != "AL"
        ):
            found[at] = heads[at - 1]
    return found


def _is_unseen(cluster: str) -> bool:
    return cluster[0] in _UNSEEN_MARKS or unicodedata.bidirectional(cluster[0]) in _UNSEEN


@cache
def _combining_marks() -> str:
    return "".join(c for c in map(chr, range(0x10000)) if unicodedata.bidirectional(c) == "NSM")


def _joined(clusters: Sequence[str]) -> list[str]:
    """Each cluster with its letter in the shape it has between its neighbours (The Unicode Standard, section 9.2)."""
    forms = _forms()
    found = list(clusters)
    for at, cluster in enumerate(clusters):
        after = clusters[at + 1] if at + 1 < len(clusters) else ""
        if not found[at] or cluster[0] not in forms:
            continue
        letters = cluster[0]
        if after and letters + after[0] in forms and _NON_JOINER not in cluster:  # lam and alef, which are one sign
            letters, after, found[at + 1] = letters + after[0], "", ""
            cluster += clusters[at + 1][1:]
        shapes = forms[letters]
        to_the_right = "<final>" in shapes and at > 0 and _joins_what_follows(clusters[at - 1])
        to_the_left = "<initial>" in shapes and _NON_JOINER not in cluster and _joins_what_is_before(after)
        shape = _SHAPES[2 if to_the_right and to_the_left else 3 if to_the_right else 1 if to_the_left else 0]
        rest = cluster[1:].replace(_NON_JOINER, "").replace(_JOINER, "")
        found[at] = shapes.get(shape, cluster[0]) + rest
    return found


def _joins_what_follows(cluster: str) -> bool:
    if _NON_JOINER in cluster:
        return False
    return _JOINER in cluster or cluster[0] == _TATWEEL or "<initial>" in _forms().get(cluster[0], {})


def _joins_what_is_before(cluster: str) -> bool:
    return bool(cluster) and (cluster[0] in (_TATWEEL, _JOINER) or "<final>" in _forms().get(cluster[0], {}))


@cache
def _forms() -> dict[str, dict[str, str]]:
    """Letter, or lam with alef → shape → presentation form, from Unicode's own decompositions ("<initial> 0628")."""
    found: dict[str, dict[str, str]] = {}
    for code in (*range(0xFB50, 0xFE00), *range(0xFE70, 0xFEFD)):
        shape, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        if shape in _SHAPES and (len(letters) == 1 or code >= 0xFEF5):
            found.setdefault("".join(chr(int(letter, 16)) for letter in letters), {})[shape] = chr(code)
    return found
