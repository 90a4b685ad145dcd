"""The command `ingest`."""

from __future__ import annotations

import json
import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ingest.remove import remove
from rag.commands.list_documents import list_documents
from rag.commands.shared import load_settings, run, shared_options
from rag.interruption import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.report import IngestReport, Progress
    from rag.types import StoredDocument

_MAIN = "PATH…"
_SUBCOMMANDS = ("list", "remove")


class _SameName(click.Context):
    """`ingest PATH…` is called by the group's name alone."""

    @property
    def command_path(self) -> str:
        return self.parent.command_path if self.parent else super().command_path


class _Main(click.Command):
    """What `ingest` does with paths; its help is the help of the whole."""

    context_class = _SameName

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        if ctx.parent and isinstance(ctx.parent.command, click.Group):
            ctx.parent.command.format_commands(ctx.parent, formatter)


class _Ingest(click.Group):
    """Takes the first word for a subcommand only where it is exactly one's name, else everything for `_Main`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and args[0] in self.list_commands(ctx) and args[0] != _MAIN
        to_be_completed = ctx.resilient_parsing and not args
        return super().parse_args(ctx, args if named or to_be_completed else [_MAIN, *args])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return self.commands[_MAIN].shell_complete(ctx, incomplete)
        return [*super().shell_complete(ctx, incomplete), CompletionItem(incomplete, type="file")]


@click.command(_MAIN, cls=_Main, hidden=True)
@click.argument("paths", nargs=-1, metavar="PATH…", type=click.Path(readable=False))
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Metadata for every document; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out what matches, as in .gitignore; repeatable.")
@click.option("--prune", is_flag=True, help="Take out documents below PATH whose files have vanished.")
@click.option("--retry-failed", is_flag=True, help="Instead of PATH… what failed before.")
@click.option("--dry-run", is_flag=True, help="Read and cut everything, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--quiet", is_flag=True, help="No progress.")
@shared_options
def _documents(
    paths: tuple[str, ...],
    meta: tuple[str, ...],
    exclude: tuple[str, ...],
    prune: bool,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Bring the documents at PATH… (files or folders: txt md html pdf docx) into the index.

    What has not changed since the last time is left as it is. Folders may hold a .ragignore (as .gitignore). A folder
    that is called like one of the commands below is ./list.

    \b
    ingest handbuch.pdf docs/ notes.md
    # With metadata to filter by, as in `rag search … --where department=hr`:
    ingest policies --meta department=hr --exclude 'drafts/'
    # What would be written and taken out, without doing it:
    ingest docs/ --prune --dry-run
    # Once more what failed, after it was mended:
    ingest --retry-failed
    # Takes documents out again; their files stay:
    ingest remove 'policies/2019/*'
    """
    from ingest.api import ingest
    from rag.filters import pairs

    if not paths and not retry_failed:
        raise click.UsageError("Missing argument 'PATH…'.")
    if paths and paths[0] in _SUBCOMMANDS and not os.path.lexists(paths[0]):
        # It would be taken for a path, and what was to be removed would be ingested.
        raise click.UsageError(f"{paths[0]!r} comes before all options: ingest {paths[0]} …")
    settings = load_settings(store=store, collection=collection, model=model)
    metadata = pairs(meta, "--meta")
    stop = threading.Event()
    with interruptible(stop, _ending, ends=True), _Line(quiet or not sys.stderr.isatty()) as line:
        report = ingest(
            paths,
            settings=settings,
            metadata=metadata,
            exclude=exclude,
            dry_run=dry_run,
            prune=prune,
            retry_failed=retry_failed,
            stop=stop,
            on_progress=line.show,
            on_vanished=partial(_announce, dry_run=dry_run),
        )
    for failure in report.failures:
        click.echo(f"ingest: {failure.source}: {failure.error}", err=True)
    click.echo(_fields(report) if as_json else _summary(report, dry_run), err=not as_json)
    if stop.is_set():
        click.echo(f"ingest: interrupted, {report.left} files not looked at: the same command goes on", err=True)
        return 130
    return 1 if report.failed else 0


command = _Ingest(
    "ingest", commands=[_documents, list_documents, remove], context_settings={"help_option_names": ["-h", "--help"]}
)


def _ending() -> None:
    click.echo("ingest: ends after the documents at hand; Ctrl-C again ends it at once", err=True)


def _announce(documents: Sequence[StoredDocument], *, dry_run: bool) -> None:
    from rag.normalization import printable

    for document in documents:
        does = "would be removed" if dry_run else "is removed"
        click.echo(f"ingest: {printable(document.source)}: has vanished and {does}", err=True)


def _fields(report: IngestReport) -> str:
    counts = ("added", "updated", "unchanged", "removed", "failed", "skipped")
    return json.dumps(
        {
            "documents": {name: getattr(report, name) for name in counts},
            "chunks": report.chunks,
            "tokens": report.tokens,
            "seconds": round(report.seconds, 3),
            "left": report.left,
            "failures": [{"source": failure.source, "error": failure.error} for failure in report.failures],
        },
        ensure_ascii=False,
    )


def _summary(report: IngestReport, dry_run: bool) -> str:
    names = ("added", "updated", "unchanged", "removed", "failed", "skipped")
    parts = [f"{getattr(report, name)} {name}" for name in names]
    shown = [part for part in parts if not part.startswith("0 ")] or ["nothing to do"]
    done = "would be written" if dry_run else "written"
    return f"{', '.join(shown)}; {report.chunks} chunks {done} in {report.seconds:.1f} s"


class _Line:
    """A progress line on stderr; nothing where stderr is no terminal."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent
        self._update: Callable[[Progress], None] | None = None

    def __enter__(self) -> _Line:
        if not self._silent:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.fields[done]}"),
                BarColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            task = self._bar.add_task("", total=None, done="reading")

            def update(progress: Progress) -> None:
                rate = progress.chunks / progress.seconds if progress.seconds else 0.0
                done = f"{progress.files}/{progress.files_total} files, {progress.chunks} chunks, {rate:.0f} chunks/s"
                self._bar.update(task, total=progress.size_total, completed=progress.size, done=done)

            self._update = update
        return self

    def __exit__(self, *error: object) -> None:
        if self._update:
            self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Takes the latest state."""
        if self._update:
            self._update(progress)


def main() -> None:
    """Entry point of the command."""
    run(command, "ingest")


if __name__ == "__main__":
    main()
