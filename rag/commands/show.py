"""`rag show`: a document as the index holds it, or a passage with its neighbours."""

from __future__ import annotations

import re
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import click

from rag.commands.shared import load_settings, shared_options

if TYPE_CHECKING:
    from rag.ports import PassageReader
    from rag.rendering.screen import Screen
    from rag.types import Chunk, StoredDocument

_WITH_ORDINAL = re.compile(r"(?P<source>.+)#(?P<ordinal>[0-9]{1,9})", re.DOTALL)


@click.command()
@click.argument("source", metavar="SOURCE[#ORDINAL]")
@click.option(
    "--neighbours",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="Passages to show on either side of #ORDINAL.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: the document, then its passages.")
@shared_options
def show(
    source: str,
    neighbours: int,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> None:
    """Show the document SOURCE as the index holds it: what is known of it, then its passages in order.

    SOURCE is what search and list show: a relative or absolute path or a URI; the end of a path will do where only
    one document ends so. #ORDINAL counts passages from 0, as --json does, and shows that passage, marked with >,
    between its neighbours. No model is loaded.

    \b
    rag show docs/handbuch.pdf
    rag show handbuch.pdf#3
    rag show handbuch.pdf#3 --neighbours 0 --json | jq -r 'select(has("ordinal")).text'
    """
    from rag import build
    from rag.rendering.records import chunk_fields, document_fields, to_json
    from rag.rendering.screen import BOLD, Screen

    settings = load_settings(store=store, collection=collection, model=model)
    with closing(build.store(settings)) as index:
        document, ordinal = _asked_for(index, source)
        chunks = list(index.chunks(document.uri))
    if ordinal is not None:
        chunks = _around(chunks, ordinal, neighbours, source)
    if as_json:
        click.echo(to_json(document_fields(document)))
        for chunk in chunks:
            click.echo(to_json(chunk_fields(chunk) | {"neighbour": ordinal not in (None, chunk.ordinal)}))
        return
    screen = Screen.of(sys.stdout)
    click.echo(_header(document, screen))
    for chunk in chunks:
        place = _place(chunk, document, marked=chunk.ordinal == ordinal)
        click.echo(f"\n{screen.styled(place, BOLD)}\n{chunk.text}")


def _asked_for(index: PassageReader, word: str) -> tuple[StoredDocument, int | None]:
    """The document and the passage of it; a document whose own name ends in #3 wins over a passage 3.

    Raises:
        InputError: no document is called so, or several are.
    """
    from rag.commands.stored_documents import KnownSources
    from rag.errors import InputError

    known = KnownSources(index.documents())
    passage = _WITH_ORDINAL.fullmatch(word)
    if passage is None:
        return known.one(word), None
    try:
        return known.one(word), None
    except InputError:
        return known.one(passage["source"]), int(passage["ordinal"])


def _around(chunks: list[Chunk], ordinal: int, neighbours: int, word: str) -> list[Chunk]:
    """Passage `ordinal` and those at most `neighbours` away.

    Raises:
        InputError: there is no such passage.
    """
    from rag.errors import InputError

    if ordinal not in {chunk.ordinal for chunk in chunks}:
        raise InputError(f"there is no passage {word!r}: the document has #0 to #{len(chunks) - 1}")
    return [chunk for chunk in chunks if abs(chunk.ordinal - ordinal) <= neighbours]


def _header(document: StoredDocument, screen: Screen) -> str:
    from rag.normalization import printable, visible
    from rag.rendering.screen import BOLD
    from rag.rendering.text import local_time

    rows = {
        "source": printable(document.source),
        "uri": document.uri,
        "language": _language(document.language),
        "format": document.format,
        "chunks": str(document.chunk_count),
        "ingested": local_time(document),
    }
    metadata = {f"  {key}": visible(" ".join(value.split())) for key, value in sorted(document.metadata.items())}
    if metadata:
        rows |= {"metadata": "", **metadata}
    width = max(map(len, rows))
    lines = [f"{name:<{width}}  {value}".rstrip() for name, value in rows.items()]
    return "\n".join([screen.styled(visible(" ".join(document.title.split())), BOLD), *lines])


def _place(chunk: Chunk, document: StoredDocument, *, marked: bool) -> str:
    """The line above a passage; its language only where it is not the document's."""
    parts = [
        f"{'> ' if marked else ''}#{chunk.ordinal}",
        f"p. {chunk.page}" if chunk.page else "",
        chunk.heading,
        _language(chunk.language) if chunk.language != document.language else "",
    ]
    return " · ".join(part for part in parts if part)


def _language(tag: str) -> str:
    from rag.language import name

    return f"{name(tag, 'en')} ({tag})"
