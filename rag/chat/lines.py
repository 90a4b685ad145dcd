"""Questions from a pipe or a file: one a line."""

from __future__ import annotations

import sys

from rag.chat.chat import Chat
from rag.errors import InputError
from rag.normalization import without_controls


class Lines:
    """Reads standard input to its end; each question is repeated above its answer, so that the output can be read."""

    def __init__(self, chat: Chat) -> None:
        """Nothing is read yet."""
        self._chat = chat

    def read(self) -> str | None:
        """The next line; one that ends with a backslash goes on with the next. None at the end of the input."""
        parts: list[str] = []
        while line := sys.stdin.buffer.readline():
            try:
                text = line.decode().rstrip("\r\n").removeprefix("\ufeff")
            except UnicodeDecodeError as error:
                self._chat.complain(InputError(f"a line of the input is not UTF-8 ({error.reason}): save it as UTF-8"))
                continue
            parts.append(text.removesuffix("\\"))
            if text.endswith("\\"):
                continue
            if any(part.strip() for part in parts):
                break
            parts.clear()
        if not any(part.strip() for part in parts):
            return None
        question = "\n".join(parts)
        self._chat.say("\n".join(f"> {each}" for each in without_controls(question).split("\n")))
        return question
