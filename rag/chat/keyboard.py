"""Questions from a keyboard: history, several lines, completion. The only file that knows prompt_toolkit."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.styles import Style

from rag.chat.chat import Chat
from rag.chat.commands import COMMANDS, find
from rag.errors import RagError
from rag.normalization import printable
from rag.rendering.text import counted

_PROMPT = "> "
_MORE = ". "
_QUOTED = frozenset(" '\"\\")  # what /filter would otherwise read as a shell does
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse", "prompt": "bold"})


class Keyboard:
    """Reads questions and commands; the history is kept between runs where conversations are."""

    def __init__(self, chat: Chat) -> None:
        """Takes hold of the terminal only while it reads."""
        self._chat = chat
        kept = chat.settings.chat
        self._session: PromptSession[str] = PromptSession(
            message=FormattedText([("class:prompt", _PROMPT)]),
            multiline=True,
            prompt_continuation=lambda width, line, wrapped: "" if wrapped else _MORE,
            history=_history(kept.path) if kept.keep else InMemoryHistory(),
            completer=_Commands(chat),
            complete_while_typing=True,
            complete_in_thread=True,  # what a store offers must not hold up the keys
            key_bindings=_bindings(),
            bottom_toolbar=lambda: _status(chat),
            style=_STYLE,
            include_default_pygments_style=False,
            output=create_output(always_prefer_tty=True),  # the answers may go to a pipe
            refresh_interval=0.5,  # the status changes when the model is there
        )

    def read(self) -> str | None:
        """What was typed; an interrupted line is nothing. None when the asker leaves with Ctrl-D."""
        try:
            return self._session.prompt()
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None


class _Commands(Completer):
    """Completes commands after a slash, and what each takes."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        line = document.text_before_cursor
        if not line.startswith("/"):
            return
        word, space, rest = line.partition(" ")
        if not space:
            for command in COMMANDS:
                if f"/{command.name}".startswith(word.casefold()):
                    yield Completion(f"/{command.name}", -len(word), display_meta=command.summary)
            return
        try:
            command = find(word)
            words = command.words(self._chat)
        except RagError:
            return  # what is wrong is said when the line is sent
        if command.name == "save":
            yield from self._paths.get_completions(Document(rest, len(rest)), complete_event)
            return
        begun = rest.rpartition(" ")[2]
        wanted = begun.lstrip("'").casefold()
        for each, explanation in words.items():
            if each.casefold().startswith(wanted):
                quoted = shlex.quote(each) if command.name == "filter" and set(each) & _QUOTED else each
                yield Completion(quoted, -len(begun), display=printable(each), display_meta=printable(explanation))


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None  # takes the completion that is marked
        elif buffer.document.char_before_cursor == "\\":
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return bindings


def _status(chat: Chat) -> str:
    options = chat.conversation.options
    parts = [
        chat.settings.store.collection,
        f"answers in {options.language}" if options.language else "",
        f"only {' '.join(options.where.languages)}" if options.where.languages else "",
        f"not {' '.join(options.where.not_languages)}" if options.where.not_languages else "",
        "filtered" if options.where.sources or options.where.metadata else "",
        counted(len(chat.conversation.session.turns), "turn"),
        "loading the model …" if chat.is_loading else "",
    ]
    shown = " · ".join(part for part in parts if part)
    return shown[: get_app().output.get_size().columns]


def _history(folder: Path) -> History:
    """The history in the folder, readable by its owner alone; in memory where it cannot be written."""
    path = folder / "history"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
