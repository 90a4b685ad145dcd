"""What a training step sees: pairs, passages of neighbouring pairs, and questions with the passage they come from.

Every step draws from a generator of its own, seeded with run, stage and step: so a run that is resumed goes on as if
it had never stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.training.tokens import Floats, Offsets, Pairs, Texts

Draw = np.random.Generator
Positions = npt.NDArray[np.int64]

_TOPICAL = 0.6  # of the passages: their sentences are of one topic; the others' are of one language only
_LEAST_ENGLISH, _LEAST_OTHER = 4, 3  # tokens of a sentence that may stand in a passage
_POOL_OF_PAIRS, _POOL_OF_PASSAGES = 8192, 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """Two sides that belong together, row by row.

    Attributes:
        left: (n,) texts.
        right: (n,) texts.
        left_target: (n, hidden) unit vectors.
        right_target: likewise; the same array where both sides say the same.
    """

    left: Texts
    right: Texts
    left_target: Floats
    right_target: Floats


@dataclass(frozen=True, slots=True)
class Passages:
    """Runs of pairs of one language.

    Attributes:
        pairs: the pairs of all passages, one after another.
        counts: (n,) pairs of each passage.
        target: (n, hidden) normalised sum of its sentences' targets.
    """

    pairs: Positions
    counts: Offsets
    target: Floats

    @property
    def first(self) -> Offsets:
        """(n,) where each begins in `pairs`."""
        return np.cumsum(self.counts) - self.counts

    def take(self, chosen: Positions) -> Passages:
        """The chosen passages, in that order."""
        counts = self.counts[chosen]
        starts = np.repeat(self.first[chosen], counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return Passages(self.pairs[starts + within], counts, self.target[chosen])


class Sampler:
    """Draws batches out of the pairs."""

    def __init__(self, pairs: Pairs, seed: int) -> None:
        """Orders the pairs that may stand in a passage."""
        self.pairs = pairs
        self._cumulated = np.cumsum(pairs.chance)
        made = len(pairs.languages)
        fit = (pairs.chance > 0) & (pairs.pair_language < made)
        fit &= (pairs.english.lengths[pairs.pair_english] >= _LEAST_ENGLISH) & (pairs.other.lengths >= _LEAST_OTHER)
        fitting = np.flatnonzero(fit)
        draw = np.random.default_rng([seed, 3])
        topics, languages = pairs.topics[pairs.pair_english[fitting]], pairs.pair_language[fitting]
        self._orders = [
            fitting[np.lexsort((draw.random(len(fitting)), topics, languages))],
            fitting[np.lexsort((draw.random(len(fitting)), languages))],
        ]
        self._places = []
        for order in self._orders:
            place = np.full(len(pairs.chance), -1, np.int64)
            place[order] = np.arange(len(order))
            self._places.append(place)

    def draw(self, draw: Draw, count: int) -> Positions:
        """(count,) pairs, each by its chance."""
        found = np.searchsorted(self._cumulated, draw.random(count) * self._cumulated[-1])
        return np.asarray(np.minimum(found, len(self._cumulated) - 1))

    def passages(self, draw: Draw, count: int, most: int) -> Passages:
        """At most `count` passages of 2 to `most` pairs, each of one language."""
        topical = int(draw.random() >= _TOPICAL)
        order, place = self._orders[topical], self._places[topical]
        drawn = place[self.draw(draw, 2 * count)]
        first = drawn[drawn >= 0][:count]
        wanted = draw.integers(2, most + 1, len(first))
        end = np.minimum(first + wanted, len(order))
        language = self.pairs.pair_language
        end = np.where(language[order[end - 1]] == language[order[first]], end, first + 1)
        counts = end - first
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        pairs = order[np.repeat(first, counts) + within]
        return Passages(pairs, counts, self._sums(pairs, counts))

    def passages_or_pairs(self, draw: Draw, count: int, most: int) -> Passages:
        """As `passages`; where too few pairs are long enough to stand in one, as in a glossary, pairs by themselves."""
        found = self.passages(draw, count, most)
        if len(found.counts) > 1:
            return found
        chosen = self.draw(draw, count)
        return Passages(chosen, np.ones(count, np.int64), self.pairs.target(chosen))

    def pair_batch(self, chosen: Positions) -> Batch:
        """English against the other language."""
        target = self.pairs.target(chosen)
        english = self.pairs.english.take(self.pairs.pair_english[chosen])
        return Batch(english, self.pairs.other.take(chosen), target, target)

    def passage_batch(self, passages: Passages) -> Batch:
        """English passages against their translations."""
        english, other = self.sides(passages)
        return Batch(english, other, passages.target, passages.target)

    def question_batch(self, draw: Draw, passages: Passages, kind: int) -> Batch:
        """One sentence of each passage against the whole.

        Args:
            kind: 0 English → other language, 1 other → English, 2 other → other, 3 English → English.
        """
        sentence = passages.pairs[passages.first + draw.integers(0, passages.counts)]
        english, other = self.sides(passages)
        if kind in (0, 3):
            question = self.pairs.english.take(self.pairs.pair_english[sentence])
        else:
            question = self.pairs.other.take(sentence)
        passage = english if kind in (1, 3) else other
        return Batch(question, passage, self.pairs.target(sentence), passages.target)

    def sides(self, passages: Passages) -> tuple[Texts, Texts]:
        """English passages and their translations."""
        english = self.pairs.english.take(self.pairs.pair_english[passages.pairs]).joined(passages.counts)
        return english, self.pairs.other.take(passages.pairs).joined(passages.counts)

    def even_pairs(self, draw: Draw, tokens: int) -> Positions:
        """Pairs of about one length, `tokens` of both sides in all: padding costs as much as text."""
        pool = self.draw(draw, _POOL_OF_PAIRS)
        lengths = np.maximum(self.pairs.english.lengths[self.pairs.pair_english[pool]], self.pairs.other.lengths[pool])
        return pool[_slice(draw, lengths, tokens, least=48, most=768, longest=256)]

    def even_passages(self, draw: Draw, tokens: int) -> Passages:
        """Passages of about one length, likewise."""
        pools = [self.passages(draw, _POOL_OF_PASSAGES, most) for most in (3, 5, 8)]
        pool = Passages(
            np.concatenate([each.pairs for each in pools]),
            np.concatenate([each.counts for each in pools]),
            np.concatenate([each.target for each in pools]),
        )
        if not len(pool.counts):
            return pool
        lengths = [
            self.pairs.english.lengths[self.pairs.pair_english[pool.pairs]],
            self.pairs.other.lengths[pool.pairs],
        ]
        longer = np.maximum(*(np.add.reduceat(each, pool.first) for each in lengths))
        return pool.take(_slice(draw, longer, tokens, least=48, most=384, longest=300))

    def _sums(self, pairs: Positions, counts: Offsets) -> Floats:
        first = np.cumsum(counts) - counts
        if not len(pairs):
            return np.zeros((0, self.pairs.targets.shape[1]), np.float32)
        sums = np.add.reduceat(self.pairs.target(pairs), first)
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)


def _slice(draw: Draw, lengths: Offsets, tokens: int, *, least: int, most: int, longest: int) -> Positions:
    """Positions of one of the slices into which texts fall when they are sorted by length and cut by tokens."""
    order = np.argsort(lengths + 3 * draw.random(len(lengths)), kind="stable")
    order = order[lengths[order] <= longest] if (lengths <= longest).any() else order
    cuts: list[tuple[int, int]] = []
    start = 0
    while start < len(order):
        ahead = lengths[order[min(start + least, len(order) - 1)]]
        count = int(np.clip(tokens // 2 // (ahead + 2), min(least, tokens), most))
        cuts.append((start, min(start + count, len(order))))
        start += count
    # The last is what was left over: too few to tell apart, unless there are no others.
    begin, end = _choose(draw, cuts[:-1] or cuts)
    return order[begin:end]


def _choose(draw: Draw, cuts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return cuts[int(draw.integers(len(cuts)))]
