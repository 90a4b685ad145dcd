"""Runs as they are asked for and named: `dense`, `hybrid fusion=weighted sparse=0.3`, `hybrid fusion=rrf rrf_k=60`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rag.errors import InputError
from rag.fusion import OWN_PLACES, Ranking

_MODES = ("hybrid", "dense", "sparse")
_SETTINGS = {
    "fusion": "fusion",
    "dense": "dense_weight",
    "sparse": "sparse_weight",
    "level_k": "level_k",
    "own_places": "own_places",
    "rrf_k": "rrf_k",
    "coverage": "coverage",
    "centring": "centring",
}
"""Word → setting of the group `retrieval`; they change the hybrid order alone."""
_RERANKING = {"rerank": "reranker", "rerank_depth": "rerank_depth", "rerank_weight": "rerank_weight"}
"""Likewise; they change any order."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run has of its own; all else is as the options and settings say.

    Attributes:
        model: embedding model; None for the settings'.
        retrieval: settings of the group `retrieval`, as text.
    """

    model: str | None
    retrieval: Mapping[str, str]


def parse(text: str) -> RunSpec:
    """A mode and `key=value` words, in any order.

    Raises:
        InputError: a word is unknown or comes twice, or a weight is given to a mode that has none.
    """
    values: dict[str, str] = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        if not equals and key in _MODES:
            key, value = "mode", word
        elif not equals or not value or key not in ("model", *_SETTINGS, *_RERANKING):
            raise InputError(
                f"--compare {text!r}: {word!r} is unknown: give {', '.join(_MODES)}, model=M, "
                "fusion=normalized|weighted|rrf, dense=X, sparse=X, level_k=N, own_places=N, rrf_k=N, coverage=X, "
                "centring=X, rerank=colbert|cross-encoder|llm, rerank_depth=N or rerank_weight=X"
            )
        if key in values:
            raise InputError(f"--compare {text!r}: {key} is given twice: give it once")
        values[key] = value
    if not values:
        raise InputError("--compare is empty: give a mode such as 'dense', or 'hybrid sparse=1.0'")
    idle = [key for key in _SETTINGS if key in values]
    if idle and values.get("mode", "hybrid") != "hybrid":
        raise InputError(f"--compare {text!r}: {idle[0]}= changes nothing in mode {values['mode']}: leave it out")
    model = values.pop("model", None)
    names = {**_SETTINGS, **_RERANKING}
    return RunSpec(model, {names.get(key, key): value for key, value in values.items()})


@dataclass(frozen=True, slots=True)
class Reranking:
    """What comes after the ranking, as the settings of the group `retrieval` say."""

    reranker: str
    depth: int
    weight: float


def name(ranking: Ranking, model: str | None = None, reranking: Reranking | None = None) -> str:
    """What a run is called, such that `parse` reads it.

    Args:
        reranking: None for none.
        model: to be told apart from other models; None where there is one alone.
    """
    words: list[str] = [ranking.mode]
    if ranking.mode == "hybrid" and ranking.method == "rrf":
        words += ["fusion=rrf", f"rrf_k={ranking.rrf_k}"]
    elif ranking.mode == "hybrid":
        words += [f"fusion={ranking.method}", f"dense={ranking.dense_weight:g}", f"sparse={ranking.sparse_weight:g}"]
        words += [f"level_k={ranking.level_k}"] if ranking.normalizes else []
        words += [f"own_places={ranking.own_places}"] if ranking.normalizes and ranking.own_places != OWN_PLACES else []
        words.append(f"coverage={ranking.coverage:g}")
    if ranking.mode == "hybrid":
        words.append(f"centring={ranking.centring:g}")
    if reranking:
        words += [f"rerank={reranking.reranker}", f"rerank_depth={reranking.depth}"]
        words.append(f"rerank_weight={reranking.weight:g}")
    return " ".join(words + ([f"model={model}"] if model else []))
