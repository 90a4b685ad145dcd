"""Conversations on disk: one file each, one line a turn, so that a crash costs at most the turn at hand."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from rag.errors import InputError, RagError
from rag.types import Answer

_FORMAT: Final = 1
"""Of the file; a program that knows only older ones refuses it."""
_SUFFIX: Final = ".jsonl"
_ANSWER: Final = TypeAdapter(Answer)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question with its answer.

    Attributes:
        asked_at: seconds since the epoch; also what the turn is known by in its file.
        scope: collection, and tenant where there are several, that it was answered from.
    """

    asked_at: float
    answer: Answer
    scope: str = ""


@dataclass(slots=True)
class Session:
    """A conversation.

    Attributes:
        id: its name, and that of its file; begins with the local time of its first turn.
        place: the store and collection it was held with, for people.
        turns: oldest first.
        path: its file; None where it is not kept.
    """

    id: str
    place: str
    turns: list[Turn] = field(default_factory=list)
    path: Path | None = None

    @property
    def title(self) -> str:
        """Its first question on one line."""
        return " ".join(self.turns[0].answer.question.split()) if self.turns else ""

    def add(self, answer: Answer, *, scope: str = "", replaces_last: bool = False) -> None:
        """Adds a turn, and writes it down where the conversation is kept.

        Args:
            scope: collection and tenant that it was answered from.
            replaces_last: whether it takes the place of the last turn.

        Raises:
            RagError: it cannot be written; the conversation goes on in memory.
        """
        turn = Turn(time.time(), answer, scope)
        replaced = self.turns.pop() if replaces_last and self.turns else None
        self.turns.append(turn)
        if self.path is not None:
            self._write(turn, replaced)

    def _write(self, turn: Turn, replaced: Turn | None) -> None:
        assert self.path is not None
        record = {
            "asked_at": turn.asked_at,
            "replaces": replaced.asked_at if replaced else None,
            "scope": turn.scope,
            "answer": _ANSWER.dump_python(turn.answer, mode="json"),
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Opened anew for each turn: two programs may go on with one conversation.
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                head = {"format": _FORMAT, "id": self.id, "place": self.place}
                # Escapes in ASCII: a file name need not be valid text. An empty line ends what a crash has cut off.
                lines = [json.dumps(line) for line in ([record] if size else [head, record])]
                try:
                    file.write("\n".join(["", *lines, ""] if size else [*lines, ""]).encode())
                except OSError:
                    file.truncate(size)  # half a line, perhaps the first, must not stay
                    raise
        except OSError as error:
            raise RagError(
                f"the conversation cannot be kept in {self.path} ({error.strerror}): "
                "set RAG_CHAT__PATH to a folder that can be written to, or RAG_CHAT__KEEP=false"
            ) from error


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list of conversations shows.

    Attributes:
        last_at: seconds since the epoch of its last turn.
        turns: number of turns.
    """

    id: str
    title: str
    place: str
    last_at: float
    turns: int


class SessionFolder:
    """The conversations in a folder."""

    def __init__(self, folder: Path, *, keep: bool = True) -> None:
        """Nothing is read or made yet.

        Args:
            keep: whether new conversations are written down.
        """
        self._folder = folder
        self._keep = keep

    def new(self, place: str) -> Session:
        """An empty conversation; its file appears with its first turn."""
        identifier = f"{time.strftime('%Y-%m-%d-%H%M')}-{secrets.token_hex(2)}"
        return Session(identifier, place, path=self._path(identifier) if self._keep else None)

    def summaries(self) -> list[Summary]:
        """All that can be read, the latest first."""
        found = []
        for path in self._paths():
            try:
                session = self._read(path)
            except InputError:
                continue
            if session.turns:
                last_at = session.turns[-1].asked_at
                found.append(Summary(session.id, session.title, session.place, last_at, len(session.turns)))
        return sorted(found, key=lambda summary: -summary.last_at)

    def open(self, name: str) -> Session:
        """The conversation whose id is, or alone begins with, `name`.

        Raises:
            InputError: there is none, or several begin so, or it cannot be read.
        """
        ids = [path.stem for path in self._paths()]
        fitting = [name] if name in ids else [each for each in ids if name and each.startswith(name)]
        if len(fitting) == 1:
            return self._read(self._path(fitting[0]))
        if fitting:
            raise InputError(f"{len(fitting)} conversations begin with {name!r}: give more of one's id ({fitting[0]})")
        near = get_close_matches(name, ids, n=1)
        hint = f"the nearest is {near[0]!r}" if near else "/sessions lists them" if ids else "none is kept yet"
        raise InputError(f"there is no conversation {name!r} in {self._folder}: {hint}")

    def latest(self) -> Session:
        """The conversation with the latest turn.

        Raises:
            InputError: none is kept.
        """
        summaries = self.summaries()
        if not summaries:
            raise InputError(f"no conversation is kept in {self._folder}: begin one with `rag chat`")
        return self.open(summaries[0].id)

    def _path(self, identifier: str) -> Path:
        return self._folder / f"{identifier}{_SUFFIX}"

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        except OSError:
            return []

    def _read(self, path: Path) -> Session:
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise InputError(f"the conversation {path} cannot be read ({error.strerror}): begin another") from error
        records = list(_records(lines))
        head = records[0] if records else {}
        if head.get("format") != _FORMAT:
            raise InputError(
                f"{path} is no conversation that this version can read (format {head.get('format')!r}): begin another"
            )
        session = Session(path.stem, str(head.get("place", "")), path=path if self._keep else None)
        for record in records[1:]:
            try:
                asked_at = float(record["asked_at"])
                time.localtime(asked_at)
                turn = Turn(asked_at, _ANSWER.validate_python(record["answer"]), str(record.get("scope", "")))
            except (KeyError, TypeError, ValueError, OverflowError, OSError, ValidationError):
                continue  # another program's line must not cost the rest
            session.turns = [each for each in session.turns if each.asked_at != record.get("replaces")]
            session.turns.append(turn)
        return session


def _records(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # empty, or cut off by a crash
        if isinstance(record, dict):
            yield record
