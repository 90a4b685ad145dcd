"""Is a question in Latin letters one of a language that is written otherwise?

Known by its small words (cues.toml), which a question of more than two words hardly lacks, and by the shape of the
others. fastText's lid.176, which names the language of a text elsewhere, knows no romanised ones and takes them for any
language; but it seldom is sure, so where the cues alone do not suffice its doubt is the last witness.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import regex

from rag import language as languages_of_texts

_WEAK: Final = 0.4
"""Weight of a weak cue, of which a strong one has 1."""
_SHAPE_WEIGHT: Final = 0.7
"""Weight of a word with the Arabic article, with Arabizi's digits for letters, or with a Japanese verb's ending."""
_ENOUGH: Final = 1.4
"""Weight of cues that needs no other witness: one strong one and one weak, or two strong ones."""
_ENOUGH_WITH_DOUBT: Final = 1.0
_DOUBT: Final = 0.6
"""Confidence of lid.176 below which it is in doubt."""
_ENOUGH_SHARE: Final = 0.15
"""Least weight of cues per word."""
_LONGEST: Final = 400
"""Code points of a question: a pasted page is none, and what is rewritten must fit into the model's window."""
_WORD: Final = regex.compile(r"[\p{Latin}\p{M}\d'’`-]*\p{Latin}[\p{Latin}\p{M}\d'’`-]*")
_LETTER: Final = regex.compile(r"\p{L}")
_OTHERS_LETTERS: Final = regex.compile(r"[äåæčćďđėęěğıįľłňőøœřśšßťůűųźżžąçñãõạ-ỹơưă]")
"""Letters of languages that are written in Latin ones; nobody types them in a romanised question."""
_ARABIZI: Final = regex.compile(r"(?=[a-z2-9']*[a-z][a-z2-9']*\Z)(?=.{3})[a-z']*[23579][a-z']*(?:[2-9][a-z']*){0,3}")
_NO_ARABIZI: Final = regex.compile(
    r"\d+(?:st|nd|rd|th|d|x|k|g|m|mb|gb|tb|ghz|km|kg|cm|mm|ml|am|pm)|[a-z]{1,3}\d|[a-z]+[245-9]|[a-z]*[^aeiou\W]3|[a-z]\d[a-z]|\w*\d{2,}\w*"
)
_SHAPES: Final = {
    "ar": regex.compile(r"(?:al|el)-['’`a-z]{3,}|(?:as-s|ash-sh|ar-r|an-n|at-t|ad-d|az-z)[a-z]{2,}"),
    "ja": regex.compile(r"[a-z]{2,}(?:masu|masuka|masen|masenka|mashita|mashou|desu|desuka|nakereba|shitai)"),
}
_ENDINGS: Final = {
    "ru": regex.compile(
        r"[a-z]{2,}(?:ovat|irovat|tsya|tsja|nyj|nyy|nogo|ennyj|enie|eniya|aniye|anie|yat|uyu|ej|'|ikov)"
    ),
    "uk": regex.compile(r"[a-z]{2,}(?:uvaty|yty|aty|tsya|nnya|nnia|oho|yy|yi)"),
    "el": regex.compile(r"[a-z]{2,}(?:ontai|ete|oume|eis|ousa|mata|seis|seon|ismos|asmo|wn|eio|iki|ikos)"),
}
# Nearly every word of these is a row of syllables of few shapes.
_SYLLABLES: Final = {
    "ja": regex.compile(
        r"(?:(?:[kgszjtdnhbpmrfyw]|[kgnhbpmr]y|sh|ch|ts|kk[y]?|ss|ssh|tt|tch|cch|pp|gg|dd)?[aiueoāīūēō]+|n(?![aiueoy])|m(?=[bp]))+"
    ),
    "zh": regex.compile(
        r"(?:(?:[bpmfdtnlgkhjqxrzcsyw]|zh|ch|sh)?(?:iang|iong|uang|ang|eng|ing|ong|ian|iao|uai|uan|ai|ei|ao|ou|an|en|in|un|ia|"
        r"ie|iu|ua|uo|ui|ue|er|a|o|e|i|u|v))+"
    ),
}
_ENOUGH_SYLLABLES: Final = 0.6


@dataclass(frozen=True, slots=True)
class Romanised:
    """A language that a question may be in.

    Attributes:
        language: BCP-47 primary tag.
        weight: of its cues in the question; more is surer.
    """

    language: str
    weight: float


def words(question: str) -> list[str]:
    """The words in Latin letters, as they are written; digits count as letters inside them, as Arabizi has them."""
    return [found[0] for found in _WORD.finditer(question)]


def tokens(question: str) -> list[tuple[str, bool]]:
    """The words of `question` in lower case, each with whether it is in Latin letters; the rest stays as it is."""
    found: list[tuple[str, bool]] = []
    end = 0
    for match in _WORD.finditer(question):
        found.extend((other, False) for other in question[end : match.start()].split())
        found.append((match[0].lower(), True))
        end = match.end()
    return found + [(other, False) for other in question[end:].split()]


def detect(question: str, languages: Sequence[str]) -> list[Romanised]:
    """The languages out of `languages` that `question` may be a romanised form of, the likeliest first.

    Nothing where the question is mostly in another script, is very long, or shows too few cues.
    """
    text = _mostly_latin(question) if len(question) <= _LONGEST else []
    if not text or any(_OTHERS_LETTERS.search(word) for word in text):
        return []
    found: list[Romanised] = []
    for language in dict.fromkeys(map(languages_of_texts.primary, languages)):
        weight = _weight(text, language)
        if weight >= _ENOUGH_WITH_DOUBT and weight >= _ENOUGH_SHARE * len(set(text)):
            found.append(Romanised(language, round(weight, 3)))
    found.sort(key=lambda each: -each.weight)
    if found and found[0].weight < _ENOUGH and languages_of_texts.detect(question).confidence >= _DOUBT:
        return []
    return found


def is_cue(word: str, language: str) -> bool:
    """Whether `word`, in lower case, is one of the small words of `language`."""
    return any(word in cues for cues in _cues()[language])


def _weight(text: Sequence[str], language: str) -> float:
    """How much in `text`, which is in lower case, speaks for `language`."""
    if language not in _cues():
        return 0.0
    strong, weak = _cues()[language]
    distinct = dict.fromkeys(text)
    cues = float(sum(word in strong for word in distinct))
    others = [word for word in distinct if word not in strong]
    shape = _SHAPES.get(language)
    if shape is not None:
        cues += sum(
            _SHAPE_WEIGHT for word in others if shape.fullmatch(word) or (language == "ar" and _is_arabizi(word))
        )
    if cues < _SHAPE_WEIGHT:
        return 0.0  # weak ones are nothing by themselves: "How do I reset my password?" has three of Russian
    endings = _ENDINGS.get(language)
    cues += sum(_WEAK for word in others if word in weak or (endings is not None and endings.fullmatch(word)))
    syllables = _SYLLABLES.get(language)
    if syllables is not None:
        fitting = sum(1 for word in text if syllables.fullmatch(word)) / len(text)
        if fitting < _ENOUGH_SYLLABLES:
            return 0.0
        cues += _WEAK * (cues >= _ENOUGH_WITH_DOUBT or len(text) > 2)
    return cues


def _is_arabizi(word: str) -> bool:
    """Whether digits stand for letters in `word`; not in `mp3`, `2nd`, `b2b`."""
    return bool(_ARABIZI.fullmatch(word)) and not _NO_ARABIZI.fullmatch(word)


def _mostly_latin(question: str) -> list[str]:
    letters = sum(1 for _ in _LETTER.finditer(question))
    found = [word.lower().strip("’`-") for word in words(question)]
    return found if 2 * sum(map(len, found)) > letters else []


@cache
def _cues() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Language → its strong and its weak cues."""
    table = tomllib.loads(files(__package__).joinpath("cues.toml").read_text(encoding="utf-8"))
    return {
        language: (frozenset(each["strong"].split()), frozenset(each["weak"].split()))
        for language, each in table.items()
    }
