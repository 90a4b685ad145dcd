"""`rag search`: the passages that fit a question, best first."""

from __future__ import annotations

import click

from rag.commands.shared import filter_options, load_settings, shared_options


@click.command()
@click.argument("question")
@click.option("-k", "count", default=10, show_default=True, type=click.IntRange(1, 1000), help="Passages to show.")
@click.option("--mode", type=click.Choice(["hybrid", "dense", "sparse"]), help="Which scores rank.")
@filter_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@shared_options
def search(
    question: str,
    count: int,
    mode: str | None,
    languages: tuple[str, ...],
    source: tuple[str, ...],
    where: tuple[str, ...],
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> None:
    """Find the passages that answer QUESTION, in whatever language they are written.

    \b
    rag search "What torque do the M8 bolts need?"
    rag search "Wie lange gilt die Garantie?" --in ja --in en -k 5
    rag search "remote work" --source 'policies/*' --where department=hr --json
    """
    from rag.api import open_rag
    from rag.filters import where_from
    from rag.rendering.records import passage_fields, to_json
    from rag.rendering.text import passage_text

    settings = load_settings(store=store, collection=collection, model=model, mode=mode)
    with open_rag(settings) as rag:
        passages = rag.retrieve(question, k=count, where=where_from(languages, source, where))
    for passage in passages:
        click.echo(to_json(passage_fields(passage)) if as_json else passage_text(passage))
    if not passages and not as_json:
        click.echo("No passage found.", err=True)
