"""What a model thinks before its answer, where a server leaves it in the text. Pure.

Known are `<think>`, `<thinking>`, `<thought>` and `<reasoning>` with their closing tags, Mistral's `[THINK]…[/THINK]`,
and the channels of OpenAI's harmony format (`<|channel|>analysis<|message|>…<|end|>`), of which `final` is the answer
and every other one is not. They count at the beginning of an answer only, one after the other: a text that mentions
them further on, or in code, is left as it is. Thoughts whose opening tag is in the prompt (as in some chat templates),
so that only the closing one is in the stream, cannot be told from an answer while they come: there the server's own
reasoning parser is needed.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import regex

_TAGS: Final = "think|thinking|thought|reasoning"
_BEGINNING: Final = regex.compile(
    rf"\s*(?:(?P<tag><(?:{_TAGS})>|\[THINK\])"
    r"|(?:<\|start\|>\w*)?<\|channel\|>\s*(?P<channel>\w*).*?<\|message\|>)",
    regex.IGNORECASE | regex.DOTALL,
)
# Any closing tag ends any of the tags: some models mix them up, and an answer must not be lost by it.
_TAG_END: Final = regex.compile(rf"</(?:{_TAGS})>|\[/THINK\]", regex.IGNORECASE)
# The first three are over with the message; the others already belong to the next one.
_MESSAGE_END: Final = regex.compile(r"<\|(?:end|return|call)\|>|(?=<\|(?:start|channel)\|>)")
_LONGEST_END: Final = len("</reasoning>")


class _State(Enum):
    BEGINNING = "what comes next may be a thought"
    TAG = "inside a thought between tags"
    CHANNEL = "inside a channel that is not the answer"
    FINAL = "inside the channel of the answer"
    ANSWER = "all that follows is the answer"


class ReasoningFilter:
    """Takes the thoughts off the beginning of an answer while it is streamed.

    Only what may still become the beginning or the end of a thought is held back. The output does not depend on how the
    text is cut into deltas.
    """

    def __init__(self) -> None:
        self._state = _State.BEGINNING
        self._held = ""
        self._thought = False
        self._unclosed = False

    @property
    def unclosed(self) -> bool:
        """Whether the text has ended within a thought, and so before its answer; known after `finish`."""
        return self._unclosed

    def feed(self, delta: str) -> str:
        """What of the text so far is the answer."""
        self._held += delta
        return self._drain(last=False)

    def finish(self) -> str:
        """What was still held back; the text has ended."""
        shown = self._drain(last=True)
        self._unclosed = self._state in (_State.TAG, _State.CHANNEL)
        return shown

    def _drain(self, *, last: bool) -> str:
        shown: list[str] = []
        # Each step hands on what it can, and says whether the rest can be looked at in another state.
        while self._step(shown, last):
            pass
        return "".join(shown)

    def _step(self, shown: list[str], last: bool) -> bool:
        match self._state:
            case _State.BEGINNING:
                return self._begin(shown, last)
            case _State.TAG:
                return self._skip(_TAG_END)
            case _State.CHANNEL:
                return self._skip(_MESSAGE_END)
            case _State.FINAL:
                return self._show_message(shown, last)
            case _State.ANSWER:
                shown.append(self._held)
                self._held = ""
                return False

    def _begin(self, shown: list[str], last: bool) -> bool:
        found = _BEGINNING.match(self._held, partial=True)
        if found is not None and not found.partial:
            self._held = self._held[found.end() :]
            self._thought = True
            if found["tag"]:
                self._state = _State.TAG
            else:
                self._state = _State.FINAL if found["channel"].lower() == "final" else _State.CHANNEL
            return True
        if found is not None and not last:
            return False
        if found is not None and "<|channel|>" in self._held.lower():
            self._state = _State.CHANNEL  # cut off in its head
            return False
        # White space after a thought belongs to it.
        self._held = self._held.lstrip() if self._thought else self._held
        self._state = _State.ANSWER
        return True

    def _skip(self, end: regex.Pattern[str]) -> bool:
        found = end.search(self._held)
        if found is None:
            self._held = self._held[-_LONGEST_END:]
            return False
        self._held = self._held[found.end() :]
        self._state = _State.BEGINNING
        return True

    def _show_message(self, shown: list[str], last: bool) -> bool:
        found = _MESSAGE_END.search(self._held, partial=not last)
        end = len(self._held) if found is None else found.start()
        shown.append(self._held[:end])
        if found is None or found.partial:
            self._held = self._held[end:]
            return False
        self._held = self._held[found.end() :]
        self._state = _State.BEGINNING
        return True
