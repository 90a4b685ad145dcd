"""The device and the precision that a model computes with.

Importing this module loads torch.
"""

from __future__ import annotations

import torch

from rag.errors import InputError, ModelUnavailableError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str) -> torch.device:
    """The torch device of that name; `auto` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        InputError: the name is no device this program computes on.
        ModelUnavailableError: this machine has no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:  # how torch says that a name is unknown
        raise InputError(f"device {device!r} is unknown: use auto, cpu, cuda, cuda:1 or mps") from error
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.mps.is_available())}
    if chosen.type not in counts:
        raise InputError(f"device {device!r} is not supported: use auto, cpu, cuda, cuda:1 or mps")
    if (chosen.index or 0) >= counts[chosen.type]:
        raise ModelUnavailableError(f"device {device!r} is not on this machine: use auto or cpu")
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The torch dtype of that name; `auto` takes 16 bits where the hardware computes in them, else float32.

    Raises:
        InputError: the name is none of auto, float32, bfloat16, float16.
    """
    if dtype in _DTYPES:
        return _DTYPES[dtype]
    if dtype != "auto":
        raise InputError(f"dtype {dtype!r} is unknown: use auto, {', '.join(_DTYPES)}")
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return torch.float32
