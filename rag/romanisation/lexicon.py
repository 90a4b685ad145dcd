"""Typed words to words in their own script, found among the pieces of the embedding model's vocabulary.

A vocabulary of SentencePiece's unigram kind (Kudo 2018, arXiv 1804.10959) is a dictionary with a frequency beside
each word. The most probable reading of what was typed is the one whose pieces are frequent and sound like it: a noisy
channel (Knight & Graehl 1998, Machine Transliteration), with a weighted edit distance for the channel. A word that is
a piece is looked up whole; another is put together of pieces by the shortest path, or spelled letter by letter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import log

import regex

from rag.romanisation.spelling import Spelling

_MARK = "▁"
_VOWELS = frozenset("aeiouwy3")
_VOWEL_COST, _BREATH_COST, _CONSONANT_COST = 0.4, 0.8, 1.5
_DISTANCE_WEIGHT = 4.0
"""Nats that one unit of distance costs: a word that sounds the same must be e⁴ times rarer to lose."""
_CANDIDATES = 40
"""Words of one key that are compared, the most frequent first; rarer ones have not won in what was tried."""
_FARTHEST = 0.35
"""Distance per sign of the sound form from which a whole word is another word."""
_WITHOUT_MARK = 3.4
"""Cost in nats of a piece at the beginning of a word that does not begin one."""
_OF_ALL_LANGUAGES = 3.0
"""Nats by which a word is rarer in a vocabulary of some twenty languages than in a text of its own."""
_ACROSS = 2.0
"""Cost in nats of a typed word's end inside a piece."""
_LONGEST_PIECE = 24
_LONGEST_HAN = 3
_MOST_WORDS = 20_000
"""Words that are taken from texts, the most frequent ones: reading that many aloud takes about a second."""
_RUN = regex.compile(r"[\p{L}\p{M}ー]+")
_SAME_SCRIPT = regex.compile(r"\p{Han}+|[\p{Katakana}ー]+|\p{Hiragana}+")
_INFLECTED = regex.compile(r"(\p{Han}+)(\p{Hiragana}{1,3})")
_HAN = regex.compile(r"\p{Han}")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a typed word may be.

    Attributes:
        text: in its own script.
        distance: how far its sound is from what was typed, per sign; 0 is the same.
        whole: whether it is a word of the vocabulary.
    """

    text: str
    distance: float
    whole: bool


class Lexicon:
    """The words of one language that a vocabulary holds."""

    def __init__(self, pieces: Iterable[tuple[str, float]], spelling: Spelling) -> None:
        """Sorts the vocabulary's pieces by how they are typed.

        Args:
            pieces: SentencePiece's pieces with their logarithmic probabilities, natural.
        """
        self._spelling = spelling
        words: dict[str, dict[str, tuple[float, tuple[str, ...]]]] = defaultdict(dict)
        self._first: dict[str, tuple[float, str]] = {}
        self._inner: dict[str, tuple[float, str]] = {}
        for piece, score in pieces:
            if piece.isascii():
                continue
            text = piece.removeprefix(_MARK).lower()
            if not text or not spelling.letters.fullmatch(text):
                continue
            begins = piece.startswith(_MARK)
            score -= spelling.surcharge(text)
            forms = spelling.native(text)
            for key in {spelling.piece_key(form) for form in forms} - {""}:
                for there, cost in ((self._first, -score + _WITHOUT_MARK * (not begins)), (self._inner, -score)):
                    if spelling.unspaced or there is self._first or not begins:
                        there[key] = min(there.get(key, (cost, text)), (cost, text))
            if begins and not spelling.unspaced:
                for key in {spelling.word_key(form) for form in forms} - {""}:
                    known = words[key].get(text)
                    words[key][text] = (min(-score, known[0]) if known else -score, forms)
        self._words = {
            key: sorted((cost, text, forms) for text, (cost, forms) in found.items())[:_CANDIDATES]
            for key, found in words.items()
        }

    def whole(self, typed: str) -> list[Reading]:
        """Words of the vocabulary that sound like `typed`, the likeliest first."""
        spelling = self._spelling
        best: dict[str, tuple[float, float]] = {}
        for form in spelling.typed(typed):
            for cost, text, native_forms in self._words.get(spelling.word_key(form), ()):
                apart = min(_distance(form, native) for native in native_forms) / max(len(form), 1)
                if apart <= _FARTHEST:
                    total = cost + _DISTANCE_WEIGHT * apart * len(form)
                    best[text] = min(best.get(text, (total, apart)), (total, apart))
        ordered = sorted((total, text, apart) for text, (total, apart) in best.items())
        return [Reading(text, apart, whole=True) for _, text, apart in ordered]

    def composed(self, typed: str) -> Reading | None:
        """The likeliest sequence of pieces that sounds like `typed`; None where there is none."""
        paths = [
            path
            for form in self._spelling.typed(typed)
            if (path := self._path(self._spelling.piece_key(form))) is not None
        ]
        if not paths:
            return None
        text = min(paths)[1]
        apart = min(
            _distance(form, native) / len(form)
            for form in self._spelling.typed(typed)
            for native in self._spelling.native(text)
        )
        return Reading(text, apart, whole=False)

    def joined(self, typed: Iterable[str]) -> str | None:
        """The same for a row of words that the script writes without spaces."""
        keys = [self._spelling.typed(word)[0] for word in typed]
        path = self._path("".join(keys), frozenset(accumulate(map(len, keys))))
        return path[1] if path else None

    def _path(self, key: str, ends: frozenset[int] = frozenset()) -> tuple[float, str] | None:
        """Cost in nats and text of the cheapest path through `key` (Viterbi 1967).

        Args:
            ends: places at which typed words end; a piece seldom goes across one.
        """
        best: list[tuple[float, str] | None] = [None] * (len(key) + 1)
        best[0] = (0.0, "")
        for end in range(1, len(key) + 1):
            across = 0.0
            for start in range(end - 1, max(0, end - _LONGEST_PIECE) - 1, -1):
                before = best[start]
                piece = (self._inner if start else self._first).get(key[start:end]) if before else None
                if before and piece:
                    reached = (before[0] + piece[0] + across, before[1] + piece[1])
                    known = best[end]
                    if known is None or reached < known:
                        best[end] = reached
                across += _ACROSS * (start in ends)
        return best[-1] if key else None


def words_of(texts: Iterable[str], spelling: Spelling) -> list[tuple[str, float]]:
    """The words of `texts` as pieces of a vocabulary; where no spaces part them, all that may be words."""
    counts: Counter[str] = Counter()
    for text in texts:
        for run in _RUN.findall(text):
            counts.update(_pieces_of(run) if spelling.unspaced else [_MARK + run.lower()])
    total = sum(counts.values())
    return [(word, log(count / total) - _OF_ALL_LANGUAGES) for word, count in counts.most_common(_MOST_WORDS)]


def _pieces_of(run: str) -> Iterator[str]:
    """A run of kana as it is; of Han characters every part of two or three, and the whole with its endings in kana."""
    for stem, ending in _INFLECTED.findall(run):
        yield from (stem + ending[:length] for length in range(1, len(ending) + 1))
    for part in _SAME_SCRIPT.findall(run):
        yield part
        if _HAN.match(part):
            for length in range(2, min(_LONGEST_HAN, len(part) - 1) + 1):
                yield from (part[start : start + length] for start in range(len(part) - length + 1))


def _cost(sign: str) -> float:
    return _VOWEL_COST if sign in _VOWELS else _BREATH_COST if sign == "h" else _CONSONANT_COST


@lru_cache(maxsize=20_000)
def _distance(typed: str, native: str) -> float:
    """Weighted edit distance of two sound forms: a vowel costs less than a consonant (Levenshtein 1966)."""
    if typed == native:
        return 0.0
    costs = [_cost(sign) for sign in native]
    row = [0.0]
    for cost in costs:
        row.append(row[-1] + cost)
    for sign in typed:
        own = _cost(sign)
        before, row = row, [row[0] + own]
        for place, (other, cost) in enumerate(zip(native, costs, strict=True)):
            changed = before[place] + (0.0 if sign == other else 0.75 * (own + cost))
            row.append(min(changed, before[place + 1] + own, row[-1] + cost))
    return row[-1]
