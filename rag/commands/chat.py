"""`rag chat`: a conversation with the documents."""

from __future__ import annotations

import click

from rag.commands.shared import filter_options, load_settings, shared_options


@click.command()
@click.option("--continue", "go_on", is_flag=True, help="Go on with the latest conversation.")
@click.option("--resume", "name", metavar="ID", help="Go on with the conversation whose id begins so.")
@click.option("--lang", "language", metavar="L", help="Language to answer in, such as fr; by default each question's.")
@click.option(
    "-k",
    "count",
    default=8,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, 100),
    help="Passages to answer from.",
)
@click.option("--mode", type=click.Choice(["hybrid", "dense", "sparse"]), help="Which scores rank.")
@filter_options
@shared_options
def chat(
    go_on: bool,
    name: str | None,
    language: str | None,
    count: int,
    mode: str | None,
    languages: tuple[str, ...],
    not_languages: tuple[str, ...],
    source: tuple[str, ...],
    where: tuple[str, ...],
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Talk with the documents: ask, ask on, look at the original words.

    Each question is answered in its own language and knows the turns before it. /help shows the commands: /quote N the
    original passage, /why the scores, /lang the language of the answers, and more. Conversations are kept in the
    user's data folder (RAG_CHAT__PATH; RAG_CHAT__KEEP=false keeps none). From a pipe, each line is a question.

    \b
    rag chat
    # Go on with the latest conversation:
    rag chat --continue
    # Search Japanese passages alone, answer in German:
    rag chat --in ja --lang de
    # Questions and commands from a pipe:
    printf 'How long is the warranty?\\n/json\\n' | rag chat
    """
    import sys

    from rag.chat.conversation import Options
    from rag.chat.repl import talk
    from rag.chat.sessions import SessionFolder
    from rag.errors import InputError
    from rag.filters import where_from
    from rag.language import parse_tag

    settings = load_settings(store=store, collection=collection, model=model, mode=mode)
    if sys.stdin is None:
        raise InputError("the standard input is closed: questions come from a keyboard or a pipe")
    if go_on and name:
        raise InputError(f"--continue and --resume {name} name two conversations: give one of them")
    kept = SessionFolder(settings.chat.path, keep=settings.chat.keep)
    session = kept.latest() if go_on else kept.open(name) if name else None
    options = Options(
        language=parse_tag(language) if language else None,
        where=where_from(languages, source, where, not_languages),
        k=count,
    )
    return talk(settings, options, session)
