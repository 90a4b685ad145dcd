"""Passages that say the same become one result; pure.

Near-copies are passages of one language that differ in next to nothing: their dense vectors, their letters and their
numbers agree. Translations are passages of different languages that lie nearer to each other than anything else of
those languages does, and that nothing contradicts. How near a translation lies differs between models and pairs of
languages, so no cosine by itself tells it: what counts is how far the pair stands out against its rivals, the passages
beside it among the candidates (a margin as in Artetxe & Schwenk 2019, arXiv 1811.01136, section 3), together with the
numbers in both texts and the places of their files.

Measured with pocket-m3 among the 30 best candidates of 600 questions of XQuAD (240 paragraphs in 6 languages) and 500
on 130 pages of OpenTelemetry's documentation in 8 languages, cut by `ingest`: the default folds 1.00 and .97 rightly,
and finds .70 and .80 of what there is to fold; without the places of the files .90 of OpenTelemetry's are right (200
questions). A bare cosine cannot do both: at .74 1.00 of XQuAD's folds are right and .76 of OpenTelemetry's. Of the
first ten results out of 60, 3.7 and 1.5 repeat one above them, and 1.5 and 0.03 do so afterwards (400 questions each).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Final, Literal

import numpy as np
import regex
from numpy.typing import NDArray

from rag.fusion import numbered
from rag.types import UNDETERMINED, Chunk, StoredVector

Collapse = Literal["translations", "near", "off"]
"""What becomes one result: near-copies and translations, near-copies alone, or nothing but equal texts."""

TRANSLATION_SIMILARITY: Final = 0.3
"""Least evidence that two passages are translations of each other, see `collapse`.

Of XQuAD's folds among the 10, 15 and 30 best candidates of 200 questions .996, 1.000 and 1.000 are right and .69, .72
and .70 of all are found; at 0.2 .995, .997, .999 and .80, .82, .81; at 0.4 all and .59, .60, .57. Of OpenTelemetry's
among 30, .953 are right and .80 found; at 0.2 .936 and .81, at 0.4 .961 and .79.
"""

# Of OpenTelemetry's pages 20 pairs lie above both bounds: 19 say the same, one differs in the name of an image.
# Templates filled in with another name (Java for .NET, traces for logs) share up to .90 of their letters, but their
# cosines or their letters stay below.
_NEAR_COSINE: Final = 0.98
_NEAR_LETTERS: Final = 0.9
_SHINGLE: Final = 5  # code points: about a word of an alphabet, and a clause where words have no spaces

_NUMBERS_WEIGHT: Final = 0.5
_PLACE_WEIGHT: Final = 0.2
_MOST_ADDED: Final = 0.5 * _NUMBERS_WEIGHT + _PLACE_WEIGHT + 1e-9  # rounding included
_LONGER: Final = 2.0
"""How many times as many tokens a translation may have; of XQuAD's pairs, 5 % are above 1.65."""
_LEAST_RIVAL: Final = 75
"""Percentile of all cosines across languages below which no rival is taken to be: by chance none may be near, or none
is there, where a passage is its language's only one. Without it a small library without translations has some."""
_LEAST_ROOM: Final = 0.05
"""Between two rivals that near to 1, no gain can be told from rounding."""

_DIGITS: Final = regex.compile(r"\p{Nd}+")
_NEITHER_LETTER_NOR_DIGIT: Final = regex.compile(r"[^\p{L}\p{M}\p{N}]+")

_Matrix = NDArray[np.float64]


def collapse(
    chunks: Sequence[Chunk],
    vectors: Mapping[str, StoredVector],
    *,
    mode: Collapse = "translations",
    similarity: float = TRANSLATION_SIMILARITY,
) -> list[list[int]]:
    """Positions of `chunks`, those that say the same together; every one is in exactly one result.

    The evidence for a pair of languages is (c - r) / (1 - r) + 0.5 (n - 0.5) ± 0.2: c is its cosine, r that of the
    nearest rival, which is another passage of either's language beside the other; n the share of their numbers that
    both have, 0.5 where there are none; 0.2 is added where both files have the same place in folders or names that
    differ by a language tag alone (docs/de/a.md, docs/en/a.md; a.de.md, a.md), and taken off where they have different
    ones. Two groups are joined while the mean evidence between them reaches `similarity` and they share no language.

    No r is below the upper quartile of all cosines across languages. As rivals come from `chunks`, give all
    candidates, not the few that will be shown, and give them all again to a second call: among few, and where all are
    translations of one another, little is folded.

    Args:
        chunks: best first.
        vectors: by `Chunk.text_hash`; a passage without is folded only into one with an equal hash.
        mode: `off` folds nothing, equal texts neither.
        similarity: the least evidence for a translation; higher folds less, and above 1.45 nothing.

    Returns:
        Results by their best passages, which come first in them.
    """
    if mode == "off":
        return [[position] for position in range(len(chunks))]
    groups = _near_copies(chunks, vectors)
    if mode == "translations":
        groups = _translations(chunks, groups, vectors, similarity)
    return sorted(sorted(group) for group in groups)


def _near_copies(passages: Sequence[Chunk], vectors: Mapping[str, StoredVector]) -> list[list[int]]:
    """Positions in `passages`, each in the group of the best ranked passage that it nearly equals."""
    by_hash: dict[str, list[int]] = {}
    for position, passage in enumerate(passages):
        by_hash.setdefault(passage.text_hash, []).append(position)
    groups = [group for text_hash, group in by_hash.items() if text_hash not in vectors]
    known = [group for text_hash, group in by_hash.items() if text_hash in vectors]
    chunks = [passages[group[0]] for group in known]
    cosines = _cosines(chunks, vectors)
    letters: dict[int, frozenset[str]] = {}
    languages = _languages(chunks)
    near = (cosines >= _NEAR_COSINE) & (languages[:, None] == languages[None, :])
    folded: set[int] = set()
    for head, new in np.argwhere(np.triu(near, 1).T)[:, ::-1].tolist():  # each new one with the heads before it
        if head in folded or new in folded:
            continue
        for each in (head, new):
            letters.setdefault(each, _shingles(chunks[each].text))
        alike = _share(letters[head], letters[new]) >= _NEAR_LETTERS
        if alike and _numbers(chunks[head].text) == _numbers(chunks[new].text):
            known[head].extend(known[new])
            folded.add(new)
    return groups + [group for head, group in enumerate(known) if head not in folded]


def _translations(
    passages: Sequence[Chunk], groups: list[list[int]], vectors: Mapping[str, StoredVector], similarity: float
) -> list[list[int]]:
    """`groups` of near-copies, those joined that are translations of each other."""
    groups = sorted(groups)
    comparable = [
        group
        for group in groups
        if (chunk := passages[group[0]]).text_hash in vectors and chunk.language != UNDETERMINED
    ]
    chunks = [passages[group[0]] for group in comparable]
    evidence = _evidence(chunks, vectors, similarity)
    # The surest pairs first: a passage that has a partner in a language takes no second one of it.
    first, second = np.nonzero(np.triu(evidence >= similarity, 1))
    order = np.lexsort((second, first, -evidence[first, second]))
    members = {each: [each] for each in range(len(chunks))}
    group_of = list(range(len(chunks)))
    for a, b in zip(first[order].tolist(), second[order].tolist(), strict=True):
        one, other = sorted((group_of[a], group_of[b]))
        if one == other or {chunks[m].language for m in members[one]} & {chunks[m].language for m in members[other]}:
            continue
        if evidence[np.ix_(members[one], members[other])].mean() >= similarity:
            moved = members.pop(other)
            members[one] += moved
            for each in moved:
                group_of[each] = one
    joined = [[position for each in group for position in comparable[each]] for group in members.values()]
    compared = {position for group in comparable for position in group}
    return joined + [group for group in groups if group[0] not in compared]


def _evidence(chunks: Sequence[Chunk], vectors: Mapping[str, StoredVector], least: float) -> _Matrix:
    """(n, n), symmetric: how much speaks for two being translations.

    It is -inf where something rules that out, and for a passage that cannot reach `least` with any other.
    """
    languages = _languages(chunks)
    possible = languages[:, None] != languages[None, :]
    tokens = np.array([max(vectors[chunk.text_hash].terms, 1) for chunk in chunks], dtype=np.float64)
    possible &= np.abs(np.log(tokens[:, None] / tokens[None, :])) <= np.log(_LONGER)
    cosines = _cosines(chunks, vectors)
    rivals = _rivals(cosines, languages)
    stands_out = np.where(possible, (cosines - rivals) / np.maximum(1 - rivals, _LEAST_ROOM), -np.inf)
    # Texts and places take longest to look at: only where all that they can add would be enough.
    close = np.flatnonzero((stands_out >= least - _MOST_ADDED).any(axis=1))
    some = [chunks[at] for at in close.tolist()]
    evidence = np.full(possible.shape, -np.inf)
    evidence[np.ix_(close, close)] = stands_out[np.ix_(close, close)] + (
        _NUMBERS_WEIGHT * (_shared_numbers(some) - 0.5) + _PLACE_WEIGHT * _places(some)
    )
    return evidence


def _rivals(cosines: _Matrix, languages: NDArray[np.intp]) -> _Matrix:
    """(n, n), symmetric: for (a, b) the highest cosine of a to others of b's language, or of b to others of a's."""
    if not len(cosines):
        return cosines
    without_itself = cosines.copy()
    np.fill_diagonal(without_itself, -np.inf)
    # By language, all at once: the highest of each and, where that is only one, the second highest beside it.
    order = np.argsort(languages, kind="stable")
    by_language, held = without_itself[:, order], languages[order]
    starts = np.searchsorted(held, np.arange(int(held[-1]) + 1))
    highest = np.maximum.reduceat(by_language, starts, axis=1)[:, held]
    best = by_language == highest
    second = np.maximum.reduceat(np.where(best, -np.inf, by_language), starts, axis=1)[:, held]
    alone = best & (np.add.reduceat(best, starts, axis=1, dtype=np.intp)[:, held] == 1)
    nearest = np.empty_like(cosines)
    nearest[:, order] = np.where(alone, second, highest)
    across = cosines[languages[:, None] != languages[None, :]]
    least = np.percentile(across, _LEAST_RIVAL) if len(across) else 1.0
    rivals: _Matrix = np.maximum(np.maximum(nearest, nearest.T), least)
    return rivals


def _languages(chunks: Sequence[Chunk]) -> NDArray[np.intp]:
    """(n,) a number for the language of each."""
    return numbered([chunk.language for chunk in chunks])


def _cosines(chunks: Sequence[Chunk], vectors: Mapping[str, StoredVector]) -> _Matrix:
    dense = [vectors[chunk.text_hash].dense for chunk in chunks]
    matrix = np.array(dense, dtype=np.float64).reshape(len(chunks), -1 if dense else 0)
    cosines: _Matrix = matrix @ matrix.T
    return cosines


def _numbers(text: str) -> frozenset[str]:
    """Runs of digits of any script, in ASCII without leading zeros: 1.000 and 1,000 hold the same."""
    runs = set(_DIGITS.findall(unicodedata.normalize("NFKC", text)))
    return frozenset(
        (run if run.isascii() else "".join(str(unicodedata.digit(digit, digit)) for digit in run)).lstrip("0") or "0"
        for run in runs
    )


def _shared_numbers(chunks: Sequence[Chunk]) -> _Matrix:
    """(n, n): the share of two passages' numbers that both have (Jaccard), 0.5 where neither has any."""
    numbers = [_numbers(chunk.text) for chunk in chunks]
    column = {number: place for place, number in enumerate(frozenset().union(*numbers))}
    count = np.array([len(own) for own in numbers], dtype=np.intp)
    has = np.zeros((len(chunks), len(column)))
    has[np.repeat(np.arange(len(chunks)), count), [column[number] for own in numbers for number in own]] = 1
    both = has @ has.T
    either = count[:, None] + count[None, :] - both
    return np.where(either > 0, both / np.maximum(either, 1), 0.5)


def _places(chunks: Sequence[Chunk]) -> _Matrix:
    """(n, n): 1 for the same place of two files but for the languages' tags, -1 for two that have tags but differ."""
    found = [_place(chunk.uri, chunk.language.partition("-")[0]) for chunk in chunks]
    places = numbered([place for place, _ in found])
    tagged = np.array([has_tag for _, has_tag in found], dtype=bool)
    same = places[:, None] == places[None, :]
    return np.where(
        same & (tagged[:, None] | tagged[None, :]), 1.0, np.where(~same & tagged[:, None] & tagged[None, :], -1.0, 0.0)
    )


@lru_cache(maxsize=4096)
def _place(uri: str, language: str) -> tuple[str, bool]:
    """The URI without its folders and parts of its name that are a language, and whether there are any."""
    in_folders, in_name = _tags(language)
    folders, removed_folders = in_folders.subn("", uri)
    place, removed_parts = in_name.subn("", folders)
    return place, bool(removed_folders or removed_parts)


@cache
def _tags(language: str) -> tuple[regex.Pattern[str], regex.Pattern[str]]:
    """A folder that is named by the language, and a part of a file's name."""
    tag = rf"{regex.escape(language)}(?:[-_][A-Za-z]{{2,4}})?"
    return (
        regex.compile(rf"(?<=/){tag}/", regex.IGNORECASE),
        regex.compile(rf"[._-]{tag}(?=\.[^/]*$|$)", regex.IGNORECASE),
    )


def _shingles(text: str) -> frozenset[str]:
    """All stretches of five letters and digits, case and what stands between words left out."""
    text = _NEITHER_LETTER_NOR_DIGIT.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return frozenset(text[start : start + _SHINGLE] for start in range(max(1, len(text) - _SHINGLE + 1)))


def _share(one: frozenset[str], other: frozenset[str]) -> float:
    """What both have of what either has (Jaccard); neither is empty."""
    return len(one & other) / len(one | other)
