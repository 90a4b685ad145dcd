"""`rag train distill`: a small cross-lingual student of an English teacher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.commands.shared import debug_option, help_option

if TYPE_CHECKING:
    from rag.training.stages import Event


@click.command(short_help="Train a small cross-lingual embedding model from an English teacher.")
@click.option(
    "--teacher", required=True, metavar="ID|DIR", help="Any sentence-transformers model: hub id, or folder of one."
)
@click.option(
    "--parallel",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of en-TAG.tsv[.gz]: English, tab, translation[, tab, source] a line.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the student; must not exist yet.",
)
@click.option(
    "--recipe", "name", metavar="NAME|FILE", help="Languages, sources, sizes and steps: a TOML file, or pocket-m3."
)
@click.option(
    "--init",
    metavar="ID|DIR",
    help="Start from this student instead of from nothing: for languages or a domain of your own.",
)
@click.option(
    "--tokenizer",
    metavar="ID|DIR",
    help="Take over the tokenizer of this checkpoint instead of training one.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of checkpoints and of the teacher's vectors; by default OUT.training.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), metavar="N", help="Of what is drawn."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as things happen.")
@debug_option
@help_option
def distill(
    teacher: str,
    parallel: Path,
    out: Path,
    name: str | None,
    init: str | None,
    tokenizer: str | None,
    work: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Train a student that puts a sentence and its translation where an English teacher puts the English one.

    The student has BGE-M3's layout and its three heads, so --model takes it as it takes any other. It is trained on
    the CPU, in bf16 where the processor has it, in three stages: a bag of tokens, the transformer that starts as that
    bag, and the sparse and ColBERT heads. After each checkpoint it says how many held-out translations it finds.

    What is done is kept in --work: a run that was killed goes on when the same command is started again, and ends with
    the same weights. Remove that folder when you have what you wanted.

    \b
    rag train distill --teacher sentence-transformers/all-MiniLM-L6-v2 --parallel pairs/ --out student/
    # The bundled model, from scratch:
    rag train distill --recipe pocket-m3 --teacher all-MiniLM-L6-v2/ --parallel parallel/ --out pocket-m3/
    # A few thousand pairs of your own on top of it:
    rag train distill --init pocket-m3 --teacher all-MiniLM-L6-v2/ --parallel ours/ --out ours-m3/
    """
    from rag.training import recipe as recipes
    from rag.training.distill import Run, distill

    recipe = recipes.load(name) if name else recipes.Recipe()
    run = Run(
        teacher=teacher,
        parallel=parallel,
        out=out,
        work=work or out.with_name(f"{out.name}.training"),
        recipe=recipe,
        seed=seed,
        init=init,
        tokenizer=tokenizer,
    )
    tell = _as_json if as_json else _as_text
    accuracy = distill(run, tell)
    if not as_json:
        click.echo(f"{out}: accuracy@1 of held-out translations {_mean(accuracy)}; rag search --model {out} … uses it")


def _as_json(event: Event) -> None:
    click.echo(json.dumps(event, ensure_ascii=False))


def _as_text(event: Event) -> None:
    line = _line(event)
    if line:
        click.echo(line, err=True)


def _line(event: Event) -> str:
    """What a person wants to know of an event; empty: nothing."""
    match event:
        case {"event": "started", "resumed": True}:
            return "going on with the run that was begun here"
        case {"event": "left out", "file": file, "lines": lines, "first": first}:
            return f"{file}: {lines} lines left out ({first})"
        case {"event": "tokenizer", "pieces": pieces}:
            return f"tokenizer: {pieces:,} pieces"
        case {"event": "teacher", "texts": texts, "done": done, "of": of}:
            return f"teacher: {done:,} of {of:,} {texts} texts"
        case {"event": "pairs", "pairs": pairs, "english": english}:
            return f"{pairs:,} pairs, {english:,} English texts"
        case {"event": "resumed", "stage": stage, "step": step, "steps": steps}:
            return f"{stage}: going on from step {step:,} of {steps:,}"
        case {"event": "step", "stage": stage, "step": step, "steps": steps, "loss": loss, "steps_per_second": pace}:
            return f"{stage}: step {step:,} of {steps:,}, loss {loss:.3f}, {pace:.2f} steps/s"
        case {"event": "evaluation", "stage": stage, "accuracy": dict() as accuracy}:
            each = " ".join(f"{language} {figure:.2f}" for language, figure in accuracy.items())
            return f"{stage}: accuracy@1 of held-out translations {_mean(accuracy)}: {each}"
        case _:
            return ""


def _mean(accuracy: dict[str, float]) -> str:
    return f"{sum(accuracy.values()) / len(accuracy):.3f}" if accuracy else "not measured: no pairs are held out"
