"""The student: XLM-R with BGE-M3's three heads, on transformers' own model: what is saved is what others load."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rag import checkpoint
from rag.embedders.devices import choose_dtype
from rag.embedders.weights import open_head, open_weights
from rag.training.recipe import Student as Sizes
from rag.training.static import Bag
from rag.training.tokenizer import BEGIN, END, PAD
from rag.training.tokens import Floats, Texts

_DEVIATION = 0.02  # of the weights at the start
_LAYERS_AT_START = 0.3  # of that, on the way out of each layer: the student starts near the bag of tokens
_TOKENS = 16_000  # of a forward pass that learns nothing


class Student(torch.nn.Module):
    """Encoder and heads.

    Attributes:
        encoder: transformers' XLMRobertaModel without its pooler.
        sparse: Linear(hidden, 1); a token's weight is relu of it.
        colbert: Linear(hidden, hidden).
    """

    def __init__(self, config: dict[str, Any], seed: int) -> None:
        """Random weights, the same for the same seed.

        Args:
            config: as `config.json` of a checkpoint has it.
        """
        from transformers import XLMRobertaConfig, XLMRobertaModel

        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Plain matrix products: on a CPU their way back is half as long again as that of fused attention.
            # The precision of the file is not that of the training.
            settings = XLMRobertaConfig(**{**config, "torch_dtype": "float32", "dtype": "float32"})
            self.encoder: Any = XLMRobertaModel._from_config(  # type: ignore[no-untyped-call]
                settings, attn_implementation="eager", add_pooling_layer=False
            )
            self.sparse = torch.nn.Linear(settings.hidden_size, 1)
            self.colbert = torch.nn.Linear(settings.hidden_size, settings.hidden_size)
        torch.nn.init.eye_(self.colbert.weight)
        torch.nn.init.zeros_(self.colbert.bias)
        self.config = config
        self.window = int(config["max_position_embeddings"]) - PAD - 1
        self._half = choose_dtype("auto", torch.device("cpu")) == torch.bfloat16

    def hidden(self, ids: Tensor) -> Tensor:
        """(n, length, hidden) states in float32; bf16 inside, where the processor has it."""
        held = ids != PAD
        with torch.autocast("cpu", torch.bfloat16) if self._half else nullcontext():
            states: Tensor = self.encoder(input_ids=ids, attention_mask=held.long()).last_hidden_state
        return states.float()

    def dense(self, ids: Tensor) -> Tensor:
        """(n, hidden) unit vectors."""
        return functional.normalize(self.hidden(ids)[:, 0], dim=-1)

    def vectors(self, texts: Texts) -> Floats:
        """(texts, hidden) unit vectors, batched by length, learning nothing."""
        lengths = np.minimum(texts.lengths, self.window - 2)
        order = np.argsort(lengths, kind="stable")
        found = np.zeros((len(order), int(self.config["hidden_size"])), np.float32)
        start = 0
        with torch.no_grad():
            while start < len(order):
                longest = int(lengths[order[min(start + 255, len(order) - 1)]]) + 2
                chosen = order[start : start + max(8, min(256, _TOKENS // longest))]
                ids = texts.take(chosen).padded(self.window, BEGIN, PAD, END)
                found[chosen] = self.dense(torch.from_numpy(ids)).numpy()
                start += len(chosen)
        return found


def configuration(sizes: Sizes, vocabulary: int) -> dict[str, Any]:
    """`config.json` of a student of these sizes, in XLM-R's layout."""
    return {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "bos_token_id": BEGIN,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "hidden_act": "gelu",
        "hidden_size": sizes.hidden,
        "initializer_range": _DEVIATION,
        "intermediate_size": sizes.intermediate,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": sizes.window + PAD + 1,
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "position_embedding_type": "absolute",
        "type_vocab_size": 1,
        "use_cache": False,
        "vocab_size": vocabulary,
    }


def start_from_bag(student: Student, bag: Bag) -> None:
    """Sets the first layer so that its `<s>` is the bag of tokens, and the others to do next to nothing.

    `<s>` is the zero vector; its query is the bias alone, sqrt(head size) in one coordinate of every head, where every
    key is u·x: so the attention is softmax(u·x), and the value x itself.
    """
    encoder = student.encoder
    with torch.no_grad():
        words = encoder.embeddings.word_embeddings.weight
        words.copy_(functional.layer_norm(bag.table, (bag.table.shape[1],)))
        words[[BEGIN, PAD, END]] = 0
        encoder.embeddings.position_embeddings.weight.zero_()
        encoder.embeddings.token_type_embeddings.weight.zero_()
        first = encoder.encoder.layer[0].attention
        hidden, heads = bag.table.shape[1], int(student.config["num_attention_heads"])
        size = hidden // heads
        torch.nn.init.eye_(first.self.value.weight)
        torch.nn.init.eye_(first.output.dense.weight)
        for head in range(heads):
            first.self.query.bias[head * size] = math.sqrt(size)
            first.self.key.weight[head * size] = bag.direction
        for layer in encoder.encoder.layer:
            layer.output.dense.weight.mul_(_LAYERS_AT_START)


def load(folder: Path, seed: int) -> Student:
    """The student that a checkpoint in BGE-M3's layout holds.

    Raises:
        CheckpointError: the folder is no such checkpoint, or lacks a tensor.
    """
    import json

    found = checkpoint.inspect(folder, str(folder))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    student = Student(config, seed)
    weights = open_weights(found.weights)
    state = {
        name: weights(name, tuple(value.shape)).float() if not name.endswith("_ids") else value
        for name, value in student.encoder.state_dict().items()
    }
    student.encoder.load_state_dict(state)
    for head, file in ((student.sparse, found.sparse_head), (student.colbert, found.colbert_head)):
        tensors = open_head(file)
        head.load_state_dict(
            {name: tensors(name, tuple(value.shape)).float() for name, value in head.state_dict().items()}
        )
    return student
