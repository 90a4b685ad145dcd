"""Where a document is: its URI in the index, its readable `source` in output."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit


def uri_of(path: Path) -> str:
    """The absolute, percent-encoded file URI of `path`; links and `..` are resolved, so two spellings are one document.

    Paths that are not UTF-8 keep their bytes, percent-encoded.
    """
    return path.resolve().as_uri()


def source_of(uri: str) -> str:
    """`uri` as people write it: relative to the working folder where it lies below it, else the URI's path.

    What is not a file URI is returned as it is.
    """
    path = path_of(uri)
    try:
        return str(Path(path).relative_to(_working_folder()))
    except ValueError:
        return path


def path_of(uri: str) -> str:
    """The absolute path of a file URI; what is not a file URI is returned as it is."""
    parts = urlsplit(uri)
    return unquote(parts.path, errors="surrogateescape") if parts.scheme == "file" else uri


def _working_folder() -> Path:
    """The working folder with links resolved, as `uri_of` resolves them; the root where it has been removed."""
    try:
        return Path.cwd().resolve()
    except OSError:
        return Path(os.sep)
