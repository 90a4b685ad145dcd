"""Is a folder a usable embedding model? Every file is looked at, so that all that is wrong is said at once.

Weights and heads are opened, which reads tables of contents and small tensors, not gigabytes; no text is embedded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rag.catalogue.sentence_examination import sentence_faults
from rag.checkpoint import HEADS, Checkpoint, faults, inspect, outline
from rag.embedding_model import EmbeddingModel
from rag.errors import CheckpointError
from rag.hub import WEIGHTS
from rag.sentence_files import MODULES

Layout = Literal["bge-m3", "sentence-transformers"]
"""Where the model's files lie; see `rag.embedding_model`."""

Status = Literal["ok", "missing", "damaged"]
"""`damaged`: it is there, and broken, of another kind of model, or does not fit the other files."""

WITHOUT: Final[Mapping[str, str]] = {
    "config.json": "nothing is known of the model",
    "tokenizer.json": "no text can be read",
    "sparse_linear.pt": "there are no sparse vectors: neither hybrid nor sparse search",
    "colbert_linear.pt": "there are no vectors of tokens (multi-vector scores)",
}
"""What does not work without a file, by its name; without weights nothing does, nor without a module's files."""

_OF_A_TEACHER = frozenset({"tokenizer.json", *WEIGHTS})
"""Files without which a model cannot teach, either; it needs no heads."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model.

    Attributes:
        file: its path below the model's folder.
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
        checkpoint: what can be said of the model: of a usable one everything, of another in BGE-M3's layout what
            config.json says, without fingerprint; None where nothing can be said.
        teacher: sentence-transformers would load the folder, so `rag train distill` can learn from it.
    """

    name: str
    folder: Path
    layout: Layout
    parts: tuple[Part, ...]
    checkpoint: EmbeddingModel | None
    teacher: bool

    @property
    def usable(self) -> bool:
        """Whether this program can embed with it."""
        return all(part.fault is None for part in self.parts)


def examine(folder: Path, name: str) -> Examination:
    """Looks at every file of a folder that exists.

    Args:
        name: what the model was asked for, kept for messages.

    Raises:
        CheckpointError: the folder may not be looked into.
    """
    if _is_of_sentence_transformers(folder):
        seen, model = sentence_faults(folder, name)
        parts = tuple(_part(folder, file, fault) for file, fault in seen.items())
        return Examination(name, folder, "sentence-transformers", parts, model, teacher=model is not None)
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
    parts = tuple(_part(folder, file, fault) for file, fault in found.items())
    return Examination(name, folder, "bge-m3", parts, described, teacher=_may_teach(folder, found))


def _is_of_sentence_transformers(folder: Path) -> bool:
    """Whether it has its list of modules and none of BGE-M3's heads, as `rag.embedding_model.inspect` has it."""
    try:
        return (folder / MODULES).is_file() and not any((folder / head).is_file() for head in HEADS)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read ({error.strerror or error}): check the files' permissions"
        ) from error


def _may_teach(folder: Path, found: Mapping[str, CheckpointError | None]) -> bool:
    """Whether sentence-transformers would load it: heads may be missing and config.json be another model's."""
    if not (folder / MODULES).is_file() or any(found[file] for file in found if file in _OF_A_TEACHER):
        return False
    if found["config.json"] is None:
        return True
    from rag.embedders.weights import open_weights

    try:  # none of these was opened, for want of a configuration
        for file in ("config.json", "tokenizer.json"):
            json.loads((folder / file).read_bytes())
        open_weights(next(folder / file for file in WEIGHTS if file in found))
    except (CheckpointError, OSError, ValueError, RecursionError):
        return False
    return True


def require_weights(found: Checkpoint) -> None:
    """Opens the encoder's weights, whose tensors must all be there and fit the configuration.

    Raises:
        CheckpointError: they cannot be read, or are of another model.
    """
    from rag.embedders.tensors import encoder_tensors
    from rag.embedders.weights import open_weights

    tensor = open_weights(found.weights)
    for name, shape in encoder_tensors(found):
        tensor(name, shape)


def require_sparse_head(found: Checkpoint) -> None:
    """Opens the head of the sparse vectors.

    Raises:
        CheckpointError: it cannot be read, or is of another model.
    """
    from rag.embedders.weights import open_head

    tensor = open_head(found.sparse_head)
    tensor("weight", (1, found.hidden_size))
    tensor("bias", (1,))


def require_colbert_head(found: Checkpoint) -> None:
    """Opens the head of the tokens' vectors.

    Raises:
        CheckpointError: it cannot be read, or is of another model or the sparse head.
    """
    from rag.embedders.weights import open_head

    tensor = open_head(found.colbert_head)
    rows = tensor("weight", (None, found.hidden_size)).shape[0]
    tensor("bias", (rows,))
    if rows == 1:
        raise CheckpointError(
            f"{found.colbert_head} makes one number of a token, as the sparse head does: copy it again from the model"
        )


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


def _part(folder: Path, file: str, fault: CheckpointError | None) -> Part:
    path = folder / file
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError:  # a folder that may not be looked into; the fault says so
        size = None
    status: Status = "ok" if fault is None else "missing" if size is None else "damaged"
    return Part(file, status, size, fault)
