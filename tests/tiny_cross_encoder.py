"""Tiny cross-encoders in the layout of BAAI/bge-reranker-v2-m3: one at random, one that has learned a toy corpus."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from tests import tiny_corpus
from tests.tiny_checkpoint import SPECIAL_TOKENS, write_tiny_checkpoint

if TYPE_CHECKING:
    from transformers import XLMRobertaForSequenceClassification

LANGUAGES = ("en", "de")
_STEPS, _WARM_UP, _QUESTIONS, _RATE = 150, 20, 16, 8e-3

Fact = tuple[int, int, int]
"""Which of the corpus's four subjects, verbs and objects a sentence is made of."""


def write_tiny_cross_encoder(
    folder: Path, *, labels: int = 1, positions: int = 8194, window: int | None = 8192
) -> Path:
    """Fills `folder` with a random cross-encoder and returns it.

    Args:
        window: what the tokenizer says is the longest pair; None where it says nothing.
    """
    import torch

    torch.manual_seed(0)
    return _save(_model(folder, labels, positions), folder, window)


def write_trained_cross_encoder(folder: Path) -> Path:
    """Trains a tiny cross-encoder to tell which passage says what a question says, in either language; some seconds.

    It sees three quarters of the facts, see `facts`. Loss: cross-entropy over a question's four passages.
    """
    import torch
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    model = _model(folder, labels=1, positions=130)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP) * (1 - step / (_STEPS + 1))
    )
    chance = random.Random(1)
    for _ in range(_STEPS):
        asked = [group(facts()[0], chance) for _ in range(_QUESTIONS)]
        encoded = tokenizer.encode_batch([(question, passage) for question, four in asked for passage in four])
        logits = model(
            torch.tensor([each.ids for each in encoded]),
            attention_mask=torch.tensor([each.attention_mask for each in encoded]),
        ).logits.view(_QUESTIONS, -1)
        loss = torch.nn.functional.cross_entropy(logits, torch.zeros(_QUESTIONS, dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return _save(model.eval(), folder, 128)


def facts() -> tuple[list[Fact], list[Fact]]:
    """48 facts to train on and 16 that are held out."""
    made: list[Fact] = list(product(range(4), range(4), range(4)))
    random.Random(0).shuffle(made)
    return made[:48], made[48:]


def group(among: Sequence[Fact], chance: random.Random) -> tuple[str, list[str]]:
    """A sentence and four passages, each in any of the languages: the first says the same, the others hardly."""
    fact = chance.choice(among)
    others = [each for each in among if sum(one != other for one, other in zip(each, fact, strict=True)) >= 2]
    passages = [fact, *chance.sample(others, 3)]
    return _sentence(fact, chance), [_sentence(passage, chance) for passage in passages]


def _sentence(fact: Fact, chance: random.Random) -> str:
    sentence, *words = tiny_corpus.PATTERNS[chance.choice(LANGUAGES)]
    return sentence.format(*(each[place] for each, place in zip(words, fact, strict=True)))


def _model(folder: Path, labels: int, positions: int) -> XLMRobertaForSequenceClassification:
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    write_tiny_checkpoint(folder, layers=1)  # for its tokenizer; the rest is written over or removed
    for path in ("sparse_linear.pt", "colbert_linear.pt", "modules.json", "sentence_bert_config.json"):
        (folder / path).unlink()
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    return XLMRobertaForSequenceClassification(
        XLMRobertaConfig(
            vocab_size=vocabulary,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=192,
            max_position_embeddings=positions,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
            num_labels=labels,  # type: ignore[call-arg]  # a keyword of the base class
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.1,
        )
    )


def _save(model: XLMRobertaForSequenceClassification, folder: Path, window: int | None) -> Path:
    model.save_pretrained(folder)
    tokenizer = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()} | {
        "mask_token": "<mask>",
        "tokenizer_class": "XLMRobertaTokenizer",
    }
    if window is not None:
        tokenizer["model_max_length"] = window  # type: ignore[assignment]
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder
