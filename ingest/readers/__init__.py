"""Files to documents: one reader a format, chosen by the suffix. Importing this package loads no reader's library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from rag.errors import ReadError
from rag.types import Document

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        ".txt": "txt",
        ".text": "txt",
        ".md": "md",
        ".markdown": "md",
        ".html": "html",
        ".htm": "html",
        ".xhtml": "html",
        ".pdf": "pdf",
        ".docx": "docx",
    }
)
"""Lower-case suffix to format."""

VERSIONS: Mapping[str, int] = MappingProxyType({"txt": 1, "md": 1, "html": 1, "pdf": 1, "docx": 1})
"""Format to its reader's version, raised whenever the extracted text may change: part of a document's version."""

_MODULES = {"txt": "text", "md": "markdown", "html": "html", "pdf": "pdf", "docx": "docx"}


def format_of(path: Path) -> str | None:
    """The format `path` is read as, by its suffix in any case; None where no reader takes it."""
    return SUFFIXES.get(path.suffix.lower())


def read(uri: str, data: bytes, *, max_pages: int | None = None) -> Iterator[Document]:
    """The documents in the bytes of the file at `uri`.

    The bytes are handed in so that a document's digest and its text come from the same read.

    Args:
        uri: of the file, whose suffix tells the format.
        data: all of it.
        max_pages: a PDF may have, where there is a limit.

    Raises:
        ReadError: at once, not on iteration: there is no reader for the suffix, or the bytes cannot be read as text.
    """
    suffix = PurePosixPath(unquote(urlsplit(uri).path)).suffix.lower()
    name = SUFFIXES.get(suffix)
    if name is None:
        readable = " ".join(SUFFIXES)
        raise ReadError(f"no reader for the suffix {suffix!r}: convert the file to one of {readable}")
    if not data:
        raise ReadError("the file is empty (0 bytes): nothing to read")
    limits = {"max_pages": max_pages} if name == "pdf" and max_pages is not None else {}
    document: Document = import_module(f"{__name__}.{_MODULES[name]}").read(uri, data, **limits)
    return iter((document,))
