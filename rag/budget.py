"""How much of a request fits into a language model's context, without knowing its tokenizer. Pure.

Tokens are estimated from code points by script, on the safe side: vocabularies differ, and most know what is not in
Latin script less well than XLM-RoBERTa's, which was learned from 100 languages. Against that one the estimate of
XQuAD's 1,440 paragraphs is 1.2 to 3.0 times the true count (1.6 in Latin script, 1.7 Chinese, 2.1 Arabic, 2.3 Russian
on average), and of 2,700 texts in Tatoeba's 112 languages under 1 % are estimated too low, by 14 % at most
(tests/test_budget.py measures the first). What an endpoint says it counted corrects the estimate from then on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import regex

from rag import segmentation
from rag.errors import InputError
from rag.types import Message, Passage

LETTERS_PER_TOKEN: Final = {
    "Latin": 2.5,
    "Cyrillic": 1.6,
    "Greek": 1.6,
    "Hebrew": 1.6,
    "Arabic": 1.4,
    "Devanagari": 1.4,
    "Hiragana": 1.0,
    "Katakana": 1.0,
    "Hangul": 1.0,
    "Han": 0.8,
}
"""By script, from the fifth percentile of texts by XLM-RoBERTa's tokenizer down; elsewhere a letter is a token."""

_ONE_SPACE: Final = 0.1
"""Tokens of a space or line end: most belong to the word that follows, not those that indent."""
_BEYOND_THE_PLANE: Final = 3.0
"""Tokens of an emoji and the like, which byte-level vocabularies spell out."""

_PER_MESSAGE: Final = 8
"""Tokens that a chat template puts around a message: 3 (OpenAI) to about 8 (Llama 3)."""

_LEAST: Final = 0.5
_MOST: Final = 3.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """What of a request fits.

    Attributes:
        passages: the best of those given; the last may be shorter, cut at a sentence.
        history: the latest of the turns given.
    """

    passages: tuple[Passage, ...]
    history: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """The room that a language model has for a request.

    Attributes:
        context_tokens: tokens of its context, request and answer together.
        answer_tokens: tokens kept free for the answer.
        correction: what estimates are multiplied by; learned from what an endpoint counted.
    """

    context_tokens: int
    answer_tokens: int
    correction: float = 1.0

    @classmethod
    def exceeded_by(cls, messages: Sequence[Message], answer_tokens: int) -> Budget:
        """Of a model whose context nobody has told, that has just called a request of `messages` too long."""
        return cls(cls(0, 0).size(messages) + answer_tokens, answer_tokens)

    @property
    def room(self) -> int:
        """Tokens that a request may have."""
        return self.context_tokens - self.answer_tokens

    def tokens(self, text: str) -> int:
        """Estimated tokens of `text`, at least 1."""
        weighed = sum(count * _weight(character) for character, count in Counter(text).items())
        return max(1, math.ceil(self.correction * weighed))

    def size(self, messages: Sequence[Message]) -> int:
        """Estimated tokens of a whole request."""
        return sum(self.tokens(message.content) + _PER_MESSAGE for message in messages)

    def corrected(self, estimated: int, counted: int) -> Budget:
        """With what was learned from a request that `size` estimated and the endpoint counted.

        A correction stays between 0.5 and 3: an endpoint may count wrongly, or not at all.
        """
        if estimated <= 0 or counted <= 0:
            return self
        return replace(self, correction=min(_MOST, max(_LEAST, self.correction * counted / estimated)))

    def halved(self) -> Budget:
        """With half the room for a request, to be tried once more where it was too long after all."""
        return replace(self, context_tokens=self.answer_tokens + self.room // 2)

    def fitted(
        self,
        question: str,
        passages: Sequence[Passage],
        history: Sequence[Message],
        *,
        instructions: Sequence[str],
        shown: Callable[[int, Passage], str],
    ) -> Fitted:
        """What of `history` and `passages` can be sent beside `question`, which is never cut.

        History goes first, the oldest turn before the others; then passages, the worst before the others; the last one
        left is cut at a sentence, or at a word where not even its first sentence fits.

        Args:
            instructions: everything else that is sent.
            shown: a passage under its number as it stands in the request.

        Raises:
            InputError: the question alone, or with a word of a passage, is too long.
        """
        asked = self.tokens(question)
        left = self.room - asked - sum(self.tokens(each) for each in instructions) - 2 * _PER_MESSAGE
        sizes = [self.tokens(shown(number, passage)) for number, passage in enumerate(passages, start=1)]
        kept = len(sizes)
        while kept > 1 and sum(sizes[:kept]) > left:
            kept -= 1
        if left < 0 or (sizes and sizes[0] > left):
            only = self._cut(passages[0], left, shown) if passages else None
            if only is None:
                raise InputError(
                    f"the question takes about {asked} tokens, and with the instructions that leaves no room for a "
                    f"passage: the language model's context has {self.context_tokens}, of which {self.answer_tokens} "
                    "are kept for the answer; ask a shorter question or set RAG_LLM__CONTEXT_TOKENS higher"
                )
            return Fitted((only,), ())
        left -= sum(sizes[:kept])
        turns = list(history)
        while turns and self.size(turns) > left:
            # An answer without its question says little, and some endpoints want turns to alternate.
            turns = turns[1:]
            while turns and turns[0].role == "assistant":
                turns = turns[1:]
        return Fitted(tuple(passages[:kept]), tuple(turns))

    def _cut(self, passage: Passage, left: int, shown: Callable[[int, Passage], str]) -> Passage | None:
        """The longest beginning of `passage` that fits; None where not a word does."""
        best: Passage | None = None
        for ends in (_sentence_ends, _word_ends):
            low, high = 0, len(found := list(ends(passage.chunk.text, passage.chunk.language)))
            while low < high:
                middle = (low + high) // 2
                shorter = _shortened(passage, found[middle])
                if self.tokens(shown(1, shorter)) <= left:
                    best, low = shorter, middle + 1
                else:
                    high = middle
            if best is not None:
                return best
        return None


def _shortened(passage: Passage, end: int) -> Passage:
    chunk = passage.chunk
    return replace(passage, chunk=replace(chunk, text=chunk.text[:end], end=chunk.start + end))


def _sentence_ends(text: str, language: str) -> Iterator[int]:
    return (end for _, end in segmentation.sentences(text, language))


def _word_ends(text: str, language: str) -> Iterator[int]:
    starts = segmentation.word_starts(text)
    return (end for start in starts[1:] if (end := len(text[:start].rstrip())) > 0)


@lru_cache(maxsize=8192)
def _weight(character: str) -> float:
    """Estimated tokens of one code point."""
    if character.isspace():
        return _ONE_SPACE
    for script, letters in LETTERS_PER_TOKEN.items():
        if regex.match(rf"\p{{{script}}}", character):
            return 1 / letters
    # Digits and signs one by one: some vocabularies have no longer numbers.
    return 1.0 if ord(character) < 0x10000 else _BEYOND_THE_PLANE
