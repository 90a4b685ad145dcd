"""Ranked candidates to results: what says the same is one, and languages have their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rag.diversity import Collapse, collapse
from rag.ports import PassageReader
from rag.quotas import Share, apply
from rag.types import Chunk, Passage, Ranked, StoredPassage

_COLLAPSE_DEPTH = 60
"""Candidates among which rivals of a translation are looked for, at least."""
_COLLAPSE_MOST = 1000
"""At most: each is compared with each. Beyond, equal texts alone are folded."""


def compared(k: int) -> int:
    """How many of the best are looked at for what says the same, where `k` results are wanted."""
    return min(max(_COLLAPSE_DEPTH, 3 * k), _COLLAPSE_MOST)


def folded(
    ranked: Sequence[Ranked], near: Sequence[StoredPassage], mode: Collapse, similarity: float
) -> list[list[int]]:
    """Positions in `ranked`, those that say the same together, each group by its best; see `rag.diversity`.

    Args:
        near: the first of `ranked`, with their vectors. Of the others, equal texts alone are folded.
    """
    vectors = {each.chunk.text_hash: each.vector for each in reversed(near) if each.vector is not None}
    groups = collapse([each.chunk for each in near], vectors, mode=mode, similarity=similarity)
    group_of = {near[position].chunk.text_hash: group for group in groups for position in group}
    for position in range(len(near), len(ranked)):
        text_hash = ranked[position].candidate.text_hash
        if text_hash in group_of:
            group_of[text_hash].append(position)
        else:
            group_of[text_hash] = [position]
            groups.append(group_of[text_hash])
    return groups


def completed(
    ranked: Sequence[Ranked],
    groups: Sequence[Sequence[int]],
    k: int,
    quotas: Mapping[str, Share],
    known: Mapping[str, StoredPassage],
    reader: PassageReader,
) -> list[Passage]:
    """The `k` best of `groups` that `quotas` allow, whole.

    Args:
        known: by id, what has been read already.
    """
    chosen = list(groups[:k])
    if quotas:
        languages = [ranked[group[0]].candidate.language for group in groups]
        chosen = [groups[at] for at in apply(languages, k, quotas)]
    wanted = dict.fromkeys(ranked[position].candidate.id for group in chosen for position in group)
    missing = [identifier for identifier in wanted if identifier not in known]
    stored = {**known, **reader.passages(missing)} if missing else known
    found: list[Passage] = []
    for group in chosen:
        # What has been removed since it was found is nobody's result.
        there = [
            (ranked[position], stored[ranked[position].candidate.id].chunk)
            for position in group
            if ranked[position].candidate.id in stored
        ]
        if there:
            (best, chunk), *copies = there
            found.append(_passage(len(found) + 1, best, chunk, tuple(copy for _, copy in copies)))
    return found


def _passage(rank: int, ranked: Ranked, chunk: Chunk, copies: tuple[Chunk, ...]) -> Passage:
    return Passage(
        rank,
        chunk,
        ranked.score,
        ranked.candidate.dense_score,
        ranked.candidate.sparse_score,
        ranked.fused_score,
        ranked.level,
        ranked.handicap,
        ranked.rerank_score,
        ranked.wording,
        copies,
    )
