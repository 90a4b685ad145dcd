"""What the model computes on, and whether there is room for it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from rag.checkpoint import Checkpoint
from rag.doctor.finding import Setup, Verdict, failed, passed, warned
from rag.errors import RagError
from rag.rendering.text import readable_size

_FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX-BF16"}
# Beside the weights lie their rearranged copies and what grows with them: benchmarks.full_size has BGE-M3 in float32
# (2.3 GB of weights) at a peak of 3.8 GB. In bfloat16 its peak holds the mapped file too, which gives way.
_WITH_COPIES = 1.4
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def device(setup: Setup) -> Verdict:
    """Which device and precision the settings come to, and what this processor can do.

    Raises:
        InputError, ModelUnavailableError: there is no such device.
    """
    from rag.embedders.devices import choose_device, choose_dtype

    asked = setup.settings.embedder
    chosen = choose_device(asked.device)
    size = _hidden_size(setup)
    dtype, best = choose_dtype(asked.dtype, chosen, size), choose_dtype("auto", chosen)
    text = f"{chosen}, {_name(dtype)} ({platform.machine()}{_features()})"
    if chosen.type == "cpu" and dtype != best and best.itemsize > dtype.itemsize:
        return warned(
            f"{text}: this processor does not compute in {_name(dtype)}, which makes it slow",
            "RAG_EMBEDDER__DTYPE=auto",
        )
    return passed(text)


def step(setup: Setup) -> Verdict | None:
    """How many tokens a forward pass has, and why."""
    given = setup.settings.embedder.batch_tokens
    if given is not None:
        return passed(f"{given} tokens, as set")
    from rag.embedders.devices import choose_device, choose_dtype

    try:
        chosen = choose_device(setup.settings.embedder.device)
        found = setup.checkpoint
        dtype = choose_dtype(setup.settings.embedder.dtype, chosen, _hidden_size(setup))
    except RagError:
        return None
    if not isinstance(found, Checkpoint) or setup.settings.embedder.backend != "torch":
        return None
    from rag.embedders.encoder import step_setup, step_sizes
    from rag.embedders.step_budget import known_step_budget

    known = known_step_budget(step_setup(found, chosen, dtype), step_sizes(chosen))
    if known is None:
        return passed("not measured yet: the first large ingestion does, in half a second")
    speeds = ", ".join(f"{tokens}: {speed / 1000:.1f}k/s" for tokens, speed in known.speeds.items())
    return passed(f"{known.tokens} tokens, measured (tokens through one layer at {speeds})")


def memory(setup: Setup) -> Verdict | None:
    """Is there room for the model in the precision it will have?"""
    from rag.embedders.devices import choose_device, choose_dtype

    try:
        chosen = choose_device(setup.settings.embedder.device)
        found = setup.checkpoint
        dtype = choose_dtype(setup.settings.embedder.dtype, chosen, _hidden_size(setup))
    except RagError:
        return None
    if not isinstance(found, Checkpoint):
        return None
    weights = parameters(found) * dtype.itemsize
    if chosen.type != "cpu":
        return passed(f"{readable_size(weights)} of weights go to {chosen}")
    need = _WITH_COPIES * weights + setup.limits.working_memory
    free = available_memory()
    needed = f"the model in {_name(dtype)} takes about {readable_size(need)}"
    if free is None:
        return passed(f"{needed}; this system does not say how much is free")
    text = f"{readable_size(free)} free, {needed}"
    remedy = "close other programs, or take a smaller model: --model pocket-m3"
    if dtype.itemsize == 4:
        remedy = f"RAG_EMBEDDER__DTYPE=bfloat16 halves it; else {remedy}"
    if free < need:
        return failed(text, remedy)
    return warned(text, remedy) if free < need + setup.limits.ample_memory else passed(text)


def _hidden_size(setup: Setup) -> int | None:
    try:
        found = setup.checkpoint
    except RagError:  # another check tells
        return None
    return found.hidden_size if isinstance(found, Checkpoint) else None


def parameters(checkpoint: Checkpoint) -> int:
    """Number of the encoder's parameters (XLM-R without its pooler) and the sparse head's."""
    size, wide = checkpoint.hidden_size, checkpoint.intermediate_size
    attention = 4 * (size * size + size)
    feed_forward = 2 * size * wide + wide + size
    norms = 2 * 2 * size
    embeddings = (checkpoint.vocabulary_size + checkpoint.window + checkpoint.padding_id + 1) * size + 2 * size
    return embeddings + checkpoint.layers * (attention + feed_forward + norms) + size + 1


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Bytes that programs can still take, a container's limit heeded; all there are where the system tells no more."""
    free = _meminfo(meminfo)
    if free is None:
        try:
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):  # not on this system
            return None
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is not None and used is not None:
        return min(free, max(limit - used + _reclaimable(cgroup), 0))
    return free


def _meminfo(path: Path) -> int | None:
    for line in _lines(path):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _reclaimable(cgroup: Path) -> int:
    """Bytes of files kept in memory, which give way to programs."""
    words = (line.split() for line in _lines(cgroup / "memory.stat"))
    return next((int(pair[1]) for pair in words if pair[0] == "inactive_file"), 0)


def _number(path: Path) -> int | None:
    """The number in a file; None where there is no file or, as in `max`, no number."""
    word = next(iter(_lines(path)), "").strip()
    return int(word) if word.isdecimal() else None


def _features() -> str:
    """What the processor can do that the model gains from, where the system says so."""
    flags = next((line.split() for line in _lines(_CPUINFO) if line.startswith("flags")), [])
    has = [name for flag, name in _FEATURES.items() if flag in flags]
    lacks = [name for flag, name in _FEATURES.items() if flags and flag not in flags]
    return (f", has {', '.join(has)}" if has else "") + (f", has no {', '.join(lacks)}" if lacks else "")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
