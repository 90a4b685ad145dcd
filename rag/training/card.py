"""The model card of a student: what it was made of, and what was measured while it was made."""

from __future__ import annotations

from rag.training.parallel import ParallelText
from rag.training.recipe import Recipe

_ADVICE = {"lexical", "beginning_tokens", "beginning_weight", "sparse_weight", "coverage", "centring"}
"""Fields of a recipe that are the card's, in its order."""


def card(
    name: str, recipe: Recipe, teacher: str, init: str | None, text: ParallelText, accuracy: dict[str, float]
) -> str:
    """README.md; its front matter says how vectors are made and recommends weights for fusion, if the recipe does.

    Args:
        init: the student that it started from.
    """
    front = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity", "language:", "- en"]
    front += [f"- {language}" for language in text.languages]
    given = recipe.model_dump(include=_ADVICE, exclude_none=True)
    if given:
        front += ["retrieval:", "  dense_weight: 1.0", *(f"  {name}: {value}" for name, value in given.items())]
    rows = [
        f"| {language} | {int((text.pair_language == position).sum()):,} | {_figure(accuracy, language)} |"
        for position, language in enumerate(text.languages)
    ]
    named = [("static", recipe.static), ("transformer", recipe.transformer), ("heads", recipe.heads)]
    stages = ", ".join(f"{name} {stage.steps:,}" for name, stage in (named[1:] if init else named))
    lines = [
        *front,
        "---",
        "",
        f"# {name}",
        "",
        "A cross-lingual embedding model in BGE-M3's layout (dense, sparse and ColBERT heads), distilled from the",
        f"English teacher `{teacher}` with parallel text (Reimers and Gurevych 2020) by `rag train distill`.",
        "",
        *([f"It started from `{init}`, whose licence and data count too."] if init else []),
        f"Steps: {stages}. Accuracy@1 of finding a translation among the language's held-out pairs, mean of both",
        "directions:",
        "",
        "| language | pairs | accuracy@1 |",
        "|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def _figure(accuracy: dict[str, float], language: str) -> str:
    return f"{accuracy[language]:.3f}" if language in accuracy else "not measured"
