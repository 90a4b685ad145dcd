"""`rag search`: the passages that fit a question, best first."""

from __future__ import annotations

import sys
from itertools import zip_longest

import click

from rag.commands.shared import filter_options, load_settings, question_argument, shared_options


@click.command()
@question_argument
@click.option(
    "-k", "count", default=10, show_default=True, type=click.IntRange(1, 1000), metavar="N", help="Passages to show."
)
@click.option("--mode", type=click.Choice(["hybrid", "dense", "sparse"]), help="Which scores rank.")
@filter_options
@click.option("--explain", "--why", is_flag=True, help="Below each passage its scores, and why it is before the next.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@shared_options
def search(
    question: str,
    count: int,
    mode: str | None,
    languages: tuple[str, ...],
    not_languages: tuple[str, ...],
    source: tuple[str, ...],
    where: tuple[str, ...],
    explain: bool,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> None:
    """Find the passages that answer QUESTION, in whatever language they are written.

    \b
    rag search "What torque do the M8 bolts need?"
    # The best five, in Japanese or English alone:
    rag search "Wie lange gilt die Garantie?" --in ja --in en -k 5
    # Which scores and words brought each passage up, and why it is before the next:
    rag search "remote work" --explain
    # For programs: one JSON object a line.
    rag search "remote work" --source 'policies/*' --where department=hr --json | jq -r .text
    """
    from rag.api import open_rag
    from rag.commands.search_explanation import advantage, explanation
    from rag.filters import where_from
    from rag.normalization import printable
    from rag.rendering.passages import laid_out
    from rag.rendering.records import passage_fields, to_json
    from rag.rendering.screen import Screen
    from rag.rendering.text import passage_text

    settings = load_settings(store=store, collection=collection, model=model, mode=mode)
    screen = Screen.of(sys.stdout, right_to_left=settings.right_to_left)
    with open_rag(settings) as rag:
        found = rag.search(question, k=count, where=where_from(languages, source, where, not_languages))
        matched = rag.matched_terms(question, found.passages) if explain else [()] * len(found.passages)
    for passage, after, terms in zip_longest(found.passages, found.passages[1:], matched):
        if as_json:
            fields = passage_fields(passage)
            if explain:
                fields["matched_terms"] = [{"term": each.term, "weight": round(each.weight, 6)} for each in terms]
                parts = advantage(passage, after, found.ranking) if after else {}
                fields["before_next"] = {part: round(value, 6) for part, value in parts.items()} or None
            click.echo(to_json(fields))
        else:
            click.echo(laid_out(passage_text(passage), screen))
            if explain:
                click.echo(laid_out(explanation(passage, after, terms, found.ranking), screen))
    for remark in found.remarks:
        click.echo(f"rag: {printable(remark)}", err=True)
    if not found.passages and not as_json:
        click.echo("No passage found.", err=True)
