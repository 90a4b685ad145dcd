"""The table of embedding models in embedders.toml, with figures that others have published.

Of a bundled model its own files tell dimension, window and size; which revision of a model from the hub is taken is
known to `rag.hub` alone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args

from rag.checkpoint import BUNDLED, inspect
from rag.hub import DEFAULT_REVISIONS

Use = Literal["embedder", "dense"]
USES: Final[Mapping[Use, str]] = {
    "embedder": "this program embeds with it (--model); all its vectors are the model's own",
    "dense": "a sentence-transformers model: this program embeds with it (--model), BM25 beside its dense vectors, and "
    "`rag train distill --teacher` can learn from it",
}

Vectors = Literal["dense", "sparse", "multi"]
"""What a model makes of a text: one vector, weights of its tokens, or a vector for each token (ColBERT)."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a published figure was measured on.

    Attributes:
        name: its short name.
        task: as its source calls it.
        metric: `nDCG@10`, `R@100` (recall) or `F1`.
        about: what is looked for where, and which pairs of languages a mean is over.
        source: where the figures come from.
    """

    name: str
    task: str
    metric: str
    about: str
    source: str


@dataclass(frozen=True, slots=True)
class Figure:
    """Means over pairs of languages, 0 to 1.

    Attributes:
        ranking: which scores ranked: `dense`, `sparse`, `dense + sparse`.
        within: question and document in the same language; None where that was not measured.
        across: in different languages; likewise.
    """

    benchmark: Benchmark
    ranking: str
    within: float | None
    across: float | None


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model; None, or empty, where no source says it.

    Attributes:
        id: `pocket-m3`, or a hub id.
        use: what this program can do with it.
        vectors: what it makes of a text.
        revision: commit that this program takes; None for a bundled model and for those it takes as they are now.
        dimension: length of the dense vectors.
        window: longest text in tokens.
        language_count: a number, or a lower bound such as `100+`.
        languages: BCP-47 tags, where they are few enough to be listed.
        size: bytes of the weights.
        licence: SPDX identifier.
        query_prompt: what must stand before a question; empty where nothing must.
        passage_prompt: what must stand before a passage; likewise.
    """

    id: str
    use: Use
    vectors: tuple[Vectors, ...]
    revision: str | None = None
    dimension: int | None = None
    window: int | None = None
    language_count: str | None = None
    languages: tuple[str, ...] = ()
    size: int | None = None
    licence: str | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None
    figures: tuple[Figure, ...] = ()


@cache
def benchmarks() -> Mapping[str, Benchmark]:
    """What figures were measured on, by name, in the order in which they are shown."""
    table = _table()
    return {
        name: Benchmark(name, **{**fields, "source": table["sources"][fields["source"]]})
        for name, fields in table["benchmarks"].items()
    }


@cache
def models() -> tuple[Model, ...]:
    """All models, those in BGE-M3's layout first."""
    return tuple(_model(**fields) for fields in _table()["models"])


def find(name: str) -> Model | None:
    """The model of that id."""
    return next((model for model in models() if model.id == name), None)


def _table() -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "embedders.toml").read_text(encoding="utf-8"))


def _model(
    *, id: str, use: Use, vectors: Sequence[Vectors], figures: Sequence[Mapping[str, Any]] = (), **facts: Any
) -> Model:
    assert use in USES, id
    assert set(vectors) <= set(get_args(Vectors)), id
    if id in BUNDLED:
        found = inspect(BUNDLED[id], id)
        facts |= {
            "dimension": found.hidden_size,
            "window": found.window,
            "size": found.weights.stat().st_size,
        }
    return Model(
        id=id,
        use=use,
        vectors=tuple(vectors),
        revision=DEFAULT_REVISIONS.get(id),
        languages=tuple(facts.pop("languages", ())),
        figures=tuple(_figure(**figure) for figure in figures),
        **facts,
    )


def _figure(*, benchmark: str, ranking: str, within: float | None = None, across: float | None = None) -> Figure:
    return Figure(benchmarks()[benchmark], ranking, within, across)
