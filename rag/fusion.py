"""Candidates with two exact scores to ranked passages; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag.types import Candidate, FusionMethod, Mode, Passage

PAPER_DENSE_WEIGHT = 1.0
PAPER_SPARSE_WEIGHT = 0.3
"""Weights of BGE-M3's authors for dense and sparse scores (arXiv 2402.03216)."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How candidates are ranked.

    Attributes:
        mode: which scores count.
        method: how hybrid joins them: `weighted` sum of the exact scores, or `rrf`, reciprocal ranks, without weights.
        rrf_k: rank constant of Cormack et al. 2009, ranks counted from 1.
    """

    mode: Mode = "hybrid"
    method: FusionMethod = "weighted"
    dense_weight: float = PAPER_DENSE_WEIGHT
    sparse_weight: float = PAPER_SPARSE_WEIGHT
    rrf_k: int = 60


def rank(candidates: Sequence[Candidate], ranking: Ranking, limit: int) -> list[Passage]:
    """The `limit` best candidates, best first; ties go by chunk id, so the order never varies.

    In mode `sparse`, candidates that share no token with the question are left out.
    """
    if ranking.mode == "dense":
        scored = [(candidate.dense_score, candidate) for candidate in candidates]
    elif ranking.mode == "sparse":
        scored = [(candidate.sparse_score, candidate) for candidate in candidates if candidate.sparse_score > 0]
    elif ranking.method == "weighted":
        scored = [
            (ranking.dense_weight * candidate.dense_score + ranking.sparse_weight * candidate.sparse_score, candidate)
            for candidate in candidates
        ]
    else:
        scored = _reciprocal_ranks(candidates, ranking)
    scored.sort(key=lambda pair: (-pair[0], pair[1].chunk.id))
    return [
        Passage(place, candidate.chunk, score, candidate.dense_score, candidate.sparse_score)
        for place, (score, candidate) in enumerate(scored[:limit], start=1)
    ]


def _reciprocal_ranks(candidates: Sequence[Candidate], ranking: Ranking) -> list[tuple[float, Candidate]]:
    """Reciprocal rank fusion: the sum of 1 / (k + rank) over both orders; no shared token, no sparse rank."""
    dense = _ranks(candidates, lambda candidate: candidate.dense_score)
    sparse = _ranks([c for c in candidates if c.sparse_score > 0], lambda candidate: candidate.sparse_score)

    def score(candidate: Candidate) -> float:
        place = sparse.get(candidate.chunk.id)
        return 1 / (ranking.rrf_k + dense[candidate.chunk.id]) + (1 / (ranking.rrf_k + place) if place else 0.0)

    return [(score(candidate), candidate) for candidate in candidates]


def _ranks(candidates: Sequence[Candidate], score: Callable[[Candidate], float]) -> dict[str, int]:
    """1-based rank by chunk id; equal scores share the better rank."""
    ranks: dict[str, int] = {}
    last, place = float("nan"), 0
    for position, candidate in enumerate(sorted(candidates, key=score, reverse=True), start=1):
        if score(candidate) != last:
            last, place = score(candidate), position
        ranks[candidate.chunk.id] = place
    return ranks
