"""`rag ask`: an answer in the asker's language, with its sources."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from rag.commands.shared import filter_options, load_settings, question_argument, shared_options

if TYPE_CHECKING:
    from pathlib import Path

    from rag_config.settings import Settings

    from rag.rendering.screen import Screen
    from rag.types import Answer, Where


@click.command()
@question_argument
@click.option("--lang", "language", metavar="L", help="Language to answer in, such as fr; by default the question's.")
@click.option(
    "-k",
    "count",
    default=8,
    show_default=True,
    type=click.IntRange(1, 100),
    metavar="N",
    help="Passages to answer from.",
)
@filter_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--no-stream", is_flag=True, help="Show the answer when it is whole.")
@click.option("--show-prompt", is_flag=True, help="Show what the language model would be sent, and send nothing.")
@shared_options
def ask(
    question: str,
    language: str | None,
    count: int,
    languages: tuple[str, ...],
    not_languages: tuple[str, ...],
    source: tuple[str, ...],
    where: tuple[str, ...],
    as_json: bool,
    no_stream: bool,
    show_prompt: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Answer QUESTION in its own language from documents in any, with numbered sources below.

    Without a language model (RAG_LLM__MODEL) the best sentences of the documents are quoted.

    \b
    rag ask "What torque do the M8 bolts need?"
    # Ask in Japanese, get the answer in English, as one JSON object:
    rag ask "有給休暇は何日ですか" --lang en --json
    # A question from a file, answered from contracts in German alone:
    cat question.txt | rag ask - --in de --source 'contracts/*'
    """
    from rag.api import open_rag
    from rag.filters import where_from
    from rag.locales import load
    from rag.rendering.markdown import MarkdownStream
    from rag.rendering.records import answer_fields, to_json
    from rag.rendering.screen import Screen
    from rag.types import Answer, Restarted

    settings = load_settings(store=store, collection=collection, model=model)
    screen = Screen.of(sys.stdout, right_to_left=settings.right_to_left)
    within = where_from(languages, source, where, not_languages)
    if show_prompt:
        return _show_prompt(settings, question, language, count, within, as_json=as_json)
    answer: Answer | None = None
    with open_rag(settings) as rag, ExitStack() as until_shown:
        shown: MarkdownStream | None = None
        for event in rag.stream(question, language=language, k=count, where=within):
            if isinstance(event, Answer):
                answer = event
            elif isinstance(event, Restarted):
                if shown is not None:
                    until_shown.close()
                    shown = None
                    click.echo(f"\n({load(event.language, settings.answer.templates).restarted})\n")
            elif not (as_json or no_stream):
                shown = shown or until_shown.enter_context(MarkdownStream(sys.stdout, screen))
                shown.feed(event.text)
    assert answer is not None, "a stream ends with its answer"
    if as_json:
        click.echo(to_json(answer_fields(answer)))
    else:
        if shown is None:
            with MarkdownStream(sys.stdout, screen) as whole:
                whole.feed(answer.text)
        _show_sources(answer, screen, settings.answer.templates)
    return 0 if answer.complete else 1


def _show_prompt(
    settings: Settings, question: str, language: str | None, count: int, within: Where, *, as_json: bool
) -> int:
    from rag import prompt
    from rag.api import open_rag
    from rag.normalization import without_controls
    from rag.rendering.records import to_json

    with open_rag(settings) as rag:
        request = rag.request(question, language=language, k=count, where=within)
    if request is None:
        click.echo("rag: no passage is found, so no language model is asked", err=True)
    elif as_json:
        click.echo(to_json({"messages": [{"role": each.role, "content": each.content} for each in request.messages]}))
    else:
        click.echo(without_controls(prompt.show(request)))
    return 0


def _show_sources(answer: Answer, screen: Screen, templates: Path | None) -> None:
    from rag.rendering.passages import laid_out
    from rag.rendering.text import remarks, sources_text

    if answer.citations:
        click.echo(f"\n{laid_out(sources_text(answer, templates), screen)}")
    for remark in remarks(answer, templates):
        click.echo(f"rag: {remark}", err=True)
