"""Is the embedding model on this machine, and whole?"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from rag.doctor.finding import Setup, Verdict, failed, failed_by, passed
from rag.errors import CheckpointError, ModelUnavailableError
from rag.rendering.text import readable_size

_TRUE = frozenset({"1", "on", "yes", "true"})  # as the hub's client reads its switches


class _NotFetchedError(ModelUnavailableError):
    """A hub id that is not whole in the local cache."""


def on_this_machine(model: str, revision: str | None) -> Path:
    """The folder of a model, as `rag.checkpoint.locate` finds it, but nothing is ever fetched.

    Raises:
        ModelUnavailableError: it is not here.
    """
    from rag.checkpoint import locate, must_be_fetched
    from rag.hub import is_name

    if must_be_fetched(model, revision):
        if not is_name(model):
            raise ModelUnavailableError(
                f"{model!r} is no folder, and no name the hub accepts either: give a folder, or a hub id as owner/name"
            )
        raise _NotFetchedError(
            f"{model!r} is no folder, and not whole in the hub's cache {_cache()}: "
            f"`{_pull(model, revision)}` fetches it"
        )
    return locate(model, revision)


def files(setup: Setup) -> Verdict:
    """Is the model here, are its files whole as far as they can be told without loading it, and which one is it?"""
    name = setup.settings.embedder.model
    try:
        found = setup.checkpoint
    except _NotFetchedError as error:
        return failed(failed_by(error).detail, _how_to_fetch(name, setup.settings.embedder.revision))
    except (ModelUnavailableError, CheckpointError) as error:
        return failed_by(error)
    from rag.checkpoint import BUNDLED
    from rag.sentence_model import SentenceModel

    if isinstance(found, SentenceModel):
        return passed(
            f"{name} ({found.folder}), of sentence-transformers, dimension {found.dimension}, window {found.window} "
            f"tokens, prompts {found.query_prompt!r} and {found.passage_prompt!r}, fingerprint {found.fingerprint[:12]}"
        )
    where = "bundled" if name in BUNDLED else str(found.folder)
    return passed(
        f"{name} ({where}), {readable_size(found.weights.stat().st_size)}, both heads, dimension {found.hidden_size}, "
        f"window {found.window} tokens, fingerprint {found.fingerprint[:12]}"
    )


def weights(setup: Setup) -> Verdict | None:
    """Can the weights and the heads be opened? Reads tables of contents and small tensors, not gigabytes."""
    try:
        found = setup.checkpoint
    except (ModelUnavailableError, CheckpointError):
        return None
    from rag.catalogue.examination import require_colbert_head, require_sparse_head, require_weights
    from rag.sentence_model import SentenceModel

    if isinstance(found, SentenceModel):  # to open its weights is to load the model
        return None
    for require in (require_weights, require_sparse_head, require_colbert_head):
        require(found)
    return passed(f"{found.weights.name}, {found.sparse_head.name} and {found.colbert_head.name} open")


def tokenizer(setup: Setup) -> Verdict | None:
    """Does the tokenizer load, and is it the model's?"""
    try:
        found = setup.checkpoint
    except (ModelUnavailableError, CheckpointError):
        return None
    from rag.catalogue.examination import require_tokenizer
    from rag.sentence_model import SentenceModel

    if isinstance(found, SentenceModel):
        return None
    require_tokenizer(found)
    return passed(f"{found.tokenizer.name} loads; vocabulary of {found.vocabulary_size}")


def _cache() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return str(HF_HUB_CACHE)


def _how_to_fetch(model: str, revision: str | None) -> str:
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE
    fetch = _pull(model, revision)
    return f"{'unset HF_HUB_OFFLINE, then ' if offline else ''}{fetch}; or take the bundled model: --model pocket-m3"


def _pull(model: str, revision: str | None) -> str:
    """The command that fetches a model; it knows by itself which revision this version was written for."""
    return shlex.join(["rag", "models", "pull", model, *(["--revision", revision] if revision else [])])
