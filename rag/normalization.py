"""Text as it is stored, and text as the model reads it."""

from __future__ import annotations

import re
import unicodedata

_LINE_ENDS = re.compile(r"\r\n?|[\u0085\u2028\u2029\v\f]")

# What no reader sees and no model should: soft hyphen, zero-width space, word joiner and invisible operators, byte
# order mark, bidirectional controls, tag characters, control characters other than tab and line feed.
# ZWJ and ZWNJ stay: Persian, Hindi and emoji are spelt with them.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def stored(text: str) -> str:
    """`text` as `Document.text` keeps it: Unicode NFC, `\\n` line ends, no byte order mark at its head."""
    return unicodedata.normalize("NFC", _LINE_ENDS.sub("\n", text.removeprefix("\ufeff")))


def visible(text: str) -> str:
    """`text` without the characters that nobody sees; for embedding only, as it moves offsets."""
    return _INVISIBLE.sub("", text)
