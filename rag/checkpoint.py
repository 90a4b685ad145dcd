"""What a usable BGE-M3 checkpoint is: where its folder lies, what it holds, and which vectors it makes.

Reads files only; neither torch nor transformers is needed to know a model's fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rag import lexical_terms
from rag.errors import CheckpointError, ModelUnavailableError
from rag.model_card import Recommended, Representation, recommended, representation

BUNDLED = {"pocket-m3": Path(__file__).parent / "weights" / "pocket_m3"}
"""Models that come with the package."""

SCHEME = "cls pooling, l2 norm; no prompts; sparse: max over occurrences of relu; no truncation"
"""How hidden states become vectors; part of every fingerprint, so another scheme is another model."""

ORIGIN_FILE = "fingerprint.txt"
"""A copy that was converted to another precision or runtime carries the fingerprint of its origin in this file."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_LFS_POINTER = b"version https://git-lfs"
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_SPARSE_HEAD = "sparse_linear.pt"
_COLBERT_HEAD = "colbert_linear.pt"
HEADS = (_SPARSE_HEAD, _COLBERT_HEAD)
"""The files that BGE-M3's layout has and no other."""
_SAMPLES, _SAMPLE_SIZE = 64, 4096


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that has been found usable.

    Attributes:
        folder: where the files are.
        name: what the model was asked for.
        weights: the encoder's weights, safetensors or a torch archive.
        hidden_size: length of the hidden states and of the dense vectors.
        layers: number of encoder layers.
        heads: attention heads of each layer.
        intermediate_size: width of the feed-forward layers.
        window: longest text in tokens, special tokens included.
        vocabulary_size: number of token ids.
        padding_id: id of `<pad>`; positions count from `padding_id` + 1 (XLM-R).
        layer_norm_eps: epsilon of every layer norm.
        fingerprint: 64 hex digits that change with whatever changes the vectors; not with path, backend or precision.
        recommended: what the model card says of ranking with it.
        representation: what it says of making vectors with it.
    """

    folder: Path
    name: str
    weights: Path
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    window: int
    vocabulary_size: int
    padding_id: int
    layer_norm_eps: float
    fingerprint: str
    recommended: Recommended
    representation: Representation

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.folder / "tokenizer.json"

    @property
    def sparse_head(self) -> Path:
        """State dict of Linear(hidden_size, 1), a torch archive."""
        return self.folder / _SPARSE_HEAD

    @property
    def colbert_head(self) -> Path:
        """State dict of a linear layer over the hidden states, a torch archive."""
        return self.folder / _COLBERT_HEAD


def is_folder(name: str) -> bool:
    """Whether `name` is a folder that exists, in which case it is never a hub id."""
    try:
        return bool(name.strip()) and Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # too long, not to be looked into, no such user, a NUL
        return False


def is_file(name: str) -> bool:
    """Whether `name` is a file, which is no model and no hub id either."""
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def must_be_fetched(model: str, revision: str | None = None) -> bool:
    """Whether `locate` would have to go to the hub."""
    if model in BUNDLED or not _HUB_ID.fullmatch(model) or is_folder(model) or is_file(model):
        return False
    from rag.hub import is_cached

    return not is_cached(model, revision)


def locate(model: str, revision: str | None = None) -> Path:
    """Folder of a model; fetches it from the hub when `model` is a hub id that is not in the local cache.

    Args:
        model: `pocket-m3` (bundled), a folder, or a hub id. A folder that exists is preferred to a hub id of its name.
        revision: commit, tag or branch of a hub id; other models have none.

    Raises:
        ModelUnavailableError: the folder does not exist, the name is no hub id, or the hub does not provide it.
        CheckpointError: the hub's repository is neither a BGE-M3 checkpoint nor a sentence-transformers model.
    """
    if model in BUNDLED:
        return BUNDLED[model]
    if is_folder(model):
        return Path(model).expanduser()
    if is_file(model):
        raise ModelUnavailableError(f"{model!r} is a file: give its folder")
    if _HUB_ID.fullmatch(model):
        from rag.hub import fetch

        return fetch(model, revision)
    raise ModelUnavailableError(
        f"there is no folder {model!r} and it is no hub id either: "
        "give an existing folder, a hub id such as BAAI/bge-m3, or pocket-m3"
    )


def inspect(folder: Path, name: str) -> Checkpoint:
    """Checks that `folder` holds a usable BGE-M3 checkpoint and reads all that is known without its weights.

    Args:
        folder: as `locate` gives it.
        name: what the model was asked for, kept for messages.

    Raises:
        CheckpointError: a file is missing or unreadable, or the configuration is not BGE-M3's architecture.
    """
    try:
        return _inspect(folder, name)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _inspect(folder: Path, name: str) -> Checkpoint:
    for fault in faults(folder).values():
        if fault is not None:
            raise fault
    found = outline(folder, name)
    files = [found.tokenizer, found.sparse_head, found.colbert_head]
    advice, made = recommended(folder), representation(folder)
    fingerprint = _origin(folder) or _fingerprint(_read_config(folder), files, found.weights, made)
    return replace(found, fingerprint=fingerprint, recommended=advice, representation=made)


def faults(folder: Path) -> dict[str, CheckpointError | None]:
    """Each file of a checkpoint by its name, and what is wrong with it, if anything: it is missing, or cannot be right.

    Weights, heads and tokenizer are not opened. Files that need not be there are looked at where they are.

    Raises:
        CheckpointError: the folder may not be looked into.
    """
    try:
        return _faults(folder)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _faults(folder: Path) -> dict[str, CheckpointError | None]:
    weights = _weights(folder)
    checks: dict[str, Callable[[], object]] = {
        "config.json": lambda: _read_config(folder),
        weights.name: lambda: _require_weights(folder, weights),
        **{name: partial(_require, folder / name) for name in ("tokenizer.json", _SPARSE_HEAD, _COLBERT_HEAD)},
        **{name: partial(read, folder) for name, read in _OPTIONAL.items() if (folder / name).is_file()},
    }
    found: dict[str, CheckpointError | None] = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = None
        except CheckpointError as error:
            found[name] = error
        except OSError as error:
            found[name] = _unreadable(folder / name, error)
    return found


def outline(folder: Path, name: str) -> Checkpoint:
    """What config.json says of a checkpoint whose other files may be missing; the fingerprint is empty.

    Raises:
        CheckpointError: config.json is missing, or not BGE-M3's.
    """
    config = _read_config(folder)
    return Checkpoint(
        folder=folder,
        name=name,
        weights=_weights(folder),
        hidden_size=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        intermediate_size=config["intermediate_size"],
        window=config["max_position_embeddings"] - config["pad_token_id"] - 1,
        vocabulary_size=config["vocab_size"],
        padding_id=config["pad_token_id"],
        layer_norm_eps=config["layer_norm_eps"],
        fingerprint="",
        recommended=Recommended(),
        representation=Representation(),
    )


def _weights(folder: Path) -> Path:
    """The encoder's weights, or where they would be expected."""
    return next((folder / name for name in _WEIGHT_FILES if (folder / name).is_file()), folder / _WEIGHT_FILES[0])


def _require_weights(folder: Path, weights: Path) -> None:
    if not weights.is_file():
        raise CheckpointError(
            f"{folder} has neither {' nor '.join(_WEIGHT_FILES)} (whole, not in shards): copy the model's weights there"
        )
    refuse_pointer(weights)


def _require(file: Path) -> None:
    if not file.is_file():
        # Without the heads other libraries go on with random ones: the vectors would be noise that looks fine.
        raise CheckpointError(
            f"{file.parent} has no {file.name}: "
            "copy it from the model's repository, or use a complete BGE-M3 checkpoint"
        )
    refuse_pointer(file)


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read ({error.strerror or error}): check the files' permissions")


def _read_config(folder: Path) -> dict[str, Any]:
    """The keys of config.json that decide the vectors, checked."""
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} has no config.json: give the folder of a BGE-M3 checkpoint") from error
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise CheckpointError(f"{path} cannot be read as JSON ({error}): copy it again from the model") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no JSON object: copy it again from the model")
    expected = {"model_type": "xlm-roberta", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    # Recent versions of transformers leave out what is their default.
    config: dict[str, Any] = {"hidden_act": "gelu", "position_embedding_type": "absolute", "pad_token_id": 1, **content}
    for key, bge_m3 in expected.items():
        if config.get(key) != bge_m3:
            raise CheckpointError(
                f"{path} says {key} = {config.get(key)!r} where BGE-M3 has {bge_m3!r}: use a BGE-M3 checkpoint"
            )
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    for key, least in [*((size, 1) for size in sizes), ("pad_token_id", 0), ("max_position_embeddings", 1)]:
        value = config.get(key)
        if type(value) is not int or value < least:
            raise CheckpointError(f"{path} says {key} = {value!r}, not a whole number: copy it again from the model")
    epsilon = config.get("layer_norm_eps")
    if type(epsilon) is not float or not 0 < epsilon < 1:
        raise CheckpointError(f"{path} says layer_norm_eps = {epsilon!r}, not a small number: copy it again")
    if (
        config["hidden_size"] % config["num_attention_heads"]
        or config["max_position_embeddings"] < 4 + config["pad_token_id"]
    ):
        raise CheckpointError(f"{path} has sizes that do not fit each other: copy it again from the model")
    decisive = (*expected, *sizes, "pad_token_id", "max_position_embeddings", "layer_norm_eps")
    return {key: config[key] for key in decisive}


def refuse_pointer(file: Path) -> None:
    """Refuses what Git leaves in the place of a large file that was not fetched.

    Raises:
        CheckpointError: with what fetches it.
    """
    with file.open("rb") as stream:
        if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise CheckpointError(f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder")


def _origin(folder: Path) -> str | None:
    """Fingerprint of the checkpoint that this folder was converted from, if it says so."""
    path = folder / ORIGIN_FILE
    if not path.is_file():
        return None
    fingerprint = path.read_text(encoding="utf-8", errors="replace").strip()
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise CheckpointError(
            f"{path} does not hold 64 hexadecimal digits: convert the model again, or delete the file"
        )
    return fingerprint


def _fingerprint(config: Mapping[str, Any], files: list[Path], weights: Path, made: Representation) -> str:
    """SHA-256 of the scheme, the configuration, `files` whole, and of the weights their size and 64 sampled blocks.

    And of the representation, where it adds to what the model makes.

    Hashing 2.3 GB would take seconds at every start; a fine-tuned model differs in every block.
    """
    digest = hashlib.sha256()
    parts = [SCHEME.encode(), json.dumps(config, sort_keys=True).encode(), *(file.read_bytes() for file in files)]
    added = [lexical_terms.SCHEME] if made.lexical == "bm25" else []
    if made.beginning_tokens:
        added.append(f"beginning: {made.beginning_tokens} tokens, weight {made.beginning_weight}")
    for part in (*parts, *samples(weights), *(text.encode() for text in added)):
        digest.update(len(part).to_bytes(8, "big"))  # so that no two lists of parts run together into the same bytes
        digest.update(part)
    return digest.hexdigest()


def samples(file: Path, start: int = 0) -> Iterator[bytes]:
    """The file's size in digits, then 64 blocks of it from byte `start` to its end, evenly spread."""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        yield str(size).encode()
        last = max(size - start - _SAMPLE_SIZE, 0)
        for sample in range(_SAMPLES):
            stream.seek(start + last * sample // (_SAMPLES - 1))
            yield stream.read(_SAMPLE_SIZE)


def _card(folder: Path) -> None:
    recommended(folder)
    representation(folder)


_OPTIONAL: Mapping[str, Callable[[Path], object]] = {ORIGIN_FILE: _origin, "README.md": _card}
"""Files that need not be there, and what reads them."""
