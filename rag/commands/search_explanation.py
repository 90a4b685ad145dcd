"""Why a passage stands where it does: its scores, and what puts it before the next."""

from __future__ import annotations

from collections.abc import Sequence

from rag.fusion import Ranking
from rag.language import name
from rag.normalization import printable
from rag.types import MatchedTerm, Passage

_TERMS = 8  # of a passage, for people; --json has them all

_CALLED = {
    "dense": "its meaning is nearer",
    "sparse": "it shares weightier words",
    "level": "it stands out more in its language",
    "places": "it is among the first in your language, or in another",
    "rerank": "the reranker puts it higher",
}


def advantage(passage: Passage, following: Passage, ranking: Ranking) -> dict[str, float]:
    """How far `passage` is before `following`, by part; the parts sum to the difference of their scores.

    Reciprocal ranks have no parts: they depend on all candidates. So is a passage that was found by another wording of
    the question, whose scores are to another question.
    """
    whole = passage.score - following.score
    if (ranking.mode == "hybrid" and ranking.method == "rrf") or passage.wording != following.wording:
        return {"total": whole}
    dense = ranking.dense_weight if ranking.mode == "hybrid" else float(ranking.mode == "dense")
    nearer = dense * (passage.dense_score - following.dense_score)
    parts = {
        "dense": nearer,
        "sparse": passage.fused_score - following.fused_score - nearer,
        "level": following.level - passage.level,
        "places": following.handicap - passage.handicap,
    }
    if passage.rerank_score is not None or following.rerank_score is not None:
        parts["rerank"] = whole - sum(parts.values())
    return {"total": whole, **parts}


def explanation(passage: Passage, following: Passage | None, terms: Sequence[MatchedTerm], ranking: Ranking) -> str:
    """Lines for people, to stand below what is shown of the passage."""
    lines = [_scores(passage, ranking), f"matched terms: {_terms(terms)}"]
    if passage.wording is not None:
        lines.append(f"found as: {printable(passage.wording)}")
    if following is not None:
        lines.append(_before(advantage(passage, following, ranking)))
    return "\n".join(f"    {line}" for line in lines)


def _scores(passage: Passage, ranking: Ranking) -> str:
    text = f"dense {passage.dense_score:.3f}  sparse {passage.sparse_score:.3f}"
    if ranking.mode == "hybrid" and ranking.method != "rrf":
        text += f" counting {passage.fused_score - ranking.dense_weight * passage.dense_score:.3f}"
    text += f"  fused {passage.fused_score:.3f}"
    if ranking.normalizes:
        language = name(passage.chunk.language, "en")
        normalized = passage.fused_score - passage.level - passage.handicap
        text += f"  level of {language} {passage.level:.3f}"
        text += f"  one more in {language} {passage.handicap:.3f}" if passage.handicap else ""
        text += f"  normalized {normalized:.3f}"
    if passage.rerank_score is not None:
        text += f"  reranker {passage.rerank_score:.3f}  reranked {passage.score:.3f}"
    return text


def _terms(terms: Sequence[MatchedTerm]) -> str:
    shown = ", ".join(f"{printable(term.term)} {term.weight:.3f}" for term in terms[:_TERMS])
    return (shown or "none") + (f" and {len(terms) - _TERMS} more" if len(terms) > _TERMS else "")


def _before(parts: dict[str, float]) -> str:
    total = parts.pop("total")
    if total < 0:
        # The only order that does not go by the score: what was reranked stands before what was not.
        return f"before the next, whose score is {-total:.3f} higher, as the reranker did not read that"
    told = [
        f"{_CALLED[part]} (+{value:.3f})"
        for part, value in sorted(parts.items(), key=lambda item: -item[1])
        if value >= 0.0005
    ]
    less = [f"{part} {value:.3f}" for part, value in parts.items() if value <= -0.0005]
    reasons = "; ".join(filter(None, [", ".join(told), f"against it: {', '.join(less)}" if less else ""]))
    return f"before the next by {total:.3f}{f': {reasons}' if reasons else ''}"
