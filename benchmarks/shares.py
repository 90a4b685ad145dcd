"""Where the time of a question or an ingestion goes: the model, the engine, and all the rest, which is our own code.

The model's time is that of the embedder's calls, tokenising included. The engine's is that of the calls into Qdrant
Edge, found by putting a clock around what its package gives; our adapter around it counts as our code. Times are kept
for each thread. Beside the clock on the wall there is that of the processor, of the thread alone: where several askers
share a machine, our code's time on the wall is mostly waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Any

from rag.ports import Embedder
from rag.types import Embedding

PARTS = ("model", "counting", "engine")
"""What is not our code: embedding, counting tokens, the engine."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a piece of work in one thread.

    Attributes:
        wall: all of it.
        parts: of it in each of `PARTS`.
        processor: all of it on the clock of the processor.
        parts_processor: of that in each of `PARTS`.
    """

    wall: float
    parts: Mapping[str, float]
    processor: float
    parts_processor: Mapping[str, float]

    @property
    def own(self) -> float:
        """Outside of all parts: our code, and waiting for others."""
        return self.wall - sum(self.parts.values())

    @property
    def own_processor(self) -> float:
        """Of the processor outside of all parts: our code alone."""
        return self.processor - sum(self.parts_processor.values())


class _Clocks(threading.local):
    def __init__(self) -> None:
        self.parts = dict.fromkeys(PARTS, 0.0)
        self.processor = dict.fromkeys(PARTS, 0.0)
        self.inside = False


_clocks = _Clocks()


@contextmanager
def part(name: str) -> Iterator[None]:
    """What runs in it counts as that part; a part within a part counts as the outer one."""
    if _clocks.inside:
        yield
        return
    _clocks.inside = True
    began, processor = perf_counter(), thread_time()
    try:
        yield
    finally:
        _clocks.parts[name] += perf_counter() - began
        _clocks.processor[name] += thread_time() - processor
        _clocks.inside = False


def measured(work: Callable[[], object]) -> Spent:
    """Does the work in this thread."""
    before, before_processor = dict(_clocks.parts), dict(_clocks.processor)
    began, processor = perf_counter(), thread_time()
    work()
    wall, processor = perf_counter() - began, thread_time() - processor
    return Spent(
        wall,
        {name: _clocks.parts[name] - before[name] for name in PARTS},
        processor,
        {name: _clocks.processor[name] - before_processor[name] for name in PARTS},
    )


class TimedEmbedder:
    """An `Embedder` at its real cost, with a clock around it.

    Given vectors of questions are returned in place of those that the model has made: where the passages are made up,
    so are the vectors that are near to them.
    """

    def __init__(self, embedder: Embedder, vectors: Mapping[str, Embedding] | None = None) -> None:
        self._embedder = embedder
        self._vectors = vectors or {}

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
        """Longest text in tokens."""
        return self._embedder.window

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        with part("counting"):
            return self._embedder.count_tokens(texts)

    def embed_passages(self, texts: Sequence[str]) -> list[Embedding]:
        """Embeddings in the order of `texts`."""
        with part("model"):
            return self._embedder.embed_passages(texts)

    def embed_query(self, text: str) -> Embedding:
        """Embedding of a question, or the given one in its place."""
        with part("model"):
            made = self._embedder.embed_query(text)
        return self._vectors.get(text, made)

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """What `embed_query` gives for each of `texts`."""
        with part("model"):
            made = self._embedder.embed_queries(texts)
        return [self._vectors.get(text, each) for text, each in zip(texts, made, strict=True)]

    def terms(self, text: str) -> Mapping[int, str]:
        """Words of the tokens."""
        return self._embedder.terms(text)


@contextmanager
def engine_timed() -> Iterator[None]:
    """Shards that are opened in it have a clock around each call."""
    import qdrant_edge

    original = qdrant_edge.EdgeShard

    class Timed:
        """A shard."""

        def __init__(self, shard: Any) -> None:
            self._shard = shard

        @staticmethod
        def create(*given: Any) -> Timed:
            with part("engine"):
                return Timed(original.create(*given))

        @staticmethod
        def load(*given: Any) -> Timed:
            with part("engine"):
                return Timed(original.load(*given))

        def __getattr__(self, name: str) -> Any:
            found = getattr(self._shard, name)
            if not callable(found):
                return found

            def call(*given: Any, **named: Any) -> Any:
                with part("engine"):
                    return found(*given, **named)

            return call

    qdrant_edge.EdgeShard = Timed  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        qdrant_edge.EdgeShard = original  # type: ignore[misc]
