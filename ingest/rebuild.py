"""`ingest rebuild`: the index made anew, with another model or other chunks, while the old one answers."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

import click

from rag.commands.shared import load_settings, shared_options
from rag.interruption import interruptible

if TYPE_CHECKING:
    from rag_config.settings import Settings

    from ingest.rebuilding import RebuildReport


@click.command(short_help="Make the index anew, with another model or other chunks.")
@click.option("--chunk-tokens", type=int, metavar="N", help="Longest chunk in the model's tokens.")
@click.option("--keep-missing", is_flag=True, help="Take over documents whose files are gone as they are.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--quiet", is_flag=True, help="No progress.")
@shared_options
def rebuild(
    chunk_tokens: int | None,
    keep_missing: bool,
    as_json: bool,
    quiet: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Make the index anew of its documents' files, with the model and the chunks of the settings.

    Questions are answered by the old index until the new one is whole and takes its place; so do other programs that
    have it open. The same model does not embed again what it has embedded. A rebuild that was interrupted goes on with
    the same command. Documents whose files are gone stop it, or are taken over with --keep-missing.

    \b
    ingest rebuild --model BAAI/bge-m3
    ingest rebuild --chunk-tokens 200 --keep-missing
    """
    from ingest.progress import ProgressLine
    from ingest.rebuilding import rebuild

    more = {} if chunk_tokens is None else {"ingest": {"chunk_tokens": chunk_tokens}}
    settings = load_settings(store=store, collection=collection, model=model, more=more)
    stop = threading.Event()
    with interruptible(stop, _ending, ends=True), ProgressLine(quiet or not sys.stderr.isatty()) as line:
        report = rebuild(
            settings=settings, keep_missing=keep_missing, stop=stop, on_progress=line.show, on_optimizing=line.optimize
        )
    for failure in report.failures:
        click.echo(f"ingest: {failure.source}: {failure.error}", err=True)
    for failure in report.kept:
        click.echo(f"ingest: {failure.source}: {failure.error}: taken over as it was", err=True)
    click.echo(_fields(report) if as_json else _summary(report), err=not as_json)
    if report.switched:
        for remark in _remarks(settings, report, model=model, chunk_tokens=chunk_tokens):
            click.echo(f"ingest: {remark}", err=True)
        return 1 if report.failed else 0
    if report.failures:
        click.echo("ingest: the old index stays: mend or remove what failed, or give --keep-missing", err=True)
        return 1
    click.echo(f"ingest: interrupted, {report.left} documents left: the same command goes on", err=True)
    return 130


def _ending() -> None:
    click.echo("ingest: ends after the documents at hand; Ctrl-C again ends it at once", err=True)


def _remarks(settings: Settings, report: RebuildReport, *, model: str | None, chunk_tokens: int | None) -> list[str]:
    """What is to be known from now on."""
    said = []
    if model is not None:
        said.append(f"from now on the index wants --model {model}, or RAG_EMBEDDER__MODEL={model}")
    if chunk_tokens is not None:
        said.append(f"for later documents to be cut alike, set RAG_INGEST__CHUNK_TOKENS={settings.ingest.chunk_tokens}")
    if report.untuned:
        said.append("what `rag tune retrieval` had found was for the old model and is removed: run it again")
    return said


def _fields(report: RebuildReport) -> str:
    return json.dumps(
        {
            "switched": report.switched,
            "documents": {
                "written": report.added + report.updated,
                "unchanged": report.unchanged,
                "kept": len(report.kept),
                "failed": report.failed,
            },
            "chunks": report.chunks,
            "tokens": report.tokens,
            "seconds": round(report.seconds, 3),
            "left": report.left,
            "failures": [{"source": failure.source, "error": failure.error} for failure in report.failures],
            "kept": [failure.source for failure in report.kept],
        },
        ensure_ascii=False,
    )


def _summary(report: RebuildReport) -> str:
    counts = {
        "written": report.added + report.updated,
        "already there": report.unchanged,
        "taken over": len(report.kept),
        "failed": report.failed,
    }
    shown = [f"{count} {name}" for name, count in counts.items() if count] or ["no documents"]
    does = "the new index answers" if report.switched else "the old index goes on"
    return f"{', '.join(shown)}; {report.chunks} chunks written in {report.seconds:.1f} s; {does}"
