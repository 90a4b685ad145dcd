"""The documents of an index by the names that people give them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from rag.errors import InputError
from rag.locations import uri_of
from rag.normalization import printable
from rag.types import StoredDocument

_SHOWN_AT_ONCE = 3  # names in a message, which is one line


@dataclass(frozen=True, slots=True)
class _Named:
    """A document and all it can be called by.

    Attributes:
        path: the absolute path, or the URI of what is no file.
        names: in NFC, because some file systems decompose what others, and keyboards, compose.
    """

    document: StoredDocument
    source: str
    path: str
    names: frozenset[str]


class KnownSources:
    """Finds documents by relative path, absolute path or URI, as output shows them."""

    def __init__(self, documents: Iterable[StoredDocument]) -> None:
        self._named = [_named(document) for document in documents]

    def one(self, word: str) -> StoredDocument:
        """The document that `word` means: its exact name, else the end of its path, else a glob, if only one fits.

        Raises:
            InputError: no document is called so, or several are.
        """
        found = self._exact(word) or self._ending_in(word) or self._matching(word)
        if not found:
            raise InputError(self.unknown(word))
        if len(found) > 1:
            raise InputError(
                f"{word!r} may be any of {len(found)} documents: {_some([each.source for each in found])}: "
                "give one of them in full"
            )
        return found[0].document

    def any(self, word: str) -> list[StoredDocument]:
        """The document called exactly `word`, else those that it matches as a glob, in which `*` crosses `/`."""
        return [each.document for each in self._exact(word) or self._matching(word)]

    def unknown(self, word: str) -> str:
        """One line that says that `word` is no document, and what is nearest to it."""
        wrong = f"the index holds no document {word!r}"
        if not self._named:
            return f"{wrong}, nor any other: bring documents in with `ingest PATH…`"
        for folder in (word.rstrip("/"), _absolute(word)):
            glob = f"{escape(folder)}/*"
            below = self._matching(glob)
            if folder and below:
                return f"{wrong}, but {len(below)} below it: {glob!r} matches them"
        near = self.nearest(word)
        return f"{wrong}; nearest: {_some(near)}" if near else f"{wrong}: `rag list` shows what it holds"

    def nearest(self, word: str) -> list[str]:
        """At most three sources that are spelled almost like `word`, by the whole or by the file's name."""
        sources: dict[str, list[str]] = {}
        for each in self._named:
            for name in (each.source, each.source.rsplit("/", 1)[-1]):
                sources.setdefault(normalize("NFC", name).casefold(), []).append(each.source)
        wanted = normalize("NFC", word).casefold()
        near: dict[str, None] = {}
        for spelling in dict.fromkeys((wanted, wanted.rsplit("/", 1)[-1])):
            for match in get_close_matches(spelling, sources, n=_SHOWN_AT_ONCE):
                near.update(dict.fromkeys(sources[match]))
        return list(near)[:_SHOWN_AT_ONCE]

    def _exact(self, word: str) -> list[_Named]:
        """Spelled the same first: on most file systems NFC and NFD are two files."""
        uri = _uri(word)
        same = [each for each in self._named if word in (each.source, each.path, each.document.uri)]
        same = same or [each for each in self._named if each.document.uri == uri]
        return same or [each for each in self._named if normalize("NFC", word) in each.names]

    def _ending_in(self, word: str) -> list[_Named]:
        end = "/" + normalize("NFC", word)
        return [each for each in self._named if any(name.endswith(end) for name in each.names)]

    def _matching(self, glob: str) -> list[_Named]:
        glob = normalize("NFC", glob)
        return [each for each in self._named if any(fnmatchcase(name, glob) for name in each.names)]


def _named(document: StoredDocument) -> _Named:
    source = document.source
    parts = urlsplit(document.uri)
    path = unquote(parts.path, errors="surrogateescape") if parts.scheme == "file" else document.uri
    names = (source, path, document.uri, printable(source), printable(path))
    return _Named(document, source, path, frozenset(normalize("NFC", name) for name in names))


def _uri(word: str) -> str | None:
    """The URI of the file that `word` spells from here, as `./docs/../a.md` does."""
    try:
        return uri_of(Path(word))
    except (OSError, RuntimeError, ValueError):  # a loop of links, a null character: no file, then
        return None


def _absolute(word: str) -> str:
    uri = _uri(word)
    return unquote(urlsplit(uri).path, errors="surrogateescape").rstrip("/") if uri else ""


def _some(names: list[str]) -> str:
    named = ", ".join(repr(name) for name in names[:_SHOWN_AT_ONCE])
    return named + (f" and {len(names) - _SHOWN_AT_ONCE} more" if len(names) > _SHOWN_AT_ONCE else "")
