"""Chunks of several documents to vectors together, so that forward passes are full."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from ingest.preparing import Slice
from ingest.writing import MOST_FAILURES, Open, Part
from rag.errors import EmbeddingError, InputError, NotConfiguredError, UnavailableError
from rag.ports import Embedder, PassageStore
from rag.types import Embedding

logger = logging.getLogger(__name__)

_SIZES = (64, 128, 256, 512, 1024)
"""Chunks that are embedded together: as many as take about `_SECONDS`. An accelerator computes hundreds at once; where
a chunk takes half a second, nobody who ends the run waits for more than 64."""
_SECONDS = 2.0

Window = Sequence[tuple[Open, Slice]]


class Batches:
    """Embeds windows of chunks.

    Attributes:
        size: of the windows that are best, in chunks; adapts to the model's speed.
        broken: why no more is to be embedded: the model has failed on one document after the other.
    """

    def __init__(
        self,
        store: PassageStore,
        embedder: Embedder,
        fail: Callable[[Open, Exception], None],
        tell: Callable[[Open, int, int], None],
    ) -> None:
        """Args:
        store: whose vectors are taken where it has a text already.
        embedder: what makes all others.
        fail: told of a document that cannot be embedded, and why.
        tell: told of so many chunks of a document, of how many in all, that have their vectors.
        """
        self._store = store
        self._embedder = embedder
        self._fail = fail
        self._tell = tell
        self._failures = 0
        self._warm = False
        self.size = _SIZES[0]
        self.broken: UnavailableError | None = None

    def embedded(self, window: Window) -> list[Part]:
        """The slices with their embeddings, without those of documents that failed or came when it was broken.

        Raises:
            NotConfiguredError, InputError: the model cannot be used.
        """
        window = [(document, some) for document, some in window if not document.failed]
        vectors: Mapping[str, Embedding] = {}
        documents = list(dict.fromkeys(id(document) for document, _ in window))
        try:
            vectors = self._vectors(window)
            self._failures = 0
        except (NotConfiguredError, InputError):  # no other document would fare better
            raise
        except Exception as error:  # the boundary of a document, once it is found which
            if len(documents) == 1:
                self._count(window[0][0], error)
            else:
                logger.debug("some documents cannot be embedded together", exc_info=True)
                vectors = self._one_by_one(window, documents)
        return [
            Part(document, some, [vectors[chunk.text_hash] for chunk in some.chunks])
            for document, some in window
            if not document.failed and all(chunk.text_hash in vectors for chunk in some.chunks)
        ]

    def _one_by_one(self, window: Window, documents: Sequence[int]) -> Mapping[str, Embedding]:
        vectors: dict[str, Embedding] = {}
        for number in documents:
            if self.broken:
                break
            alone = [(document, some) for document, some in window if id(document) == number]
            try:
                vectors |= self._vectors(alone)
                self._failures = 0
            except (NotConfiguredError, InputError):
                raise
            except Exception as error:  # noqa: BLE001 - the boundary of one document
                self._count(alone[0][0], error)
        return vectors

    def _count(self, document: Open, error: Exception) -> None:
        """Fails a document; too many in a row that are not to blame for it end the run."""
        if isinstance(error, EmbeddingError):
            self._fail(document, error)
            return
        self._failures += 1
        told = str(error) if isinstance(error, UnavailableError) else f"the model failed ({_line(error)})"
        if self._failures >= MOST_FAILURES:
            kind = type(error) if isinstance(error, UnavailableError) else UnavailableError
            self.broken = kind(f"{told}, on {self._failures} documents in a row")
            return
        logger.debug("embedding failed", exc_info=error)
        self._fail(document, UnavailableError(told))

    def _vectors(self, window: Window) -> dict[str, Embedding]:
        """The embedding of every chunk by text hash: the index's own where it has one, else computed."""
        first = {  # where a text occurs first
            chunk.text_hash: (document, chunk.chunk_count, text)
            for document, some in reversed(window)
            for chunk, text in reversed(list(zip(some.chunks, some.inputs, strict=True)))
        }
        vectors = dict(self._store.embeddings(list(first)))
        new = [text_hash for text_hash in reversed(first) if text_hash not in vectors]
        for document, some in window:
            made = sum(text_hash not in vectors for text_hash in {chunk.text_hash for chunk in some.chunks})
            if made < len(some.chunks):
                self._tell(document, len(some.chunks) - made, some.chunks[0].chunk_count)
        for batch in self._batches(new):  # where nothing is new no model is loaded
            began = time.perf_counter()
            vectors.update(zip(batch, self._embedder.embed_passages([first[key][2] for key in batch]), strict=True))
            self._adapt(len(batch), time.perf_counter() - began)
            for text_hash in batch:
                document, of, _ = first[text_hash]
                self._tell(document, 1, of)
        return vectors

    def _batches(self, hashes: Sequence[str]) -> Iterator[Sequence[str]]:
        """Alike in size, and of about the size that is best."""
        start = 0
        while start < len(hashes):
            left = len(hashes) - start
            count = max(1, round(left / self.size))
            yield hashes[start : start + -(-left // count)]
            start += -(-left // count)

    def _adapt(self, count: int, seconds: float) -> None:
        if self._warm and count >= _SIZES[0]:
            possible = count / max(seconds, 1e-6) * _SECONDS
            larger = min(2 * self.size, _SIZES[-1])
            self.size = max([size for size in _SIZES if size <= min(possible, larger)], default=_SIZES[0])
        self._warm = True  # the first one has loaded the weights


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
