"""Is a folder a usable embedding model? Every file is looked at, so that all that is wrong is said at once.

Weights and heads are opened, which reads tables of contents and small tensors, not gigabytes; no text is embedded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rag.checkpoint import Checkpoint, faults, inspect, outline
from rag.errors import CheckpointError

Status = Literal["ok", "missing", "damaged"]
"""`damaged`: it is there, and broken, of another kind of model, or does not fit the other files."""

WITHOUT: Final[Mapping[str, str]] = {
    "config.json": "nothing is known of the model",
    "tokenizer.json": "no text can be read",
    "sparse_linear.pt": "there are no sparse vectors: neither hybrid nor sparse search",
    "colbert_linear.pt": "there are no vectors of tokens (multi-vector scores)",
}
"""What does not work without a file, by its name; without weights nothing does."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a checkpoint.

    Attributes:
        size: bytes; None where it is missing.
        fault: what is wrong with it and what mends it; None where nothing is.
    """

    file: str
    status: Status
    size: int | None
    fault: CheckpointError | None


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes:
        name: what the model was asked for.
        checkpoint: what can be said of the model: of a usable one everything, of another what config.json says, without
            fingerprint; None where that cannot be used either.
        teacher: sentence-transformers would load the folder, so `rag train distill` can learn from it.
    """

    name: str
    folder: Path
    parts: tuple[Part, ...]
    checkpoint: Checkpoint | None
    teacher: bool

    @property
    def usable(self) -> bool:
        """Whether this program can embed with it."""
        return all(part.fault is None for part in self.parts)


def examine(folder: Path, name: str) -> Examination:
    """Looks at every file of a folder that exists.

    Args:
        name: what the model was asked for, kept for messages.
    """
    found = faults(folder)
    described = outline(folder, name) if found["config.json"] is None else None
    if described is not None:
        for file, require in _openers(described).items():
            if found[file] is None:
                try:
                    require(described)
                except CheckpointError as error:
                    found[file] = error
    if not any(found.values()):
        described = inspect(folder, name)
    parts = tuple(_part(folder / file, fault) for file, fault in found.items())
    return Examination(name, folder, parts, described, teacher=(folder / "modules.json").is_file())


def require_weights(found: Checkpoint) -> None:
    """Opens the encoder's weights, whose tensors must fit the configuration.

    Raises:
        CheckpointError: they cannot be read, or are of another model.
    """
    from rag.embedders.weights import open_weights

    tensor = open_weights(found.weights)
    last = f"encoder.layer.{found.layers - 1}"
    for name, size in (
        ("embeddings.LayerNorm.weight", found.hidden_size),
        (f"{last}.intermediate.dense.bias", found.intermediate_size),
        (f"{last}.output.LayerNorm.weight", found.hidden_size),
    ):
        tensor(name, (size,))


def require_sparse_head(found: Checkpoint) -> None:
    """Opens the head of the sparse vectors.

    Raises:
        CheckpointError: it cannot be read, or is of another model.
    """
    from rag.embedders.weights import open_head

    open_head(found.sparse_head)("weight", (1, found.hidden_size))


def require_colbert_head(found: Checkpoint) -> None:
    """Opens the head of the tokens' vectors.

    Raises:
        CheckpointError: it cannot be read.
    """
    from rag.embedders.weights import open_head

    open_head(found.colbert_head)


def require_tokenizer(found: Checkpoint) -> None:
    """Loads the tokenizer, which must be XLM-R's and not larger than the vocabulary.

    Raises:
        CheckpointError: it cannot be used.
    """
    from rag.embedders.bge_m3 import BgeM3Embedder

    BgeM3Embedder(found).count_tokens(["tokenizer"])


def _openers(found: Checkpoint) -> dict[str, Callable[[Checkpoint], None]]:
    """What opens each file, by its name."""
    return {
        found.weights.name: require_weights,
        found.tokenizer.name: require_tokenizer,
        found.sparse_head.name: require_sparse_head,
        found.colbert_head.name: require_colbert_head,
    }


def _part(path: Path, fault: CheckpointError | None) -> Part:
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError:  # a folder that may not be looked into; the fault says so
        size = None
    status: Status = "ok" if fault is None else "missing" if size is None else "damaged"
    return Part(path.name, status, size, fault)
