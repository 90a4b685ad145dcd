"""Which passages questions are made from: spread over documents and their languages, the same for the same seed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import regex

from rag.language import primary, prose
from rag.ports import PassageReader
from rag.retrieval import matches
from rag.types import Chunk, StoredDocument, Where

ENOUGH_LETTERS: Final = 60
"""Fewer letters, about ten words, seldom hold a fact and what it is about. Chosen, not measured."""

_LETTERS: Final = regex.compile(r"\p{L}")
_SYLLABLES: Final = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
_LETTERS_IN_A_SYLLABLE: Final = 2.5  # as rag.answer_language weighs them


def passages(reader: PassageReader, where: Where, *, per_document: int, seed: int) -> Iterator[Chunk]:
    """Passages that may hold a fact, in an order that `seed` decides.

    Languages of documents take turns, and no document comes again before all others have come once. Documents are
    read as they are needed.

    Args:
        where: which passages; `languages` goes by the passage's own.
        per_document: most passages of one document.
    """
    chosen: dict[str, list[Chunk]] = {}
    by_language = _by_language(documents(reader, where), seed)

    def of_language(own: list[StoredDocument], time: int) -> Iterator[Chunk]:
        for document in own:
            if document.uri not in chosen:
                chosen[document.uri] = _chosen(reader, document.uri, where, per_document, seed)
            yield from chosen[document.uri][time : time + 1]

    for time in range(per_document):
        yield from _taking_turns([of_language(own, time) for own in by_language])


def documents(reader: PassageReader, where: Where) -> list[StoredDocument]:
    """The documents that `where` lets through, by uri; its languages are those of passages and are not looked at."""
    return [
        document
        for document in reader.documents()
        if (not where.sources or any(matches(document, glob) for glob in where.sources))
        and all(document.metadata.get(key) == value for key, value in where.metadata.items())
    ]


def _by_language(found: list[StoredDocument], seed: int) -> list[list[StoredDocument]]:
    """The documents of each language, both in the order of their lots."""
    languages: dict[str, list[StoredDocument]] = defaultdict(list)
    for document in sorted(found, key=lambda document: _lot(seed, document.uri)):
        languages[document.language].append(document)
    return [languages[language] for language in sorted(languages, key=lambda language: _lot(seed, language))]


def _taking_turns(sequences: list[Iterator[Chunk]]) -> Iterator[Chunk]:
    while sequences:
        left = []
        for sequence in sequences:
            for chunk in sequence:
                yield chunk
                left.append(sequence)
                break
        sequences = left


def _chosen(reader: PassageReader, uri: str, where: Where, count: int, seed: int) -> list[Chunk]:
    fitting = [
        chunk
        for chunk in reader.chunks(uri)
        if (not where.languages or primary(chunk.language) in where.languages)
        and primary(chunk.language) not in where.not_languages
        and _letters(chunk.text) >= ENOUGH_LETTERS
    ]
    return sorted(fitting, key=lambda chunk: _lot(seed, f"{uri}\n{chunk.ordinal}"))[:count]


def _letters(text: str) -> float:
    """Letters outside of code, URLs and numbers; a Han, kana or hangul character counts for two and a half."""
    words = prose(text)
    syllables = len(_SYLLABLES.findall(words))
    return len(_LETTERS.findall(words)) + syllables * (_LETTERS_IN_A_SYLLABLE - 1)


def _lot(seed: int, name: str) -> bytes:
    """A place in the order that depends on nothing but `seed` and `name`."""
    return hashlib.blake2b(f"{seed}\n{name}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
