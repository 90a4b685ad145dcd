"""The index that answers now, though `ingest rebuild` may put another in its place at any time.

An index is made anew as a generation of its own, beside the one that answers, and a pointer that is replaced at once
says which one that is. A store that has been opened on one generation goes on with the next at its next call, as long
as that is of the same model; with another model it goes on with what it has, since its questions are embedded for that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rag.errors import IndexMismatchError, IndexMissingError, RagError, StoreError
from rag.ports import PassageStore
from rag.types import (
    ANYWHERE,
    Candidate,
    Chunk,
    Embedding,
    IndexInfo,
    InspectedPoint,
    StoredDocument,
    StoredPassage,
    Where,
)

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Hold(Protocol):
    """Keeps a generation from being removed until it is released, or its process ends."""

    def release(self) -> None:
        """May be called twice."""
        ...


class Generations(Protocol):
    """The generations of one collection, each with a name."""

    def current(self, *, fresh: bool) -> str:
        """The one that answers; without `fresh` it may be what was seen before, where looking costs a request."""
        ...

    def open(self, name: str) -> PassageStore:
        """A store over that one alone; nothing is opened or created yet."""
        ...

    def hold(self, name: str) -> Hold | None:
        """Keeps it from being removed; None where it is not there yet, or nobody can be kept from it."""
        ...

    def left(self, name: str) -> None:
        """Removes one that does not answer any more and that its last user has left."""
        ...

    def close(self) -> None:
        """Closes what was opened to look; a later call opens it again."""
        ...


@dataclass(slots=True)
class _Bound:
    """A generation in use; `info` is None until there is an index."""

    name: str
    store: PassageStore
    info: IndexInfo | None = None
    hold: Hold | None = None
    passed: str = ""  # the generation that does not fit, so that it is looked at once


class CurrentStore:
    """A `rag.ports.PassageStore` over whichever generation answers. Safe to call from several threads.

    Attributes:
        generations: which there are.
    """

    def __init__(self, generations: Generations) -> None:
        self.generations = generations
        self._mutex = threading.Lock()
        self._bound: _Bound | None = None
        self._staged: dict[tuple[str, str], _Bound] = {}  # (uri, version) → where its chunks are

    def info(self) -> IndexInfo:
        """What the index was made with, asked anew each time."""
        with self._mutex:
            if self._bound is None and (info := self._bind().info) is not None:
                return info
        return self._read(lambda store: store.info())

    def prepare(self, info: IndexInfo) -> None:
        """Creates the index, or checks that the one that answers now fits."""
        with self._mutex:
            bound = self._bound
            if bound is None or self.generations.current(fresh=True) != bound.name:
                bound = self._bind()
        bound.store.prepare(info)
        if bound.info is None:
            bound.info, bound.hold = bound.store.info(), self.generations.hold(bound.name)

    def candidates(
        self, query: Embedding, depth: int, where: Where = ANYWHERE, *, language_depth: int = 0
    ) -> list[Candidate]:
        """As the port says."""
        return self._read(lambda store: store.candidates(query, depth, where, language_depth=language_depth))

    def passages(self, ids: Sequence[str], *, with_vectors: bool = False) -> Mapping[str, StoredPassage]:
        """As the port says."""
        return self._read(lambda store: store.passages(ids, with_vectors=with_vectors))

    def languages(self) -> Mapping[str, int]:
        """As the port says."""
        return self._read(lambda store: store.languages())

    def centre(self, where: Where = ANYWHERE) -> NDArray[np.float32] | None:
        """As the port says."""
        return self._read(lambda store: store.centre(where))

    def weighted(self, query: Embedding, where: Where = ANYWHERE) -> Embedding:
        """As the port says."""
        return self._read(lambda store: store.weighted(query, where))

    def embeddings(self, text_hashes: Sequence[str]) -> Mapping[str, Embedding]:
        """As the port says."""
        return self._read(lambda store: store.embeddings(text_hashes))

    def document(self, uri: str) -> StoredDocument | None:
        """As the port says."""
        return self._read(lambda store: store.document(uri))

    def documents(self) -> Iterator[StoredDocument]:
        """As the port says."""
        return self._read(lambda store: store.documents())

    def chunks(self, uri: str) -> Iterator[Chunk]:
        """As the port says."""
        return self._read(lambda store: store.chunks(uri))

    def inspect(self, uri: str | None = None) -> Iterator[InspectedPoint]:
        """As the port says; all of one generation, whatever takes its place meanwhile."""
        return self._read(lambda store: store.inspect(uri))

    def discard(self, points: Sequence[InspectedPoint]) -> None:
        """As the port says; of the index that answers now, in which other generations' points are nobody's."""
        with self._mutex:
            bound = self._now(writes=True)
        bound.store.discard(points)

    def stage(self, chunks: Sequence[Chunk], embeddings: Sequence[Embedding]) -> None:
        """As the port says.

        Raises:
            IndexMismatchError: another model's index has taken the place of the one that was opened.
        """
        keys = {(chunk.uri, chunk.version) for chunk in chunks}
        with self._mutex:
            begun = next((self._staged[key] for key in keys if key in self._staged), None)
            bound = begun or self._now(writes=True)
            # Noted before they are written, so that nobody closes the store that holds them.
            self._staged.update(dict.fromkeys(keys, bound))
        try:
            bound.store.stage(chunks, embeddings)
        except RagError:
            self._forget(keys)
            raise

    def commit(self, uri: str, version: str) -> None:
        """As the port says; in a generation that was replaced meanwhile, and in the one that answers now."""
        list(self.commit_all([(uri, version)]))

    def commit_all(self, documents: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """As the port says; as the iteration comes to them, and likewise."""
        with self._mutex:
            where = {key: self._staged.get(key) or self._now(writes=True) for key in documents}
        try:
            for bound in {id(each): each for each in where.values()}.values():
                for key in bound.store.commit_all([key for key in documents if where[key] is bound]):
                    # Looked at after the commit, not before: whoever replaces a generation looks for late commits
                    # afterwards, so one of the two sees it.
                    if self.generations.current(fresh=True) != bound.name:
                        self._carry_over(bound, *key)
                    yield key
        except IndexMissingError as error:
            if self.generations.current(fresh=True) in {bound.name for bound in where.values()}:
                raise
            raise StoreError(
                "the index was rebuilt and the old one removed while documents were written: ingest them again"
            ) from error
        finally:
            self._forget(set(documents))

    def remove(self, uri: str) -> None:
        """As the port says."""
        with self._mutex:
            bound = self._now(writes=True)
        bound.store.remove(uri)
        if self.generations.current(fresh=True) != bound.name:
            with self._mutex:
                bound = self._now(writes=True)
            bound.store.remove(uri)

    def close(self) -> None:
        """Removes what was staged and not committed, and lets go of the index; a later call opens it again."""
        with self._mutex:
            bounds = {id(each): each for each in (self._bound, *self._staged.values()) if each is not None}
            self._bound = None
            self._staged.clear()
        try:
            for bound in bounds.values():
                self._leave(bound)
        finally:
            self.generations.close()

    def _read(self, call: Callable[[PassageStore], Result]) -> Result:
        with self._mutex:
            bound = self._now()
        while True:
            try:
                return call(bound.store)
            except (IndexMissingError, StoreError) as error:
                with self._mutex:
                    replaced = self._replacing(bound, error)
                if replaced is None:
                    raise
                bound = replaced

    def _now(self, *, writes: bool = False) -> _Bound:
        """What is to be used, under the mutex."""
        bound = self._bound
        if bound is None:
            return self._bind()
        name = self.generations.current(fresh=writes)
        return bound if name == bound.name else self._follow(bound, name, must=writes)

    def _bind(self) -> _Bound:
        name = self.generations.current(fresh=True)
        hold = self.generations.hold(name)  # before it is looked at, lest it be removed in between
        store = self.generations.open(name)
        try:
            info = store.info()
        except IndexMissingError:
            info = None
        except RagError:
            if hold is not None:
                hold.release()
            raise
        before, self._bound = self._bound, _Bound(name, store, info, hold)
        if before is not None:
            self._leave_unless_written(before)
        return self._bound

    def _follow(self, bound: _Bound, name: str, *, must: bool) -> _Bound:
        """The generation of that `name` if it fits what was opened, else the one that was, unless it `must` be."""
        if name == bound.passed and not must:
            return bound
        info = self.generations.open(name).info()
        if bound.info is None or _fits(info, bound.info):
            return self._bind()
        said = f"the index has been rebuilt with model {info.model!r}, and this program has opened it with "
        said += f"{bound.info.model!r}"
        if must:
            raise IndexMismatchError(f"{said}: start it again with --model {info.model} (RAG_EMBEDDER__MODEL)")
        bound.passed = name
        _log.warning("%s: it goes on with the index as it was; start it again with the new model", said)
        return bound

    def _replacing(self, bound: _Bound, error: RagError) -> _Bound | None:
        """What is to be used after `bound` has failed; None where it has not been replaced."""
        if self._bound is not None and self._bound is not bound:
            return self._bound
        try:
            name = self.generations.current(fresh=True)
        except RagError:
            return None
        if name == bound.name:
            return None
        try:
            return self._follow(bound, name, must=True)
        except RagError as other:
            raise other from error

    def _carry_over(self, bound: _Bound, uri: str, version: str) -> None:
        """Writes a document that went into a generation that was just replaced into the one that answers now."""
        with self._mutex:
            now = self._now(writes=True)
        try:
            chunks = [chunk for chunk in bound.store.chunks(uri) if chunk.version == version]
            vectors = bound.store.embeddings([chunk.text_hash for chunk in chunks])
            embeddings = [vectors[chunk.text_hash] for chunk in chunks]
        except (IndexMissingError, StoreError, KeyError) as error:
            raise StoreError(f"the index was rebuilt while {uri!r} was written: ingest it again") from error
        if chunks:  # else another writer has replaced or removed it
            now.store.stage(chunks, embeddings)
            now.store.commit(uri, version)

    def _forget(self, keys: set[tuple[str, str]]) -> None:
        with self._mutex:
            left = {id(each): each for key in keys if (each := self._staged.pop(key, None)) is not None}
            for bound in left.values():
                if bound is not self._bound:
                    self._leave_unless_written(bound)

    def _leave_unless_written(self, bound: _Bound) -> None:
        if bound not in self._staged.values():
            try:
                self._leave(bound)
            except RagError as error:
                _log.warning("leaving the index that was replaced failed: %s", error)

    def _leave(self, bound: _Bound) -> None:
        try:
            bound.store.close()
        finally:
            if bound.hold is not None:
                bound.hold.release()
            self.generations.left(bound.name)


def _fits(found: IndexInfo, opened: IndexInfo) -> bool:
    """Whether what is embedded for one index can be asked of the other; the name of the model is for messages only."""
    names = ("schema_version", "fingerprint", "dimension", "tenant_key")
    return all(getattr(found, name) == getattr(opened, name) for name in names)
