"""Exact rankings whose best are put in order by ColBERT's late interaction, as `rag.rerankers.colbert` does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rag.evaluation.datasets import Dataset
from rag.evaluation.pools import Pool
from rag.evaluation.scoring import ExactRanker
from rag.evaluation.windows import within_window
from rag.fusion import Ranking, joined_scores, numbered
from rag.ports import Embedder
from rag.types import Embedding

_TEXTS_AT_ONCE = 64


class TokenEmbedder(Embedder, Protocol):
    """An embedder that makes vectors of tokens, too."""

    def embed_passages(self, texts: Sequence[str], *, colbert: bool = False) -> list[Embedding]:
        """With `colbert`, `Embedding.colbert` is filled."""
        ...


@dataclass(slots=True)
class TokenVectors:
    """Vectors of the tokens of a data set's texts, made when they are first wanted and kept: 2 bytes a component.

    A text of 200 tokens takes 100 kB at 256 dimensions.
    """

    embedder: TokenEmbedder
    documents: Sequence[str]
    questions: Sequence[str]
    _documents: dict[int, NDArray[np.float16]] = field(default_factory=dict)
    _questions: dict[int, NDArray[np.float16]] = field(default_factory=dict)
    _scores: dict[tuple[int, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, embedder: TokenEmbedder) -> TokenVectors:
        """Of all texts; a document beyond the model's window counts with as much of it as fits."""
        texts, _ = within_window(dataset, embedder)
        return cls(embedder, texts, [question.text for question in dataset.questions])

    def prepare(self, questions: Sequence[int], documents: Sequence[int]) -> None:
        """Makes what is missing, many texts together."""
        for wanted, texts, known in (
            (questions, self.questions, self._questions),
            (documents, self.documents, self._documents),
        ):
            missing = sorted({position for position in wanted if position not in known})
            for start in range(0, len(missing), _TEXTS_AT_ONCE):
                some = missing[start : start + _TEXTS_AT_ONCE]
                made = self.embedder.embed_passages([texts[position] for position in some], colbert=True)
                for position, embedding in zip(some, made, strict=True):
                    assert embedding.colbert is not None
                    known[position] = embedding.colbert.astype(np.float16)

    def scores(self, question: int, documents: Sequence[int]) -> NDArray[np.float64]:
        """As `BgeM3Embedder.late_interaction` has them, of what `prepare` was told of: of shape (documents,)."""
        new = [document for document in documents if (question, document) not in self._scores]
        if new:
            offered = [self._documents[document] for document in new]
            starts = np.cumsum([0, *(len(vectors) for vectors in offered[:-1])])
            cosines = self._questions[question].astype(np.float32) @ np.concatenate(offered).astype(np.float32).T
            best = np.maximum.reduceat(cosines, starts, axis=1).mean(axis=0)
            self._scores.update(((question, document), float(score)) for document, score in zip(new, best, strict=True))
        return np.array([self._scores[question, document] for document in documents])


class ColbertRanker:
    """A `Ranker` over an exact one."""

    def __init__(
        self,
        dataset: Dataset,
        ranker: ExactRanker,
        tokens: TokenVectors,
        ranking: Ranking,
        *,
        depth: int,
        weight: float,
    ) -> None:
        """Args:
        depth: documents of each question that are put in order.
        weight: how much that order counts against the one before.
        """
        self._ranker, self._tokens, self._ranking = ranker, tokens, ranking
        self._depth, self._weight = depth, weight
        self._languages = [document.language for document in dataset.documents]

    def ranked(self, pool: Pool) -> Iterator[list[int]]:
        """Of each question in turn: positions of the best documents, best first."""
        found = list(self._ranker.scored(pool))
        self._tokens.prepare(pool.questions, [each for positions, _ in found for each in positions[: self._depth]])
        for question, (positions, scores) in zip(pool.questions, found, strict=True):
            best = positions[: self._depth]
            if len(best) < 2:
                yield positions
                continue
            given = self._tokens.scores(question, best)
            languages = numbered([self._languages[position] for position in best])
            joined = joined_scores(scores[: self._depth], given, languages, self._weight, self._ranking)
            yield [best[at] for at in np.argsort(-joined, kind="stable")] + positions[self._depth :]
