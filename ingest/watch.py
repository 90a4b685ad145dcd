"""`ingest watch DIR…`: keeps the index in step with folders until it is ended."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.commands.shared import load_settings, shared_options
from rag.interruption import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from rag_config.settings import Settings

    from ingest.discovery import Found
    from ingest.report import IngestReport
    from ingest.watching import Outage, Run
    from rag.ports import Embedder
    from rag.types import StoredDocument

_SURE_SECONDS = 300.0  # it looks after so long without word of a change: the system loses some in a flood
_LONGEST_WAIT = 3600.0  # seconds


@click.command(short_help="Keep the index in step with folders.")
@click.argument("folders", nargs=-1, required=True, metavar="DIR…", type=click.Path(readable=False))
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Metadata for every document; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out what matches, as in .gitignore; repeatable.")
@click.option(
    "--debounce",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait until a file has not changed for so long.",
)
@click.option(
    "--poll",
    type=click.FloatRange(0.1, 86_400),
    metavar="SECONDS",
    help="Look every so often, for network disks, of whose changes nobody tells.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run.")
@shared_options
def watch(
    folders: tuple[str, ...],
    meta: tuple[str, ...],
    exclude: tuple[str, ...],
    debounce: float,
    poll: float | None,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Bring the documents below DIR… into the index, and again whenever they change, until Ctrl-C.

    Documents whose files vanish are taken out, unless nothing at all is left in a folder: a disk that is not mounted
    looks the same. The index is held only during a run, so questions are answered in between.

    \b
    ingest watch docs/ policies/
    # On a network disk, with drafts left out:
    ingest watch /mnt/handbooks --poll 60 --exclude 'drafts/'
    """
    from ingest.watching import OWNER_FILES, Watching
    from rag.errors import InputError
    from rag.filters import pairs

    paths = [Path(folder) for folder in folders]
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{str(path)!r} is no folder: name the folder that is to be watched")
    settings = load_settings(store=store, collection=collection, model=model)
    given = pairs(meta, "--meta")
    left_out = (OWNER_FILES, *exclude)
    stop = threading.Event()
    run = _runs(paths, settings, given, left_out, stop)
    watching = Watching(paths, run, exclude=left_out, debounce=debounce, every=poll or _SURE_SECONDS)
    with interruptible(stop, _ending, ends=True), _word_of_changes(paths, stop, poll) as wait:
        while not stop.is_set():
            _tell(watching.step(), as_json)
            watching.changed(wait(min(watching.wait, _LONGEST_WAIT)))
    return 130


@contextmanager
def _word_of_changes(
    paths: Sequence[Path], stop: threading.Event, poll: float | None
) -> Iterator[Callable[[float], Collection[str]]]:
    """What waits so many seconds, or until something changes, and says where."""
    if poll is not None:

        def sleep(seconds: float) -> Collection[str]:
            stop.wait(seconds)
            return ()

        yield sleep
        return
    from ingest.file_events import FileEvents

    with closing(FileEvents(paths, stop)) as events:
        yield events.wait


def _runs(
    paths: Sequence[Path],
    settings: Settings,
    metadata: Mapping[str, str],
    exclude: Sequence[str],
    stop: threading.Event,
) -> Run:
    """Runs that share one loaded model; each opens the store for itself and lets go of it."""
    from ingest.api import ingest

    held: list[Embedder] = []

    def run(only: Callable[[Found], bool], prune: bool) -> IngestReport:
        if not held:
            held.append(_embedder(settings))
        return ingest(
            list(paths),
            settings=settings,
            metadata=metadata,
            exclude=exclude,
            prune=prune,
            only=only,
            stop=stop,
            on_vanished=_announce,
        )

    return run


def _embedder(settings: Settings) -> Embedder:
    from rag import build
    from rag.errors import IndexMissingError

    with closing(build.store(settings)) as store:
        try:
            index = store.info()
        except IndexMissingError:
            index = None
    return build.embedder(settings, build.checkpoint(settings, index))


def _ending() -> None:
    click.echo("ingest: ends after the documents at hand; Ctrl-C again ends it at once", err=True)


def _announce(documents: Sequence[StoredDocument]) -> None:
    from rag.normalization import printable

    for document in documents:
        click.echo(f"ingest: {printable(document.source)}: has vanished and is removed", err=True)


def _tell(done: IngestReport | Outage | None, as_json: bool) -> None:
    from ingest.summary import fields, summary
    from ingest.watching import Outage

    if done is None:
        return
    if isinstance(done, Outage):
        click.echo(f"ingest: {done.error}; trying again in {done.pause:g} s", err=True)
        return
    for failure in done.failures:
        click.echo(f"ingest: {failure.source}: {failure.error}", err=True)
    if as_json:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        click.echo(json.dumps({"at": at, **fields(done)}, ensure_ascii=False))
        sys.stdout.flush()
    else:
        click.echo(f"{datetime.now():%H:%M:%S} {summary(done)}", err=True)
