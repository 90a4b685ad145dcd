"""Writes a small random checkpoint that is complete in BGE-M3's layout: any library that reads BGE-M3 reads it."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Literal

from tests import tiny_corpus

VOCABULARY = 1200
SPECIAL_TOKENS = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"}


def write_tiny_checkpoint(
    folder: Path,
    *,
    weights: Literal["safetensors", "bin"] = "safetensors",
    hidden: int = 64,
    layers: int = 2,
    seed: int = 0,
) -> Path:
    """Fills `folder` and returns it. The same arguments give the same vectors; the formats of `weights` too."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    _write_json(
        folder / "tokenizer_config.json",
        {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
        | {"mask_token": "<mask>", "model_max_length": 8192, "tokenizer_class": "XLMRobertaTokenizer"},
    )
    configuration = XLMRobertaConfig(
        vocab_size=json.loads(tokenizer_json())["added_tokens"][-1]["id"] + 1,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * hidden,
        max_position_embeddings=8194,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    configuration.save_pretrained(folder)
    generator = torch.Generator().manual_seed(seed)
    # A new model's small weights leave all vectors alike; strong attention lets <s> take up what the text says.
    state = {
        name: _values(name, tuple(value.shape), generator)
        for name, value in XLMRobertaModel(configuration).state_dict().items()
        if value.is_floating_point()
    }
    if weights == "safetensors":
        from safetensors.torch import save_file

        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        torch.save(state, folder / "pytorch_model.bin")
    for name, rows in (("sparse_linear", 1), ("colbert_linear", hidden)):
        weight = torch.randn(rows, hidden, generator=generator) / hidden**0.5
        torch.save({"weight": weight, "bias": torch.full((rows,), 0.5)}, folder / f"{name}.pt")
    _write_sentence_transformers(folder, hidden)
    return folder


def _values(name, shape, generator):  # untyped: keeps torch out of the module's head
    import torch

    noise = torch.randn(shape, generator=generator)
    if "LayerNorm.weight" in name:
        return 1 + 0.1 * noise
    if name.endswith("bias") or "position_embeddings" in name or "token_type_embeddings" in name:
        return 0.1 * noise
    if "word_embeddings" in name:
        return noise
    return (2.0 if "attention" in name else 0.4) * noise / shape[1] ** 0.5


@cache
def tokenizer_json() -> str:
    """XLM-R's kind of tokenizer.json, its unigram pieces trained on the tiny corpus."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram

    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for language in tiny_corpus.PATTERNS for text in tiny_corpus.sentences(language)),
        model_writer=trained,
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # generated code
    model.ParseFromString(trained.getvalue())
    # fairseq's order, which XLM-R keeps: its own four first, then the pieces after sentencepiece's three, <mask> last.
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(token, 0.0) for token in special] + [(piece.piece, piece.score) for piece in model.pieces[3:]]
    tokenizer = Tokenizer(Unigram([*pieces, ("<mask>", 0.0)], unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_special_tokens([AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    return tokenizer.to_str()


def _write_sentence_transformers(folder: Path, hidden: int) -> None:
    """What sentence-transformers needs to know that vectors are the first token's, at unit length."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    _write_json(
        folder / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (path, name) in enumerate(modules)
        ],
    )
    _write_json(
        folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, "pooling_mode_cls_token": True}
    )
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": 8192, "do_lower_case": False})
    (folder / "2_Normalize").mkdir(exist_ok=True)


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
