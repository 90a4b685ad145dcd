"""OpenVINO's form of a checkpoint: made at first use, checked against torch, kept in the user's cache folder.

    CACHE/openvino/FINGERPRINT-PRECISION-VERSION/
        encoder.xml encoder.bin    the graph and its weights, in 16 bits where it computes in those
        checked.json               what the check found, and digests of both files
    ….unfinished/ ….lock           while it is made

A folder appears there whole or not at all, and only after its graph has given torch's vectors. It may be deleted at
any time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from logging import getLogger
from math import prod
from pathlib import Path
from time import perf_counter

import filelock
import numpy as np
from platformdirs import user_cache_path

from rag.checkpoint import Checkpoint, samples
from rag.embedders.encoding import Encoded
from rag.embedders.openvino_pass import ForwardPass
from rag.embedders.openvino_runtime import openvino
from rag.embedders.tensors import encoder_tensors
from rag.errors import DiskError, ModelUnavailableError

WAY_OUT = "set RAG_EMBEDDER__BACKEND=torch"

REVISION = "1"
"""Another number for another graph: what was exported before is then passed over."""

_GRAPH, _WEIGHTS, _MARK = "encoder.xml", "encoder.bin", "checked.json"

CHECKED_AT = ((5,), (1, 33, 2, 9), (257, 64, 64, 3))
"""Tokens of the texts that both encode, batch by batch: alone and together, alike and not, in no order."""

_LEAST_COSINE = {"f32": 0.99999, "bf16": 0.995, "f16": 0.999}
_FARTHEST_WEIGHT = {"f32": 0.001, "bf16": 0.1, "f16": 0.02}
"""Of the largest weight, or of 1. A wrong graph gives vectors that have little to do with torch's."""

logger = getLogger(__name__)


def exported(checkpoint: Checkpoint, precision: str) -> Path:
    """File of the graph, exported and checked now if that has not been done on this machine.

    Of several processes one makes it, and the others wait.

    Args:
        precision: as for `ForwardPass`.

    Raises:
        ModelUnavailableError: OpenVINO gives other vectors than torch, or none.
        DiskError: the cache folder cannot be written, or has too little room.
        CheckpointError: the checkpoint's weights cannot be used.
    """
    name = f"{checkpoint.fingerprint}-{precision}-{version('openvino')}-{REVISION}"
    folder = user_cache_path("cross-lingual-rag") / "openvino" / name
    if _is_whole(folder):
        return folder / _GRAPH
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(f"{name}.lock")):
            if not _is_whole(folder):  # another process may have just made it
                _export(checkpoint, precision, folder)
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        reason = getattr(error, "strerror", None) or error
        raise DiskError(
            f"OpenVINO's form of {checkpoint.name} cannot be kept in {folder.parent} ({reason}): "
            f"make room there, or {WAY_OUT}"
        ) from error
    return folder / _GRAPH


def _export(checkpoint: Checkpoint, precision: str, folder: Path) -> None:
    started = perf_counter()
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed process
    unfinished.mkdir()
    try:
        # One after the other: the weights never lie in memory for torch and for OpenVINO at once.
        batches, expected = _expected(checkpoint)
        _save(checkpoint, precision, unfinished)
        cosine = _compared(checkpoint, precision, unfinished / _GRAPH, batches, expected)
        mark = {"least_cosine": cosine, **{file: _digest(unfinished / file) for file in (_GRAPH, _WEIGHTS)}}
        (unfinished / _MARK).write_text(json.dumps(mark), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    logger.info("exported %s to OpenVINO in %.1f s: %s", checkpoint.name, perf_counter() - started, folder)


def _expected(checkpoint: Checkpoint) -> tuple[list[list[list[int]]], list[Encoded]]:
    """Batches of random texts, and what torch makes of them in full precision."""
    import torch

    from rag.embedders.encoder import PackedEncoder

    random = np.random.default_rng(0)
    batches = [
        [
            random.integers(checkpoint.vocabulary_size, size=min(length, checkpoint.window)).tolist()
            for length in lengths
        ]
        for lengths in CHECKED_AT
    ]
    encode = PackedEncoder(checkpoint, torch.device("cpu"), torch.float32)
    return batches, [encode(batch) for batch in batches]


def _save(checkpoint: Checkpoint, precision: str, folder: Path) -> None:
    from rag.embedders.openvino_graph import encoder_graph

    in_16_bits = precision != "f32"
    size = sum(prod(shape) for _, shape in encoder_tensors(checkpoint)) * (2 if in_16_bits else 4)
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    graph = encoder_graph(checkpoint)
    try:
        openvino.save_model(graph, folder / _GRAPH, compress_to_fp16=in_16_bits)
    except RuntimeError as error:
        raise OSError(_line(error)) from error


def _compared(
    checkpoint: Checkpoint,
    precision: str,
    graph: Path,
    batches: Sequence[Sequence[Sequence[int]]],
    expected: Sequence[Encoded],
) -> float:
    """The lowest cosine of the graph's dense vectors to the expected ones.

    Raises:
        ModelUnavailableError: it is too low, or the token weights are too far off, or OpenVINO computes nothing.
    """
    try:
        encode = ForwardPass(graph, precision, checkpoint.padding_id)
        given = [encode(batch)[0] for batch in batches]
    except RuntimeError as error:
        raise ModelUnavailableError(f"OpenVINO cannot compute {checkpoint.name} ({_line(error)}): {WAY_OUT}") from error
    pairs = list(zip(given, expected, strict=True))
    cosine = min(float((ours.dense * torchs.dense).sum(axis=1).min()) for ours, torchs in pairs)
    farthest = max(
        float(np.abs(ours.token_weights - torchs.token_weights).max() / max(1, torchs.token_weights.max()))
        for ours, torchs in pairs
    )
    if cosine >= _LEAST_COSINE[precision] and farthest <= _FARTHEST_WEIGHT[precision]:
        return cosine
    raise ModelUnavailableError(  # also where something is not a number
        f"OpenVINO {version('openvino')} in {precision} gives other vectors of {checkpoint.name} than torch (cosine "
        f"{cosine:.4f}, weights of tokens {farthest:.3f} apart), so it is not used: {WAY_OUT}"
    )


def _is_whole(folder: Path) -> bool:
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        return all(mark[file] == _digest(folder / file) for file in (_GRAPH, _WEIGHTS))
    except (OSError, ValueError, TypeError, KeyError):  # it is not there, or was damaged
        return False


def _digest(file: Path) -> str:
    """SHA-256 of the file's size and of blocks of it: reading gigabytes would take longer than loading them."""
    digest = hashlib.sha256()
    for block in samples(file):
        digest.update(block)
    return digest.hexdigest()


def _line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
