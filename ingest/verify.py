"""`ingest verify`: whether the index is as it was written, and as the files are now."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.commands.shared import load_settings, shared_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rag_config.settings import Settings

    from ingest.verification import Verification, Verifier
    from rag.embedding_model import EmbeddingModel
    from rag.ports import Embedder, PassageStore


@click.command(short_help="Check the index against itself and the files; mend it.")
@click.argument("paths", nargs=-1, metavar="[PATH…]", type=click.Path(readable=False))
@click.option("--all", "everything", is_flag=True, help="The whole index, as without PATH.")
@click.option("--repair", is_flag=True, help="Mend what is torn or stale; remove what nobody will commit.")
@click.option("--index-only", is_flag=True, help="Do not look at the files.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@shared_options
def verify(
    paths: tuple[str, ...],
    everything: bool,
    repair: bool,
    index_only: bool,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Look at every point of the documents at or below PATH…, or of the whole index, and say what is wrong.

    Torn: passages are missing, damaged, or of two versions. Orphaned: staged by a writer that died, or the file is
    gone. Stale: the file, its reader, a setting or the model is another than when it was ingested. No model is loaded,
    unless --repair has to embed something. --repair ingests the files of what is torn or stale once more; what is
    whole is left as it is, and documents whose files are gone stay: `ingest … --prune` takes them out.

    \b
    ingest verify
    ingest verify docs/handbuch.pdf policies --json
    # Mends what can be mended; then 0, or 1 where something is left:
    ingest verify --repair
    # On a machine that does not have the files:
    ingest verify --index-only
    """
    from ingest.verification import Verifier
    from rag import build
    from rag.errors import InputError

    if paths and everything:
        raise InputError("--all and PATH exclude each other: give one of them")
    if repair and index_only:
        raise InputError("--repair and --index-only exclude each other: what is torn is mended from its file")
    settings = load_settings(store=store, collection=collection, model=model)
    started = time.monotonic()
    left = None
    with closing(build.store(settings)) as index:
        fit = _model(settings, index)
        budget = settings.ingest.chunk_tokens
        known = min(budget, fit.embedder.window) if fit.embedder else None
        verifier = Verifier(index, budget=known or budget, chunk_tokens=known, files=not index_only)
        found = verifier.run([Path(path) for path in paths])
        if paths and not found.points:
            raise InputError(
                f"the index holds nothing at or below {', '.join(map(repr, paths))}: `rag list` shows what it holds"
            )
        if repair:
            left = _mended(settings, index, verifier, fit, found)
    _announce(found, left, fit)
    seconds = time.monotonic() - started
    text = _fields(found, left, fit, seconds) if as_json else _summary(found, left, seconds)
    click.echo(text, err=not as_json)
    wrong = bool(found.findings) if left is None else any(left.values())
    return 1 if fit.is_fault or wrong else 0


@dataclass(frozen=True, slots=True)
class _Fit:
    """The model of the settings and the index.

    Attributes:
        embedder: where it is the index's; its weights are not loaded.
        model: its files.
        remark: why there is none.
        is_fault: whether the index was made with another model, which makes all of it stale.
    """

    embedder: Embedder | None
    model: EmbeddingModel | None = None
    remark: str = ""
    is_fault: bool = False


def _model(settings: Settings, index: PassageStore) -> _Fit:
    from rag import build
    from rag.checkpoint import must_be_fetched
    from rag.errors import CheckpointError, IndexMismatchError, ModelUnavailableError

    info = index.info()
    name = settings.embedder.model
    unknown = "which documents are stale is not known"
    if must_be_fetched(name, settings.embedder.revision):
        return _Fit(
            None, remark=f"{unknown}: the model {name!r} is not on this machine (`rag models pull {name}` fetches it)"
        )
    try:
        found = build.checkpoint(settings, info)
        embedder = build.embedder(settings, found)
        build.require_fit(index, embedder, settings)
    except IndexMismatchError as error:
        return _Fit(None, remark=str(error), is_fault=True)
    except (ModelUnavailableError, CheckpointError) as error:
        return _Fit(None, remark=f"{unknown}: {error}")
    return _Fit(embedder, found)


def _mended(
    settings: Settings, index: PassageStore, verifier: Verifier, fit: _Fit, found: Verification
) -> dict[str, str]:
    """What is left of each document's faults, empty where it is whole again.

    Raises:
        UnavailableError: the store went away; the message says how far the repair had come.
    """
    from ingest.failures import Failures
    from ingest.reading import reading
    from ingest.repair import Repair
    from rag.errors import UnavailableError
    from rag.rendering.text import counted

    repair = Repair(
        index,
        verifier,
        Failures(settings.store.path, settings.store.collection, settings.store.url),
        embedder=fit.embedder or fit.remark,
        reading=reading(settings, fit.model),
        chunk_tokens=verifier.budget,
        tenant_key=index.info().tenant_key,
    )
    left: dict[str, str] = {}
    for uri, findings in found.findings.items():
        try:
            left[uri] = repair.mend(uri, findings)
        except UnavailableError as error:
            done = f"{len(left)} of {counted(len(found.findings), 'document')} had been looked after"
            raise type(error)(f"{error} ({done})") from error
    return left


def _announce(found: Verification, left: Mapping[str, str] | None, fit: _Fit) -> None:
    for uri, findings in found.findings.items():
        for finding in findings:
            click.echo(f"ingest: {_name(uri)}: {finding.kind}: {finding.reason}", err=True)
        if left is not None:
            click.echo(f"ingest: {_name(uri)}: {left[uri] or 'mended'}", err=True)
    if fit.remark:
        click.echo(f"ingest: {fit.remark}", err=True)


def _name(uri: str) -> str:
    from rag.locations import source_of
    from rag.normalization import printable

    return printable(source_of(uri)) if uri else "the index"


def _fields(found: Verification, left: Mapping[str, str] | None, fit: _Fit, seconds: float) -> str:
    from ingest.verification import KINDS
    from rag.locations import source_of
    from rag.rendering.records import to_json

    findings = [
        {
            "source": source_of(uri) if uri else None,
            "uri": uri or None,
            "kind": finding.kind,
            "reason": finding.reason,
            **({} if left is None else {"mended": not left[uri], "left": left[uri] or None}),
        }
        for uri, some in found.findings.items()
        for finding in some
    ]
    return to_json(
        {
            "documents": {"looked_at": found.documents, **{kind: found.count(kind) for kind in KINDS}},
            "points": found.points,
            "of_another_model": fit.is_fault,
            "remark": fit.remark or None,
            "findings": findings,
            "mended": None if left is None else sum(not each for each in left.values()),
            "seconds": round(seconds, 3),
        }
    )


def _summary(found: Verification, left: Mapping[str, str] | None, seconds: float) -> str:
    from ingest.verification import KINDS
    from rag.rendering.text import counted

    parts = [f"{found.count(kind)} {kind}" for kind in KINDS if found.count(kind)] or ["all whole"]
    if left:
        parts.append(f"{sum(not each for each in left.values())} mended")
    size = f"{counted(found.documents, 'document')}, {counted(found.points, 'point')}"
    return f"{size}: {', '.join(parts)}, in {seconds:.1f} s"
