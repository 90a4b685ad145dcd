"""`rag ask`: an answer in the asker's language, with its sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rag.commands.shared import filter_options, load_settings, shared_options

if TYPE_CHECKING:
    from rag.types import Answer


@click.command()
@click.argument("question")
@click.option("--lang", "language", metavar="L", help="Language to answer in, such as fr; by default the question's.")
@click.option("-k", "count", default=8, show_default=True, type=click.IntRange(1, 100), help="Passages to answer from.")
@filter_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--no-stream", is_flag=True, help="Show the answer when it is whole.")
@shared_options
def ask(
    question: str,
    language: str | None,
    count: int,
    languages: tuple[str, ...],
    source: tuple[str, ...],
    where: tuple[str, ...],
    as_json: bool,
    no_stream: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Answer QUESTION in its own language from documents in any.

    Without a language model (RAG_LLM__MODEL) the best sentences of the documents are quoted.

    \b
    rag ask "What torque do the M8 bolts need?"
    rag ask "有給休暇は何日ですか" --lang en --json
    """
    from rag.api import open_rag
    from rag.filters import where_from
    from rag.normalization import without_controls
    from rag.rendering.records import answer_fields, to_json
    from rag.types import TextDelta

    settings = load_settings(store=store, collection=collection, model=model)
    answer: Answer | None = None
    with open_rag(settings) as rag:
        for event in rag.stream(question, language=language, k=count, where=where_from(languages, source, where)):
            if not isinstance(event, TextDelta):
                answer = event
            elif not (as_json or no_stream):
                click.echo(without_controls(event.text), nl=False)
    assert answer is not None, "a stream ends with its answer"
    if as_json:
        click.echo(to_json(answer_fields(answer)))
    else:
        click.echo(without_controls(answer.text) if no_stream else "")
        _show_sources(answer)
    return 0 if answer.complete else 1


def _show_sources(answer: Answer) -> None:
    from rag.language import name
    from rag.locales import load
    from rag.rendering.text import sources_text

    if answer.citations:
        click.echo(f"\n{sources_text(answer)}")
    if answer.language_ok is False:
        wanted, found = name(answer.language, "en"), name(answer.answered_in, "en")
        click.echo(f"rag: the answer seems to be in {found}, not in {wanted}", err=True)
    if not answer.complete:
        click.echo(load(answer.language).incomplete, err=True)
