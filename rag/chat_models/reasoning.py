"""What a model thinks before its answer, where a server leaves it in the text. Pure.

Known are `<think>`, `<thinking>`, `<thought>`, `<reasoning>` and `<seed:think>` with or without attributes, Mistral's
`[THINK]…[/THINK]`, Kimi's `◁think▷…◁/think▷`, `<|begin_of_thought|>…<|end_of_thought|>`, and the channels of OpenAI's
harmony format (`<|channel|>analysis<|message|>…<|end|>`), of which `final` is the answer and every other one is not.

They count at the beginning of an answer, one after the other; tags also at the start of a line further on, as some
models say "Sure." first. Where the opening tag is in the prompt, as in some chat templates, only the closing one is in
the stream, and all before it is void. A text that mentions tags within a line, in pairs or in code, is left as it is.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import regex

_TAGS: Final = "(?:seed:)?think|thinking|thought|reasoning"
_OPENING: Final = rf"<(?:{_TAGS})(?:\s[^<>\[\]◁]{{0,200}})?>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
# Any closing tag ends any of the tags: some models mix them up, and an answer must not be lost by it.
_CLOSING: Final = rf"</(?:{_TAGS})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>"
_BEGINNING: Final = regex.compile(
    rf"\s*(?:(?P<tag>{_OPENING})|(?P<solution><\|begin_of_solution\|>)"
    r"|(?:<\|start\|>\w*)?<\|channel\|>\s*(?P<channel>\w*).*?<\|message\|>)",
    regex.IGNORECASE | regex.DOTALL,
)
_TAG_END: Final = regex.compile(_CLOSING, regex.IGNORECASE)
_TAG: Final = regex.compile(rf"(?P<closing>{_CLOSING})|{_OPENING}", regex.IGNORECASE)
# A backtick that nothing closes makes no code of the lines after it.
_BACKTICKS: Final = regex.compile("`+")
_FENCE: Final = regex.compile(r"\s*(?:```|~~~)")
# The first three are over with the message; the others already belong to the next one.
_MESSAGE_END: Final = regex.compile(r"<\|(?:end|return|call)\|>|(?=<\|(?:start|channel)\|>)")
_LONGEST_END: Final = len("<|end_of_thought|>")
_FURTHEST: Final = 100_000
"""Code points of text after which no tag counts any more: longer than what models think. Chosen, not measured."""


class _State(Enum):
    BEGINNING = "what comes next may be a thought"
    TAG = "inside a thought between tags"
    CHANNEL = "inside a channel that is not the answer"
    FINAL = "inside the channel of the answer"
    ANSWER = "what follows is the answer, or a thought that was opened in the prompt"


class ReasoningFilter:
    """Takes the thoughts off an answer while it is streamed.

    Only what may still become the beginning or the end of a thought is held back. The output since the last call that
    was `voided` does not depend on how the text is cut into deltas.
    """

    def __init__(self) -> None:
        self._state = _State.BEGINNING
        self._held = ""
        self._thought = False
        self._unclosed = False
        self._voided = False
        self._begin_text()
        # Of the answer: its code points that were shown, also of such that is void by now.
        self._passed = 0

    @property
    def unclosed(self) -> bool:
        """Whether the text has ended within a thought, and so before its answer; known after `finish`."""
        return self._unclosed

    @property
    def voided(self) -> bool:
        """Whether all that was shown before the last `feed` or `finish` was a thought; not what that returned."""
        return self._voided

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
        self._voided = False
        shown: list[str] = []
        # Each step hands on what it can, and says whether the rest can be looked at in another state.
        while self._step(shown, last):
            pass
        return "".join(shown)

    def _step(self, shown: list[str], last: bool) -> bool:
        match self._state:
            case _State.BEGINNING:
                return self._begin(last)
            case _State.TAG:
                return self._skip(_TAG_END)
            case _State.CHANNEL:
                return self._skip(_MESSAGE_END)
            case _State.FINAL:
                return self._show_message(shown, last)
            case _State.ANSWER:
                return self._show(shown, last)

    def _begin(self, last: bool) -> bool:
        found = _BEGINNING.match(self._held, partial=True)
        if found is not None and not found.partial:
            self._held = self._held[found.end() :]
            self._thought = True
            if found["tag"]:
                self._state = _State.TAG
            elif not found["solution"]:
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

    def _begin_text(self) -> None:
        self._line = ""
        self._fenced = False
        # Opening tags that the text mentions, less the closing ones.
        self._mentioned = 0

    def _show(self, shown: list[str], last: bool) -> bool:
        position = 0
        while self._passed < _FURTHEST:
            tag = _TAG.search(self._held, position, partial=not last)
            if tag is None:
                break
            self._pass_over(self._held[position : tag.start()])
            position = tag.start()
            if tag.partial:
                shown.append(self._held[:position])
                self._held = self._held[position:]
                return False
            if self._passed < _FURTHEST and self._turns(tag, shown):
                return True
            self._pass_over(tag[0])
            position = tag.end()
        self._pass_over(self._held[position:])
        shown.append(self._held)
        self._held = ""
        return False

    def _turns(self, tag: regex.Match[str], shown: list[str]) -> bool:
        """Whether `tag` is one of the model's own and no mention; acts on it, if so."""
        in_code = self._fenced or len(_BACKTICKS.findall(self._line)) % 2 == 1
        if tag["closing"] is None:
            if in_code or self._line.strip():
                self._mentioned += 1
                return False
            shown.append(self._held[: tag.start()])
            self._state = _State.TAG
        elif in_code or self._mentioned:
            self._mentioned = max(0, self._mentioned - 1)
            return False
        else:
            shown.clear()
            self._voided = True
            self._begin_text()
            self._state = _State.BEGINNING
        self._held = self._held[tag.end() :]
        self._thought = True
        return True

    def _pass_over(self, text: str) -> None:
        self._passed += len(text)
        *lines, rest = text.split("\n")
        for line in lines:
            self._fenced ^= _FENCE.match(self._line + line) is not None
            self._line = ""
        self._line += rest

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
