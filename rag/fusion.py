"""Candidates with two exact scores to ranked passages; pure.

Scores of different languages are no measure of the same thing: a model puts a question nearer to passages in its own
language, whatever they say, and words are shared there. So a language's own level for this question is taken out
before languages are compared, as cross-domain similarity local scaling does for words (CSLS, Conneau et al. 2018,
arXiv 1710.04087, section 2.3): what counts is how far a passage stands out from the others of its language.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag.language import primary
from rag.types import Candidate, FusionMethod, Mode, Ranked

Scores = NDArray[np.float64]

PAPER_DENSE_WEIGHT = 1.0
PAPER_SPARSE_WEIGHT = 0.3
"""Weights of BGE-M3's authors for dense and sparse scores (arXiv 2402.03216)."""

LEVEL_K = 8
"""Passages whose mean score is a language's level. Chosen on XQuAD: docs/ranking.md."""
LEVEL_ENOUGH = 11
"""Passages beside the best from which a language's level is its own: with it, as many as are fetched of each language
by default. The demo's libraries, which have 5 to 25 of each, want more; searches in many languages, fewer."""


OWN_PLACES = 2
"""Passages in the asker's language that are compared with others' as they are. Chosen on XQuAD: docs/ranking.md."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How candidates are ranked.

    Attributes:
        mode: which scores count.
        method: how hybrid joins them: `normalized`, the weighted sum of the exact scores less the level of the
            passage's language; `weighted`, that sum; or `rrf`, reciprocal ranks, without weights.
        level_k: passages whose mean is a language's level.
        level_enough: passages beside the best from which that level counts fully.
        own_places: passages in the asker's language that need not stand out by more than others, see `handicaps`.
        rrf_k: rank constant of Cormack et al. 2009, ranks counted from 1.
        coverage: power of the share of the question's words that a passage has, which the sparse score is multiplied
            by: 0 leaves it as it is, more makes less of a passage that shares little.
        centring: how much of what all passages have in common is taken out of the question's vector, see
            `rag.centring`; done before there are candidates.
    """

    mode: Mode = "hybrid"
    method: FusionMethod = "normalized"
    dense_weight: float = PAPER_DENSE_WEIGHT
    sparse_weight: float = PAPER_SPARSE_WEIGHT
    level_k: int = LEVEL_K
    level_enough: int = LEVEL_ENOUGH
    own_places: int = OWN_PLACES
    rrf_k: int = 60
    coverage: float = 0.0
    centring: float = 0.0

    @property
    def normalizes(self) -> bool:
        """Whether the levels of languages count."""
        return self.mode == "hybrid" and self.method == "normalized"

    @property
    def centres(self) -> bool:
        """Whether the question's vector is moved."""
        return self.mode == "hybrid" and self.centring > 0


def rank(
    candidates: Sequence[Candidate], ranking: Ranking, limit: int, *, own_sparse: float, asked_in: str | None = None
) -> list[Ranked]:
    """The `limit` best candidates, best first; ties go by chunk id, so the order never varies.

    In mode `sparse`, candidates that share no token with the question are left out.

    Args:
        own_sparse: the sparse score of the question with itself.
        asked_in: primary tag of the question's language; None where it is not known.
    """
    if not candidates:
        return []
    dense = np.array([[candidate.dense_score for candidate in candidates]])
    sparse = np.array([[candidate.sparse_score for candidate in candidates]])
    joined = fused(dense, sparse, np.array([own_sparse]), ranking)
    held = [candidate.language for candidate in candidates]
    levels = more = np.zeros_like(joined)
    if ranking.normalizes:
        own = np.array([[primary(language) == asked_in for language in held]])
        levels, more = levelled(joined, numbered(held), own, ranking)
    # As lists: one element of an array costs as much as all else that is done with it here.
    scores, fused_scores = (joined - levels - more)[0].tolist(), joined[0].tolist()
    level_of, handicap_of = levels[0].tolist(), more[0].tolist()
    kept = np.flatnonzero(joined[0] > -np.inf).tolist()
    kept.sort(key=lambda at: (-scores[at], candidates[at].id))
    return [Ranked(candidates[at], scores[at], fused_scores[at], level_of[at], handicap_of[at]) for at in kept[:limit]]


def best_of(rankings: Sequence[Sequence[Ranked]]) -> list[Ranked]:
    """One ranking of what several wordings of a question found: a passage counts with the best of its scores."""
    best: dict[str, Ranked] = {}
    for ranking in rankings:
        for each in ranking:
            held = best.get(each.candidate.id)
            if held is None or each.score > held.score:
                best[each.candidate.id] = each
    return _ordered(best.values())


def reranked(before: Sequence[Ranked], scores: Sequence[float], weight: float, ranking: Ranking) -> list[Ranked]:
    """`before` in the order of their scores and, beside them, what a reranker says that these do not.

    Rerankers prefer some languages, too (arXiv 2604.20199), and the few passages of a language that come so far have
    been chosen by the score: their mean says nothing of its level. So a reranker's scores are compared within
    languages alone: each language keeps the mean that the order before gave it, by a regression of the scores of the
    one on those of the other with a slope for all languages and an offset for each. What is left of the reranker's
    scores, on the scale of the order before, counts with `weight`.

    Args:
        before: best first.
        scores: of the reranker, one each; on whatever scale.
        weight: 0 leaves the order as it is.
    """
    old, new = np.array([each.score for each in before]), np.array(scores, dtype=np.float64)
    languages = numbered([each.candidate.language for each in before])
    joined = joined_scores(old, new, languages, weight, ranking)
    return _ordered(
        replace(each, score=float(score), rerank_score=float(given))
        for each, score, given in zip(before, joined, new, strict=True)
    )


def joined_scores(
    before: NDArray[np.float64], new: NDArray[np.float64], languages: NDArray[np.intp], weight: float, ranking: Ranking
) -> NDArray[np.float64]:
    """The scores that `reranked` orders by.

    Args:
        before: (passages,) scores so far.
        new: (passages,) a reranker's.
        languages: (passages,) number of each one's language, from 0.
        weight: as for `reranked`.
    """
    if not ranking.normalizes:
        languages = np.zeros_like(languages)
    within_before, within_new = before - _means(before, languages), new - _means(new, languages)
    spread_before, spread_new = (within_before**2).sum(), (within_new**2).sum()
    slope = (within_before * within_new).sum() / spread_before if spread_before > 0 else 0.0
    scale = np.sqrt(spread_before / spread_new) if spread_new > 0 else 0.0
    return np.asarray(before + weight * scale * (within_new + slope * (before - within_before)))


def fused(dense: Scores, sparse: Scores, own_sparse: Scores, ranking: Ranking) -> Scores:
    """Scores of candidates before any level is taken out.

    Args:
        dense: (questions, candidates) cosines; -inf where there is no such candidate for that question.
        sparse: likewise; 0 where no token is shared.
        own_sparse: (questions,) the sparse score of each with itself.

    Returns:
        Likewise; -inf for what is not ranked.
    """
    there = dense > -np.inf
    if ranking.mode == "dense":
        return dense
    if ranking.mode == "sparse":
        return np.where(there & (sparse > 0), sparse, -np.inf)
    if ranking.method == "rrf":
        scores = 1 / (ranking.rrf_k + _ranks(dense))
        shared = there & (sparse > 0)
        # No shared token, no rank in the sparse order.
        scores += np.where(shared, 1 / (ranking.rrf_k + _ranks(np.where(shared, sparse, -np.inf))), 0.0)
        return np.where(there, scores, -np.inf)
    if ranking.coverage:
        # A text that has all of a question's words, with their weights, has the question's score with itself.
        sparse = sparse * (sparse / np.where(own_sparse > 0, own_sparse, 1.0)[:, None]) ** ranking.coverage
    weighted = ranking.dense_weight * np.where(there, dense, 0.0) + ranking.sparse_weight * sparse
    return np.where(there, weighted, -np.inf)


def levelled(
    scores: Scores, languages: NDArray[np.intp], own: NDArray[np.bool_], ranking: Ranking
) -> tuple[Scores, Scores]:
    """What is taken from scores before languages are compared: levels, and handicaps in the asker's language.

    Args:
        scores: (questions, candidates); -inf where there is no such candidate.
        languages: (candidates,) number of each one's language, from 0.
        own: (questions, candidates) whether it is in the question's language.
    """
    levels = language_levels(scores, languages, ranking.level_k, ranking.level_enough)
    return levels, handicaps(scores - levels, languages, own, ranking.own_places)


def handicaps(normalized: Scores, languages: NDArray[np.intp], own: NDArray[np.bool_], places: int) -> Scores:
    """Of each candidate, by how much more it must stand out, as one more in the asker's language.

    A model that has the answer in the question's own language puts it among the first there, and what follows is there
    for its words: further down the list, where foreign answers are, it would only be in their way. So beyond the best
    `places` they count less by as much as the best of a language stands out, in the mean of all languages.

    Args:
        normalized: (questions, candidates) scores less levels; -inf where there is no such candidate.
        languages: (candidates,) number of each one's language, from 0.
        own: (questions, candidates) whether it is in the question's language.
        places: at least 1.

    Returns:
        (questions, candidates); 0 or more.
    """
    more = np.zeros_like(normalized)
    several = own.shape[1] > places and bool((languages != languages[0]).any())
    if not several or not own.any():
        return more
    best = np.stack([normalized[:, languages == number].max(axis=1) for number in np.unique(languages)], axis=1)
    there = best > -np.inf
    ahead = np.where(there, best, 0.0).sum(axis=1) / np.maximum(1, there.sum(axis=1))
    theirs = np.where(own, normalized, -np.inf)
    last = np.partition(theirs, own.shape[1] - places, axis=1)[:, own.shape[1] - places]
    beyond = own & (normalized < last[:, None])
    return np.asarray(np.where(beyond, np.maximum(ahead, 0.0)[:, None], more))


def language_levels(scores: Scores, languages: NDArray[np.intp], k: int, enough: int = LEVEL_ENOUGH) -> Scores:
    """Of each candidate, the level of its language for that question: the mean of the scores ranked 2 to k + 1 in it.

    The best of a language is what is to stand out, so it is no part of the level. Few passages say little of their
    language: with fewer than `enough` beside the best, the level lies as much nearer to the highest of any language,
    and the passages must be as good as those of the language that is nearest to the question. Where no language has k,
    all candidates together make the highest.

    Args:
        scores: (questions, candidates); -inf where there is no such candidate.
        languages: (candidates,) number of each one's language, from 0.
        k: at least 1.
        enough: at least 1.

    Returns:
        (questions, candidates); finite.
    """
    count = int(languages.max(initial=-1)) + 1
    means, others = np.zeros((len(scores), count)), np.zeros((len(scores), count), np.intp)
    for language in range(count):
        means[:, language], others[:, language] = _others(scores[:, languages == language], k)
    whole = others >= k
    together, _ = _others(scores, k)
    highest = np.where(whole, means, -np.inf).max(axis=1, initial=-np.inf)
    highest = np.where(whole.any(axis=1), highest, together)[:, None]
    known = np.minimum(others, enough) / enough
    levels = known * means + (1 - known) * highest
    return np.asarray(levels[:, languages])


def numbered(names: Sequence[str]) -> NDArray[np.intp]:
    """(n,) a number for each name, the same for the same, from 0."""
    number = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], dtype=np.intp)


def _means(values: NDArray[np.float64], languages: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of each value, the mean of those of its language."""
    return np.asarray((np.bincount(languages, values) / np.bincount(languages))[languages])


def _ordered(ranked: Iterable[Ranked]) -> list[Ranked]:
    return sorted(ranked, key=lambda each: (-each.score, each.candidate.id))


def _others(scores: Scores, k: int) -> tuple[Scores, NDArray[np.intp]]:
    """Of each row, the mean of the scores ranked 2 to k + 1, 0 without any, and how many there are beside the best."""
    count = min(k + 1, scores.shape[1])
    highest = np.partition(scores, scores.shape[1] - count, axis=1)[:, scores.shape[1] - count :]
    best = -np.sort(-highest, axis=1)[:, 1:]
    there = best > -np.inf
    held = np.count_nonzero(there, axis=1)
    means = np.where(there, best, 0.0).sum(axis=1) / np.maximum(held, 1)
    return means, np.maximum(np.count_nonzero(scores > -np.inf, axis=1) - 1, 0)


def _ranks(scores: Scores) -> Scores:
    """1-based ranks in each row, the highest first; equal scores share the better rank."""
    higher = [len(row) - np.searchsorted(np.sort(row), row, side="right") for row in scores]
    return 1.0 + np.array(higher, dtype=np.float64).reshape(scores.shape)
