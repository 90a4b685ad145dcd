"""Romanised questions back in their own script, to be searched beside what was typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from pathlib import Path
from threading import Lock
from typing import Final

import regex

from rag.romanisation.alphabets import GREEK, RUSSIAN, UKRAINIAN
from rag.romanisation.consonants import ARABIC, HINDI
from rag.romanisation.detection import detect, is_cue, tokens
from rag.romanisation.lexicon import Lexicon, words_of
from rag.romanisation.spelling import Spelling
from rag.romanisation.syllables import CHINESE, JAPANESE
from rag.types import Rewritten

SPELLINGS: Final = {each.language: each for each in (HINDI, RUSSIAN, UKRAINIAN, GREEK, ARABIC, JAPANESE, CHINESE)}
"""The languages whose romanised questions are known, by tag."""

_MOST_LANGUAGES: Final = 2
_NEARLY_AS_LIKELY: Final = 0.7
"""Share of the likeliest language's weight from which another one is tried, too: Russian and Ukrainian are close."""
_NEAR: Final = 0.1
"""Distance per sign up to which pieces put together are preferred to spelling letter by letter."""
_KNOWN_LATIN: Final = 4
"""Letters from which a word that the vocabulary holds in Latin letters is taken for one that is meant so."""


class RomanisedQuestions:
    """Rewrites questions that were typed in Latin letters for a language that has others.

    Its dictionary is the embedding model's own vocabulary, read on the first question that needs it. Safe to call from
    several threads.
    """

    def __init__(self, tokenizer: Path, passages: Callable[[str], Iterable[str]] | None = None) -> None:
        """Reads nothing yet.

        Args:
            tokenizer: a tokenizer.json of the embedding model; where it is no unigram model, words are only spelled
                letter by letter.
            passages: a language → texts of the index in it, as many as shall be read for their words, which are
                preferred to the vocabulary's: they are what can be found.
        """
        self._tokenizer = tokenizer
        self._passages = passages
        self._lock = Lock()
        self._pieces: list[tuple[str, float]] | None = None
        self._latin: frozenset[str] = frozenset()
        self._lexicons: dict[str, Lexicon] = {}

    @property
    def name(self) -> str:
        """What it is called in output."""
        return "romanisation"

    def rewrite(self, question: str, languages: Sequence[str]) -> Rewritten:
        """Forms of `question` in the scripts of `languages`; none where it is no romanised question.

        Args:
            languages: BCP-47 tags of the index; others are not tried.
        """
        texts: list[str] = []
        likely = detect(question, languages)
        for found in likely[:_MOST_LANGUAGES]:
            if found.weight >= _NEARLY_AS_LIKELY * likely[0].weight:
                texts.extend(self._forms(question, found.language))
        return Rewritten(tuple(text for text in dict.fromkeys(texts) if text != question))

    def _forms(self, question: str, language: str) -> list[str]:
        """`question` with all words put back, and once more with those left that are words in Latin letters too."""
        lexicon, spelling = self._lexicon(language), SPELLINGS[language]
        return [
            _written(question, lexicon, spelling, kept)
            for kept in (frozenset[str](), self._loanwords(question, language))
        ]

    def _loanwords(self, question: str, language: str) -> frozenset[str]:
        return frozenset(
            word
            for word, _ in tokens(question)
            if len(word) >= _KNOWN_LATIN and word in self._latin and not is_cue(word, language)
        )

    def _lexicon(self, language: str) -> Lexicon:
        with self._lock:
            if self._pieces is None:
                self._pieces = _unigram_pieces(self._tokenizer)
                self._latin = frozenset(
                    piece[1:].lower()
                    for piece, _ in self._pieces
                    if piece.startswith("▁") and piece[1:].isalpha() and piece[1:].isascii()
                )
            if language not in self._lexicons:
                texts = self._passages(language) if self._passages else ()
                pieces = chain(self._pieces, words_of(texts, SPELLINGS[language]))
                self._lexicons[language] = Lexicon(pieces, SPELLINGS[language])
            return self._lexicons[language]


def _written(question: str, lexicon: Lexicon, spelling: Spelling, kept: frozenset[str]) -> str:
    """`question` in the language's script, except for the words in `kept` and what is not in Latin letters."""
    parts: list[str] = []
    for latin, run in groupby(tokens(spelling.prepared(question)), key=lambda token: token[1] and token[0] not in kept):
        row = [text for text, _ in run]
        if not latin:
            parts.extend(row)
        elif spelling.unspaced:
            parts.append(_unspaced(row, lexicon))
        else:
            parts.extend(_word(word, lexicon, spelling) for word in row)
    return " ".join(parts)


def _word(word: str, lexicon: Lexicon, spelling: Spelling) -> str:
    whole = lexicon.whole(word)
    if whole:
        return whole[0].text
    composed = lexicon.composed(word)
    if composed and composed.distance <= _NEAR:
        return composed.text
    article = spelling.article[0].match(word) if spelling.article else None
    if spelling.article and article and article.end() < len(word):
        return spelling.article[1] + _word(word[article.end() :], lexicon, spelling)
    spelled = spelling.spelled(word) if spelling.spelled else ""
    return spelled or (composed.text if composed else word)


def _unspaced(row: Sequence[str], lexicon: Lexicon) -> str:
    """All words of `row` as one; where some word cannot be read, the others between it."""
    if joined := lexicon.joined(row):
        return joined
    if len(row) == 1:
        return f" {row[0]} "
    return regex.sub(" +", " ", "".join(_unspaced([word], lexicon) for word in row)).strip()


def _unigram_pieces(tokenizer: Path) -> list[tuple[str, float]]:
    """Pieces of a vocabulary with their logarithmic probabilities; none where it has no probabilities."""
    model = json.loads(tokenizer.read_bytes()).get("model", {})
    return [(str(piece), float(score)) for piece, score in model["vocab"]] if model.get("type") == "Unigram" else []
