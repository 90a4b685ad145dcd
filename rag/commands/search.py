"""`rag search`: the passages that fit a question, best first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rag.commands.shared import filter_options, load_settings, question_argument, shared_options

if TYPE_CHECKING:
    from rag.types import MatchedTerm, Passage

_TERMS = 8  # of a passage, for people; --json has them all


@click.command()
@question_argument
@click.option(
    "-k", "count", default=10, show_default=True, type=click.IntRange(1, 1000), metavar="N", help="Passages to show."
)
@click.option("--mode", type=click.Choice(["hybrid", "dense", "sparse"]), help="Which scores rank.")
@filter_options
@click.option("--why", is_flag=True, help="Below each passage its scores and the words it shares with QUESTION.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@shared_options
def search(
    question: str,
    count: int,
    mode: str | None,
    languages: tuple[str, ...],
    source: tuple[str, ...],
    where: tuple[str, ...],
    why: bool,
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
    # Which terms and scores brought each passage up:
    rag search "remote work" --why
    # For programs: one JSON object a line.
    rag search "remote work" --source 'policies/*' --where department=hr --json | jq -r .text
    """
    from rag.api import open_rag
    from rag.filters import where_from
    from rag.rendering.passages import laid_out
    from rag.rendering.records import passage_fields, to_json
    from rag.rendering.screen import Screen
    from rag.rendering.text import passage_text

    settings = load_settings(store=store, collection=collection, model=model, mode=mode)
    screen = Screen.of(sys.stdout, right_to_left=settings.right_to_left)
    with open_rag(settings) as rag:
        passages = rag.retrieve(question, k=count, where=where_from(languages, source, where))
        matched = rag.matched_terms(question, passages) if why else [()] * len(passages)
    for passage, terms in zip(passages, matched, strict=True):
        if as_json:
            found = (
                {"matched_terms": [{"term": each.term, "weight": round(each.weight, 6)} for each in terms]}
                if why
                else {}
            )
            click.echo(to_json(passage_fields(passage) | found))
        else:
            click.echo(laid_out(passage_text(passage), screen))
            if why:
                click.echo(laid_out(_reasons(passage, terms), screen))
    if not passages and not as_json:
        click.echo("No passage found.", err=True)


def _reasons(passage: Passage, terms: Sequence[MatchedTerm]) -> str:
    """The scores of a passage and the words that it shares with the question, below what is shown of it."""
    from rag.normalization import printable

    shown = ", ".join(f"{printable(term.term)} {term.weight:.3f}" for term in terms[:_TERMS])
    more = f" and {len(terms) - _TERMS} more" if len(terms) > _TERMS else ""
    scores = f"dense {passage.dense_score:.3f}  sparse {passage.sparse_score:.3f}"
    return f"    {scores}  matched terms: {shown or 'none'}{more}"
