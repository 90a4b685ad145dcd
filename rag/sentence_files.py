"""The files of a sentence-transformers model: its modules, what each needs, and what of a repository is wanted.

Its modules are those that turn text into one vector by weights alone: a transformer, a pooling of its tokens, then any
of Dense, LayerNorm and Normalize. Others, and code that comes with a model, are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rag.checkpoint import refuse_pointer
from rag.errors import CheckpointError

MODULES = "modules.json"
"""The file by which a folder is told to be one of these models."""

_AFTER_POOLING = ("Dense", "LayerNorm", "Normalize")
_WITHOUT_WEIGHTS = ("Pooling", "Normalize")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SETTINGS = (MODULES, "config_sentence_transformers.json")
_OF_TRANSFORMER = ("config.json", "sentence_bert_config.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True, slots=True)
class Module:
    """A step from text to vector.

    Attributes:
        kind: name of its class.
        folder: where its configuration and weights are.
    """

    kind: str
    folder: Path


def is_whole(folder: Path) -> bool:
    """Whether all files of a model are there."""
    try:
        return bool(list(files_of(folder, modules_of(folder))))
    except (CheckpointError, OSError):
        return False


def wanted(names: Sequence[str]) -> list[str]:
    """Of the files of a repository, those that a model is made of; each weight once, safetensors if there are any."""
    places: dict[PurePosixPath, list[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        in_module = len(path.parts) == 1 or (len(path.parts) == 2 and path.parts[0][:1].isdigit())
        if in_module:
            places.setdefault(path.parent, []).append(name)
    found: list[str] = []
    for here in places.values():
        kinds = [name for name in here if name.endswith((".json", ".txt", ".model", "README.md"))]
        tensors = [name for name in here if PurePosixPath(name).match("model*.safetensors")]
        archives = [name for name in here if PurePosixPath(name).match("pytorch_model*.bin")]
        found += kinds + (tensors or archives)
    return found


def modules_of(folder: Path) -> list[Module]:
    """The modules of the model in `folder`, the first a Transformer, the second a Pooling.

    Raises:
        CheckpointError: there are others, or they cannot be read.
    """
    path = folder / MODULES
    content = read_json(path, list)
    found = []
    for each in content:
        kind, place = (each.get("type"), each.get("path")) if isinstance(each, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(place, str):
            raise CheckpointError(f"{path} does not list modules by type and path: copy it again from the model")
        if not kind.startswith("sentence_transformers."):
            raise CheckpointError(f"{path} names {kind!r}, which is code that comes with the model: use another model")
        found.append(Module(kind.rsplit(".", 1)[-1], _below(folder, place)))
    kinds = [module.kind for module in found]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]).issubset(_AFTER_POOLING):
        raise CheckpointError(
            f"{path} lists {', '.join(kinds) or 'nothing'}: use a model of a Transformer, a Pooling, "
            f"and any of {', '.join(_AFTER_POOLING)} after them"
        )
    return found


def files_of(folder: Path, modules: Sequence[Module]) -> Iterator[Path]:
    """All that decides the vectors, in an order of its own; each is there.

    Raises:
        CheckpointError: one is missing.
    """
    yield from (folder / name for name in _SETTINGS if (folder / name).is_file())
    transformer = modules[0].folder
    yield from (_there(transformer / name) for name in ("config.json", "tokenizer.json"))
    yield from (transformer / name for name in _OF_TRANSFORMER[1:] if (transformer / name).is_file())
    for module in modules:
        if module is not modules[0] and module.kind != "Normalize":
            yield _there(module.folder / "config.json")
        if module.kind not in _WITHOUT_WEIGHTS:
            yield from _weights(module.folder)


def _weights(folder: Path) -> Iterator[Path]:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            yield _there(folder / name)
            return
        index = folder / f"{name}.index.json"  # in shards
        if index.is_file():
            shards = read_json(index).get("weight_map")
            for shard in sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else ():
                yield _there(_below(folder, shard))
            return
    raise CheckpointError(f"{folder} has neither {' nor '.join(_WEIGHTS)}: copy the model's weights there")


def _below(folder: Path, place: str) -> Path:
    if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
        raise CheckpointError(f"{folder} names {place!r}, which lies outside of it: copy it again from the model")
    return folder / place


def _there(file: Path) -> Path:
    if not file.is_file():
        raise CheckpointError(f"{file.parent} has no {file.name}: copy it from the model's repository")
    refuse_pointer(file)
    return file


def read_json(path: Path, kind: type = dict, *, missing: Any = None) -> Any:
    """JSON of a file, an object unless said otherwise; `missing` where there is no file, unless that is None.

    Raises:
        CheckpointError: it is missing, or cannot be read.
    """
    if missing is not None and not path.is_file():
        return missing
    try:
        content = json.loads(_there(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}): copy it again from the model") from error
    if not isinstance(content, kind):
        raise CheckpointError(f"{path} is not what it should be: copy it again from the model")
    return content
