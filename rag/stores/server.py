"""The store on a Qdrant server: one collection, shared by as many readers and writers as like.

A document's points are written with state `staged`; its commit makes them live and deletes the versions that were live
when it began. Between the two steps, and after a kill between them, both versions are live: readers take the one that
was ingested last, and the next writer that lists the documents removes the other. No writer deletes what another one
commits meanwhile, so of two commits at once none is lost.

Staged points of a writer that died are removed by the next writer that begins, once they are older than
`LEASE_SECONDS`: until then a living one may still want to commit them. Writers' clocks must agree to well within that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rag.bm25 import TermCounts
from rag.errors import IndexMissingError, RagError, StoreError
from rag.stores.inspection import by_state, inspected
from rag.stores.language_shares import most_first, shares
from rag.stores.points import StoredPoint, candidates_of, chunks_of, passages_of
from rag.stores.samples import Samples
from rag.stores.schema import (
    DOCUMENT_FIELDS,
    LANGUAGE,
    LIVE,
    STAGED,
    Conditions,
    document_of,
    newest_versions,
    require_match,
    require_query,
    require_storable,
    selection_of,
)
from rag.stores.server_collection import ServerCollection
from rag.stores.server_connection import ServerConnection
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

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_log = logging.getLogger(__name__)

LEASE_SECONDS = 3600.0
"""How long points may stay staged; an embedded document is staged and committed within seconds."""
_HASHES_AT_ONCE = 256
_LISTINGS = 5  # of a document that is replaced again and again while it is listed
_COUNT_SECONDS = 60.0  # how long the languages of a collection are known
_TICK = 1e-3  # seconds: more than a float loses on its way through JSON


class ServerStore:
    """A `rag.ports.PassageStore` on a server. Safe to call from several threads; connects on first use.

    Calls raise IndexMissingError where there is no such collection, IndexMismatchError where it is another
    application's, and StoreError when the server cannot be reached, refuses, or goes away. Writes are tried again for
    `timeout` seconds while the server cannot be reached or is overloaded, reads for two.
    """

    def __init__(
        self,
        url: str,
        collection: str,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        quantization: bool = False,
        on_disk: bool = True,
        metadata_keys: Sequence[str] = (),
        prefer_grpc: bool = True,
        parallel: int = 2,
        client: QdrantClient | None = None,
        connection: ServerConnection | None = None,
    ) -> None:
        """Takes note of where the server is; nothing is sent yet.

        Args:
            url: `http[s]://host[:port][/prefix]` of Qdrant's HTTP port, 6333 where none is given.
            timeout: seconds for one request, and for the repetitions of one write.
            quantization: whether `prepare` makes a collection whose search reads int8 copies kept in memory.
            on_disk: whether `prepare` makes a collection that maps its vectors from disk instead of holding them.
            metadata_keys: keys that `prepare` makes payload indexes of; of others, when a document with them is staged.
            prefer_grpc: whether to use the port above the HTTP port where it speaks gRPC.
            parallel: streams over which points are written.
            client: instead of a connection of its own; not closed by this store.
            connection: likewise.

        Raises:
            InputError: the URL or the key cannot be used.
        """
        self._own_connection = connection is None
        self._connection = connection or ServerConnection(
            url,
            collection,
            api_key=api_key,
            timeout=timeout,
            prefer_grpc=prefer_grpc,
            streams=parallel,
            client=client,
        )
        self._collection = ServerCollection(
            self._connection, collection, quantization=quantization, on_disk=on_disk, parallel=parallel
        )
        self._metadata_keys = tuple(metadata_keys)
        self._counted: tuple[float, dict[str, int]] = (-_COUNT_SECONDS, {})  # when languages were counted, and how many
        self._samples = Samples(self._first)
        self._known: IndexInfo | None = None  # what `info` said last: an index does not change
        self._writing = threading.Lock()
        self._pending: dict[tuple[str, str], int] = {}  # (uri, version) staged and not committed → its chunk count
        self._swept = False  # whether staged points of dead writers are gone
        self._prepared = False  # whether this store is a writer's

    def info(self) -> IndexInfo:
        """What the index was made with, asked anew each time."""
        self._known = None
        self._known = self._collection.info()
        return self._known

    def prepare(self, info: IndexInfo) -> None:
        """Creates the collection with its payload indexes, or checks that the one there fits.

        Raises:
            IndexMismatchError: it was made with another model or schema, or is another application's.
        """
        try:
            found = self.info()
        except IndexMissingError:
            self._collection.create(info)
            _log.info("created a collection of dimension %d", info.dimension)
            found = self.info()
        require_match(found, info)
        self._prepared = True
        self._collection.make_indexes(self._metadata_keys)  # also those that a creator who was killed did not get to

    def candidates(
        self, query: Embedding, depth: int, where: Where = ANYWHERE, *, language_depth: int = 0
    ) -> list[Candidate]:
        """The union of the `depth` best by dense and the `depth` best by sparse score, each with both exact scores.

        And, where there are several languages, of the `language_depth` nearest of each; beyond 32 languages the rarest
        share theirs. Sorted by chunk id. A query without lexical weights is answered by the dense vectors alone. In a
        collection that has grown beyond Qdrant's threshold for its search graph (10 MB of vectors), which are the best
        by dense score is approximate; the scores are not. Which of several passages with equal scores come last into
        the union is the server's choice.

        Raises:
            ValueError: `where.sources` has not been expanded to `where.uris`.
            InputError: the index has tenants, and `where.metadata` names none.
            StoreError: the query does not fit the index.
        """
        selected = selection_of(where)
        index = self._index()
        tenant = tenant_of(where, index.tenant_key)
        if selected is None:
            return []
        require_query(query, index.dimension)
        query = self._samples.weighted(query, tenant)
        # A language that has come in since they were counted shares with the rare ones.
        some = shares(self._languages(), selected, language_depth, complete=False) if language_depth else []
        return candidates_of(self._collection.nearest(query, depth, selected, some))

    def passages(self, ids: Sequence[str], *, with_vectors: bool = False) -> Mapping[str, StoredPassage]:
        """What is stored of candidates, by their ids; one that has been replaced or removed by now is left out."""
        self._index()
        return passages_of(self._collection.retrieve(ids, with_vectors))

    def languages(self) -> Mapping[str, int]:
        """Languages of the passages → about how many passages each has, most first."""
        self._index()
        return most_first(self._languages())

    def centre(self, where: Where = ANYWHERE) -> NDArray[np.float32] | None:
        """(dimension,) mean of the dense vectors of a sample of the passages, at most a minute old; None without any.

        Raises:
            InputError: the index has tenants, and `where.metadata` names none.
        """
        return self._samples.centre(tenant_of(where, self._index().tenant_key))

    def weighted(self, query: Embedding, where: Where = ANYWHERE) -> Embedding:
        """A question as `candidates` compares it, see `Samples.weighted`.

        Raises:
            InputError: the index has tenants, and `where.metadata` names none.
        """
        if not isinstance(query.sparse, TermCounts):
            return query
        return self._samples.weighted(query, tenant_of(where, self._index().tenant_key))

    def document(self, uri: str) -> StoredDocument | None:
        """The live document at `uri`."""
        return next(iter(self._documents({"uri": [uri]})), None)

    def documents(self) -> Iterator[StoredDocument]:
        """All live documents as they are now, by uri. After `prepare`, commits that were cut in two are finished."""
        return iter(self._documents({}))

    def chunks(self, uri: str) -> Iterator[Chunk]:
        """The chunks of a live document as it is now, by ordinal."""
        self._index()
        for _ in range(_LISTINGS):
            found = list(chunks_of(self._collection.scroll({"uri": [uri], "state": [LIVE]}), uri))
            if not found or len(found) == found[0].chunk_count:
                break  # else a commit came between two pages
        return iter(found)

    def inspect(self, uri: str | None = None) -> Iterator[InspectedPoint]:
        """Every point that is kept, by id, see the port; staged ones are abandoned when their lease is over."""
        dimension = self._index().dimension
        where: Conditions = {} if uri is None else {"uri": [uri]}
        for identifier, payload, vectors, staged_at in self._collection.points(where):
            abandoned = staged_at is None or staged_at < time.time() - LEASE_SECONDS
            yield inspected(identifier, payload, vectors, dimension, abandoned=abandoned)

    def stage(self, chunks: Sequence[Chunk], embeddings: Sequence[Embedding]) -> None:
        """Writes points that no search sees yet.

        A document's chunks may come in several calls. Chunks of a version that is live already are not written again:
        the server leaves points alone that are no longer staged.

        Raises:
            StoreError: a chunk or an embedding cannot be stored (then nothing was written), or the server fails.
            InputError: the index has tenants, and a chunk is of none, or its document another one's.
        """
        index = self._index()
        require_storable(chunks, embeddings, index.dimension)
        if not chunks:
            return
        if index.tenant_key is not None:
            first: Conditions = {"uri": sorted({chunk.uri for chunk in chunks}), "ordinal": [0], "state": [LIVE]}
            held = self._collection.scroll(first, fields=("uri", "metadata"))
            require_own(chunks, (point.payload for point in held), index.tenant_key)
        with self._writing:
            self._sweep()
            # Noted before they are written, so that whatever interrupts the writing, closing removes them.
            self._pending.update({(chunk.uri, chunk.version): chunk.chunk_count for chunk in chunks})
            self._collection.make_indexes(sorted({key for chunk in chunks for key in chunk.metadata}))
            self._collection.stage(chunks, embeddings, STAGED, time.time())

    def commit(self, uri: str, version: str) -> None:
        """Makes the staged version of a document live and removes those that were live; done when this returns.

        Raises:
            StoreError: not all chunks of the version were staged by this store, or the server fails.
        """
        with self._writing:
            expected = self._pending.get((uri, version))
            if expected is None:
                raise StoreError(
                    f"nothing is staged of {uri!r} in version {version}: stage its chunks before the commit"
                )
            staged = self._collection.count(_version(uri, version))
            if staged != expected:
                raise StoreError(
                    f"{staged} of {expected} chunks of {uri!r} in version {version} are staged: "
                    "stage all of them before the commit"
                )
            ingested_at: dict[str, float] = {}
            first_chunk: Conditions = {"uri": [uri], "ordinal": [0]}
            for point in self._collection.scroll(first_chunk, fields=("version", "state", "ingested_at")):
                if point.payload["state"] == LIVE or point.payload["version"] == version:
                    ingested_at[point.payload["version"]] = float(point.payload["ingested_at"])
            own = ingested_at.pop(version, None)
            if own is None:
                raise StoreError(f"{uri!r} was removed by another writer during its commit: ingest it again")
            fields: dict[str, Any] = {"state": LIVE}
            if own < max(ingested_at.values(), default=own):
                # A writer whose clock is behind: readers would go on taking the version that is now out of date.
                fields["ingested_at"] = max(ingested_at.values()) + _TICK
            self._collection.set_payload(fields, _version(uri, version))
            live = self._collection.count({**_version(uri, version), "state": [LIVE]})
            if live != expected:
                # In the last moment another writer of the same version has given up, or the lease was over: the
                # versions that were live are whole still, so they stay.
                self._collection.delete(_version(uri, version))
                raise StoreError(
                    f"{expected - live} of {expected} chunks of {uri!r} were removed by another writer during their "
                    "commit, and what was live before stays: ingest it again"
                )
            if ingested_at:
                self._collection.delete({"uri": [uri], "version": sorted(ingested_at), "state": [LIVE]})
            self._forget(uri)
        self._samples.forget()

    def commit_all(self, documents: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Commits each, as the iteration comes to it.

        Raises:
            StoreError: as `commit`.
        """
        for uri, version in documents:
            self.commit(uri, version)
            yield uri, version

    def remove(self, uri: str) -> None:
        """Removes a document in all its versions, staged ones too; nothing happens if it is not there."""
        self._index()
        with self._writing:
            self._collection.delete({"uri": [uri]})
            self._forget(uri)
        self._samples.forget()

    def discard(self, points: Sequence[InspectedPoint]) -> None:
        """Removes single points, each unless it is in another state by now."""
        self._index()
        with self._writing:
            for where, ids in by_state(points):
                self._collection.delete(where, ids=ids)
        self._samples.forget()

    def embeddings(self, text_hashes: Sequence[str]) -> Mapping[str, Embedding]:
        """Stored embeddings of live chunks by `Chunk.text_hash`; unknown hashes are left out."""
        self._index()
        found: dict[str, Embedding] = {}
        hashes = list(dict.fromkeys(text_hashes))
        for start in range(0, len(hashes), _HASHES_AT_ONCE):
            where: Conditions = {"text_hash": hashes[start : start + _HASHES_AT_ONCE], "state": [LIVE]}
            for point in self._collection.scroll(where, fields=("text_hash",), with_embedding=True):
                if point.embedding is not None:
                    found.setdefault(point.payload["text_hash"], point.embedding)
        return found

    def close(self) -> None:
        """Removes what was staged and not committed, and lets go of the server. A later call connects again."""
        with self._writing:
            pending, self._pending = list(self._pending), {}
            try:
                for uri, version in pending:
                    self._collection.delete({**_version(uri, version), "state": [STAGED]}, retry=False)
            except RagError as error:
                # Nobody sees staged points, and the next writer removes them: no reason to fail at the very end.
                _log.warning("points that were staged and not committed stay on the server for an hour: %s", error)
            finally:
                self._swept = self._prepared = False
                self._known = None
                if self._own_connection:
                    self._connection.close()

    def _first(self, where: Conditions, count: int, *, terms: bool) -> list[StoredPoint]:
        found = self._collection.scroll(where, (LANGUAGE,), with_embedding=not terms, with_terms=terms)
        return list(islice(found, count))

    def _index(self) -> IndexInfo:
        """What the index was made with; also makes sure that the collection is there and ours."""
        return self._known or self.info()

    def _documents(self, where: Conditions) -> list[StoredDocument]:
        self._index()
        first_chunks: Conditions = {**where, "ordinal": [0], "state": [LIVE]}
        found = [document_of(each.id, each.payload) for each in self._collection.scroll(first_chunks, DOCUMENT_FIELDS)]
        newest = newest_versions(found)
        if self._prepared and len(newest) < len(found):
            self._finish(found, newest)
        return sorted((each for each in found if newest[each.uri] == each.version), key=lambda each: each.uri)

    def _finish(self, found: Sequence[StoredDocument], newest: Mapping[str, str]) -> None:
        """Removes the versions that writers who died before the second step of a commit have left live."""
        old: dict[str, list[str]] = {}
        for document in found:
            if document.version != newest[document.uri]:
                old.setdefault(document.uri, []).append(document.version)
        for document in found:
            key = _version(document.uri, document.version)
            if document.version != newest[document.uri] or document.uri not in old:
                continue
            if self._collection.count({**key, "state": [LIVE]}) == document.chunk_count:
                # Whoever makes an old version the valid one again just now gives it a later time: it is not deleted.
                left: Conditions = {"uri": [document.uri], "version": sorted(old[document.uri]), "state": [LIVE]}
                self._collection.delete(left, ingested_before=document.ingested_at)
                _log.info("finished a commit that was interrupted")

    def _languages(self) -> dict[str, int]:
        """Passages a language, counted anew after a minute."""
        counted, languages = self._counted
        if time.monotonic() - counted > _COUNT_SECONDS:
            languages = self._collection.languages()
            self._counted = (time.monotonic(), languages)
        return languages

    def _sweep(self) -> None:
        """Removes staged points of writers that died; a living one commits its own long before the lease is over."""
        if not self._swept:
            self._collection.delete({"state": [STAGED]}, staged_before=time.time() - LEASE_SECONDS)
            self._swept = True

    def _forget(self, uri: str) -> None:
        for key in [key for key in self._pending if key[0] == uri]:
            del self._pending[key]


def _version(uri: str, version: str) -> Conditions:
    return {"uri": [uri], "version": [version]}
