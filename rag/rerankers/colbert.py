"""ColBERT's late interaction (Khattab & Zaharia 2020, arXiv 2004.12832) with BGE-M3's third head.

The passages' token vectors are not stored: they are made for the candidates of a question, by the model that embedded
the passages, at the cost of one forward pass a passage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rag.errors import RagError, RerankError
from rag.rerankers.passages import passage_text
from rag.types import Chunk, RerankScores

LateInteraction = Callable[[str, Sequence[str]], NDArray[np.float32]]
"""A question and texts to one score a text, such as `BgeM3Embedder.late_interaction`."""


class ColbertReranker:
    """A `rag.ports.Reranker` over the embedding model's own token vectors. Safe to use from several threads."""

    name = "colbert"

    def __init__(self, late_interaction: LateInteraction) -> None:
        """Keeps the function; nothing is loaded before the first question."""
        self._late_interaction = late_interaction

    def scores(self, question: str, chunks: Sequence[Chunk]) -> RerankScores:
        """Mean over the question's tokens of the highest cosine with any token of the passage, -1 to 1.

        Raises:
            RerankError: the checkpoint has no usable ColBERT head, or the model cannot score.
        """
        if not chunks:
            return RerankScores(())
        try:
            scores = self._late_interaction(question, [passage_text(chunk) for chunk in chunks])
        except RagError as error:
            raise RerankError(f"ColBERT cannot rerank: {error}") from error
        return RerankScores(tuple(scores.tolist()))
