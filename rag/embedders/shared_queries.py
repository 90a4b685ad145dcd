"""Questions of several askers in one forward pass, and repeated ones in none.

While a pass runs, the questions that come in wait, and go together in the next one. Nobody waits for company: a
question that is alone goes at once. The vectors of a question may differ in their last digits with the company that it
had, as a matrix product of another shape is summed in another order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from threading import Condition
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rag.errors import EmbeddingError
from rag.ports import Embedder
from rag.types import Embedding

_Number = TypeVar("_Number", bound=np.generic)

_MOST = 32
"""Questions in one pass: beyond some hundred tokens there is little left to gain, and all of them wait for the last."""


class SharedQueries:
    """An `Embedder` over another one, which is called by one thread at a time for questions. Safe to call from several.

    Passages, tokens and whatever else the other one has, such as `late_interaction`, are its own.
    """

    def __init__(self, embedder: Embedder, *, kept: int) -> None:
        """Args:
        kept: embeddings of questions that are kept, those of the last ones asked; 0 keeps none.
        """
        self._embedder = embedder
        self._kept_most = kept
        self._changed = Condition()
        # All of it changes only with `_changed` held.
        self._kept: OrderedDict[str, Embedding] = OrderedDict()
        self._asked: dict[str, _Asked] = {}  # first come, first served
        self._running = False

    @property
    def model(self) -> str:
        """The name the model was asked for."""
        return self._embedder.model

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the vectors."""
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        """Length of the dense vectors."""
        return self._embedder.dimension

    @property
    def window(self) -> int:
        """Longest text in tokens, special tokens included."""
        return self._embedder.window

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included."""
        return self._embedder.count_tokens(texts)

    def embed_passages(self, texts: Sequence[str], **options: Any) -> list[Embedding]:
        """Embeddings in the order of `texts`.

        Args:
            texts: what to embed.
            options: what the other one takes beside.

        Raises:
            EmbeddingError: a text is empty or longer than the window.
        """
        return self._embedder.embed_passages(texts, **options)

    def embed_query(self, text: str) -> Embedding:
        """Embedding of a question, in arrays that cannot be written to: others have the same.

        Raises:
            EmbeddingError: the text is empty or longer than the window; the questions beside it are answered.
        """
        with self._changed:
            kept = self._kept.get(text)
            if kept is not None:
                self._kept.move_to_end(text)
                return kept
            asked = self._asked.setdefault(text, _Asked())
        while True:
            with self._changed:
                self._changed.wait_for(lambda: asked.over or not self._running)
                if asked.over:
                    break
                batch = list(islice(self._asked, _MOST))
                self._running = True
            self._pass(batch)
        if asked.embedding is None:  # the pass has failed, by another's text perhaps: each says alone what it is
            return _unwritable(self._embedder.embed_query(text))
        return asked.embedding

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """Embeddings of questions, made together.

        Raises:
            EmbeddingError: a text is empty or longer than the window.
        """
        return self._embedder.embed_queries(texts)

    def terms(self, text: str) -> Mapping[int, str]:
        """Id of each token that may have a lexical weight → the word of `text` in which it occurs first.

        Raises:
            EmbeddingError: the text holds what is no character.
        """
        return self._embedder.terms(text)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of this class, and not set yet
            raise AttributeError(name)
        return getattr(self._embedder, name)

    def _pass(self, batch: Sequence[str]) -> None:
        """One forward pass; whatever becomes of it, those who wait go on."""
        made: list[Embedding] = []
        try:
            with suppress(EmbeddingError):
                made = [_unwritable(each) for each in self._embedder.embed_queries(batch)]
        finally:
            with self._changed:
                over = [self._asked.pop(text) for text in batch]
                for asked in over:
                    asked.over = True
                for text, asked, embedding in zip(batch, over, made, strict=False):  # none, where it has failed
                    asked.embedding = self._kept[text] = embedding
                while len(self._kept) > self._kept_most:
                    self._kept.popitem(last=False)
                self._running = False
                self._changed.notify_all()


class _Asked:
    """A question on its way, for one or more askers."""

    __slots__ = ("embedding", "over")

    def __init__(self) -> None:
        self.embedding: Embedding | None = None
        self.over = False


def _unwritable(embedding: Embedding) -> Embedding:
    """A copy, as an array that is a part of its batch's would keep all of that."""
    sparse, colbert = embedding.sparse, embedding.colbert
    return replace(
        embedding,
        dense=_copy(embedding.dense),
        sparse=replace(sparse, ids=_copy(sparse.ids), weights=_copy(sparse.weights)),  # may be a kind of its own
        colbert=None if colbert is None else _copy(colbert),
    )


def _copy(array: NDArray[_Number]) -> NDArray[_Number]:
    copy = array.copy()
    copy.setflags(write=False)
    return copy
