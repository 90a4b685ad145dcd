"""`rag list`, also `ingest list`: the documents that the index holds."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from rag.commands.shared import filter_options, load_settings, shared_options

if TYPE_CHECKING:
    from rag.rendering.screen import Screen
    from rag.types import StoredDocument, Where

_HEAD = ("ingested", "chunks", "language", "source", "title")
_GAP = "  "
_NARROWEST_TITLE = 8  # columns; where less is left, a title says nothing and gives way to the source

_ORDERS: dict[str, Callable[[StoredDocument], Any]] = {
    "source": lambda document: document.source,
    "language": lambda document: document.language,
    "date": lambda document: -document.ingested_at,
    "chunks": lambda document: -document.chunk_count,
}


@click.command("list", short_help="List the documents that the index holds.")
@filter_options
@click.option(
    "--sort",
    "order",
    type=click.Choice(list(_ORDERS)),
    default="source",
    show_default=True,
    help="Order; the newest and the longest come first.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@shared_options
def list_documents(
    languages: tuple[str, ...],
    not_languages: tuple[str, ...],
    source: tuple[str, ...],
    where: tuple[str, ...],
    order: str,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> None:
    """List the documents that the index holds: when they were ingested, passages, language, source and title.

    --in goes by the language of the whole document. --source takes an exact path or URI, else a glob. No model is
    loaded.

    \b
    rag list
    rag list --in ja --sort date
    rag list --source 'policies/*' --where department=hr --json | jq -r .uri
    """
    from rag import build
    from rag.filters import where_from
    from rag.rendering.records import document_fields, to_json
    from rag.rendering.screen import Screen

    settings = load_settings(store=store, collection=collection, model=model)
    wanted = where_from(languages, source, where, not_languages)
    with closing(build.store(settings)) as index:
        documents = list(index.documents())
    found = sorted(_filtered(documents, wanted), key=lambda document: (_ORDERS[order](document), document.source))
    if as_json:
        for document in found:
            click.echo(to_json(document_fields(document)))
    else:
        if found:
            click.echo(_table(found, Screen.of(sys.stdout, right_to_left=settings.right_to_left)))
        click.echo(_totals(found, documents, source), err=True)


def _filtered(documents: Sequence[StoredDocument], wanted: Where) -> list[StoredDocument]:
    from rag.commands.stored_documents import KnownSources
    from rag.language import primary

    if wanted.sources:
        known = KnownSources(documents)
        uris = {document.uri for word in wanted.sources for document in known.any(word)}
        documents = [document for document in documents if document.uri in uris]
    return [
        document
        for document in documents
        if (not wanted.languages or primary(document.language) in wanted.languages)
        and primary(document.language) not in wanted.not_languages
        and all(document.metadata.get(key) == value for key, value in wanted.metadata.items())
    ]


def _table(documents: Sequence[StoredDocument], screen: Screen) -> str:
    """Lines aligned by the columns that their characters take.

    Dates and numbers come first: a terminal that orders right-to-left text takes the direction of the whole line from
    its first letter.

    Args:
        documents: at least one.
        screen: titles are cut to its width; for a pipe nothing is cut or added.
    """
    from rag.normalization import printable, visible
    from rag.rendering.cells import cut, padded, width_of
    from rag.rendering.directions import oriented
    from rag.rendering.text import local_time

    rows = [
        _HEAD,
        *(
            (
                local_time(document),
                str(document.chunk_count),
                document.language,
                printable(document.source),
                visible(" ".join(document.title.split())),
            )
            for document in documents
        ),
    ]
    widths = [max(width_of(row[column]) for row in rows) for column in range(len(_HEAD))]
    width = screen.width
    left = None if width is None else width - sum(widths[:-1]) - len(_GAP) * (len(_HEAD) - 1)
    lines = []
    for row in rows:
        *cells, title = (padded(cell, widths[at], to_the_right=at == 1) for at, cell in enumerate(row))
        title = title.rstrip()
        if left is not None:
            title = cut(title, left) if left >= _NARROWEST_TITLE else ""
        lines.append(_GAP.join([*cells[:-1], oriented(cells[-1], screen), oriented(title, screen)]).rstrip())
    return "\n".join(lines)


def _totals(found: Sequence[StoredDocument], held: Sequence[StoredDocument], sources: Sequence[str]) -> str:
    from rag.rendering.text import counted

    if not held:
        return "The index holds no document: bring some in with `ingest PATH…`"
    if not found:
        return f"No document found among {len(held)}.{_nearest(held, sources)}"
    languages = Counter(document.language for document in found)
    parts = [
        counted(len(found), "document") + ("" if len(found) == len(held) else f" of {len(held)}"),
        counted(sum(document.chunk_count for document in found), "chunk"),
        ", ".join(f"{count} {tag}" for tag, count in sorted(languages.items(), key=lambda each: (-each[1], each[0]))),
    ]
    return "; ".join(parts)


def _nearest(held: Sequence[StoredDocument], sources: Sequence[str]) -> str:
    from rag.commands.stored_documents import KnownSources

    known = KnownSources(held)
    near = dict.fromkeys(name for word in sources if not known.any(word) for name in known.nearest(word))
    return f" Nearest: {', '.join(repr(name) for name in near)}" if near else ""
