"""How a language model says that the passages hold no answer, while its words still come. Pure."""

from __future__ import annotations

from typing import Final

import regex

_OPENING: Final = 48
"""Characters at the beginning of an answer among which the word is looked for."""
_WORD: Final = r"NO\\?_ANSWER"

# Behind marks, a marker or a label: `**NO_ANSWER**`, `[1] NO_ANSWER`, `Answer: NO_ANSWER`.
_AT_THE_BEGINNING: Final = regex.compile(rf"(?:\W|\d)*(?:\p{{L}}{{1,20}} ?[:：]\W*)?{_WORD}\b")
# Misspelled, and nothing else: `no answer.`
_ALONE: Final = regex.compile(r"\W*NO[\\_ -]{0,2}ANSWER[\W\d]*", regex.IGNORECASE)
_LATER: Final = regex.compile(rf"[*_`\"'“”«»(\[]*\b{_WORD}\b(?!\w)")
# After it nothing but marks: to the end of the line, which ends the answer, or of all that has come so far.
_ENDED: Final = regex.compile(r"[^\w\n]*\n")
_OPEN: Final = regex.compile(r"[^\w\n]*\Z")


class RefusalFilter:
    """Takes the word out of an answer, and says that it was there.

    White space before the first word goes. The output does not depend on how the text is cut into deltas.

    Attributes:
        refused: whether the answer is none, from its beginning or from some point on; what comes after is dropped.
    """

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.refused = False
        self._begun = False
        self._held = ""
        self._before = ""  # the last character that was shown

    def feed(self, delta: str) -> str:
        """What of the text so far can be shown now."""
        return self._drain(delta, last=False)

    def finish(self) -> str:
        """What was still held back; the text has ended."""
        return self._drain("", last=True)

    def _drain(self, delta: str, *, last: bool) -> str:
        if self.refused:
            return ""
        text = self._held + delta
        if not self._begun:
            text = text.lstrip()
            self._held = text
            verdict = _opening(text[:_OPENING], last=last or len(text) >= _OPENING)
            if verdict is None:
                return ""
            if verdict:
                self.refused = True
                return ""
            self._begun = True
        # Searched with the character before it, which tells whether a word begins there.
        text = self._before + text
        shown, at = "", len(self._before)
        while (found := _LATER.search(text, at, partial=not last)) is not None:
            ended = not found.partial and _ENDED.match(text, found.end())
            if ended or (last and _OPEN.match(text, found.end())):
                self.refused = True
                self._held = ""
                return shown + text[at : found.start()]
            if found.partial or (not last and _OPEN.match(text, found.end())):
                break  # what follows will tell
            shown, at = shown + text[at : found.end()], found.end()
        start = found.start() if found is not None else len(text)
        shown += text[at:start]
        self._held, self._before = text[start:], (shown or self._before)[-1:]
        return shown


def _opening(text: str, *, last: bool) -> bool | None:
    """Whether an answer that begins with `text` is a refusal; None where what comes next will tell."""
    for found in (_AT_THE_BEGINNING.match(text, partial=not last), _ALONE.fullmatch(text, partial=not last)):
        if found is not None:
            return None if not last and (found.partial or found.end() == len(text)) else True
    return False
