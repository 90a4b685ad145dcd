"""What making questions will cost, estimated before the first request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from rag.evaluation.generate_question import request
from rag.types import Chunk

# Tokens a character, about the median of five vocabularies: cl100k, o200k, DeepSeek, Mistral v3, Tekken; measured on
# XQuAD's paragraphs and on parallel sentences in 21 languages. Single ones need from half to two and a half times that.
_TOKENS: Final = {
    r"\p{Han}": 0.9,
    r"\p{Hiragana}\p{Katakana}": 0.7,
    r"\p{Hangul}": 0.6,
    r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Devanagari}\p{Bengali}\p{Tamil}\p{Telugu}": 0.6,
    r"\p{Arabic}\p{Hebrew}": 0.4,
    r"\p{Cyrillic}\p{Greek}": 0.4,
    r"À-ɏḀ-ỿ": 0.9,  # Latin letters with marks, as Vietnamese has them
}
_OTHERS: Final = 0.3
_SCRIPTS: Final = {regex.compile(f"[{script}]"): tokens for script, tokens in _TOKENS.items()}

_COMPLETION: Final = 40
"""Tokens of a reply: XQuAD's questions have 11 to 46 by language and vocabulary, the tags about ten."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests and their tokens."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to be paid.

    Attributes:
        least: if every question is kept.
        most: if so many are rejected that every passage is asked about.
    """

    least: Cost
    most: Cost


def estimate(outstanding: Mapping[str, tuple[int, Sequence[Chunk]]]) -> Estimate:
    """The cost of what is left to do.

    What a model thinks before it replies is not in it, nor are requests that have to be sent again.

    Args:
        outstanding: language → questions still wanted, and the passages that may be asked about.
    """
    least, most = Cost(), Cost()
    for language, (wanted, chunks) in outstanding.items():
        costs = [_tokens_of(chunk, language) for chunk in chunks]
        least = _plus(least, costs[:wanted])
        most = _plus(most, costs if wanted else [])
    return Estimate(least, most)


def tokens(text: str) -> int:
    """About how many tokens `text` has for a language model."""
    count = 0.0
    rest = len(text)
    for script, each in _SCRIPTS.items():
        characters = len(script.findall(text))
        count += characters * each
        rest -= characters
    return round(count + rest * _OTHERS)


def _tokens_of(chunk: Chunk, language: str) -> int:
    return sum(tokens(message.content) for message in request(chunk, language).messages)


def _plus(cost: Cost, prompts: Sequence[int]) -> Cost:
    return Cost(
        cost.requests + len(prompts),
        cost.prompt_tokens + sum(prompts),
        cost.completion_tokens + _COMPLETION * len(prompts),
    )
