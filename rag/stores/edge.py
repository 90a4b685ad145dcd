"""The embedded store: one collection in one folder, in this process, through Qdrant Edge.

A document's points are written with state `staged`; its commit makes them live and deletes its other versions. The two
steps are one for everybody: threads of this process wait for both, other processes cannot open the shard in between,
and after a kill between them the next opening finishes what `commit.json` says was begun.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.bm25 import TermCounts
from rag.errors import IndexMismatchError, IndexMissingError, StoreError
from rag.stores.edge_shard import EdgeShard
from rag.stores.edge_sharing import shared_shard, sweep
from rag.stores.index_folder import IndexFolder
from rag.stores.inspection import by_state, inspected
from rag.stores.language_shares import most_first, shares
from rag.stores.optimizing import WORTHWHILE, optimize_elsewhere
from rag.stores.points import StoredPoint, candidates_of, chunks_of, passages_of
from rag.stores.samples import Samples
from rag.stores.schema import (
    DOCUMENT_FIELDS,
    LANGUAGE,
    LIVE,
    SCHEMA_VERSION,
    STAGED,
    Conditions,
    document_of,
    newest_versions,
    require_match,
    require_query,
    require_storable,
    selection_of,
)
from rag.stores.shard_switch import ShardSwitch
from rag.stores.tenants import require_own, tenant_of
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

_HASHES_AT_ONCE = 256


class EdgeStore:
    """A `rag.ports.PassageStore` in a folder. Safe to call from several threads and from several processes in turn.

    Stores of one process over the same folder share the shard. It is open only while it is used: it is closed after
    `idle_seconds` without a call, or as soon as another process waits for it, except between `stage` and `commit`.
    Calls raise IndexBusyError when another process does not let go of it within `wait_seconds`, IndexMissingError
    before the first `prepare`, and StoreError when the engine or the disk fails.
    """

    def __init__(self, folder: Path, *, idle_seconds: float = 2.0, wait_seconds: float = 5.0) -> None:
        folder = folder.absolute()  # whatever becomes of the working folder
        self._folder = IndexFolder(folder)
        self._shared = shared_shard(folder, idle_seconds, wait_seconds)
        # (uri, version) staged and not committed → its chunk count; changed only inside `self._shared.use`.
        self._pending: dict[tuple[str, str], int] = {}
        self._samples = Samples(self._first)

    def info(self) -> IndexInfo:
        """What the index was made with; reads one small file and waits for nobody."""
        return self._folder.info()

    def prepare(self, info: IndexInfo) -> None:
        """Creates the index, or checks that the one there fits; removes what a writer that died has staged.

        Raises:
            IndexMismatchError: it was made with another model or schema.
            StoreError: the folder holds something else or cannot be written.
        """
        try:
            found = self._folder.info()
        except IndexMissingError:
            with suppress(StoreError):  # a shard that is open still has been deleted from the disk, and will say so
                self._shared.close()
            self._folder.create()
            with self._shared.use(partial(self._create_shard, info)):
                found = self._folder.info()
        require_match(found, info)
        with self._use() as shard:  # also where nothing is staged afterwards
            sweep(shard)

    def candidates(
        self, query: Embedding, depth: int, where: Where = ANYWHERE, *, language_depth: int = 0
    ) -> list[Candidate]:
        """The union of the `depth` best by dense and the `depth` best by sparse score, each with both exact scores.

        And, where there are several languages, of the `language_depth` nearest of each; beyond 32 languages the rarest
        share theirs. Sorted by chunk id. A query without lexical weights is answered by the dense vectors alone.

        Raises:
            ValueError: `where.sources` has not been expanded to `where.uris`.
            InputError: the index has tenants, and `where.metadata` names none.
            StoreError: the query does not fit the index.
        """
        selected = selection_of(where)
        index = self.info()
        tenant = tenant_of(where, index.tenant_key)
        if selected is None:
            return []
        require_query(query, index.dimension)
        query = self._samples.weighted(query, tenant)
        with self._use() as shard:
            some = shares(shard.languages(), selected, language_depth, complete=True) if language_depth else []
            found = shard.nearest(query, depth, selected, some)
        return candidates_of(found)

    def passages(self, ids: Sequence[str], *, with_vectors: bool = False) -> Mapping[str, StoredPassage]:
        """What is stored of candidates, by their ids; one that has been replaced or removed by now is left out."""
        with self._use() as shard:
            return passages_of(shard.retrieve(ids, with_vectors))

    def languages(self) -> Mapping[str, int]:
        """Languages of the passages → about how many passages each has, most first."""
        with self._use() as shard:
            return most_first(shard.languages())

    def centre(self, where: Where = ANYWHERE) -> NDArray[np.float32] | None:
        """(dimension,) mean of the dense vectors of a sample of the passages, at most a minute old; None without any.

        Raises:
            InputError: the index has tenants, and `where.metadata` names none.
        """
        return self._samples.centre(tenant_of(where, self.info().tenant_key))

    def weighted(self, query: Embedding, where: Where = ANYWHERE) -> Embedding:
        """A question as `candidates` compares it, see `Samples.weighted`.

        Raises:
            InputError: the index has tenants, and `where.metadata` names none.
        """
        if not isinstance(query.sparse, TermCounts):
            return query
        return self._samples.weighted(query, tenant_of(where, self.info().tenant_key))

    def document(self, uri: str) -> StoredDocument | None:
        """The live document at `uri`."""
        return next(iter(self._documents({"uri": [uri]})), None)

    def documents(self) -> Iterator[StoredDocument]:
        """All live documents as they are now, by uri."""
        return iter(self._documents({}))

    def chunks(self, uri: str) -> Iterator[Chunk]:
        """The chunks of a live document as it is now, by ordinal."""
        with self._use() as shard:
            return chunks_of(shard.scroll({"uri": [uri], "state": [LIVE]}), uri)

    def inspect(self, uri: str | None = None) -> Iterator[InspectedPoint]:
        """Every point that is kept, by id, see the port; between two pages others may have the index."""
        dimension = self.info().dimension
        where: Conditions = {} if uri is None else {"uri": [uri]}
        offset: object = None
        while True:
            with self._use() as shard:
                # What is staged after a sweep is this process's own.
                abandoned = not shard.swept
                page, offset = shard.page(where, offset)
            for identifier, payload, vectors in page:
                yield inspected(identifier, payload, vectors, dimension, abandoned=abandoned)
            if offset is None:
                return

    def stage(self, chunks: Sequence[Chunk], embeddings: Sequence[Embedding]) -> None:
        """Writes points that no search sees yet, and keeps the index for this process until their commit.

        A document's chunks may come in several calls. Chunks that are live already are not written again: that would
        take them out of the search.

        Raises:
            StoreError: a chunk or an embedding cannot be stored (then nothing was written), or the engine fails.
            InputError: the index has tenants, and a chunk is of none, or its document another one's.
        """
        index = self.info()
        require_storable(chunks, embeddings, index.dimension)
        if not chunks:
            return
        with self._use() as shard:
            if index.tenant_key is not None:
                first: Conditions = {"uri": sorted({chunk.uri for chunk in chunks}), "ordinal": [0], "state": [LIVE]}
                held = shard.scroll(first, fields=("uri", "metadata"))
                require_own(chunks, (point.payload for point in held), index.tenant_key)
            try:
                sweep(shard)
                documents = {(chunk.uri, chunk.version): chunk.chunk_count for chunk in chunks}
                live = _live_ids(shard, documents)
                # Noted before they are written, so that whatever interrupts the writing, closing removes them.
                self._pending.update(documents)
                self._shared.pin(self)
                new = [position for position, chunk in enumerate(chunks) if chunk.id not in live]
                shard.upsert([chunks[at] for at in new], [embeddings[at] for at in new], STAGED)
            except StoreError:
                self._give_up()
                raise

    def commit(self, uri: str, version: str) -> None:
        """Makes the staged version of a document live and removes its other versions; on disk when this returns.

        Raises:
            StoreError: not all chunks of the version were staged by this store, or the engine fails.
        """
        self.commit_all([(uri, version)])

    def commit_all(self, documents: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Commits all, those that are new in one step; at once, not on iteration; on disk when this returns.

        Raises:
            StoreError: as `commit`; of a document that is not whole nothing is committed, nor of any other.
        """
        with self._use() as shard:
            for uri, version in documents:
                self._require_staged(shard, uri, version)
            try:
                new = [key for key in documents if shard.count({"uri": [key[0]]}) == self._pending[key]]
                if new:  # of no other version: one step, which needs no second one
                    shard.set_state(LIVE, {"uri": [uri for uri, _ in new], "version": [each for _, each in new]})
                    shard.flush()
                for uri, version in (key for key in documents if key not in set(new)):
                    self._folder.begin_commit(uri, version)
                    _make_live(shard, uri, version)
                    self._folder.end_commit()
            except StoreError:
                self._give_up()
                raise
            for uri, _ in documents:
                self._forget(uri)
        self._samples.forget()
        return iter(documents)

    def _require_staged(self, shard: EdgeShard, uri: str, version: str) -> None:
        expected = self._pending.get((uri, version))
        if expected is None:
            raise StoreError(f"nothing is staged of {uri!r} in version {version}: stage its chunks before the commit")
        staged = shard.count(_version(uri, version))
        if staged != expected:
            raise StoreError(
                f"{staged} of {expected} chunks of {uri!r} in version {version} are staged: "
                "stage all of them before the commit"
            )

    def remove(self, uri: str) -> None:
        """Removes a document in all its versions, staged ones too; nothing happens if it is not there."""
        with self._use() as shard:
            shard.delete({"uri": [uri]})
            shard.flush()
            self._forget(uri)
        self._samples.forget()

    def discard(self, points: Sequence[InspectedPoint]) -> None:
        """Removes single points, each unless it is in another state by now."""
        with self._use() as shard:
            for where, ids in by_state(points):
                shard.discard(ids, where)
            shard.flush()
        self._samples.forget()

    def embeddings(self, text_hashes: Sequence[str]) -> Mapping[str, Embedding]:
        """Stored embeddings of live chunks by `Chunk.text_hash`; unknown hashes are left out."""
        found: dict[str, Embedding] = {}
        hashes = list(dict.fromkeys(text_hashes))
        for start in range(0, len(hashes), _HASHES_AT_ONCE):
            where: Conditions = {"text_hash": hashes[start : start + _HASHES_AT_ONCE], "state": [LIVE]}
            with self._use() as shard:
                for point in shard.scroll(where, fields=("text_hash",), with_embedding=True):
                    if point.embedding is not None:
                        found.setdefault(point.payload["text_hash"], point.embedding)
        return found

    def optimize(self, announce: Callable[[int], None], stop: threading.Event | None = None) -> float | None:
        """Makes searches fast again after many writes, in another process; the store is closed meanwhile.

        Args:
            announce: called before it begins, with the number of new points.
            stop: when set, it is given up.

        Returns:
            Seconds, or None where it is not worth it or was stopped.

        Raises:
            StoreError: it failed, and the index is as before.
        """
        with self._use() as shard:
            new = shard.unoptimized()
        if new <= WORTHWHILE:
            return None
        self.close()
        announce(new)
        return optimize_elsewhere(self._folder.path, stop)

    @contextmanager
    def held(self) -> Iterator[None]:
        """While inside, no other process reads or writes the index: at most for the seconds that they wait."""
        holder = object()
        with self._use():
            self._shared.pin(holder)
        try:
            yield
        finally:
            self._shared.unpin(holder)

    def close(self) -> None:
        """Removes what was staged and not committed, flushes, and lets go of the index. A later call opens it again.

        Where another store of this process has staged points that it will commit, the index stays open for that one.
        """
        try:
            if self._pending:
                with self._shared.use(self._open_shard) as shard:
                    for version in list(self._pending):
                        shard.delete({**_version(*version), "state": [STAGED]})
        finally:
            self._give_up()
            self._shared.close()

    def _first(self, where: Conditions, count: int, *, terms: bool) -> list[StoredPoint]:
        with self._use() as shard:
            return list(islice(shard.scroll(where, (LANGUAGE,), with_embedding=not terms, with_terms=terms), count))

    def _use(self) -> AbstractContextManager[EdgeShard]:
        self._folder.info()  # where there is no index, no lock is to make a folder
        return self._shared.use(self._open_shard)

    def _documents(self, where: Conditions) -> list[StoredDocument]:
        first_chunks: Conditions = {**where, "ordinal": [0], "state": [LIVE]}
        with self._use() as shard:
            found = [
                document_of(point.id, point.payload) for point in shard.scroll(first_chunks, fields=DOCUMENT_FIELDS)
            ]
        newest = newest_versions(found)
        return sorted((each for each in found if newest[each.uri] == each.version), key=lambda each: each.uri)

    def _create_shard(self, info: IndexInfo) -> EdgeShard:
        """Under the lock: the folder's shard, new unless another process was quicker."""
        try:
            self._folder.info()
        except IndexMissingError:
            self._remove_unfinished_shard()
            EdgeShard.create(self._folder.shard_in_creation, info.dimension).close()
            # Made beside its place, so that a shard in its place is always whole.
            self._folder.shard_in_creation.replace(self._folder.shard)
            self._folder.write_info(info)
            _log.info("created an index of dimension %d", info.dimension)
        return self._open_shard()

    def _remove_unfinished_shard(self) -> None:
        """Clears what a creation that was killed left behind, and never a point."""
        shutil.rmtree(self._folder.shard_in_creation, ignore_errors=True)
        if self._folder.shard.exists():
            shard = EdgeShard.load(self._folder.shard)
            points = shard.count()
            shard.close()
            if points:
                raise StoreError(
                    f"{self._folder.path} holds {points} points but no index.json that says which model made them: "
                    "restore it, or ingest again into another --collection"
                )
            shutil.rmtree(self._folder.shard)

    def _open_shard(self) -> EdgeShard:
        """Under the lock: the shard, after finishing a commit that a dead writer began."""
        found = self._folder.info().schema_version
        if found != SCHEMA_VERSION:
            raise IndexMismatchError(
                f"the index in {self._folder.path} has schema version {found}, this program version {SCHEMA_VERSION}: "
                "use the version of this program that made it, or ingest again into another --collection"
            )
        ShardSwitch(self._folder.path).restore()
        shard = EdgeShard.load(self._folder.shard)
        begun = self._folder.commit_under_way()
        if begun is not None:
            # Live points mean that the old version may be gone in part; without any, nothing has happened yet.
            if shard.count({**_version(*begun), "state": [LIVE]}):
                _make_live(shard, *begun)
                _log.info("finished a commit that was interrupted")
            self._folder.end_commit()
        return shard

    def _forget(self, uri: str) -> None:
        for key in [key for key in self._pending if key[0] == uri]:
            del self._pending[key]
        if not self._pending:
            self._shared.unpin(self)

    def _give_up(self) -> None:
        """Lets the shard be closed; what is staged is removed then, or before the next write."""
        self._pending.clear()
        self._shared.unpin(self)


def _version(uri: str, version: str) -> Conditions:
    return {"uri": [uri], "version": [version]}


def _live_ids(shard: EdgeShard, versions: Iterable[tuple[str, str]]) -> set[str]:
    conditions: list[Conditions] = [{**_version(*each), "state": [LIVE]} for each in versions]
    # Counted first: hardly ever is there one, and to count is quicker.
    return {point.id for each in conditions if shard.count(each) for point in shard.scroll(each, fields=("ordinal",))}


def _make_live(shard: EdgeShard, uri: str, version: str) -> None:
    shard.set_state(LIVE, _version(uri, version))
    # What another store of this process has staged is for that one to commit.
    shard.delete({"uri": [uri], "state": [LIVE]}, but_not={"version": [version]})
    shard.flush()
