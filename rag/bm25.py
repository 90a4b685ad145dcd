"""BM25 (Robertson & Zaragoza 2009, The Probabilistic Relevance Framework, section 3.4) as the product of two vectors.

A passage has of each term its saturated count, which needs no other passage; a question has of each term how rare it
is among the passages, which is known when it is asked. The dot product of both is the passage's score, divided by what
a passage of average length with all of the question's terms would have: 1 is such a passage, whatever the question.

Where passages are in several languages, a term is as common as in the language in which it is most common: the words
that a language says in every sentence are not rare because it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag.types import SparseVector

K1, B = 1.2, 0.75
"""How soon further occurrences of a term count no more, and how much a passage's length counts: Lucene's defaults.
On XQuAD K1 = 0.9 and B = 0.4 give the same within .002."""
AVERAGE_LENGTH = 180
"""Terms of a passage of average length. Fixed, so that a passage's vector does not change with what else there is:
XQuAD's have 178 on average; taken for 100 or 300 long, within .005 of nDCG@10."""
_FEW_PASSAGES = 20
"""Of a language; with fewer, the frequencies of all passages together count more and more. Anything from 5 to 50 gives
the same nDCG@10 on XQuAD within .003, also where a language has 12 passages of 1,212."""

SCHEME = f"BM25, k1 {K1}, b {B}, average length {AVERAGE_LENGTH}"
"""What the stored weights depend on; part of a fingerprint."""


@dataclass(frozen=True, slots=True, eq=False)
class TermCounts(SparseVector):
    """A question's terms with how often it has each; `weighted` makes weights of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Holders:
    """In how many passages each term occurs.

    Attributes:
        passages: how many there are.
        ids: terms that occur, uint32 of shape (terms,), strictly ascending.
        counts: passages that hold each, int64 of shape (terms,).
    """

    passages: int
    ids: NDArray[np.uint32]
    counts: NDArray[np.int64]

    def of(self, ids: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Passages that hold each of `ids`."""
        if not self.ids.size:
            return np.zeros(ids.shape, np.int64)
        at = np.minimum(np.searchsorted(self.ids, ids), self.ids.size - 1)
        return np.where(self.ids[at] == ids, self.counts[at], 0)


TermFrequencies = Mapping[str, Holders]
"""Language of passages → their terms."""


def frequencies(passages: Iterable[tuple[str, NDArray[np.uint32]]]) -> TermFrequencies:
    """Counts terms.

    Args:
        passages: language and terms of each, every term once.
    """
    by_language: dict[str, list[NDArray[np.uint32]]] = {}
    for language, ids in passages:
        by_language.setdefault(language, []).append(ids)
    return {
        language: Holders(len(some), *np.unique(np.concatenate(some), return_counts=True))
        for language, some in by_language.items()
    }


def saturated(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weights of a passage's terms, given how often it has each; of 1, in a passage of average length, 1."""
    length = counts.sum()
    return np.asarray(counts * (K1 + 1) / (counts + K1 * (1 - B + B * length / AVERAGE_LENGTH)), np.float32)


def weighted(question: TermCounts, known: TermFrequencies) -> SparseVector:
    """A question's terms, each with its share of what makes the question rare; the weights sum to 1.

    Args:
        known: of the passages that are searched, or of a sample of them; empty where there are none.
    """
    weights = question.weights * rarity(question.ids, known)
    return SparseVector(question.ids, np.asarray(weights / (weights.sum() or 1.0), np.float32))


def rarity(ids: NDArray[np.uint32], known: TermFrequencies) -> NDArray[np.float64]:
    """Inverse document frequency of terms as Lucene has it, ln(1 + (N - n + 0.5) / (n + 0.5)); always above 0."""
    held = np.stack([holders.of(ids) for holders in known.values()]) if known else np.zeros((0, ids.size), np.int64)
    passages = np.array([holders.passages for holders in known.values()])
    together = (held.sum(axis=0) + 0.5) / (passages.sum() + 1)
    if len(known) < 2:
        return np.asarray(-np.log(together))
    of_each = (held + _FEW_PASSAGES * together) / (passages[:, None] + _FEW_PASSAGES)
    return np.asarray(-np.log(np.maximum(together, of_each.max(axis=0))))
