"""The ingestion as a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rag_config.settings import Settings

from ingest.discovery import discover
from ingest.pipeline import Ingestion, IngestReport, Progress
from rag import build
from rag.errors import IndexMissingError, InputError


def ingest(
    paths: Sequence[str | Path],
    *,
    settings: Settings | None = None,
    metadata: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    dry_run: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Brings the documents at `paths` into the index: new and changed ones are embedded, the others left as they are.

    Args:
        paths: files and folders; folders are walked.
        settings: by default from environment, .env and rag.toml.
        metadata: key and value pairs stored with every document, filterable later; keys match `[A-Za-z0-9_-]+`.
        exclude: patterns as in .gitignore, relative to each walked folder.
        dry_run: read and cut everything, write nothing.
        on_progress: called after every file.

    Raises:
        InputError: no paths, or a metadata key that cannot be stored.
        NotConfiguredError: the model cannot be had, or the index was made with another one.
        UnavailableError: the store cannot be opened or written; what was committed before stays.
    """
    settings = settings or Settings()
    if not paths:
        raise InputError("no paths given: name at least one file or folder")
    for key in metadata or {}:
        if not key.replace("-", "_").isascii() or not key.replace("-", "_").replace("_", "a").isalnum():
            raise InputError(f"metadata key {key!r} cannot be stored: use letters, digits, _ and -")
    embedder = build.embedder(settings)
    store = build.store(settings)
    try:
        if not dry_run:
            store.prepare(build.index_info(embedder))
        try:
            known = {document.uri: document.version for document in store.documents()}
        except IndexMissingError:  # a dry run before the first ingestion
            known = {}
        ingestion = Ingestion(
            store,
            embedder,
            chunk_tokens=min(settings.ingest.chunk_tokens, embedder.window),
            metadata=dict(metadata or {}),
            known=known,
            dry_run=dry_run,
            on_progress=on_progress,
        )
        return ingestion.run(list(discover([Path(path) for path in paths], exclude)))
    finally:
        store.close()
