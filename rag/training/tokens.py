"""The pairs as numbers: token ids of both sides in flat arrays, targets, and how often each pair is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer]
Offsets = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Texts:
    """Token ids of many texts, one after another.

    Attributes:
        ids: (tokens,).
        offsets: (texts + 1,) where each text begins.
    """

    ids: Ids
    offsets: Offsets

    @property
    def lengths(self) -> Offsets:
        """(texts,) tokens of each."""
        return np.diff(self.offsets)

    def take(self, chosen: npt.NDArray[np.integer]) -> Texts:
        """The chosen texts, in that order; one may be chosen twice."""
        lengths = self.offsets[chosen + 1] - self.offsets[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.repeat(self.offsets[chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Texts(self.ids[positions], offsets)

    def joined(self, counts: Offsets) -> Texts:
        """Passages: the first counts[0] texts run together, then the next counts[1], and so on."""
        return Texts(self.ids, self.offsets[np.concatenate([[0], np.cumsum(counts)])])

    def padded(self, longest: int, begin: int, padding: int, end: int) -> npt.NDArray[np.int64]:
        """(texts, length) ids between `begin` and `end`, cut to `longest` in all; length is a multiple of 8."""
        lengths = np.minimum(self.lengths, longest - 2)
        width = -(-(int(lengths.max(initial=0)) + 2) // 8) * 8
        table = np.full((len(lengths), width), padding, np.int64)
        table[:, 0] = begin
        row = np.repeat(np.arange(len(lengths)), lengths)
        column = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        table[row, column + 1] = self.ids[np.repeat(self.offsets[:-1], lengths) + column]
        table[np.arange(len(lengths)), lengths + 1] = end
        return table


@dataclass(frozen=True, slots=True)
class Pairs:
    """All that a stage draws from.

    Attributes:
        english: each English text once.
        other: the other side, one text a pair.
        pair_english: (pairs,) position of each pair's English text.
        pair_language: (pairs,) position of its language; the last is that of the vocabulary's own texts.
        targets: (English texts, hidden) unit vectors, where the student is to put them.
        chance: (pairs,) probability of being drawn; 0 for those held out.
        topics: (English texts,) number of the cluster of texts that each lies in.
        held_out: (n,) pairs that are kept from training.
        languages: BCP-47 tags, by position.
    """

    english: Texts
    other: Texts
    pair_english: npt.NDArray[np.int32]
    pair_language: npt.NDArray[np.int32]
    targets: npt.NDArray[np.float16]
    chance: npt.NDArray[np.float64]
    topics: npt.NDArray[np.int32]
    held_out: npt.NDArray[np.int32]
    languages: tuple[str, ...]

    def target(self, pairs: npt.NDArray[np.integer]) -> Floats:
        """(pairs, hidden) in float32."""
        return np.asarray(self.targets[self.pair_english[pairs]], np.float32)


def chances(
    pair_language: npt.NDArray[np.int32],
    weight: npt.NDArray[np.float64],
    *,
    exponent: float,
    vocabulary: float,
    languages: int,
) -> npt.NDArray[np.float64]:
    """(pairs,) probability of each pair: languages ∝ (weighted pairs) ** exponent, inside one ∝ weight.

    Args:
        vocabulary: share of the last, made language, numbered `languages`.
    """
    chance = np.zeros(len(weight))
    for language in range(languages + 1):
        of_language = pair_language == language
        total = weight[of_language].sum()
        if total:
            chance[of_language] = weight[of_language] / total * (total**exponent if language < languages else 0)
    chance /= max(chance.sum(), 1e-300)
    made = (pair_language == languages) & (weight > 0)
    if made.any() and vocabulary:
        chance *= 1 - vocabulary
        chance[made] = vocabulary / made.sum()
    return np.asarray(chance / chance.sum())


def save(path: Path, **arrays: npt.NDArray[np.generic]) -> None:
    """Writes arrays to `path` whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    part.replace(path)
