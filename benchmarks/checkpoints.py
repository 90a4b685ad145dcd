"""The models that the benchmarks compute with: pocket-m3, and random ones of BGE-M3's shape.

Random weights cost what real ones cost. `full` is BGE-M3 with its own vocabulary, from $RAG_DATA; `medium` has four of
its layers and pocket-m3's vocabulary, to try a benchmark in minutes. All hold float32, as BGE-M3's download does, and
can be read by every library compared here: sentence-transformers computes in whatever precision the file has, and with
pocket-m3's own, float16, it would be slower on a CPU than it needs to be.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from benchmarks import full_size
from rag.checkpoint import Checkpoint, inspect, locate

NAMES = ("full", "medium", "pocket-m3")
_MEDIUM = full_size.CHECKPOINT.with_name("medium-random")
_SPECIAL = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}


def checkpoint(name: str) -> Checkpoint:
    """One of `NAMES`, written if it is not there yet; without what `full` needs the program ends and says so."""
    if name == "pocket-m3":
        return inspect(_widened(inspect(locate(name), name)), name)
    folder = _MEDIUM if name == "medium" else full_size.CHECKPOINT
    if not folder.exists():
        if name == "medium":
            pocket = inspect(locate("pocket-m3"), "pocket-m3")
            full_size.write_checkpoint(folder, pocket.tokenizer, layers=4, vocabulary=pocket.vocabulary_size)
        else:
            data = os.environ.get("RAG_DATA")
            if not data:
                sys.exit("RAG_DATA is not set: the folder with xlmr_tokenizer/tokenizer.json, BGE-M3's vocabulary")
            full_size.write_checkpoint(folder, Path(data) / "xlmr_tokenizer" / "tokenizer.json")
    _complete(folder)
    return inspect(folder, name)


def memory_mib(found: Checkpoint) -> float:
    """What a program that has not run yet may take with it: weights read, converted and computed with."""
    return 3 * found.weights.stat().st_size / (1 << 20) + 2000


def linear_parameters(found: Checkpoint) -> int:
    """Weights that every token is multiplied with: 302 M in BGE-M3."""
    return found.layers * (4 * found.hidden_size**2 + 2 * found.hidden_size * found.intermediate_size)


def useful_flops(found: Checkpoint, lengths: list[int]) -> float:
    """Of a forward pass over texts of so many tokens, without padding: the linears, and attention within each text."""
    attention = 4 * found.layers * found.hidden_size
    return 2.0 * linear_parameters(found) * sum(lengths) + float(sum(attention * length**2 for length in lengths))


def _widened(found: Checkpoint) -> Path:
    """Folder of a copy in float32."""
    from safetensors.torch import load_file, save_file

    folder = full_size.CHECKPOINT.with_name(f"{found.name}-float32-{found.fingerprint[:12]}")
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(found.folder, unfinished)
        state = {key: tensor.float() for key, tensor in load_file(found.weights).items()}
        save_file(state, unfinished / found.weights.name, metadata={"format": "pt"})
        config = json.loads((unfinished / "config.json").read_text(encoding="utf-8"))
        (unfinished / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}), encoding="utf-8")
        unfinished.rename(folder)
    return folder


def _complete(folder: Path) -> None:
    """What other libraries want beside the weights: the tokenizer's kind, and that vectors are CLS at unit length."""
    hidden = json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    files = {
        "tokenizer_config.json": {f"{role}_token": token for role, token in _SPECIAL.items()}
        | {"model_max_length": full_size.POSITIONS - 2, "tokenizer_class": "XLMRobertaTokenizer"},
        "sentence_bert_config.json": {"max_seq_length": full_size.POSITIONS - 2, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": hidden, "pooling_mode_cls_token": True},
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (path, kind) in enumerate(modules)
        ],
    }
    (folder / "2_Normalize").mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(content), encoding="utf-8")
            shutil.move(unfinished, path)
