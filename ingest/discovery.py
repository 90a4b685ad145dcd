"""Paths to files: folders are walked, what .ragignore or --exclude name is left out, each file comes once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import PathSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from ingest.readers import format_of
from rag.errors import ReadError
from rag.locations import uri_of

IGNORE_FILE = ".ragignore"


@dataclass(frozen=True, slots=True)
class Found:
    """A file to ingest.

    Attributes:
        format: a format of the readers; None when no reader takes the suffix.
        size: bytes, for progress.
        named: given by the user itself, not met on a walk.
        error: why it cannot be taken at all, such as a path that does not exist.
    """

    uri: str
    path: Path
    format: str | None
    size: int = 0
    named: bool = False
    error: ReadError | None = None


def discover(paths: Sequence[Path], exclude: Sequence[str] = ()) -> Iterator[Found]:
    """The files of `paths` in a fixed order, each once however often it is named.

    Names that begin with a dot are passed over on a walk, as are links to folders.

    Args:
        exclude: patterns as in .gitignore, relative to each walked folder; a folder's own .ragignore adds to them.
    """
    seen: set[str] = set()
    for path in paths:
        for found in _walk(path, exclude) if path.is_dir() else [_named(path)]:
            if found.uri not in seen:
                seen.add(found.uri)
                yield found


def _named(path: Path) -> Found:
    uri = uri_of(path)
    try:
        status = path.stat()
    except OSError as error:
        return Found(uri, path, None, named=True, error=ReadError(f"cannot be opened: {error.strerror or error}"))
    if not path.is_file():
        return Found(uri, path, None, named=True, error=ReadError("is neither a file nor a folder"))
    return Found(uri, path, format_of(path), status.st_size, named=True)


def _walk(root: Path, exclude: Sequence[str]) -> Iterator[Found]:
    given = _spec(exclude)
    rules: dict[Path, PathSpec[GitIgnoreSpecPattern]] = {}
    failures: list[OSError] = []
    for folder, subfolders, names in os.walk(root, onerror=failures.append):
        here = Path(folder)
        if IGNORE_FILE in names:
            rules[here] = _spec((here / IGNORE_FILE).read_text(encoding="utf-8", errors="replace").splitlines())

        def ignored(path: Path, suffix: str = "") -> bool:
            if given.match_file(str(path.relative_to(root)) + suffix):
                return True
            return any(
                path.is_relative_to(base) and spec.match_file(str(path.relative_to(base)) + suffix)
                for base, spec in rules.items()
            )

        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and not ignored(here / n, "/"))
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or ignored(path) or not path.is_file():
                continue
            yield Found(uri_of(path), path, format_of(path), path.stat().st_size)
        for error in failures:
            place = Path(error.filename or folder)
            yield Found(uri_of(place), place, None, error=ReadError(f"cannot be opened: {error.strerror or error}"))
        failures.clear()
    for error in failures:
        place = Path(error.filename or root)
        yield Found(uri_of(place), place, None, error=ReadError(f"cannot be opened: {error.strerror or error}"))


def _spec(lines: Sequence[str]) -> PathSpec[GitIgnoreSpecPattern]:
    return PathSpec.from_lines(GitIgnoreSpecPattern, lines)
