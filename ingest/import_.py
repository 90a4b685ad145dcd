"""`ingest import`: what `ingest export` wrote becomes an index, or part of one."""

from __future__ import annotations

import threading
from contextlib import closing

import click

from rag.commands.shared import load_settings, shared_options
from rag.interruption import interruptible


@click.command("import", short_help="Bring an exported index in.")
@click.argument("file", metavar="FILE|-")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@shared_options
def import_(file: str, as_json: bool, store: str | None, collection: str | None, model: str | None) -> int:
    """Bring what `ingest export` wrote to FILE, or what the standard input holds for -, into the index.

    Where there is no index one is made; one that is there must be of the same model. A document that it has in the same
    version is left as it is, one in another version is replaced. Each document is brought in whole or not at all, so
    the same command goes on after an interruption. Vectors cannot be checked without the model: import what you trust.

    \b
    ingest import library.jsonl.gz
    ingest import - --store http://localhost:6333 < library.jsonl
    """
    from ingest.afterwards import optimized
    from ingest.archive import read_archive
    from ingest.archive_files import opened
    from rag import build
    from rag.commands.progress import progress
    from rag.rendering.records import to_json
    from rag.rendering.text import counted

    settings = load_settings(store=store, collection=collection, model=model)
    stop = threading.Event()
    with (
        interruptible(stop, _ending, ends=True),
        opened(file) as stream,
        closing(build.store(settings)) as index,
        progress("importing") as show,
    ):
        key = settings.store.tenant_key
        report = read_archive(stream, index, tenant_key=key, stop=stop, on_progress=show)
        if not report.interrupted:
            optimized(index, settings, stop=stop)
    counts = {"added": report.written, "updated": report.updated, "unchanged": report.unchanged}
    if as_json:
        click.echo(to_json({"documents": counts, "chunks": report.chunks}))
    else:
        shown = [f"{count} {name}" for name, count in counts.items() if count] or ["no documents"]
        click.echo(f"{', '.join(shown)}; {counted(report.chunks, 'chunk')} written", err=True)
    if report.interrupted:
        click.echo("ingest: interrupted: the same command goes on", err=True)
        return 130
    return 0


def _ending() -> None:
    click.echo("ingest: ends after the document at hand; Ctrl-C again ends it at once", err=True)
