"""The one form of extracted text: Unicode NFC, `\\n` line ends, no control characters."""

from __future__ import annotations

import re
import unicodedata

from rag.errors import ReadError

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Controls (C0, DEL, C1), lone surrogates and U+FFFE/U+FFFF: no writing system uses them, and UTF-8 or a store may
# refuse them.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_SPACES = re.compile("[ \t\n\xa0]+")
_BREAK = re.compile("[ \t\xa0]*\n[ \t\n\xa0]*")

# Scripts that put no space between words: Thai, Lao, Myanmar, Khmer, Han, Kana, their punctuation and full-width forms.
# Hangul is absent on purpose: Korean has spaces.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff00-\uff9f\U00020000-\U0003ffff"
)
_PUNCTUATION = "\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
_IS_SPACELESS = re.compile(f"[{_SPACELESS}]")
_NO_SPACE_BETWEEN = re.compile(
    f"[{_SPACELESS}]\n[{_SPACELESS}0-9]|[0-9]\n[{_SPACELESS}]|[{_PUNCTUATION}]\n.|.\n[{_PUNCTUATION}]"
)
_HYPHENS = "-\u2010\u00ad"
_HYPHENATED = re.compile(f"[a-zß-öø-ɏα-ωά-ώа-ѿԁ-ԯա-և][{_HYPHENS}]\n[a-zß-öø-ɏα-ωά-ώа-ѿԁ-ԯա-և]")


def clean(text: str) -> str:
    """`text` in NFC with `\\n` for every kind of line end, without control characters and a leading byte order mark."""
    text = _LINE_ENDS.sub("\n", text.removeprefix("\ufeff"))
    return unicodedata.normalize("NFC", _UNWANTED.sub("", text))


def trim(text: str) -> str:
    """`text` without empty lines before and white space after; the first line's indentation stays.

    Raises:
        ReadError: nothing to read is left: only white space or invisible characters.
    """
    text = text.rstrip()
    if not has_words(text):
        raise ReadError("the file holds no text, only white space or invisible characters: nothing to read")
    first = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, first) + 1 :]


def has_words(text: str) -> bool:
    """Whether anything in `text` can be seen."""
    return any(unicodedata.category(character)[0] not in "CZ" for character in text)


def single_line(text: str) -> str:
    """`text` cleaned and on one line, with single spaces; a line break inside a script without spaces vanishes."""
    return _SPACES.sub(" ", _BREAK.sub(_separator, clean(text))).strip()


def _separator(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    return separator(text[start - 1 : start], text[end : end + 1])


def is_spaceless(character: str) -> bool:
    """Whether `character` belongs to a script that puts no space between words."""
    return _IS_SPACELESS.match(character) is not None


def separator(before: str, after: str) -> str:
    """What stands between two lines of one paragraph, `before` the end of the first: a space, or nothing."""
    if not before or not after or not _NO_SPACE_BETWEEN.fullmatch(f"{before[-1]}\n{after[0]}"):
        return " "
    # A mark must not slide onto the letter before the break.
    return " " if unicodedata.category(after[0]).startswith("M") else ""


def join_lines(before: str, after: str) -> str:
    """Two printed lines of one paragraph as one, with a word joined that was hyphenated at the line's end.

    A hyphen between lower-case letters of an alphabet (Latin, Greek, Cyrillic, Armenian) is taken for hyphenation and
    dropped; any other hyphen after a letter or digit stays, without a space behind it.
    """
    if _HYPHENATED.fullmatch(f"{before[-2:]}\n{after[:1]}"):
        return before[:-1] + after
    if before[-1:] in _HYPHENS and before[-2:-1].isalnum() and after[:1].isalnum():
        return before + after
    return before + separator(before, after) + after
