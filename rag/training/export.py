"""A trained student as a folder in BGE-M3's layout: what `rag`, FlagEmbedding and sentence-transformers all load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialized

from rag.errors import DiskError
from rag.training import tokenizer as tokenizers
from rag.training.student import Student

_MASK = {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
_SPECIALS: dict[str, Any] = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}


def export(student: Student, tokenizer: Path, card: str, out: Path) -> None:
    """Writes the folder; it is there whole or not at all. Weights in fp16.

    Args:
        tokenizer: folder of the tokenizer's files.
        card: README.md.

    Raises:
        DiskError: it cannot be written.
    """
    part = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _write(student, tokenizer, card, part)
        part.replace(out)
    except (OSError, RuntimeError) as error:  # torch and safetensors say so in their own way
        shutil.rmtree(part, ignore_errors=True)
        told = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
        raise DiskError(
            f"{out} cannot be written ({told}): the training is kept; make room, then start the same command again"
        ) from error


def _write(student: Student, tokenizer: Path, card: str, folder: Path) -> None:
    state = {name: value for name, value in student.encoder.state_dict().items() if not name.endswith("_ids")}
    hidden = int(student.config["hidden_size"])
    # Nothing here uses the pooler; libraries that build one would report its weights as missing.
    state["pooler.dense.weight"], state["pooler.dense.bias"] = torch.eye(hidden), torch.zeros(hidden)
    # Written here, because the library gives its files to their owner alone.
    (folder / "model.safetensors").write_bytes(serialized(_half(state), metadata={"format": "pt"}))
    for name, head in (("sparse_linear.pt", student.sparse), ("colbert_linear.pt", student.colbert)):
        with (folder / name).open("wb") as stream:
            torch.save(_half(head.state_dict()), stream)
    for name in tokenizers.FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    _json(folder / "config.json", {**student.config, "torch_dtype": "float16"})
    if not (folder / "tokenizer_config.json").is_file():
        named = {**_SPECIALS, "mask_token": "<mask>", "model_max_length": student.window}
        _json(
            folder / "tokenizer_config.json", {**named, "tokenizer_class": "XLMRobertaTokenizer", "sp_model_kwargs": {}}
        )
        _json(folder / "special_tokens_map.json", {**_SPECIALS, "mask_token": _MASK})
    _sentence_transformers(folder, hidden, student.window)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _sentence_transformers(folder: Path, hidden: int, window: int) -> None:
    parts = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    modules = [
        {"idx": int(name), "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for name, path, kind in parts
    ]
    _json(folder / "modules.json", modules)
    _json(folder / "sentence_bert_config.json", {"max_seq_length": window, "do_lower_case": False})
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}
    _json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **pooling})
    versions = {"sentence_transformers": "2.2.2", "transformers": "4.33.0", "pytorch": "2.1.2"}
    _json(folder / "config_sentence_transformers.json", {"__version__": versions})


def _half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().half().clone().contiguous() for name, value in state.items()}


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
