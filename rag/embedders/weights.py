"""Reads tensors out of a checkpoint's files, each checked against the shape the configuration promises.

Importing this module loads torch.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rag.errors import CheckpointError

if TYPE_CHECKING:
    from safetensors import safe_open

TensorReader = Callable[[str, tuple[int | None, ...]], Tensor]
"""Tensor by name and expected shape, None where any length will do, on the CPU, in the file's own precision."""

_PREFIX = "roberta."
"""Some fine-tuning programs save the encoder as a part of a larger model."""


def open_weights(path: Path) -> TensorReader:
    """A reader of the encoder's weights; the file stays mapped into memory, nothing is read before it is asked for.

    Names are those of transformers' XLMRobertaModel, whether or not the file prefixes them with `roberta.`.

    Raises:
        CheckpointError: the file cannot be read. The reader raises it where a tensor is missing or has another shape.
    """
    if path.suffix == ".safetensors":
        return _checked(path, *_open_safetensors(path))
    return _open_archive(path)


def open_head(path: Path) -> TensorReader:
    """A reader of a head's state dict, `weight` and `bias`.

    Raises:
        CheckpointError: as for `open_weights`.
    """
    return _open_archive(path)


def open_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself.

    Raises:
        CheckpointError: it cannot be read.
    """
    return dict(_safetensors(path).metadata() or {})  # type: ignore[no-untyped-call]  # as `keys` below


def _open_safetensors(path: Path) -> tuple[set[str], Callable[[str], Tensor]]:
    file = _safetensors(path)
    names = file.keys()  # type: ignore[no-untyped-call]  # safetensors' stubs give this method no types
    return set(names), file.get_tensor


def _safetensors(path: Path) -> safe_open:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): copy it again from the model") from error


def _open_archive(path: Path) -> TensorReader:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path} cannot be read ({first_line}): copy it again from the model") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no plain state dict: save the model's `state_dict()` instead")
    return _checked(path, set(state), state.__getitem__)


def _checked(path: Path, names: set[str], read: Callable[[str], Tensor]) -> TensorReader:
    prefix = _PREFIX if any(name.startswith(f"{_PREFIX}embeddings.") for name in names) else ""

    def tensor(name: str, shape: tuple[int | None, ...]) -> Tensor:
        if prefix + name not in names:
            raise CheckpointError(f"{path} has no tensor {prefix + name!r}: it is not BGE-M3's encoder or its heads")
        found = read(prefix + name)
        has = tuple(found.shape)
        if len(has) != len(shape) or any(want not in (None, there) for there, want in zip(has, shape, strict=True)):
            asked = str(shape).replace("None", "any")
            raise CheckpointError(
                f"{path} holds {prefix + name!r} in shape {has} where config.json asks for {asked}: "
                "take both files from one model"
            )
        return found

    return tensor
