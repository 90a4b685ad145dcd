"""Question to passages; works, and can be evaluated, without a language model."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import PurePath

from rag.errors import EmbeddingError, InputError
from rag.fusion import Ranking, rank
from rag.locations import path_of
from rag.ports import Embedder, PassageReader
from rag.types import ANYWHERE, Mode, Passage, StoredDocument, Where


def matches(document: StoredDocument, glob: str) -> bool:
    """Whether `glob` names the document: by its source, path, URI, a folder above it or, without a slash, its name.

    `*` also matches slashes. A name that holds wildcards itself is matched as it is written.
    """
    path = path_of(document.uri)
    folder = PurePath(glob).as_posix()  # without a leading ./ and a trailing /
    names = [document.source, document.uri, path] + ([] if "/" in glob else [PurePath(path).name])
    return any(
        name == glob or fnmatchcase(name, pattern) for name in names for pattern in (glob, folder, f"{folder}/*")
    )


class Retriever:
    """Embeds a question, fetches candidates of both vectors in one round trip, and ranks them."""

    def __init__(self, embedder: Embedder, reader: PassageReader, ranking: Ranking, *, depth: int = 100) -> None:
        """Puts the parts together.

        Args:
            depth: candidates taken from each vector; at least the number of passages asked for is taken.
        """
        self._embedder = embedder
        self._reader = reader
        self._ranking = ranking
        self._depth = depth

    def retrieve(self, question: str, *, k: int, where: Where = ANYWHERE, mode: Mode | None = None) -> list[Passage]:
        """The `k` best passages, best first.

        Args:
            mode: which scores rank; by default as the retriever was made.

        Raises:
            InputError: the question is empty or longer than the model's window, or `k` is not positive.
        """
        if not question.strip():
            raise InputError("the question is empty: ask something")
        if k < 1:
            raise InputError(f"k is {k}: ask for at least 1 passage")
        where = self._expanded(where)
        if where.uris == ():
            return []
        try:
            query = self._embedder.embed_query(question)
        except EmbeddingError as error:
            raise InputError(f"the question cannot be searched for: {error}") from error
        ranking = self._ranking if mode is None else replace(self._ranking, mode=mode)
        return rank(self._reader.candidates(query, max(self._depth, k), where), ranking, k)

    def _expanded(self, where: Where) -> Where:
        """`where` with its source globs turned into the URIs of the documents they match."""
        if not where.sources:
            return where
        uris = tuple(
            document.uri
            for document in self._reader.documents()
            if any(matches(document, glob) for glob in where.sources)
        )
        if where.uris is not None:
            uris = tuple(uri for uri in uris if uri in set(where.uris))
        return replace(where, sources=(), uris=uris)
