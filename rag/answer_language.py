"""The gate: is an answer in the language it must be in?

It looks only at the words that the answer's author chose: quotations are rightly in the language of the document.
"""

from __future__ import annotations

from typing import Final

import regex

from rag.language import ENOUGH_CONFIDENCE, detect, primary, prose
from rag.types import UNDETERMINED

_ENOUGH_LETTERS: Final = 20
"""Fewer letters of an alphabet (abugidas included) say too little about their language."""
_ENOUGH_SYLLABLES: Final = 8
"""The same for Han, kana and hangul, of which one holds a syllable or a word."""

# Straight marks must pair up on their line: one of measure, as in 5" pipe, must not swallow what follows.
_QUOTED: Final = regex.compile(
    r"""
    ^[ \t]*>.*$                                                       # Markdown block quote
    | “[^“”]{0,2000}?”    | „[^„“”]{0,2000}?[“”] | ”[^”\n]{0,2000}?”
    | «[^«»]{0,2000}?»    | »[^«»]{0,2000}?«     | ‹[^‹›\n]{0,500}?› | ›[^‹›\n]{0,500}?‹
    | 「[^」]{0,2000}?」 | 『[^』]{0,2000}?』 | 《[^》]{0,500}?》 | 〈[^〉]{0,500}?〉
    | (?<!\w)"[^"\n]{0,2000}?"(?!\w)
    """,
    regex.VERBOSE | regex.MULTILINE,
)
_MARKERS: Final = regex.compile(r"[\[［【][\p{Nd} ,;、，؛،\-–—]*[\]］】]")
_SYLLABLES: Final = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
_LETTERS: Final = regex.compile(r"\p{L}")

_WRITTEN_ALIKE: Final = {"nb": "no", "tl": "fil", "cmn": "zh", "yue": "zh", "wuu": "zh", "arz": "ar"}
# What `detect` takes texts of a language for, one in fifty or more (two sentences of Tatoeba at a time, 250 texts a
# language), and close kin that were not measured (bar, bho, gsw, lb, mai, ne, pnb, sa, sco, su). It goes one way: some
# Belarusian is taken for Russian, Ukrainian never, so a Russian answer to a Ukrainian is a wrong one.
_MISTAKEN_FOR: Final = {
    language: frozenset(others.split())
    for language, others in {
        "af": "nl",
        "az": "tr",
        "bar": "de",
        "be": "uk ru",
        "bg": "mk ru",
        "bho": "hi mai",
        "bs": "hr sr sl",
        "ca": "es pt it oc",
        "cs": "sk",
        "da": "no nn",
        "et": "fi",
        "fy": "nl nds",
        "gl": "pt es",
        "gsw": "de",
        "hr": "bs sr sl",
        "id": "ms",
        "jv": "id",
        "kk": "ky",
        "lb": "de",
        "lv": "lt",
        "mai": "hi",
        "mk": "bg sr",
        "ms": "id",
        "mn": "ru",
        "nds": "nl de",
        "ne": "hi mr",
        "nn": "no da sv",
        "no": "da nn sv",
        "oc": "es ca fr",
        "pnb": "ur",
        "sa": "hi mr",
        "sco": "en",
        "sk": "cs",
        "sl": "hr sr bs",
        "sr": "hr bs mk",
        "su": "id",
        "sw": "it",
        "tt": "ba kk",
        "uz": "tr tg",
        "yi": "he",
    }.items()
}


def judge(text: str, expected: str) -> tuple[str, bool | None]:
    """The tag of the language that an answer is in, and whether that is the expected one.

    Quotations, Markdown block quotes, markers, code, URLs and numbers are not looked at. The verdict is None where it
    cannot be given: fewer than 20 letters are left (a Han, kana or hangul character counts for two and a half), the
    detector is not sure, or it takes texts in the expected language for the one it found.

    Args:
        text: the answer, or its beginning.
        expected: BCP-47 tag; only its language counts, not script or territory.
    """
    own = prose(_QUOTED.sub(" ", _MARKERS.sub(" ", text)))
    found = detect(own)
    wanted = _same(expected)
    enough = _letters(own) >= 1
    if found.code == UNDETERMINED or not enough:
        return UNDETERMINED, None
    if _same(found.code) == wanted:
        return found.code, True
    if found.confidence < ENOUGH_CONFIDENCE or _same(found.code) in _MISTAKEN_FOR.get(wanted, frozenset()):
        return found.code, None
    return found.code, False


def _same(tag: str) -> str:
    """The tag under which `detect` reports what is written like `tag`."""
    language = primary(tag)
    return _WRITTEN_ALIKE.get(language, language)


def _letters(words: str) -> float:
    """How many letters there are, as a share of those that are enough."""
    syllables = len(_SYLLABLES.findall(words))
    return syllables / _ENOUGH_SYLLABLES + (len(_LETTERS.findall(words)) - syllables) / _ENOUGH_LETTERS
