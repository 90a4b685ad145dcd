"""Rankings by the real pipeline: what an index finds, documents in the order of their best passages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from rag.evaluation.datasets import Dataset
from rag.evaluation.pools import Pool
from rag.evaluation.scoring import DEPTH
from rag.types import ANYWHERE, Passage, Where

_MOST_NAMED = 5000
"""Documents of an index up to which a search names those that it is for."""

Retrieve = Callable[[str, Where], Sequence[Passage]]
"""Question and filter → passages, best first."""


class IndexRanker:
    """Ranks by what `retrieve` gives.

    A pool of one language is a search in that language. Where documents are left out, the others are searched; in an
    index of very many documents, those that are left out are taken out of what was found, though they have had their
    part in the levels of languages.
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
            few = len(self._positions) <= _MOST_NAMED
            found = self._found(question, pool.language, left_out if few and pool.language is None else ())
            yield [position for position in found if position not in left_out][:DEPTH]

    def _found(self, question: int, language: str | None, left_out: Collection[int]) -> list[int]:
        if language is None and not left_out and question in self._everywhere:
            return self._everywhere[question]
        where = self._anywhere if language is None else Where(languages=(language,))
        if left_out:
            others = tuple(uri for uri, position in self._positions.items() if position not in left_out)
            where = replace(where, uris=others)
        passages = self._retrieve(self._dataset.questions[question].text, where)
        self._searches += 1
        if self._on_search:
            self._on_search(self._searches)
        # A document that came in while questions were asked is nobody's gold.
        # A copy that was folded into a result stands with it, not further down.
        uris = (chunk.uri for passage in passages for chunk in (passage.chunk, *passage.copies))
        found = list(dict.fromkeys(self._positions.get(uri, -1) for uri in uris))
        if language is None and not left_out:
            self._everywhere[question] = found
        return found
