"""A question, and its answer on the screen while it comes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rag.chat.chat import Chat
from rag.errors import InputError
from rag.interruption import interruptible
from rag.language import parse_tag
from rag.locales import load
from rag.rendering.markdown import MarkdownStream
from rag.types import Answer, Restarted, TextDelta


def ask(chat: Chat, question: str, *, language: str | None = None, again: bool = False) -> None:
    """Asks and shows the answer; Ctrl-C at a keyboard ends it and keeps what has come.

    Raises:
        RagError: there is no answer; or it has been shown and cannot be kept.
    """
    stop = threading.Event()
    chat.numbered = {}
    with ExitStack() as until_shown:
        if sys.stdin.isatty():
            until_shown.enter_context(interruptible(stop))
            until_shown.enter_context(_without_echo())
        events = chat.conversation.ask(question, stop, language=language, again=again)
        with _waiting(chat):
            event = next(events)
        while not isinstance(event, Answer):
            with MarkdownStream(chat.out, chat.screen) as shown:
                while isinstance(event, TextDelta):
                    shown.feed(event.text)
                    event = next(events)
            if isinstance(event, Restarted):
                chat.say(f"({load(event.language, chat.settings.answer.templates).restarted})\n")
                event = next(events)
        answer = event
    if answer.text.strip():
        chat.show_sources(answer)
    else:
        chat.say("Stopped before the answer began." if stop.is_set() else "The answer is empty: /retry asks again.")
    if not answer.complete and not stop.is_set():
        chat.exit_code = chat.exit_code or 1
    for _ in events:  # what is left to do is to keep the turn
        pass


def retry(chat: Chat, argument: str) -> None:
    """Asks the last question again; its answer takes the place of the old one.

    Raises:
        InputError: there is no question yet, or `argument` is no language.
    """
    question = chat.conversation.last_question
    if question is None:
        raise InputError("there is no question to ask again yet")
    ask(chat, question, language=parse_tag(argument) if argument else None, again=True)


@contextmanager
def _without_echo() -> Iterator[None]:
    """What is typed while an answer comes does not show up in the middle of it, but at the next prompt."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = termios.tcgetattr(sys.stdin)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def _waiting(chat: Chat) -> Iterator[None]:
    """Says on a terminal what is being waited for, until the first word is there."""
    if not chat.screen.is_terminal or chat.screen.is_dumb:
        yield
        return
    chat.out.write("Loading the model …" if chat.is_loading else "Searching …")
    chat.out.flush()
    try:
        yield
    finally:
        chat.out.write("\r\x1b[K")
        chat.out.flush()
