"""Paths to files: folders are walked, what .ragignore or --exclude name is left out, each file comes once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from pathspec import PathSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from ingest.readers import format_of
from rag.errors import InputError, ReadError
from rag.locations import uri_of

IGNORE_FILE = ".ragignore"

Rules = list[tuple[Path, PathSpec[GitIgnoreSpecPattern]]]


@dataclass(frozen=True, slots=True)
class Found:
    """A file to ingest.

    Attributes:
        path: with links resolved, so that its suffix is the file's own.
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

    Names that begin with a dot are passed over on a walk, as are links to folders. What cannot be looked at is found
    with its error and costs nothing else.

    Args:
        exclude: patterns as in .gitignore, relative to each walked folder; .ragignore files in a folder and in those
            below it add theirs, and the last pattern that matches decides.

    Raises:
        InputError: a pattern of `exclude` is none.
    """
    given = _patterns(exclude)
    seen: set[str] = set()
    unread: set[str] = set()
    for path in paths:
        for found in _below(path, given):
            # A file that nobody reads is passed over on a walk, but not where somebody asks for it by name.
            asked_for = found.named and found.uri in unread
            if found.uri not in seen or asked_for:
                seen.add(found.uri)
                if found.format is None and not found.named:
                    unread.add(found.uri)
                else:
                    unread.discard(found.uri)
                yield found


def _below(path: Path, given: PathSpec[GitIgnoreSpecPattern]) -> Iterator[Found]:
    try:
        folder = S_ISDIR(path.stat().st_mode)
    except OSError as error:
        yield _failed(path, error, named=True)
        return
    if folder:
        yield from _walk(path, [(path, given)])
    else:
        yield _look(path, named=True)


def _walk(folder: Path, rules: Rules) -> Iterator[Found]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        rules = rules + _own_rules(folder)
    except (OSError, InputError) as error:
        yield _failed(folder, error)
        return
    for entry in (entry for entry in entries if not entry.name.startswith(".")):
        path = folder / entry.name
        try:
            subfolder = entry.is_dir(follow_symlinks=False)
            link_to_folder = not subfolder and entry.is_dir()
        except OSError as error:
            yield _failed(path, error)
            continue
        if link_to_folder or _ignored(path, rules, subfolder):
            continue
        if subfolder:
            yield from _walk(path, rules)
        else:
            yield _look(path)


def _look(path: Path, *, named: bool = False) -> Found:
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode) and (named or format_of(path)):
            raise ReadError("is neither a file nor a folder")
        resolved = path.resolve()
        return Found(uri_of(resolved), resolved, format_of(resolved), status.st_size, named)
    except (OSError, RuntimeError, ReadError) as error:  # RuntimeError: a loop of links
        return _failed(path, error, named=named)


def _failed(path: Path, error: Exception, *, named: bool = False) -> Found:
    reason = f"cannot be opened: {error.strerror or error}" if isinstance(error, OSError) else str(error)
    # Not resolved: what cannot be opened may not be resolvable either.
    return Found(path.absolute().as_uri(), path, None, named=named, error=ReadError(reason))


def _own_rules(folder: Path) -> Rules:
    """The folder's own .ragignore.

    Raises:
        OSError: it is there and cannot be read.
        InputError: it holds a line that is no pattern.
    """
    file = folder / IGNORE_FILE
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        return []
    try:
        return [(folder, _patterns(lines))]
    except InputError as error:
        raise InputError(f"its {IGNORE_FILE} cannot be used, so the folder is left out: {error}") from error


def _ignored(path: Path, rules: Rules, folder: bool) -> bool:
    """Whether the last pattern that matches, those of inner folders last, leaves `path` out."""
    ignored = False
    for base, spec in rules:
        verdict = spec.check_file(path.relative_to(base).as_posix() + ("/" if folder else "")).include
        ignored = ignored if verdict is None else verdict
    return ignored


def _patterns(lines: Sequence[str]) -> PathSpec[GitIgnoreSpecPattern]:
    for line in lines:
        try:
            GitIgnoreSpecPattern(line)
        except ValueError as error:
            raise InputError(f"{line!r} is no pattern as in .gitignore: correct or remove it") from error
    return PathSpec.from_lines(GitIgnoreSpecPattern, lines)
