"""Documents whose files have vanished from below the folders that are ingested."""

from __future__ import annotations

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
        kept: by the folder's URI, how many documents it held, where no file at all is left: a disk that is not mounted
            looks the same.
    """

    documents: tuple[StoredDocument, ...]
    kept: tuple[tuple[str, int], ...]


def vanished(documents: Iterable[StoredDocument], paths: Sequence[Path], found: Sequence[Found]) -> Vanished:
    """The `documents` below those of `paths` that are folders whose files are not there any more.

    A file that is there but left out, or cannot be looked at, has not vanished; nor has anything below a path that
    does not exist itself.

    Args:
        documents: of the whole index.
        found: the files below `paths`.
    """
    gone: dict[str, StoredDocument] = {}
    kept: list[tuple[str, int]] = []
    known = list(documents)
    for path in paths:
        if not path.is_dir():
            continue
        folder = uri_of(path).rstrip("/") + "/"
        missing = [document for document in known if document.uri.startswith(folder) and _is_missing(document.uri)]
        if missing and not any(each.uri.startswith(folder) for each in found):
            kept.append((folder, len(missing)))
        else:
            gone.update((document.uri, document) for document in missing)
    return Vanished(tuple(gone.values()), tuple(kept))


def _is_missing(uri: str) -> bool:
    try:
        Path(path_of(uri)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may be there
        return False
    return False
