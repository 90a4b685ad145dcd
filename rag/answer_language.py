"""The gate: is an answer in the language it must be in?

It looks only at the words that the answer's author chose: quotations are rightly in the language of the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import regex

from rag.language import ENOUGH_CONFIDENCE, detect, known_languages, primary, prose
from rag.quotations import without_quotations
from rag.scripts import (
    can_be_written_in,
    count_words,
    main_scripts,
    script_variant,
    stated_script,
    without_other_scripts,
)
from rag.types import UNDETERMINED, Language

_ENOUGH_LETTERS: Final = 20
"""Fewer letters of an alphabet (abugidas included) say too little about their language."""
_ENOUGH_SYLLABLES: Final = 8
"""The same for Han, kana and hangul, of which one holds a syllable or a word."""

_MARKERS: Final = regex.compile(r"[\[［【][\p{Nd} ,;、，؛،\-–—]*[\]］】]")
_SYLLABLES: Final = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
_LETTERS: Final = regex.compile(r"\p{L}")
# Short, and on one line: what explains in brackets, or is set off, is often a term or a title as the document has it.
_SET_OFF: Final = regex.compile(
    r"\([^()\n]{1,120}\)|（[^（）\n]{1,60}）|\[[^\[\]\n]{1,120}\]\([^()\s]*\)|(?<![\w*])\*[^*\s][^*\n]{0,120}\*(?![\w*])"
)
# A word with a capital, unless a sentence begins with it, and what follows as part of the same name.
_NAME: Final = r"(?:(?!\p{Lu})\p{Latin})*+\p{Lu}[\p{Latin}\p{M}\p{Nd}'’.&-]*+"
_NAMES: Final = regex.compile(
    rf"(?<![\p{{L}}\p{{M}}]){_NAME}(?:[ ,]+(?:(?:of|the|and|de|du|la|von|van|der|und|y|e|di|for)[ ]+){{0,2}}{_NAME})+"
    rf"|(?<=[\p{{L}}\p{{M}},;:)][ ]){_NAME}"
)

_INDISTINCT: Final = tuple(frozenset(each.split()) for each in ("no nn da", "hr sr bs", "id ms"))
"""Languages that the detector cannot tell apart: of Tatoeba's texts of two sentences, more than one in twenty in one of
them is taken for another with confidence. Among these there is no verdict, not even on an answer that seems right."""
_TAKEN_FOR: Final = frozenset({"cs", "nl", "pt", "tr"})
_ENOUGH_AMONG_KIN: Final = 0.8
"""Least confidence in these four: one in ten texts in Slovak, Afrikaans, Galician or Azerbaijani is taken for them."""

_WORDS_AMONG_FOREIGN: Final = 0.2
"""Words in a script of the expected language, for each in a foreign one, from which a stretch is only mixed."""

_WRITTEN_ALIKE: Final = {"nb": "no", "tl": "fil", "cmn": "zh", "yue": "zh", "wuu": "zh", "arz": "ar"}
# What `detect` takes texts of a language for, one in fifty or more (two sentences of Tatoeba at a time, 250 texts a
# language), and close kin that were not measured (bar, bho, gsw, lb, mai, ne, pnb, sa, sco, su). It goes one way: some
# Belarusian is taken for Russian, Ukrainian never, so a Russian answer to a Ukrainian is a wrong one.
_MISTAKEN_FOR: Final = {
    language: frozenset(others.split())
    for language, others in {
        "af": "nl en",
        "ast": "es ca",
        "az": "tr",
        "bar": "de",
        "be": "uk ru",
        "bg": "mk ru",
        "bho": "hi mai",
        "bs": "hr sr sl",
        "ca": "es pt it oc",
        "ceb": "fil war",
        "cy": "en kw",
        "cs": "sk",
        "dsb": "pl cs hsb sr",
        "da": "no nn",
        "et": "fi",
        "fy": "nl nds en",
        "gl": "pt es",
        "gd": "ga en",
        "gsw": "de",
        "hr": "bs sr sl",
        "hsb": "pl cs sr sl",
        "ia": "it es fr",
        "id": "ms",
        "ie": "es eo it fr ia",
        "io": "eo it es",
        "jv": "id",
        "kk": "ky",
        "ku": "diq tr ro",
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
        "pam": "hu es jv",
        "pms": "it",
        "pnb": "ur",
        "sa": "hi mr",
        "sco": "en",
        "sk": "cs",
        "sl": "hr sr bs",
        "sr": "hr bs mk",
        "su": "id",
        "sw": "it eo en fi",
        "tk": "tr",
        "tt": "ba kk",
        "uz": "tr tg kk ru",
        "war": "fil es ceb ilo",
        "yi": "he",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What can be said of the language of a text.

    Attributes:
        language: BCP-47 tag of the language found, `und` where too little is left to look at; with its script where the
            expected tag states one.
        ok: whether it is the expected one; None when that cannot be said.
        confidence: of the detection, 0 to 1.
        letters: how many letters were looked at, as a share of the 20 that are enough.
    """

    language: str
    ok: bool | None
    confidence: float
    letters: float


_NOTHING: Final = Judgement(UNDETERMINED, None, 0.0, 0.0)


def judge(text: str, expected: str) -> tuple[str, bool | None]:
    """The tag of the language that an answer is in, and whether that is the expected one; see `examine`."""
    found = examine(text, expected)
    return found.language, found.ok


def examine(text: str, expected: str) -> Judgement:
    """The language that an answer's author chose, against the expected one.

    Quotations, Markdown block quotes, markers, code, URLs and numbers are not looked at; names (capitals in Latin
    script), terms in brackets or italics and words of another script only where nothing else is left. The verdict is
    None where it cannot be given: fewer than 20 letters are left (a Han, kana or hangul character counts for two and a
    half), names alone are, the detector is not sure or does not know the expected language, or it takes texts in the
    expected language for the one it found.

    Args:
        text: the answer, or a stretch of it.
        expected: BCP-47 tag; its script counts for Chinese and Serbian, territories only as they tell it.
    """
    whole = prose(without_quotations(_MARKERS.sub(" ", text)))
    letters = _letters(whole)
    if letters < 1:
        return _NOTHING if not letters else Judgement(UNDETERMINED, None, 0.0, letters)
    if whole.isupper():
        whole = whole.lower()
    own = without_other_scripts(_NAMES.sub(" ", _SET_OFF.sub(" ", whole)))
    left = _letters(own)
    words = own if left >= 1 else whole
    found = detect(words)
    language = found.code
    ok = _verdict(words, whole, found, expected)
    if left < 1 and ok is False and (left == 0 or detect(own).code != language):
        ok = None  # names made it what it seems
    if stated_script(expected):
        language = script_variant(words, language)
    return Judgement(language, ok, found.confidence, left if left >= 1 or ok is None else letters)


def are_confusable(expected: str, other: str) -> bool:
    """Whether the detector takes texts in one of the two languages for the other: the stated set without a verdict."""
    one, two = _same(expected), _same(other)
    together = any({one, two} <= each for each in _INDISTINCT)
    return together or two in _MISTAKEN_FOR.get(one, ()) or one in _MISTAKEN_FOR.get(two, ())


def _verdict(words: str, mixed: str, found: Language, expected: str) -> bool | None:
    """Whether `words`, in which `found` was detected, are in the expected language; None in doubt.

    Args:
        mixed: the same, still with words of other scripts.
    """
    wanted, seen = _same(expected), _same(found.code)
    if found.code == UNDETERMINED or wanted not in known_languages():
        return None
    scripts = main_scripts(words)
    script = stated_script(expected)
    if not _is_written_in(wanted, script, scripts):
        # A line of commands with a few words about them is the author's where these words are.
        counted = count_words(mixed)
        own = sum(count for each, count in counted.items() if _is_written_in(wanted, script, frozenset({each})))
        return None if own >= _WORDS_AMONG_FOREIGN * (sum(counted.values()) - own) else False
    if "Latin" in scripts and any(wanted in each and seen in each for each in _INDISTINCT):
        return None
    if seen == wanted:
        if script is not None and (shown := stated_script(script_variant(words, wanted))) != script:
            return None if shown is None else False
        return found.confidence >= (_ENOUGH_AMONG_KIN if wanted in _TAKEN_FOR else ENOUGH_CONFIDENCE) or None
    if found.confidence < ENOUGH_CONFIDENCE or seen in _MISTAKEN_FOR.get(wanted, ()):
        return None
    return False


def _is_written_in(language: str, script: str | None, scripts: frozenset[str]) -> bool:
    """Whether one of `scripts` can be that of a text in `language`, and, for Serbian, in `script`."""
    wrong = {"Cyrl": "Latin", "Latn": "Cyrillic"}.get(script or "")
    return wrong not in scripts and can_be_written_in(language, scripts)


def _same(tag: str) -> str:
    """The tag under which `detect` reports what is written like `tag`."""
    language = primary(tag)
    return _WRITTEN_ALIKE.get(language, language)


def _letters(words: str) -> float:
    """How many letters there are, as a share of those that are enough."""
    syllables = len(_SYLLABLES.findall(words))
    return syllables / _ENOUGH_SYLLABLES + (len(_LETTERS.findall(words)) - syllables) / _ENOUGH_LETTERS
