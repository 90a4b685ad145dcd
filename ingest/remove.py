"""`ingest remove`: takes documents out of the index; the files stay where they are."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import click

from rag.commands.shared import load_settings, shared_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.failures import Failures
    from rag.ports import PassageStore
    from rag.types import StoredDocument

_SHOWN_WHEN_ASKED = 20  # documents above a question, so that it stays in sight


@click.command(short_help="Take documents out of the index; the files stay.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE…")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@shared_options
def remove(
    sources: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Take the documents SOURCE… out of the index; the files themselves stay where they are.

    SOURCE is what `ingest list` shows: a relative or absolute path or a URI, else a glob, in which * crosses /. Says
    what will go and asks; where nobody can be asked, --yes is needed. Files of that name that failed to be ingested are
    forgotten: `ingest --retry-failed` does not bring them back. No model is loaded.

    \b
    ingest remove docs/old.md
    ingest remove 'drafts/*' handbuch-2019.pdf --dry-run
    ingest remove 'file:///srv/policies/*' --yes --json
    """
    from ingest.failures import Failures, resolved
    from rag import build
    from rag.commands.stored_documents import KnownSources
    from rag.errors import InputError
    from rag.locations import path_of
    from rag.rendering.text import counted

    asks = not (yes or dry_run)
    if asks and not sys.stdin.isatty():
        raise InputError(
            "nobody can be asked, as the input is no terminal: give --yes to remove, --dry-run to see what would go"
        )
    settings = load_settings(store=store, collection=collection, model=model)
    failures = Failures(settings.store.path, settings.store.collection, settings.store.url)
    with closing(build.store(settings)) as index:
        known = KnownSources(index.documents())
        found = {word: known.any(word) for word in sources}
        failed = _failed(failures, sources)
        unknown = [word for word, documents in found.items() if not documents and not failed[word]]
        for word in unknown:
            click.echo(f"ingest: {known.unknown(word)}", err=True)
        documents = list({document.uri: document for some in found.values() for document in some}.values())
        remembered = {each.path for each in failures.load()}
        forgotten = sorted(
            {path for paths in failed.values() for path in paths}
            | {resolved(path_of(document.uri)) for document in documents} & remembered
        )
        if not documents and not forgotten:
            if as_json:
                click.echo(_fields([], unknown, [], dry_run=dry_run))
            return InputError.exit_code
        if not as_json or asks:
            _announce(documents, forgotten, shorten=asks)
        if asks and documents and not click.confirm(f"Remove {_counts(documents)} from the index?", err=True):
            click.echo("ingest: nothing removed", err=True)
            return 1
        if not dry_run:
            failures.forget(forgotten)  # first: nothing may bring back what is gone
            _remove(index, documents)
    if as_json:
        click.echo(_fields(documents, unknown, forgotten, dry_run=dry_run))
    else:
        done = f"{_counts(documents)} {'would be removed' if dry_run else 'removed'}"
        more = f", {counted(len(forgotten), 'failed file')} forgotten" if forgotten else ""
        click.echo(f"{done}{more}", err=True)
    return 1 if unknown else 0


def _failed(failures: Failures, sources: Sequence[str]) -> dict[str, list[str]]:
    """By SOURCE, the paths of that name that failed to be ingested before."""
    from pathlib import Path

    from rag.commands.stored_documents import KnownSources
    from rag.types import StoredDocument

    paths = {Path(each.path).as_uri(): each.path for each in failures.load()}
    known = KnownSources(StoredDocument(uri, "", "", "", "", 0, 0.0) for uri in paths)
    return {word: [paths[each.uri] for each in known.any(word)] for word in sources}


def _announce(documents: Sequence[StoredDocument], forgotten: Sequence[str], *, shorten: bool) -> None:
    from pathlib import Path

    from rag.locations import source_of
    from rag.normalization import printable
    from rag.rendering.text import counted

    listed = documents[:_SHOWN_WHEN_ASKED] if shorten else documents
    for document in listed:
        click.echo(
            f"{printable(document.source)} ({document.language}, {counted(document.chunk_count, 'chunk')})", err=True
        )
    if len(documents) > len(listed):
        click.echo(f"… and {len(documents) - len(listed)} more: --dry-run lists them all", err=True)
    for path in forgotten[:_SHOWN_WHEN_ASKED] if shorten else forgotten:
        click.echo(f"{printable(source_of(Path(path).as_uri()))} (failed before: is not retried)", err=True)


def _remove(index: PassageStore, documents: Sequence[StoredDocument]) -> None:
    """Removes one after the other.

    Raises:
        UnavailableError: the store fails; the message says how far the removal had come.
    """
    from rag.errors import UnavailableError
    from rag.rendering.text import counted

    for done, document in enumerate(documents):
        try:
            index.remove(document.uri)
        except UnavailableError as error:
            raise type(error)(f"{error} ({done} of {counted(len(documents), 'document')} had been removed)") from error


def _fields(
    documents: Sequence[StoredDocument], unknown: Sequence[str], forgotten: Sequence[str], *, dry_run: bool
) -> str:
    from rag.rendering.records import document_fields, to_json

    return to_json(
        {
            "documents": {"removed": len(documents), "unknown": len(unknown)},
            "chunks": sum(document.chunk_count for document in documents),
            "dry_run": dry_run,
            "removed": [document_fields(document) for document in documents],
            "unknown": list(unknown),
            "forgotten": list(forgotten),
        }
    )


def _counts(documents: Sequence[StoredDocument]) -> str:
    from rag.rendering.text import counted

    chunks = sum(document.chunk_count for document in documents)
    return f"{counted(len(documents), 'document')} ({counted(chunks, 'chunk')})"
