"""The tensors of BGE-M3's encoder, by name and shape: what is loaded, and what must be there to be loaded.

Names are those of transformers' XLMRobertaModel. Neither torch nor a file is needed to know them.
"""

from __future__ import annotations

from collections.abc import Iterator

from rag.checkpoint import Checkpoint

Shape = tuple[int, ...]


def encoder_tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, Shape]]:
    """Every tensor that the encoder computes with; others that a file has are passed over.

    One after the other, because a configuration may claim more layers than memory has room for their names.
    """
    yield from embedding_tensors(checkpoint).items()
    for layer in range(checkpoint.layers):
        yield from layer_tensors(checkpoint, layer).items()


def embedding_tensors(checkpoint: Checkpoint) -> dict[str, Shape]:
    """Shape by name of what is below the layers."""
    size = checkpoint.hidden_size
    return {
        "embeddings.word_embeddings.weight": (checkpoint.vocabulary_size, size),
        "embeddings.position_embeddings.weight": (checkpoint.window + checkpoint.padding_id + 1, size),
        "embeddings.token_type_embeddings.weight": (1, size),
        **_norm("embeddings.LayerNorm", size),
    }


def layer_tensors(checkpoint: Checkpoint, layer: int) -> dict[str, Shape]:
    """Shape by name of one layer's tensors, the first being 0."""
    size, wide = checkpoint.hidden_size, checkpoint.intermediate_size
    name = f"encoder.layer.{layer}"
    return {
        **_linear(f"{name}.attention.self.query", size, size),
        **_linear(f"{name}.attention.self.key", size, size),
        **_linear(f"{name}.attention.self.value", size, size),
        **_linear(f"{name}.attention.output.dense", size, size),
        **_norm(f"{name}.attention.output.LayerNorm", size),
        **_linear(f"{name}.intermediate.dense", wide, size),
        **_linear(f"{name}.output.dense", size, wide),
        **_norm(f"{name}.output.LayerNorm", size),
    }


def _linear(name: str, rows: int, columns: int) -> dict[str, Shape]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, size: int) -> dict[str, Shape]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}
