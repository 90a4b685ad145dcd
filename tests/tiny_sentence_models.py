"""Writes small random sentence-transformers models, in the layouts in which the well-known ones lie on the hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import tiny_corpus
from tests.tiny_checkpoint import SPECIAL_TOKENS, tokenizer_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HIDDEN = 48
_SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}


def write_minilm(folder: Path) -> Path:
    """paraphrase-multilingual-MiniLM-L12-v2: BERT over XLM-R's vocabulary, the mean of its tokens."""
    from transformers import BertConfig, BertModel

    size = _xlmr_tokenizer(folder)
    _save(BertModel(BertConfig(vocab_size=size, max_position_embeddings=512, pad_token_id=0, **_SIZES)), folder)
    _modules(folder, "Transformer", "Pooling")
    _json(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    return folder


def write_mpnet(folder: Path) -> Path:
    """paraphrase-multilingual-mpnet-base-v2: XLM-R, the mean of its tokens, weights in PyTorch's own format."""
    import torch

    model = _xlmr(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    _modules(folder, "Transformer", "Pooling")
    _json(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    return folder


def write_distiluse(folder: Path) -> Path:
    """distiluse-base-multilingual-cased-v2: DistilBERT, the mean of its tokens, a dense layer with tanh."""
    import torch
    from safetensors.torch import save_file
    from transformers import DistilBertConfig, DistilBertModel

    size = _word_pieces(folder)
    _save(
        DistilBertModel(
            DistilBertConfig(vocab_size=size, dim=HIDDEN, n_layers=2, n_heads=4, hidden_dim=96, pad_token_id=0)
        ),
        folder,
    )
    _modules(folder, "Transformer", "Pooling", "Dense")
    _json(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    _json(
        folder / "2_Dense" / "config.json",
        {
            "in_features": HIDDEN,
            "out_features": 32,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    )
    torch.manual_seed(1)
    weights = {"linear.weight": torch.randn(32, HIDDEN) / HIDDEN**0.5, "linear.bias": torch.randn(32) / 10}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    return folder


def write_e5(folder: Path) -> Path:
    """multilingual-e5-*: XLM-R, the mean of its tokens at unit length; its files say nothing of its prompts."""
    _xlmr(folder)
    _modules(folder, "Transformer", "Pooling", "Normalize")
    _json(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    return folder


def write_qwen3(folder: Path) -> Path:
    """Qwen3-Embedding-*: a decoder, its last token at unit length, prompts in its configuration, Matryoshka."""
    from transformers import Qwen3Config, Qwen3Model

    size = _byte_pairs(folder)
    _save(
        Qwen3Model(
            Qwen3Config(
                vocab_size=size,
                num_key_value_heads=2,
                head_dim=12,
                max_position_embeddings=1024,
                eos_token_id=0,
                **_SIZES,
            )
        ),
        folder,
    )
    _modules(folder, "Transformer", "Pooling", "Normalize", pooling="lasttoken")
    _json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": {"query": "Instruct: Find what answers the question\nQuery:", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )
    return folder


LAYOUTS: Mapping[str, Callable[[Path], Path]] = {
    "paraphrase-multilingual-MiniLM-L12-v2": write_minilm,
    "paraphrase-multilingual-mpnet-base-v2": write_mpnet,
    "distiluse-base-multilingual-cased-v2": write_distiluse,
    "multilingual-e5-small": write_e5,
    "multilingual-e5-large-instruct": write_e5,
    "Qwen3-Embedding-0.6B": write_qwen3,
}
"""Name on the hub, without its owner → what writes a folder of that layout and returns it."""


def _xlmr(folder: Path) -> PreTrainedModel:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    size = _xlmr_tokenizer(folder)
    configuration = XLMRobertaConfig(
        vocab_size=size,
        max_position_embeddings=514,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        **_SIZES,
    )
    return _save(XLMRobertaModel(configuration), folder)


def _save(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """With weights large enough for texts to differ, the same each time."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        flat = value.ndim < 2
        value.data = (1 + 0.1 * noise if name.endswith("orm.weight") else 0.1 * noise) if flat else noise
        if not flat and "embed" not in name:
            value.data = noise / value.shape[1] ** 0.5
    model.save_pretrained(folder)
    return model


def _modules(folder: Path, *kinds: str, pooling: str = "mean_tokens") -> None:
    places = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], start=1))]
    _json(
        folder / "modules.json",
        [
            {"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.models.{kind}"}
            for number, (kind, place) in enumerate(zip(kinds, places, strict=True))
        ],
    )
    _json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": HIDDEN, f"pooling_mode_{pooling}": True}
        | ({} if pooling == "mean_tokens" else {"pooling_mode_mean_tokens": False}),
    )


def _xlmr_tokenizer(folder: Path) -> int:
    """Writes XLM-R's kind of tokenizer; the number of its tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    tokens = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()} | {"mask_token": "<mask>"}
    _json(
        folder / "tokenizer_config.json", tokens | {"model_max_length": 512, "tokenizer_class": "XLMRobertaTokenizer"}
    )
    size: int = json.loads(tokenizer_json())["added_tokens"][-1]["id"] + 1
    return size


def _word_pieces(folder: Path) -> int:
    """Writes BERT's kind of tokenizer, cased."""
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    tokenizer.train_from_iterator(_sentences(), vocab_size=600, show_progress=False)
    specials = {"cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "unk": "[UNK]", "mask": "[MASK]"}
    return _tokenizer(folder, tokenizer, specials, "DistilBertTokenizer", {"do_lower_case": False})


def _byte_pairs(folder: Path) -> int:
    """Writes Qwen's kind of tokenizer, which puts its end of text behind every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(), trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, 0)]),
        ]
    )
    return _tokenizer(folder, tokenizer, {"eos": end, "pad": end}, "PreTrainedTokenizerFast", {})


def _tokenizer(folder: Path, tokenizer: Any, specials: Mapping[str, str], kind: str, more: Mapping[str, Any]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {f"{role}_token": token for role, token in specials.items()}
    _json(folder / "tokenizer_config.json", tokens | {"model_max_length": 512, "tokenizer_class": kind, **more})
    size: int = tokenizer.get_vocab_size()
    return size


def _sentences() -> list[str]:
    return [text for language in tiny_corpus.PATTERNS for text in tiny_corpus.sentences(language)]


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
