"""Tokens by which models end their answers, where a server leaves them in the text. Pure."""

from __future__ import annotations

from typing import Final

import regex

_TOKEN: Final = (
    r"(?:</s>|<\|im_end\|>|<\|eot_id\|>|<\|end_of_text\|>|<end_of_turn>|<\|endoftext\|>|<\|end_of_solution\|>)"
)
_END: Final = regex.compile(rf"(?:{_TOKEN}\s*)+\Z")
# Where a partial match begins, all that follows may still turn out to be the end.
_MAY_BE_END: Final = regex.compile(rf"{_TOKEN}\s*(?:{_TOKEN}\s*)*\Z")


class EndTokenFilter:
    """Takes such tokens, and the white space after them, off the end of an answer while it is streamed.

    Only what may still be the end is held back. The output does not depend on how the text is cut into deltas.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, delta: str) -> str:
        """What of the text so far is the answer."""
        text = self._held + delta
        found = _MAY_BE_END.search(text, partial=True)
        start = len(text) if found is None else found.start()
        self._held = text[start:]
        return text[:start]

    def finish(self) -> str:
        """What was still held back; the text has ended."""
        text, self._held = _END.sub("", self._held), ""
        return text
