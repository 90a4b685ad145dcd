"""`rag tune retrieval`: the weights and the fusion that rank best for your questions, by cross-validation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.commands.shared import load_settings, shared_options
from rag.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.commands.tune_runs import Found
    from rag.evaluation.tuning_scores import Objective

_SHOWN_AT_ONCE = 50
"""Problems of a data set that are listed; the rest is counted."""
_MOST_LEVEL_K = 100  # as the setting


@click.command(short_help="Find the weights and the fusion that rank best, and how sure that is.")
@click.argument("data", required=False, type=click.Path(path_type=Path), metavar="[FOLDER]")
@click.option(
    "--gold", type=click.Path(path_type=Path), metavar="FILE", help="Questions whose sources the index holds."
)
@click.option(
    "--objective",
    type=click.Choice(["mean", "all", "foreign", "one", "own", "pairs"]),
    default="mean",
    metavar="CASE",
    help="Whose nDCG@10 counts: mean of the cases (the default), all, foreign, one, own, or pairs of languages.",
)
@click.option("--sparse-weights", metavar="X,X…", help="Sparse weights to try, beside a dense weight of 1.")
@click.option("--level-ks", metavar="N,N…", help="Numbers of passages to try as a language's level.")
@click.option("--folds", type=click.IntRange(2, 50), default=5, metavar="N", help="Folds, by default 5.")
@click.option("--languages", multiple=True, metavar="L,L…", help="Only documents and questions in these languages.")
@click.option(
    "--max-questions", type=click.IntRange(min=2), metavar="N", help="Ask N questions, each in all its languages."
)
@click.option("--save", is_flag=True, help="Keep what was found with the index, if the gain is certain.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@shared_options
def retrieval(
    data: Path | None,
    gold: Path | None,
    objective: Objective,
    sparse_weights: str | None,
    level_ks: str | None,
    folds: int,
    languages: tuple[str, ...],
    max_questions: int | None,
    save: bool,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Find the weights and the fusion that rank best for your questions, and how sure that is.

    FOLDER is a data set and --gold a file of questions over the index, both as `rag eval retrieval` reads them. Some
    sixty rankings are tried. Each fifth of the questions is answered with the ranking that is best for the others; what
    that gains over the present settings is told with its 95 % interval, so that chance is not taken for a gain.

    Nothing is changed without --save, and nothing that may be chance is saved. What is saved lies in tuning.json in
    the folder of the index, goes before the model's own weights, and is undone by deleting that file; what you set
    yourself goes before it.

    \b
    # Questions made from your documents, then the settings that answer them best:
    rag eval generate --out gold.jsonl
    rag tune retrieval --gold gold.jsonl --save
    # A data set; what counts are answers in one foreign language:
    rag tune retrieval xquad/ --objective one --max-questions 300
    """
    from rag.commands.tune_runs import Choice, tune
    from rag.evaluation.problems import DatasetError
    from rag.evaluation.tuning import LEVEL_KS, SPARSE_WEIGHTS

    if (data is None) == (gold is None):
        raise InputError(f"give FOLDER or --gold FILE: {'neither' if data is None else 'both'} given")
    choice = Choice(
        data=data,
        gold=gold,
        objective=objective,
        folds=folds,
        sparse_weights=SPARSE_WEIGHTS if sparse_weights is None else _weights(sparse_weights),
        level_ks=LEVEL_KS if level_ks is None else _level_ks(level_ks),
        languages=_tags(languages),
        max_questions=max_questions,
        save=save,
    )
    try:
        found = tune(load_settings(store=store, collection=collection, model=model), choice)
    except DatasetError as error:
        return _listed(error.problems)
    for remark in found.remarks:
        click.echo(f"rag tune retrieval: {remark}", err=True)
    _show(found, as_json=as_json)
    return 0


def _weights(text: str) -> tuple[float, ...]:
    """Raises InputError for what is no number from 0 up."""
    found = []
    for word in _words(text, "--sparse-weights", "0,0.3,1"):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise InputError(f"--sparse-weights: {word!r} is no weight: give numbers from 0 up, as '0,0.3,1'")
        found.append(value)
    return tuple(dict.fromkeys(found))


def _level_ks(text: str) -> tuple[int, ...]:
    """Raises InputError for what is no number of passages."""
    found = []
    for word in _words(text, "--level-ks", "4,8,16"):
        if not (word.isascii() and word.isdigit() and 1 <= int(word) <= _MOST_LEVEL_K):
            raise InputError(f"--level-ks: {word!r} is none: give whole numbers from 1 to {_MOST_LEVEL_K}, as '4,8,16'")
        found.append(int(word))
    return tuple(dict.fromkeys(found))


def _words(text: str, option: str, example: str) -> list[str]:
    words = text.replace(",", " ").split()
    if not words:
        raise InputError(f"{option} is empty: give numbers with commas between, as '{example}'")
    return words


def _tags(texts: Sequence[str]) -> tuple[str, ...]:
    """Primary tags, each once.

    Raises:
        InputError: one is no language.
    """
    from rag.language import parse_tag, primary

    return tuple(dict.fromkeys(primary(parse_tag(word)) for text in texts for word in text.split(",") if word.strip()))


def _listed(problems: Sequence[str]) -> int:
    """Says what is wrong with a data set, a line each."""
    for problem in problems[:_SHOWN_AT_ONCE]:
        click.echo(" ".join(f"rag tune retrieval: {problem}".split()), err=True)
    if len(problems) > _SHOWN_AT_ONCE:
        click.echo(f"rag tune retrieval: and {len(problems) - _SHOWN_AT_ONCE} more problems", err=True)
    return 2


def _show(found: Found, *, as_json: bool) -> None:
    from rag.evaluation.tuning_table import depths_text, outcome_fields, outcome_text, tried_text, verdict
    from rag.rendering.records import to_json

    dataset, outcome = found.dataset, found.outcome
    if as_json:
        fields = {
            "dataset": dataset.name,
            "model": found.model,
            "fingerprint": found.fingerprint,
            "objective": found.objective,
            **outcome_fields(found.tried, outcome),
            "depths": [{"depth": depth, "value": round(value, 6)} for depth, value in found.depths],
            "saved": str(found.saved) if found.saved else None,
            "remarks": list(found.remarks),
        }
        click.echo(to_json(fields))
        return
    facts = [dataset.name, found.model, f"{len(dataset.documents)} documents", f"{len(dataset.questions)} questions"]
    parts = [" · ".join(facts), tried_text(found.tried, outcome), outcome_text(found.tried, outcome, found.objective)]
    if found.depths:
        parts.append(depths_text(found.depths))
    parts.append(verdict(outcome))
    if found.saved:
        parts.append(f"Saved in {found.saved}, which goes before the model's own weights; delete it to undo that.")
    elif outcome.certain:
        parts.append("Nothing is changed: --save keeps this with the index.")
    click.echo("\n\n".join(parts))
