"""Can the store be written and the index be read, and was it made with the model in use?"""

from __future__ import annotations

import os
import shlex
import shutil
from contextlib import closing
from pathlib import Path

from rag.doctor.finding import Setup, Verdict, failed, failed_by, passed, warned
from rag.errors import CheckpointError, IndexMissingError, ModelUnavailableError, RagError
from rag.rendering.text import readable_size

_ELSEWHERE = "choose a folder of your own: --store FOLDER, or RAG_STORE__PATH"


def place(setup: Setup) -> Verdict:
    """Does the store's server answer; or is its folder there, or can it be made, and may it be written?"""
    if setup.server_url:
        return setup.server
    wanted = (setup.settings.store.path / setup.settings.store.collection).absolute()
    nearest = _nearest(wanted)
    if not nearest.is_dir():
        return failed(f"{nearest} is a file, not a folder", _ELSEWHERE)
    if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
        return failed(
            f"{nearest} may not be read and written", f"chmod u+rwx {shlex.quote(str(nearest))}; or {_ELSEWHERE}"
        )
    return passed(f"{wanted} can be written" if nearest == wanted else f"{wanted} is not there yet and can be made")


def disk(setup: Setup) -> Verdict | None:
    """Is there room where the store is?"""
    if setup.server_url:
        return None
    free = shutil.disk_usage(_nearest(setup.settings.store.path)).free
    text = f"{readable_size(free)} free where the store is"
    if free < setup.limits.least_disk:
        return failed(text, "free some space there, or move the store: --store FOLDER, or RAG_STORE__PATH")
    if free < setup.limits.ample_disk:
        return warned(text, "free some space there before a large ingest, or move the store: --store FOLDER")
    return passed(text)


def contents(setup: Setup) -> Verdict | None:
    """Does the index open, in this program's schema, and what does it hold?

    Raises:
        RagError: it does not, as the store says; the process that holds it is named there.
    """
    from rag import build
    from rag.stores.tenants import require_tenant_key

    if _is_out_of_reach(setup):
        return None
    with closing(build.store(setup.settings)) as store:
        try:
            info = store.info()
        except IndexMissingError as error:
            return warned(failed_by(error).detail, setup.ingest(setup.settings.store.tenant_key))
        require_tenant_key(info, setup.settings.store.tenant_key)
        documents = list(store.documents())
    chunks = sum(document.chunk_count for document in documents)
    text = f"documents: {len(documents)}, chunks: {chunks}, schema version {info.schema_version}"
    if info.tenant_key:
        text += f", tenants by {info.tenant_key}"
    if not setup.server_url:  # a server is there for everybody at once
        text += ", held by nobody else"
    if not documents:
        where = setup.server_url or setup.settings.store.path / setup.settings.store.collection
        return warned(f"{text}: {where} is empty", setup.ingest(info.tenant_key))
    return passed(text)


def model(setup: Setup) -> Verdict | None:
    """Was the index made with the model in use?"""
    from rag import build

    try:
        embedder = build.embedder(setup.settings, setup.checkpoint)
    except (ModelUnavailableError, CheckpointError):
        return None
    if _is_out_of_reach(setup):
        return None
    expected = build.index_info(embedder, setup.settings)
    with closing(build.store(setup.settings)) as store:
        try:
            found = store.info()
        except RagError:  # the check before this one has told
            return None
    if found.schema_version != expected.schema_version:
        return None
    if (found.fingerprint, found.dimension) == (expected.fingerprint, expected.dimension):
        return passed(f"made with {found.model}, fingerprint {found.fingerprint[:12]}, the model in use")
    again = setup.ingest(setup.settings.store.tenant_key, collection=f"{setup.settings.store.collection}-2")
    same = found.model == expected.model
    return failed(
        f"made with {found.model} (fingerprint {found.fingerprint[:12]}, dimension {found.dimension}), the model in "
        f"use is {expected.model} (fingerprint {expected.fingerprint[:12]}, dimension {expected.dimension})",
        f"{'' if same else f'use the index’s: --model {shlex.quote(found.model)}; or make a new one: '}{again}",
    )


def _nearest(path: Path) -> Path:
    """`path`, or the nearest above it that can be seen to exist."""
    path = path.absolute()
    return next((each for each in (path, *path.parents) if _exists(each)), path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # below a folder that may not be entered
        return False


def _is_out_of_reach(setup: Setup) -> bool:
    """Whether the store is on a server that does not answer, as the check `store` says."""
    return bool(setup.server_url) and setup.server.status == "fail"
