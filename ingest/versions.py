"""A document's version: the digest of all that shapes its points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import chain, combinations, islice
from pathlib import Path

from ingest import chunking, readers

_READ_AT_ONCE = 1 << 20
_MOST_PARTS = 20_000  # some 0.2 s; all that 14 keys have, and up to four of 20


def digest(data: bytes = b"") -> hashlib.blake2b:
    """Of a file's bytes, or of its first ones."""
    return hashlib.blake2b(data, digest_size=16)


def version(content: hashlib.blake2b, format: str, chunk_tokens: int, metadata: Mapping[str, str]) -> str:
    """Digest of a file's bytes, their reader, the chunker, its budget, and the metadata given to the document.

    Args:
        content: the `digest` of all bytes.
    """
    return _version(content, (format, readers.VERSIONS[format], chunking.VERSION, chunk_tokens), metadata)


class FileVersions:
    """The versions that a file may have in an index; reads it once, a block at a time.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, format: str, chunk_tokens: int) -> None:
        self._content = digest()
        self._format = format
        self._chunk_tokens = chunk_tokens
        with path.open("rb") as stream:
            while block := stream.read(_READ_AT_ONCE):
                self._content.update(block)

    def given(self, version: str, metadata: Mapping[str, str]) -> Mapping[str, str] | None:
        """Which part of a document's metadata was given to it, if it was made of the file as it is; None if not.

        The rest is what the document says of itself: the index holds both as one.
        """
        return self._given(version, metadata, readers.VERSIONS[self._format], chunking.VERSION)

    def given_to_older_code(self, version: str, metadata: Mapping[str, str]) -> Mapping[str, str] | None:
        """The same of a document that an older version of its reader or of the chunker made of the file as it is."""
        for reader in range(1, readers.VERSIONS[self._format] + 1):
            for chunker in range(1, chunking.VERSION + 1):
                given = self._given(version, metadata, reader, chunker)
                if given is not None:
                    return given
        return None

    def _given(self, version: str, metadata: Mapping[str, str], reader: int, chunker: int) -> Mapping[str, str] | None:
        shape = (self._format, reader, chunker, self._chunk_tokens)
        for keys in _parts(sorted(metadata)):
            some = {key: metadata[key] for key in keys}
            if _version(self._content, shape, some) == version:
                return some
        return None


def _parts(keys: list[str]) -> Iterator[tuple[str, ...]]:
    """What may have been given: nothing, all, or some of the keys, few of them first."""
    some = chain.from_iterable(combinations(keys, size) for size in range(1, len(keys)))
    return islice(chain([(), tuple(keys)], some), _MOST_PARTS)


def _version(content: hashlib.blake2b, shape: tuple[str, int, int, int], metadata: Mapping[str, str]) -> str:
    whole = content.copy()
    whole.update(json.dumps([*shape, sorted(metadata.items())]).encode())
    return whole.hexdigest()
