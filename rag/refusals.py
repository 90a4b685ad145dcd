"""How a language model says that the passages hold no answer, while its words still come. Pure."""

from __future__ import annotations

import re
from typing import Final

from rag.prompt import is_refusal

OPENING: Final = 40
"""Characters at the beginning of an answer among which the word is looked for."""

_AT_THE_BEGINNING: Final = re.compile(r"\W*NO\\?_ANSWER\b")
_AT_THE_END: Final = re.compile(r"\s*[*_`\"'“”«»(\[]*\bNO\\?_ANSWER\W*$")


def begins(text: str) -> bool:
    """Whether an answer that has begun with `text` is a refusal, whatever comes after the word."""
    return bool(_AT_THE_BEGINNING.match(text))


def is_alone(text: str) -> bool:
    """Whether `text`, the whole beginning of an answer, says nothing else."""
    return is_refusal(text) and not without(text).strip()


def ends(text: str) -> bool:
    """Whether what was said before it says why there is no answer."""
    return bool(_AT_THE_END.search(text))


def without(text: str) -> str:
    """`text` without the word at its end."""
    return _AT_THE_END.sub("", text) if ends(text) else "" if is_refusal(text) and begins(text) else text
