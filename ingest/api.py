"""The ingestion as a call."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rag_config.settings import Settings

from ingest.afterwards import optimized
from ingest.discovery import Found, discover
from ingest.failures import Failures, Remembered, resolved
from ingest.pipeline import Ingestion
from ingest.pruning import vanished
from ingest.reading import reading
from ingest.report import IngestReport, Progress
from rag import build
from rag.errors import IndexMissingError, InputError, RagError
from rag.locations import path_of, source_of
from rag.ports import Embedder, PassageStore
from rag.types import IndexInfo, StoredDocument

logger = logging.getLogger(__name__)

_KEY = re.compile(r"[A-Za-z0-9_-]+")


def ingest(
    paths: str | Path | Sequence[str | Path] = (),
    *,
    settings: Settings | None = None,
    metadata: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    only: Callable[[Found], bool] | None = None,
    dry_run: bool = False,
    prune: bool = False,
    retry_failed: bool = False,
    stop: threading.Event | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_vanished: Callable[[Sequence[StoredDocument]], None] | None = None,
    on_optimizing: Callable[[int], None] | None = None,
) -> IngestReport:
    """Brings the documents at `paths` into the index: new and changed ones are embedded, the others left as they are.

    Args:
        paths: a file or folder, or several; folders are walked.
        settings: by default from environment, .env and rag.toml.
        metadata: key and value pairs stored with every document, filterable later; keys match `[A-Za-z0-9_-]+`.
        exclude: patterns as in .gitignore, relative to each walked folder.
        only: which of the files found are looked at, for callers who know what has changed; by default all.
        dry_run: read and cut everything, write nothing.
        prune: take out the documents below the given folders whose files are not there any more, once all else is
            done, so that a renamed file finds its vectors. Below a folder without any file none is taken out: that
            is a failure, because a disk that is not mounted looks the same.
        retry_failed: instead of `paths`, those that failed in earlier runs and have not been ingested since, with the
            metadata they were given then.
        stop: when set, the run ends after the documents at hand.
        on_progress: called after every file.
        on_vanished: called with the documents that `prune` takes out, before the first goes.
        on_optimizing: called with the number of new passages before the index is optimized, which may take minutes.

    Raises:
        InputError: no paths, a metadata key that cannot be stored, or an index with tenants and no word of whose the
            documents are.
        NotConfiguredError: the model cannot be had, or the index was made with another one.
        UnavailableError: the store cannot be opened, or store or model failed on three documents in a row; what was
            committed before stays.
    """
    settings = settings or Settings()
    if isinstance(paths, (str, Path)):  # a string is also a sequence of strings: "./docs" would walk the whole disk
        paths = [paths]
    failures = Failures(settings.store.path, settings.store.collection, settings.store.url)
    remembered = _remembered(failures, dry_run) if retry_failed else {}
    if retry_failed:
        if paths or metadata or prune:
            raise InputError("what failed is retried as it was given: leave out paths, metadata and pruning")
        if not remembered:
            return IngestReport()
        paths = [Path(each) for each in remembered]
    elif not paths:
        raise InputError("no paths given: name at least one file or folder")
    if not all(str(path) for path in paths):
        raise InputError("an empty path is given, perhaps from a variable that is not set: name a file or folder")
    _require_storable(metadata or {})
    store = build.store(settings)
    try:
        index = _index(store)
        for given in [each.metadata for each in remembered.values()] or [metadata or {}]:
            build.require_tenant(given, index, settings)
        model = build.checkpoint(settings, index)
        embedder = build.embedder(settings, model)
        ingestion = Ingestion(
            store,
            embedder,
            chunk_tokens=min(settings.ingest.chunk_tokens, embedder.window),
            metadata=dict(metadata or {}),
            metadata_by_uri={Path(path).as_uri(): each.metadata for path, each in remembered.items()},
            known=_known(store, embedder, settings, dry_run),
            dry_run=dry_run,
            stop=stop,
            on_progress=on_progress,
            **reading(settings, model),
        )
        folders = [Path(path) for path in paths]
        files = list(discover(folders, exclude))
        taken = [found for found in files if only is None or only(found)]
        try:
            report = ingestion.run(taken)
        except RagError:
            if not dry_run:
                _remember(failures, (), ingestion.report, remembered, dict(metadata or {}))
            raise
        if not dry_run:
            _remember(failures, taken[: len(taken) - report.left], report, remembered, dict(metadata or {}))
        if prune and not report.left and not (stop and stop.is_set()):
            key = index.tenant_key if index else settings.store.tenant_key
            _prune(store, folders, files, report, dict(metadata or {}), key, dry_run, on_vanished)
        if not dry_run and not (stop and stop.is_set()):
            report.optimized = optimized(store, settings, on_optimizing, stop)
        return report
    finally:
        store.close()


def _remembered(failures: Failures, dry_run: bool) -> dict[str, Remembered]:
    """What failed in earlier runs, by path; what is not there any more is forgotten."""
    found = {each.path: each for each in failures.load()}
    gone = [path for path in found if _is_gone(Path(path))]
    for path in gone:
        logger.warning("%s failed before and is not there any more: it is forgotten", path)
        del found[path]
    if not dry_run:
        failures.update(gone, ())
    return found


def _is_gone(path: Path) -> bool:
    """Whether a file is not there while its folder is: a disk that is not mounted has only been put aside."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path.parent.is_dir()
    except OSError:
        return False
    return False


def _remember(
    failures: Failures,
    taken: Sequence[Found],
    report: IngestReport,
    remembered: Mapping[str, Remembered],
    metadata: Mapping[str, str],
) -> None:
    failed = []
    for failure in report.failures:
        path = resolved(path_of(failure.uri))
        if not Path(path).is_dir():  # whoever walks a folder once more says what it is to leave out
            given = remembered[path].metadata if path in remembered else metadata
            failed.append(Remembered(path, failure.error, given))
    failures.update({resolved(path_of(found.uri)) for found in taken}, failed)


def _index(store: PassageStore) -> IndexInfo | None:
    try:
        return store.info()
    except IndexMissingError:
        return None


def _known(store: PassageStore, embedder: Embedder, settings: Settings, dry_run: bool) -> dict[str, str]:
    """Version of each document in the index by URI; the index is there afterwards, unless this is a dry run."""
    if dry_run:
        try:
            build.require_fit(store, embedder, settings)
        except IndexMissingError:
            return {}
    else:
        store.prepare(build.index_info(embedder, settings))
    return {document.uri: document.version for document in store.documents()}


def _prune(
    store: PassageStore,
    paths: Sequence[Path],
    files: Sequence[Found],
    report: IngestReport,
    metadata: Mapping[str, str],
    tenant_key: str | None,
    dry_run: bool,
    on_vanished: Callable[[Sequence[StoredDocument]], None] | None,
) -> None:
    try:
        documents = list(store.documents())
    except IndexMissingError:  # a dry run makes none
        return
    if tenant_key is not None:  # another tenant's documents are not this one's to take out
        documents = [each for each in documents if each.metadata.get(tenant_key) == metadata.get(tenant_key)]
    gone = vanished(documents, paths, files)
    for folder, count in gone.kept:
        report.fail(
            folder,
            f"no file is left here, where the index holds {count} documents, so nothing is pruned: mount the disk, or "
            f"take them out with `ingest remove '{source_of(folder)}/*'`",
        )
    if gone.documents and on_vanished:
        on_vanished(gone.documents)
    for document in gone.documents:
        if not dry_run:
            store.remove(document.uri)
        report.removed += 1


def _require_storable(metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        if not _KEY.fullmatch(key):
            raise InputError(f"metadata key {key!r} cannot be stored: use letters, digits, _ and -")
        if not isinstance(value, str) or not value.isprintable():
            raise InputError(f"the metadata value {value!r} of {key} cannot be stored: use a line of text")
