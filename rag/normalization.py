"""Text as the model reads it, and names as a terminal may show them."""

from __future__ import annotations

import re

# What no reader sees and no model should: soft hyphen, zero-width space, word joiner and invisible operators, byte
# order mark, bidirectional controls, tag characters, control characters other than tab and line feed.
# ZWJ and ZWNJ stay: Persian, Hindi and emoji are spelt with them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def visible(text: str) -> str:
    """`text` without the characters that nobody sees; for embedding only, as it moves offsets."""
    return _INVISIBLE.sub("", text)


def without_controls(text: str) -> str:
    """`text` without the control characters that a terminal obeys; tab, line feed and directions stay."""
    return _CONTROLS.sub("", text)


def printable(name: str) -> str:
    """`name` on one line, with an escape for every character that moves the cursor, turns the direction, or is no text.

    For names of files and the like, which anybody may have given.
    """
    return "".join(
        c if c.isprintable() or c in "\u3000\u200c\u200d" else c.encode("unicode_escape").decode() for c in name
    )
