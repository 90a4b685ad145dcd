"""Commands on whole conversations: keep, list, go on, begin anew."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from rag.chat import transcript
from rag.chat.chat import Chat
from rag.chat.sessions import Summary
from rag.errors import InputError
from rag.normalization import printable, without_controls
from rag.rendering.text import counted

_LISTED = 20
_TITLE = 60  # characters


def clear(chat: Chat, argument: str) -> None:
    """Begins a new conversation; the old one stays where it is kept."""
    chat.begin()
    if chat.screen.is_terminal and not chat.screen.is_dumb:
        chat.out.write("\x1b[2J\x1b[H")
    chat.say("A new conversation begins.")


def save(chat: Chat, argument: str) -> None:
    """Writes the conversation to a file."""
    try:
        words = shlex.split(argument)
    except ValueError:
        words = [argument]
    if len(words) != 1:
        raise InputError("/save needs the name of one file: /save talk.md (quote a name with spaces)")
    path = Path(words[0])
    transcript.save(chat.conversation.session, path)
    chat.say(f"Saved {counted(len(chat.conversation.session.turns), 'turn')} to {printable(str(path))}.")


def sessions(chat: Chat, argument: str) -> None:
    """Lists the earlier conversations, the latest first."""
    found = chat.sessions.summaries()
    if not found:
        chat.say("No conversation is kept yet.")
    for summary in found[:_LISTED]:
        chat.say(f"{summary.id}  {_described(summary)}")
    if len(found) > _LISTED:
        chat.say(f"… and {len(found) - _LISTED} older")


def resume(chat: Chat, argument: str) -> None:
    """Goes on with an earlier conversation."""
    if not argument:
        raise InputError("/resume needs the id of a conversation: /sessions lists them")
    chat.begin(chat.sessions.open(argument))
    recall(chat)


def recall(chat: Chat) -> None:
    """Says what was talked about last, when a conversation goes on."""
    session = chat.conversation.session
    chat.say(f"Going on with {session.id}: {counted(len(session.turns), 'turn')}.")
    if session.place != chat.place:
        chat.say(f"It was held with {printable(session.place)}; questions now go to {chat.place}.")
    if session.turns:
        last = session.turns[-1]
        if last.scope != chat.conversation.scope:
            chat.say("Its last turn was answered from another collection or tenant; follow-ups do not know it.")
            return
        answer = last.answer
        chat.say(f"> {without_controls(answer.question)}")
        chat.show_answer(answer)


def ids(chat: Chat) -> dict[str, str]:
    """The conversations that can be gone on with."""
    return {summary.id: _described(summary) for summary in chat.sessions.summaries()[:_LISTED]}


def _described(summary: Summary) -> str:
    title = printable(summary.title)
    shown = title if len(title) <= _TITLE else title[:_TITLE].rstrip() + "…"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.last_at))
    return f"{when}  {counted(summary.turns, 'turn')}  {shown}"
