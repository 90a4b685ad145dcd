"""Bytes to characters: byte order mark, declared encoding, UTF-8, and only then a guess."""

from __future__ import annotations

import codecs
import logging

from rag.errors import ReadError

logger = logging.getLogger(__name__)

# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Names that the web uses for a superset of the encoding that bears the name (WHATWG Encoding Standard, section 4.2).
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
# A longer sample makes the guess slower, not better.
_GUESS_BYTES = 100_000
_CONTROL_SHARE = 0.1


def decode(data: bytes, declared: str | None = None) -> str:
    """The characters of `data`, line ends and byte order mark as they are.

    Args:
        data: a whole file.
        declared: the encoding the file itself names, if it does.

    Raises:
        ReadError: binary content, or no encoding fits.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _checked(_strictly(data, encoding, f"its byte order mark says {encoding}"))
    if b"\0" in data:
        raise ReadError(
            f"binary content, not text (a NUL at byte {data.index(0)}): give it the suffix of its real format, "
            "or save it as UTF-8"
        )
    text = _as_declared(data, declared) if declared else None
    if text is None:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            text = _guessed(data, error)
    return _checked(text)


def _strictly(data: bytes, encoding: str, why: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ReadError(f"not valid text at byte {error.start} ({why}): save it as UTF-8") from error


def _as_declared(data: bytes, declared: str) -> str | None:
    """`data` in the encoding it names, None where that is unknown, does not fit or is plainly out of date."""
    try:
        encoding = codecs.lookup(declared.strip()).name
        text = data.decode(_SUPERSETS.get(encoding, encoding))
    except (LookupError, UnicodeError, ValueError):
        logger.info("the declared encoding does not fit; looking for another")
        return None
    if encoding.startswith(("iso8859", "cp125", "ascii", "koi8", "mac")) and not data.isascii():
        # Every byte fits a single-byte encoding, so a wrong declaration goes unnoticed; UTF-8 by chance is unlikely.
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return text


def _guessed(data: bytes, cause: UnicodeDecodeError) -> str:
    from charset_normalizer import from_bytes

    advice = "save it as UTF-8"
    best = from_bytes(data[:_GUESS_BYTES]).best()
    if best is None:
        raise ReadError(f"neither UTF-8 (byte {cause.start}) nor any known encoding: {advice}") from cause
    logger.info("not UTF-8; read as %s", best.encoding)
    try:
        return data.decode(best.encoding)
    except UnicodeDecodeError as error:
        raise ReadError(f"neither UTF-8 nor {best.encoding} (byte {error.start}): {advice}") from cause


def _checked(text: str) -> str:
    controls = sum(character < " " and character not in "\t\n\v\f\r" for character in text)
    if controls > _CONTROL_SHARE * len(text):
        raise ReadError(
            f"binary content, not text ({controls} of {len(text)} characters are controls): "
            "give it the suffix of its real format"
        )
    return text
