"""Texts to embed, cut from the bundled libraries in many languages: passages of mixed lengths, documents, questions.

The same for the same seed and tokenizer. No two passages and no two questions are alike: no cache knows them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.processes import ROOT

_LIBRARIES = ("demo/library", "demo/workplace/library")
_SUFFIXES = (".md", ".txt")
_SHORTEST, _LONGEST, _QUESTION = 20, 512, 16
_ATTEMPTS = 6


class Texts:
    """Cuts texts of wanted numbers of tokens."""

    def __init__(self, count_tokens: Callable[[Sequence[str]], list[int]], seed: int = 7) -> None:
        """Args:
        count_tokens: of the model, special tokens included.
        """
        self._count = count_tokens
        self._random = np.random.default_rng(seed)
        self._lines = [line for text in library() for line in text.splitlines() if line.strip()]

    def passages(self, count: int) -> list[str]:
        """Of 20 to 512 tokens, as many short as long ones on a scale of logarithms, about 150 in the mean."""
        exponents = self._random.uniform(math.log(_SHORTEST), math.log(_LONGEST), count)
        return [self.text(max(_SHORTEST, round(math.exp(exponent)))) for exponent in exponents]

    def questions(self, count: int) -> list[str]:
        """Of about 16 tokens."""
        return [self.text(_QUESTION) for _ in range(count)]

    def text(self, tokens: int) -> str:
        """Lines in random order, cut to at most `tokens` tokens and nearly as many."""
        characters = 3 * tokens
        text = ""
        while len(text) < 4 * characters:
            text += str(self._random.choice(self._lines)) + " "
        for _ in range(_ATTEMPTS):
            [counted] = self._count([text[:characters]])
            if 0.97 * tokens <= counted <= tokens:
                break
            characters = max(1, math.floor(characters * 0.99 * tokens / counted))
        while self._count([text[:characters]])[0] > tokens:
            characters = math.floor(characters * 0.97)
        return text[:characters]


def library() -> list[str]:
    """The plain texts of the bundled libraries, by name."""
    paths = sorted(path for folder in _LIBRARIES for path in (ROOT / folder).rglob("*") if path.suffix in _SUFFIXES)
    return [path.read_text(encoding="utf-8") for path in paths]
