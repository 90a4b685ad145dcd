"""The list of models for a terminal: tables where they fit into its width, else a block for each model."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from rag.catalogue.listing import Entry, Score
from rag.catalogue.models import USES, benchmarks
from rag.hub import readable_size
from rag.normalization import printable
from rag.rendering.cells import padded, width_of

_GAP = "  "
_INDENT = "    "
_REVISION = 12  # hex digits that tell commits apart
_PROSE = 100  # columns of running text where there is more room, or no terminal
_HEAD = ("use", "here", "dimension", "window", "languages", "vectors", "size", "licence", "revision", "prompts")
_NUMBERS = frozenset({"dimension", "window", "languages", "size", "same", "other"})
_SCORES = ("same", "other", "metric", "benchmark", "ranking", "by")


def listing_text(entries: Sequence[Entry], width: int | None) -> str:
    """All that is known of the models, then what was measured.

    Args:
        width: columns of the terminal; None for a pipe.
    """
    known = [(entry.id, _facts(entry)) for entry in entries if entry.model]
    scored = [(entry.id, _cells(score)) for entry in entries for score in entry.scores]
    parts = [_table(_HEAD, known, width) or _blocks(known)]
    parts += [_table(_SCORES, scored, width) or _grouped(scored)] if scored else []
    return "\n\n".join([*parts, _notes(entries, width)])


def _facts(entry: Entry) -> tuple[str, ...]:
    model = entry.model
    assert model is not None
    prompts = [prompt for prompt in (model.query_prompt, model.passage_prompt) if prompt is not None]
    return (
        model.use,
        entry.presence or "",
        str(model.dimension or ""),
        str(model.window or ""),
        model.language_count or "",
        " + ".join(model.vectors),
        readable_size(model.size) if model.size else "",
        model.licence or "",
        (model.revision or "")[:_REVISION],
        " / ".join(repr(prompt) for prompt in prompts) if any(prompts) else "none" if prompts else "",
    )


def _cells(score: Score) -> tuple[str, ...]:
    by = ("you" if score.own else "published") + (", other weights" if score.other_weights else "")
    figures = (_figure(score.within), _figure(score.across))
    return (*figures, score.metric, printable(score.benchmark), printable(score.ranking), by)


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], width: int | None) -> str | None:
    """One line a row, the model last; None if that is too wide."""
    lines = _aligned([(*head, "model"), *((*cells, printable(name)) for name, cells in rows)], head)
    return "\n".join(lines) if width is None or max(map(width_of, lines)) <= width else None


def _blocks(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Each model with its facts below it, those that are not known left out."""
    lines = []
    for name, (use, here, *cells) in rows:
        facts = [f"{head} {cell}" for head, cell in zip(_HEAD[2:], cells, strict=True) if cell]
        lines += [
            f"{name}{_GAP}{use}{here and ', '}{here}",
            *(_INDENT + _GAP.join(facts[at : at + 3]) for at in range(0, len(facts), 3)),
        ]
    return "\n".join(lines)


def _grouped(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Each model once, its figures below it in columns that are the same for all."""
    lines = iter(_aligned([_SCORES, *(cells for _, cells in rows)], _SCORES))
    found = [_INDENT + next(lines)]
    for name, group in groupby(rows, key=lambda row: row[0]):
        found.append(printable(name))
        found += [_INDENT + next(lines) for _ in group]
    return "\n".join(found)


def _aligned(rows: Sequence[Sequence[str]], head: Sequence[str]) -> list[str]:
    widths = [max(width_of(row[column]) for row in rows) for column in range(len(rows[0]))]
    to_the_right = [column < len(head) and head[column] in _NUMBERS for column in range(len(rows[0]))]
    return [
        _GAP.join(
            padded(cell, widths[column], to_the_right=to_the_right[column]) for column, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def _notes(entries: Sequence[Entry], width: int | None) -> str:
    columns = min(width or _PROSE, _PROSE)
    return "\n".join(
        line
        for note in _remarks(entries)
        for line in textwrap.wrap(note, columns, subsequent_indent=_INDENT, break_on_hyphens=False)
    )


def _remarks(entries: Sequence[Entry]) -> Iterator[str]:
    for use, meaning in USES.items():
        yield f"{use}: {meaning}"
    yield "same, other: question and document in the same language, in different ones; means over pairs of languages"
    for source, group in groupby(benchmarks().values(), key=lambda benchmark: benchmark.source):
        published = list(group)
        yield from (f"{benchmark.name}: {benchmark.about}" for benchmark in published)
        yield f"{', '.join(benchmark.name for benchmark in published)}: from {source}"
    if not any(score.own for entry in entries for score in entry.scores):
        yield "your own beside them: rag eval retrieval FOLDER --json > own.json, then rag models --figures own.json"


def _figure(value: float | None) -> str:
    """`.444`, as papers write what never is above 1."""
    return "" if value is None else f"{value:.3f}".removeprefix("0")
