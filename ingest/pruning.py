"""Documents whose files have vanished from below the folders that are ingested."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.discovery import Found
from rag.locations import path_of, uri_of
from rag.types import StoredDocument


@dataclass(frozen=True, slots=True)
class Vanished:
    """What is to be taken out of the index.

    Attributes:
        documents: their files are not there any more.
        kept: by the folder's URI, how many documents it held, where nothing is left: a disk that is not mounted looks
            the same.
    """

    documents: tuple[StoredDocument, ...]
    kept: tuple[tuple[str, int], ...]


def vanished(documents: Iterable[StoredDocument], paths: Sequence[Path], found: Sequence[Found]) -> Vanished:
    """The `documents` below those of `paths` that are folders whose files are not there any more.

    A file that is there but left out, or cannot be looked at, has not vanished; nor has anything below a path that
    does not exist itself, or below a folder in which nothing is left.

    Args:
        documents: of the whole index.
        found: the files below `paths`.
    """
    folders = {uri_of(path).rstrip("/") + "/" for path in paths if path.is_dir()}
    without_files = {folder for folder in folders if not any(each.uri.startswith(folder) for each in found)}
    gone: list[StoredDocument] = []
    kept: Counter[str] = Counter()
    for document in documents:
        above = [folder for folder in folders if document.uri.startswith(folder)]
        if not above or not _is_missing(document.uri):
            continue
        empty = next((folder for folder in above if folder in without_files), None) or _emptied(document.uri)
        if empty is None:
            gone.append(document)
        else:
            kept[empty] += 1
    return Vanished(tuple(gone), tuple(kept.items()))


def _emptied(uri: str) -> str | None:
    """The nearest folder above a file that is still there, if nothing at all is left in it; as a URI."""
    for folder in Path(path_of(uri)).parents:
        try:
            with os.scandir(folder) as entries:
                return None if any(True for _ in entries) else folder.as_uri() + "/"
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return folder.as_uri() + "/"  # it cannot be told
    return None


def _is_missing(uri: str) -> bool:
    try:
        Path(path_of(uri)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may be there
        return False
    return False
