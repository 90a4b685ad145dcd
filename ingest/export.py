"""`ingest export`: the index as a file, to be moved elsewhere without the model."""

from __future__ import annotations

import sys
from contextlib import closing

import click

from rag.commands.shared import load_settings, shared_options


@click.command(short_help="Write the index to a file that can be moved.")
@click.argument("file", metavar="FILE|-")
@shared_options
def export(file: str, store: str | None, collection: str | None, model: str | None) -> int:
    """Write the index to FILE, or to the standard output for -: documents, chunks and vectors, a line of JSON each.

    `ingest import` makes an index of it on another machine or in another kind of store. No model is needed for either.
    FILE is compressed if its name ends in .gz, and replaced only when the new one is whole.

    \b
    ingest export library.jsonl.gz
    ingest export - | ssh host ingest import -
    """
    from ingest.archive import write_archive
    from ingest.archive_files import STREAM, written
    from rag import build
    from rag.commands.progress import progress
    from rag.errors import InputError
    from rag.rendering.text import counted

    if file == STREAM and sys.stdout.isatty():
        raise InputError("an archive is not for the screen: give a FILE, or write - into a pipe")
    settings = load_settings(store=store, collection=collection, model=model)
    with closing(build.store(settings)) as index, progress("exporting") as show:
        index.info()  # where there is no index no file is begun
        with written(file) as stream:
            report = write_archive(index, stream, show)
    click.echo(f"{counted(report.written, 'document')} ({counted(report.chunks, 'chunk')}) exported", err=True)
    return 0
