"""Fetches a model from the Hugging Face hub: from the local cache if it is whole there, else over the network.

It is in BGE-M3's layout where its repository has one of the two heads, else in that of sentence-transformers.
"""

from __future__ import annotations

from logging import getLogger
from pathlib import Path
from shutil import disk_usage

from rag import sentence_files
from rag.checkpoint import HEADS
from rag.errors import CheckpointError, ModelUnavailableError
from rag.rendering.text import readable_size

DEFAULT_REVISIONS = {"BAAI/bge-m3": "5617a9f61b028005a4858fdac845db406aefb181"}
"""Commits this version was written for; every other model is taken at `main`."""

REQUIRED = ("config.json", "tokenizer.json", *HEADS)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Either will do; only the first that a repository has is fetched."""
OPTIONAL = ("README.md",)
"""The model card, which may recommend weights for fusion."""

WAY_OUT = "pass a local folder or `pocket-m3` instead (`--model`, or RAG_EMBEDDER__MODEL)"

logger = getLogger(__name__)


def fetch(model: str, revision: str | None, *, endpoint: str | None = None, cache: Path | None = None) -> Path:
    """Folder that holds the files of `model` at `revision`.

    A checkpoint that is whole in the cache is used without asking the hub; a branch is therefore not followed once
    it has been fetched. Progress goes to stderr, as the hub's client shows it.

    Args:
        model: a hub id, `owner/name`.
        revision: commit, tag or branch; by default the one in `DEFAULT_REVISIONS`, else `main`.
        endpoint: address of the hub; by default HF_ENDPOINT, else https://huggingface.co.
        cache: folder of the cache; by default the hub client's own.

    Raises:
        ModelUnavailableError: the hub cannot be reached, does not know the model, or does not hand it out, or the disk
            has too little room.
        CheckpointError: the repository lacks a file without which it is neither a BGE-M3 checkpoint nor a
            sentence-transformers model; nothing is fetched.
    """
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    revision = revision or DEFAULT_REVISIONS.get(model, "main")
    try:
        folder = _cached(model, revision, cache)
        if folder is not None:
            return folder
        wanted = _listed(model, revision, endpoint)
        _require_space(model, sum(wanted.values()), cache)
        logger.info("fetching %s: %s in %d files", model, readable_size(sum(wanted.values())), len(wanted))
        return Path(
            snapshot_download(
                model, revision=revision, allow_patterns=sorted(wanted), endpoint=endpoint, cache_dir=cache
            )
        )
    # The client lets its transport's errors through as they are; those of the disk and of offline mode are OSErrors,
    # and what its Xet transport has no name for is a RuntimeError.
    except (httpx2.HTTPError, OSError, HFValidationError, RuntimeError) as error:
        raise ModelUnavailableError(f"{_reason(model, revision, error)}; {WAY_OUT}") from error


def download_size(model: str, revision: str | None = None, *, endpoint: str | None = None, timeout: float = 5) -> int:
    """Bytes that `fetch` would bring over the network, as the hub lists them.

    Args:
        model: as for `fetch`, like `revision` and `endpoint`.
        timeout: seconds.

    Raises:
        ModelUnavailableError, CheckpointError: as `fetch`.
    """
    import httpx2
    from huggingface_hub.errors import HFValidationError

    revision = revision or DEFAULT_REVISIONS.get(model, "main")
    try:
        return sum(_listed(model, revision, endpoint, timeout).values())
    except (httpx2.HTTPError, OSError, HFValidationError, RuntimeError) as error:
        raise ModelUnavailableError(f"{_reason(model, revision, error)}; {WAY_OUT}") from error


def is_cached(model: str, revision: str | None) -> bool:
    """Whether `fetch` would need no network; false of what the hub would not accept as a name."""
    if not is_name(model):
        return False
    return _cached(model, revision or DEFAULT_REVISIONS.get(model, "main"), None) is not None


def is_name(model: str) -> bool:
    """Whether the hub accepts `model` as the name of a repository; nothing is asked."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return False
    return True


def _cached(model: str, revision: str, cache: Path | None) -> Path | None:
    """The snapshot in the cache if it is whole; a file appears in a snapshot only after it has been fetched fully."""
    from huggingface_hub import try_to_load_from_cache

    known = (
        try_to_load_from_cache(model, name, cache_dir=cache, revision=revision)
        for name in ("config.json", sentence_files.MODULES)
    )
    folder = next((Path(file).parent for file in known if isinstance(file, str)), None)
    if folder is None:
        return None
    whole = all((folder / name).exists() for name in REQUIRED) and any((folder / name).exists() for name in WEIGHTS)
    if whole:
        return folder
    # With one head it is a BGE-M3 checkpoint of which the other has not been fetched; of BAAI/bge-m3 another library
    # may have fetched all but the heads.
    in_bge_m3_layout = model in DEFAULT_REVISIONS or any((folder / name).exists() for name in HEADS)
    return folder if not in_bge_m3_layout and sentence_files.is_whole(folder) else None


def _listed(model: str, revision: str, endpoint: str | None, timeout: float | None = None) -> dict[str, int]:
    """Name and size in bytes of the files to fetch, as the hub lists them."""
    from huggingface_hub import HfApi

    info = HfApi(endpoint=endpoint).model_info(model, revision=revision, files_metadata=True, timeout=timeout)
    return _wanted(model, {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []})


def _wanted(model: str, sizes: dict[str, int]) -> dict[str, int]:
    """Name and size in bytes of the files to fetch, out of those in the repository."""
    if sentence_files.MODULES in sizes and not any(name in sizes for name in HEADS):
        return {name: sizes[name] for name in sentence_files.wanted(list(sizes))}
    missing = [name for name in REQUIRED if name not in sizes]
    weights = next((name for name in WEIGHTS if name in sizes), None)
    if weights is None:
        missing.append(" or ".join(WEIGHTS))
    if missing or weights is None:
        raise CheckpointError(
            f"{model!r} on the hub has no {', no '.join(missing)}, so it is not a BGE-M3 checkpoint, and no "
            f"{sentence_files.MODULES} of sentence-transformers; use BAAI/bge-m3, a model fine-tuned from it that was "
            "saved with its heads, or a sentence-transformers model"
        )
    names = [*REQUIRED, weights, *(name for name in OPTIONAL if name in sizes)]
    return {name: sizes[name] for name in names}


def _require_space(model: str, size: int, cache: Path | None) -> None:
    """Refuses at once what would fill the disk after minutes.

    Args:
        size: bytes of all files; what is in the cache of this model, whole or in part, is taken off.

    Raises:
        ModelUnavailableError: there is too little room.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    place = (cache or Path(constants.HF_HUB_CACHE)).absolute()
    held = place / repo_folder_name(repo_id=model, repo_type="model") / "blobs"
    missing = size - sum(file.stat().st_size for file in held.glob("*"))
    free = disk_usage(next(path for path in (place, *place.parents) if path.exists())).free
    if missing > free:
        raise ModelUnavailableError(
            f"{model!r} takes {readable_size(missing)} more and {place} has {readable_size(free)} free: make room, "
            "or set HF_HOME to a folder on a larger disk"
        )


def _reason(model: str, revision: str, error: Exception) -> str:
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match error:
        case GatedRepoError():
            return f"the hub hands out {model!r} only to those who accepted its terms: do so on its page and log in"
        case RepositoryNotFoundError():
            return f"the hub has no model {model!r}, or it is private: check the name, or log in"
        case RevisionNotFoundError():
            return f"{model!r} has no revision {revision!r} on the hub: check RAG_EMBEDDER__REVISION"
        case OfflineModeIsEnabled():
            return f"{model!r} is not in the local cache and HF_HUB_OFFLINE forbids to fetch it: unset it once"
        case HFValidationError():
            return f"{model!r} is not a name the hub accepts: give it as owner/name"
    first_line = next(iter(str(error).splitlines()), "")
    return f"cannot fetch {model!r} from the hub: {type(error).__name__}: {first_line}"
