"""The loop: read a line, do what it says, whatever goes wrong go on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from rag.chat import keeping
from rag.chat.asking import ask
from rag.chat.chat import Chat
from rag.chat.commands import run
from rag.chat.conversation import Options
from rag.chat.lines import Lines
from rag.chat.sessions import Session
from rag.errors import RagError

if TYPE_CHECKING:
    from rag_config.settings import Settings


class Reader(Protocol):
    """Where questions come from."""

    def read(self) -> str | None:
        """The next question or command; None when there is no more."""
        ...


def talk(settings: Settings, options: Options, session: Session | None = None) -> int:
    """Holds a conversation until the asker leaves; returns the exit code.

    At a keyboard that is 0; from a pipe that of the first failure, 1 for an answer that is incomplete.

    Args:
        session: a conversation to go on with.

    Raises:
        NotConfiguredError, UnavailableError: the index or its model cannot be used.
    """
    with Chat(settings, options, session) as chat:
        at_keyboard = sys.stdin.isatty()
        if at_keyboard:
            from rag.chat.keyboard import Keyboard

            chat.warm_up()
            chat.say(chat.greeting())
        if session is not None:
            keeping.recall(chat)
        reader: Reader = Keyboard(chat) if at_keyboard else Lines(chat)
        while not chat.leaving and (line := reader.read()) is not None:
            _do(chat, line, at_keyboard=at_keyboard)
        return 0 if at_keyboard else chat.exit_code


def _do(chat: Chat, line: str, *, at_keyboard: bool) -> None:
    if not line.strip():
        return
    try:
        if line.startswith("/"):
            run(chat, line.strip())
        else:
            ask(chat, line.strip())
    except RagError as error:
        chat.complain(error)
    except KeyboardInterrupt:
        if not at_keyboard:
            raise
        chat.say("Stopped; nothing of it is kept.")
    chat.say()
