"""A conversation as a document: Markdown for people, JSON for programs."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rag.chat.sessions import Session
from rag.errors import InputError, RagError
from rag.rendering.records import answer_fields
from rag.rendering.text import remarks, sources_text


def save(session: Session, path: Path) -> None:
    """Writes the conversation to a new file: JSON where its name ends in .json, else Markdown.

    Raises:
        InputError: there is nothing to save, or something has that name.
        RagError: it cannot be written.
    """
    if not session.turns:
        raise InputError("there is nothing to save yet: ask something first")
    text = to_json(session) if path.suffix == ".json" else to_markdown(session)
    try:
        with path.expanduser().open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{path} is there already and stays as it is: give another name") from error
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RagError(f"{path} cannot be written ({reason}): give another name") from error


def to_markdown(session: Session) -> str:
    """Questions as headings, answers as they are, the original words below each."""
    parts = [f"# {session.title}", f"{session.place}, {_date(session.turns[0].asked_at)}"]
    for turn in session.turns:
        parts += [f"## {' '.join(turn.answer.question.split())}", turn.answer.text.strip()]
        parts += [f"({remark})" for remark in remarks(turn.answer)]
        if turn.answer.citations:
            parts.append(f"```text\n{sources_text(turn.answer)}\n```")
    return "\n\n".join(parts) + "\n"


def to_json(session: Session) -> str:
    """One object: id, place and turns, each with its time and the fields of `rag ask --json`."""
    turns = [{"asked_at": _date(turn.asked_at), **answer_fields(turn.answer)} for turn in session.turns]
    return json.dumps({"id": session.id, "place": session.place, "turns": turns}, ensure_ascii=False, indent=1) + "\n"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M %z", time.localtime(seconds))
