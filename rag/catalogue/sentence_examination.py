"""Is a folder a usable sentence-transformers model? Each file that its modules need is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rag import sentence_model
from rag.checkpoint import refuse_pointer
from rag.errors import CheckpointError
from rag.hub import WEIGHTS
from rag.model_card import recommended
from rag.sentence_files import MODULES, Module, modules_of, read_json
from rag.sentence_model import SentenceModel

_CARD = "README.md"
_OF_MODEL = ("config_sentence_transformers.json", _CARD)
_OF_TRANSFORMER = ("sentence_bert_config.json", "tokenizer_config.json", "special_tokens_map.json")
"""Files that need not be there, and are looked at where they are."""
_WITHOUT_WEIGHTS = ("Pooling", "Normalize")


def sentence_faults(folder: Path, name: str) -> tuple[dict[str, CheckpointError | None], SentenceModel | None]:
    """Each file by its path below `folder`, and what is wrong with it, if anything; and the model, if nothing is.

    Weights are opened, which reads tables of contents; whether their tensors fit the configuration only the loading of
    the model tells.

    Args:
        name: what the model was asked for.
    """
    found: dict[str, CheckpointError | None] = {}
    try:
        modules = modules_of(folder)
    except (CheckpointError, OSError) as error:
        return {MODULES: _as_fault(folder / MODULES, error)}, None
    files = [folder / MODULES, *(folder / file for file in _OF_MODEL if (folder / file).is_file())]
    files += [file for number, module in enumerate(modules) for file in _files(module, is_transformer=number == 0)]
    for file in files:
        try:
            _look_at(file)
            found[file.relative_to(folder).as_posix()] = None
        except (CheckpointError, OSError) as error:
            found[file.relative_to(folder).as_posix()] = _as_fault(file, error)
    if any(found.values()):
        return found, None
    try:
        model = sentence_model.inspect(folder, name)
    except CheckpointError as error:
        found[_blamed(error, modules).relative_to(folder).as_posix()] = error
        return found, None
    try:
        _require_tokenizer(model)
    except CheckpointError as error:
        found[model.tokenizer.relative_to(folder).as_posix()] = error
        return found, None
    return found, model


def _files(module: Module, *, is_transformer: bool) -> Iterator[Path]:
    if module.kind == "Normalize":
        return
    yield module.folder / "config.json"
    if is_transformer:
        yield module.folder / "tokenizer.json"
        yield from (module.folder / file for file in _OF_TRANSFORMER if (module.folder / file).is_file())
    if module.kind not in _WITHOUT_WEIGHTS:
        yield from _weights(module.folder)


def _weights(folder: Path) -> list[Path]:
    """A module's weights, whole or in shards, or where they would be expected."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        shards = None
        with suppress(CheckpointError):
            shards = read_json(folder / f"{name}.index.json", missing={}).get("weight_map")
        if isinstance(shards, dict) and shards:  # of those that lie elsewhere `inspect` tells
            return [folder / shard for shard in sorted({Path(str(shard)).name for shard in shards.values()})]
    return [folder / WEIGHTS[0]]


def _look_at(file: Path) -> None:
    if file.suffix == ".json":
        read_json(file, list if file.name == MODULES else dict)
        return
    if not file.is_file():
        raise CheckpointError(f"{file.parent} has no {file.name}: copy it from the model's repository")
    if file.name == _CARD:
        recommended(file.parent)
        return
    refuse_pointer(file)
    if not _is_of_old_torch(file):
        from rag.embedders.weights import open_weights

        open_weights(file)


def _is_of_old_torch(file: Path) -> bool:
    """Whether it is an archive as torch wrote them before 1.6, a pickle, of which nothing can be read but the whole."""
    with file.open("rb") as stream:
        return file.suffix == ".bin" and stream.read(1) == b"\x80"


def _require_tokenizer(model: SentenceModel) -> None:
    from rag.embedders.sentence_transformer import SentenceTransformerEmbedder

    SentenceTransformerEmbedder(model).count_tokens(["tokenizer"])


def _blamed(error: CheckpointError, modules: Sequence[Module]) -> Path:
    """The configuration that an error is about, which begins with it or with its folder."""
    folders = [module.folder for module in modules]
    named = [folder for folder in folders if str(error).startswith((f"{folder} ", f"{folder}{os.sep}"))]
    return max(named, key=lambda folder: len(folder.parts), default=folders[0]) / "config.json"


def _as_fault(file: Path, error: CheckpointError | OSError) -> CheckpointError:
    if isinstance(error, CheckpointError):
        return error
    return CheckpointError(f"{file} cannot be read ({error.strerror or error}): check the files' permissions")
