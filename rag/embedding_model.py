"""Which kind of embedding model a folder holds: one in BGE-M3's layout, or one of sentence-transformers."""

from __future__ import annotations

from pathlib import Path

from rag import checkpoint, sentence_model
from rag.checkpoint import HEADS, Checkpoint
from rag.errors import CheckpointError, InputError
from rag.sentence_files import MODULES
from rag.sentence_model import SentenceModel

EmbeddingModel = Checkpoint | SentenceModel
"""Both have `name`, `folder`, `window`, `tokenizer`, `fingerprint` and `recommended`."""


def inspect(
    folder: Path,
    name: str,
    *,
    query_prompt: str | None = None,
    passage_prompt: str | None = None,
    truncate_dim: int | None = None,
) -> EmbeddingModel:
    """Checks that `folder` holds a usable model and reads all that is known without its weights.

    BGE-M3's layout has its two heads beside the weights; what sentence-transformers saves has modules.json. BGE-M3's
    own folder has both, and all its vectors are used.

    Args:
        folder: as `rag.checkpoint.locate` gives it.
        name: what the model was asked for.
        query_prompt, passage_prompt, truncate_dim: as for `rag.sentence_model.inspect`.

    Raises:
        CheckpointError: it is neither, or a file is missing or cannot be used.
        InputError: prompts or a dimension are given, and the model has none to choose.
    """
    try:
        has_heads, has_modules = any((folder / head).is_file() for head in HEADS), (folder / MODULES).is_file()
    except OSError as error:  # a folder that may not be looked into, say
        raise CheckpointError(f"{folder} cannot be read ({error.strerror}): give another folder") from error
    if has_heads:
        given = {"QUERY_PROMPT": query_prompt, "PASSAGE_PROMPT": passage_prompt, "TRUNCATE_DIM": truncate_dim}
        for setting, value in given.items():
            if value not in (None, ""):
                raise InputError(
                    f"RAG_EMBEDDER__{setting} is {value!r} and {name!r} is in BGE-M3's layout, which has no such "
                    "choice: unset it, or use a sentence-transformers model"
                )
        return checkpoint.inspect(folder, name)
    if has_modules:
        return sentence_model.inspect(
            folder, name, query_prompt=query_prompt, passage_prompt=passage_prompt, truncate_dim=truncate_dim
        )
    raise CheckpointError(
        f"{folder} has neither BGE-M3's heads ({', '.join(HEADS)}) nor a {MODULES} of sentence-transformers: "
        "give the folder of a model in one of these layouts"
    )
