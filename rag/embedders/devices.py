"""The device and the precision that a model computes with.

Importing this module loads torch.
"""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

import torch

from rag.errors import InputError, ModelUnavailableError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


_WORTH_HALVING = 384
"""Hidden states from which 16 bits pay on a CPU: at 256 they save a tenth of the time and cost 1.5 of 100 places among
the first ten (benchmarks.embedding_parity)."""


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


def choose_dtype(dtype: str, device: torch.device, hidden_size: int | None = None) -> torch.dtype:
    """The torch dtype of that name; `auto` takes 16 bits where the hardware computes in them, else float32.

    Args:
        hidden_size: of the model, where it is known: on a CPU a narrow one stays in float32.

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
    narrow = hidden_size is not None and hidden_size < _WORTH_HALVING
    if (
        device.type == "cpu"
        and not narrow
        and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    ):
        return torch.bfloat16
    return torch.float32


def hardware(device: torch.device) -> str:
    """What computes, by the name its maker gave it where that can be found."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        name = str(torch.backends.cpu.get_cpu_capability())
        with suppress(OSError):  # Linux alone has it
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
            models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
            name = f"{models[0]}, {name}" if models else name
        return name
    return f"{platform.machine()} {device.type}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator had no room for what was asked of it."""
    return isinstance(error, torch.OutOfMemoryError)
