"""Writes a small causal language model that says one text and nothing else: real weights, no training.

Its layers add nothing to what is embedded, and its last matrix leads from each token to the next of the text, so that
whatever generates with it, greedily or with chance, generates that text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

_UNKNOWN, _END, _TURN = "<unk>", "</s>", "<|assistant|>"
# Far enough ahead of all other tokens that chance never takes one, at any temperature.
_LOGIT = 50.0


def write_language_model(folder: Path, pieces: Sequence[str]) -> Path:
    """Fills `folder` with a checkpoint in transformers' layout that answers every chat with `pieces`; returns it.

    Args:
        pieces: of the text, each a token; they must all differ.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    assert len(set(pieces)) == len(pieces), "a piece that occurs twice would lead to two others"
    tokens = [_UNKNOWN, _END, _TURN, *pieces]
    width = 2 * (len(tokens) // 2 + 1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=width,
            intermediate_size=2,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=16_384,
            bos_token_id=None,
            eos_token_id=tokens.index(_END),
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
                weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(tokens), width))
        spoken = [tokens.index(token) for token in (_TURN, *pieces, _END)]
        # The last norm makes a vector's length the root of its width.
        model.lm_head.weight[spoken[1:], spoken[:-1]] = _LOGIT / width**0.5
    model.save_pretrained(folder)
    _write_tokenizer(folder, tokens)
    return folder


def _write_tokenizer(folder: Path, tokens: list[str]) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import WordLevel

    tokenizer = Tokenizer(WordLevel({token: number for number, token in enumerate(tokens)}, unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (_END, _TURN)])
    tokenizer.save(str(folder / "tokenizer.json"))
    template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}" + _TURN
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": _UNKNOWN,
        "eos_token": _END,
        "pad_token": _END,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
