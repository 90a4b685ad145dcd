"""`rag eval retrieval`: figures for every pair of languages, over a data set or the index as it is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.commands.shared import shared_options
from rag.errors import InputError

if TYPE_CHECKING:
    from rag.commands.eval_runs import Results
    from rag.evaluation.gates import Gate
    from rag.evaluation.results import Measure

_SHOWN_AT_ONCE = 50
"""Problems of a data set that are listed; the rest is counted."""


@click.command(short_help="Measure retrieval for every pair of languages.")
@click.argument("data", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER|FILE]...")
@click.option(
    "--gold", type=click.Path(path_type=Path), metavar="FILE", help="Questions whose sources the index holds."
)
@click.option("--mode", type=click.Choice(["hybrid", "dense", "sparse"]), help="Which scores rank.")
@click.option("--fusion", type=click.Choice(["normalized", "weighted", "rrf"]), help="How hybrid ranks.")
@click.option("--dense-weight", metavar="X", help="Weight of the dense score in hybrid.")
@click.option("--sparse-weight", metavar="X", help="Weight of the sparse score in hybrid.")
@click.option(
    "--compare", multiple=True, metavar="SPEC", help="A run, as 'dense' or 'hybrid sparse=1.0 model=M'; repeatable."
)
@click.option("--languages", multiple=True, metavar="L,L…", help="Only documents and questions in these languages.")
@click.option(
    "--max-questions", type=click.IntRange(min=1), metavar="N", help="Ask N questions, each in all its languages."
)
@click.option(
    "--measure",
    type=click.Choice(["nDCG@10", "R@1", "R@10", "R@100", "RR@10"]),
    metavar="M",
    help="What the matrix shows: nDCG@10 (the default), R@1 (of bitext), R@10, R@100, RR@10.",
)
@click.option("--min-ndcg", multiple=True, metavar="X", help="Fail below this nDCG@10: 0.4, de-ja=0.4 or one=0.2.")
@click.option("--min-recall", multiple=True, metavar="X", help="The same for recall@10, of bitext for accuracy@1.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@shared_options
def retrieval(
    data: tuple[Path, ...],
    gold: Path | None,
    mode: str | None,
    fusion: str | None,
    dense_weight: str | None,
    sparse_weight: str | None,
    compare: tuple[str, ...],
    languages: tuple[str, ...],
    max_questions: int | None,
    measure: Measure | None,
    min_ndcg: tuple[str, ...],
    min_recall: tuple[str, ...],
    report: Path | None,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Measure retrieval for every pair of languages, and where one index holds them all.

    FOLDER has corpus.jsonl (id, lang, text, title) and queries.jsonl (id, lang, text, gold), or gold in qrels.tsv or
    qrels/test.tsv: all documents are ranked exactly. --gold measures the index as it is; its lines have question and
    source. With two --compare or more, each run is tested against the first.

    FILE is bitext, a translation a line, and several may be given, or folders of them: en-TAG.tsv, as en-pt-BR.tsv,
    with both sentences, other names with language, English and translation (.tsv or .tsv.gz). Each sentence is looked
    for among those of its two languages alone.

    \b
    rag eval retrieval xquad/ --compare dense --compare 'hybrid sparse=1.0' --report xquad.html
    # A build fails where German questions find Japanese documents no more:
    rag eval retrieval --gold questions.jsonl --min-ndcg de-ja=0.4 --min-recall 0.6
    # Accuracy@1 of translations, in two languages:
    rag eval retrieval tatoeba.tsv.gz --mode dense --languages de,fr
    # A quick look, for programs:
    rag eval retrieval xquad/ --max-questions 100 --json | jq '.runs[0].matrix'
    """
    from rag.commands.eval_runs import Choice, over_dataset, over_index
    from rag.evaluation import bitext, gates, specs
    from rag.evaluation.problems import DatasetError

    _require_usable(data, gold, report)
    of_bitext = bool(data) and all(bitext.is_bitext(path) for path in data)
    retrieval_settings = {
        name: value
        for name, value in (
            ("mode", mode),
            ("fusion", fusion),
            ("dense_weight", dense_weight),
            ("sparse_weight", sparse_weight),
        )
        if value is not None
    }
    choice = Choice(
        store=store,
        collection=collection,
        model=model,
        retrieval=retrieval_settings,
        runs=tuple(specs.parse(spec) for spec in compare),
        languages=_tags(languages),
        max_questions=max_questions,
        gates=(
            *gates.parse(min_ndcg, "nDCG@10", "--min-ndcg"),
            *gates.parse(min_recall, "R@1" if of_bitext else "R@10", "--min-recall"),
        ),
    )
    try:
        results = over_index(gold, choice) if gold else over_dataset(data, choice)
    except DatasetError as error:
        return _listed(error.problems)
    for remark in results.remarks:
        click.echo(f"rag eval retrieval: {remark}", err=True)
    _show(results, measure or ("R@1" if of_bitext else "nDCG@10"), as_json=as_json)
    code = _gated(results, choice.gates)  # first, so that a page that cannot be written hides no value that fell
    if report:
        from rag.evaluation.report import write

        write([measured.evaluation for measured in results.measured], results.comparisons, report)
    return code


def _tags(texts: Sequence[str]) -> tuple[str, ...]:
    """Primary tags, each once.

    Raises:
        InputError: one is no language.
    """
    from rag.language import parse_tag, primary

    words = [word for text in texts for word in text.split(",") if word.strip()]
    if texts and not words:
        raise InputError("--languages is empty: give tags with commas between, as 'de,fr'")
    return tuple(dict.fromkeys(primary(parse_tag(word)) for word in words))


def _require_usable(data: tuple[Path, ...], gold: Path | None, report: Path | None) -> None:
    """Refuses what would only fail after minutes.

    Raises:
        InputError: not exactly one of data set and gold file, or a report that cannot be written.
    """
    if bool(data) == (gold is not None):
        given = "both are given" if data else "neither is given"
        raise InputError(f"give FOLDER or --gold FILE: {given}")
    if report:
        from rag.evaluation.report import check

        check(report)


def _listed(problems: Sequence[str]) -> int:
    """Says what is wrong with a data set, a line each."""
    for problem in problems[:_SHOWN_AT_ONCE]:
        click.echo(" ".join(f"rag eval retrieval: {problem}".split()), err=True)
    if len(problems) > _SHOWN_AT_ONCE:
        click.echo(f"rag eval retrieval: and {len(problems) - _SHOWN_AT_ONCE} more problems", err=True)
    return 2


def _show(results: Results, measure: Measure, *, as_json: bool) -> None:
    from rag.evaluation.fields import comparison_fields, evaluation_fields
    from rag.evaluation.table import comparison_text, evaluation_text
    from rag.rendering.records import to_json
    from rag.rendering.screen import Screen

    if as_json:
        fields = {
            "runs": [evaluation_fields(measured.evaluation) for measured in results.measured],
            "comparisons": [comparison_fields(each) for each in results.comparisons],
            "remarks": list(results.remarks),
        }
        click.echo(to_json(fields))
        return
    width = Screen.of(sys.stdout).width
    parts = [evaluation_text(measured.evaluation, measure, width) for measured in results.measured]
    parts += [comparison_text(each, measure) for each in results.comparisons]
    click.echo("\n\n\n".join(parts))


def _gated(results: Results, wanted: Sequence[Gate]) -> int:
    from rag.evaluation.gates import fallen

    lines = [line for measured in results.measured for line in fallen(measured, wanted)]
    for line in lines:
        click.echo(f"rag eval retrieval: {line}", err=True)
    return 1 if lines else 0
