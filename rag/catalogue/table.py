"""The list of models for a terminal: tables where they fit into its width, else a block for each model."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from rag.catalogue.listing import Entry, Score
from rag.catalogue.models import USES, benchmarks
from rag.normalization import printable
from rag.rendering.cells import padded, width_of
from rag.rendering.text import readable_size

_GAP = "  "
_INDENT = "    "
_NO_BREAK = "\u00a0"  # in a command, which is copied whole
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
    parts = [_table(_HEAD, known, width) or _blocks(known, width or _PROSE)]
    parts += [_table(_SCORES, scored, width) or _grouped(scored, width or _PROSE)] if scored else []
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
    counted = f"you, {score.questions} question{'s' * (score.questions != 1)}"
    by = (counted if score.own else "published") + (", other weights" if score.other_weights else "")
    figures = (_figure(score.within), _figure(score.across))
    return (*figures, score.metric, printable(score.benchmark), printable(score.ranking), by)


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], width: int | None) -> str | None:
    """One line a row, the model last; None if that is too wide."""
    lines = _aligned([(*head, "model"), *((*cells, printable(name)) for name, cells in rows)], head)
    return "\n".join(lines) if width is None or max(map(width_of, lines)) <= width else None


def _blocks(rows: Sequence[tuple[str, Sequence[str]]], width: int) -> str:
    """Each model with its facts below it, those that are not known left out."""
    lines = []
    for name, (use, here, *cells) in rows:
        facts = [f"{head} {cell}" for head, cell in zip(_HEAD[2:], cells, strict=True) if cell]
        use_here = f"{use}{here and ', '}{here}"
        head = f"{name}{_GAP}{use_here}"
        lines += [head] if width_of(head) <= width else [name, _INDENT + use_here]
        lines += _packed(facts, width, at_most=3)
    return "\n".join(lines)


def _packed(facts: Sequence[str], width: int, *, at_most: int) -> list[str]:
    """As many side by side as fit; a fact that is wider than the terminal has a line for itself."""
    lines: list[list[str]] = []
    for fact in facts:
        if lines and len(lines[-1]) < at_most and width_of(_INDENT + _GAP.join([*lines[-1], fact])) <= width:
            lines[-1].append(fact)
        else:
            lines.append([fact])
    return [_INDENT + _GAP.join(line) for line in lines]


def _grouped(rows: Sequence[tuple[str, Sequence[str]]], width: int) -> str:
    """Each model once, its figures below it in columns that are the same for all; without columns if too wide."""
    aligned = [_INDENT + line for line in _aligned([_SCORES, *(cells for _, cells in rows)], _SCORES)]
    in_columns = max(map(width_of, aligned)) <= width
    lines = iter(aligned)
    head = next(lines)
    found = [head] if in_columns else []
    for name, group in groupby(rows, key=lambda row: row[0]):
        found.append(printable(name))
        for _, (same, other, *cells) in group:
            line = next(lines)
            figures = [f"{label} {value}" for label, value in (("same", same), ("other", other)) if value]
            found += [line] if in_columns else _packed([*figures, *cells], width, at_most=len(_SCORES))
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
        for line in textwrap.wrap(
            note, columns, subsequent_indent=_INDENT, break_on_hyphens=False, break_long_words=False
        )
    ).replace(_NO_BREAK, " ")


def _remarks(entries: Sequence[Entry]) -> Iterator[str]:
    for use, meaning in USES.items():
        yield f"{use}: {meaning}"
    yield "same, other: question and document in the same language, in different ones; means over pairs of languages"
    for source, group in groupby(benchmarks().values(), key=lambda benchmark: benchmark.source):
        published = list(group)
        yield from (f"{benchmark.name}: {benchmark.about}" for benchmark in published)
        yield f"{', '.join(benchmark.name for benchmark in published)}: from {source}"
    if not any(score.own for entry in entries for score in entry.scores):
        commands = ("rag eval retrieval FOLDER --json > own.json", "rag models --figures own.json")
        first, second = (command.replace(" ", _NO_BREAK) for command in commands)
        yield f"your own beside them: {first} and then {second}"


def _figure(value: float | None) -> str:
    """`.444`, as papers write what never is above 1."""
    return "" if value is None else f"{value:.3f}".removeprefix("0")
