"""Rankings by the real pipeline: what an index finds, documents in the order of their best passages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rag.evaluation.datasets import Dataset
from rag.evaluation.pools import Pool
from rag.evaluation.scoring import DEPTH
from rag.types import ANYWHERE, Passage, Where

Retrieve = Callable[[str, Where], Sequence[Passage]]
"""Question and filter → passages, best first."""


class IndexRanker:
    """Ranks by what `retrieve` gives.

    A pool of one language is a search in that language. From pools of all languages, documents that are not in them are
    taken out of what was found.
    """

    def __init__(
        self,
        dataset: Dataset,
        retrieve: Retrieve,
        *,
        everywhere: Where = ANYWHERE,
        on_search: Callable[[int], None] | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            everywhere: where a pool of all languages is searched.
            on_search: told how many searches are done.
        """
        self._anywhere = everywhere
        self._dataset = dataset
        self._retrieve = retrieve
        self._on_search = on_search
        self._searches = 0
        self._positions = {document.id: position for position, document in enumerate(dataset.documents)}
        self._everywhere: dict[int, list[int]] = {}

    def ranked(self, pool: Pool) -> Iterator[list[int]]:
        """Of each question in turn: positions of the documents found, best first."""
        for question, left_out in zip(pool.questions, pool.left_out, strict=True):
            found = self._found(question, pool.language)
            yield [position for position in found if position not in left_out][:DEPTH]

    def _found(self, question: int, language: str | None) -> list[int]:
        if language is None and question in self._everywhere:
            return self._everywhere[question]
        where = self._anywhere if language is None else Where(languages=(language,))
        passages = self._retrieve(self._dataset.questions[question].text, where)
        self._searches += 1
        if self._on_search:
            self._on_search(self._searches)
        # A document that came in while questions were asked is nobody's gold.
        # A copy that was folded into a result stands with it, not further down.
        uris = (chunk.uri for passage in passages for chunk in (passage.chunk, *passage.copies))
        found = list(dict.fromkeys(self._positions.get(uri, -1) for uri in uris))
        if language is None:
            self._everywhere[question] = found
        return found
