"""What an export takes out of an index: a document at a time, whole, with its vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ingest.archive_records import chunk_line
from rag.errors import StoreError
from rag.ports import PassageReader
from rag.types import Chunk, Embedding, StoredDocument

_ATTEMPTS = 3  # at a document that is replaced while it is read
_MOST_VECTORS = 4096  # of 1024 dimensions, some 25 MB


class StoredDocuments:
    """Reads documents. Vectors of passages that several have are looked up once, not once for each.

    A store finds them by the hash of the text, among all passages that have it: of a line that stands in each of
    n documents that would be n times n.
    """

    def __init__(self, store: PassageReader) -> None:
        self._store = store
        self._vectors: dict[str, Embedding] = {}  # the least recently used first

    def read(self, listed: StoredDocument) -> tuple[list[bytes], StoredDocument]:
        """The lines of a document's chunks, none where it was removed, and the document in the version they are of.

        Raises:
            StoreError: passages of it are missing, or it is replaced again and again.
        """
        torn = False
        for _ in range(_ATTEMPTS):
            chunks = list(self._store.chunks(listed.uri))
            if torn := not _is_whole(chunks):
                continue
            vectors = self._embeddings([chunk.text_hash for chunk in chunks])
            if all(chunk.text_hash in vectors for chunk in chunks):
                lines = [chunk_line(chunk, vectors[chunk.text_hash]) for chunk in chunks]
                return lines, _document_of(chunks[0], listed) if chunks else listed
        if torn:
            raise StoreError(f"{listed.source!r} is torn: mend it with `ingest verify --repair`, then export again")
        raise StoreError(f"{listed.source!r} changes all the time: export when nothing is written")

    def _embeddings(self, hashes: Sequence[str]) -> Mapping[str, Embedding]:
        wanted = list(dict.fromkeys(hashes))
        kept = {each: self._vectors.pop(each) for each in wanted if each in self._vectors}
        missing = [each for each in wanted if each not in kept]
        found = {**kept, **(self._store.embeddings(missing) if missing else {})}
        self._vectors.update(found)
        # Those of this document stay, however many: the next may be a copy.
        for each in list(self._vectors)[: max(0, len(self._vectors) - max(_MOST_VECTORS, len(found)))]:
            del self._vectors[each]
        return found


def _is_whole(chunks: Sequence[Chunk]) -> bool:
    """Whether these are all chunks of a document, each once."""
    return [(chunk.ordinal, chunk.chunk_count) for chunk in chunks] == [(at, len(chunks)) for at in range(len(chunks))]


def _document_of(chunk: Chunk, listed: StoredDocument) -> StoredDocument:
    return replace(
        listed,
        version=chunk.version,
        title=chunk.title,
        language=chunk.document_language,
        format=chunk.format,
        chunk_count=chunk.chunk_count,
        ingested_at=chunk.ingested_at,
        metadata=chunk.metadata,
    )
