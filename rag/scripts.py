"""Scripts: which one the words of a text are in, which languages are written in it, and variants of one language.

Pure. Words are taken from `rag.language.prose`, without code, addresses and numbers.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Final

import regex

# Languages of the model by the script they are written in; Latin has those that are in no other line, and _ALSO_LATIN.
_BY_SCRIPT: Final = {
    "Han": "zh ja",
    "Kana": "ja",
    "Hangul": "ko",
    "Thai": "th",
    "Lao": "lo",
    "Khmer": "km",
    "Myanmar": "my",
    "Tibetan": "bo",
    "Greek": "el",
    "Hebrew": "he yi",
    "Georgian": "ka xmf",
    "Armenian": "hy",
    "Ethiopic": "am",
    "Thaana": "dv",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Oriya": "or",
    "Bengali": "bn as bpy",
    "Devanagari": "hi mr ne sa mai new bho dty gom",
    "Arabic": "ar fa ur ps sd ug ckb azb pnb mzn lrc ku",
    "Cyrillic": "ru uk be bg mk sr kk ky tg tt mn ba cv ce sah av lez os kv mhr mrj myv krc rue tyv xal bxr az uz",
}
_ALSO_LATIN: Final = frozenset({"az", "gom", "ku", "sr", "tt", "uz"})
LANGUAGES: Final = {script: frozenset(tags.split()) for script, tags in _BY_SCRIPT.items()}
NOT_LATIN: Final = frozenset().union(*LANGUAGES.values()) - _ALSO_LATIN

# Written without spaces: every character of the first group is about a word, of the second about a quarter of one.
_IDEOGRAPHIC: Final = ("Han", "Kana")
_UNSPACED: Final = ("Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
_RUNS: Final = regex.compile(
    r"(?P<Kana>[\p{Hiragana}\p{Katakana}]+)|(?P<Latin>[\p{Latin}\p{M}]*\p{Latin}[\p{Latin}\p{M}'’]*)|"
    + "|".join(rf"(?P<{script}>\p{{{script}}}[\p{{{script}}}\p{{M}}]*)" for script in _BY_SCRIPT if script != "Kana")
    + r"|(?P<Other>\p{L}[\p{L}\p{M}]*)"
)
_VARIANTS: Final = {"zh": ("Hans", "Hant"), "sr": ("Latn", "Cyrl")}
_HAN_OF: Final = dict.fromkeys(("TW", "HK", "MO"), "Hant") | dict.fromkeys(("CN", "SG", "MY"), "Hans")
_LAST_FREQUENT: Final = b"\xc6\x7e"
# Hong Kong writes these in Traditional texts, though Big5 lacks them.
_IN_BOTH: Final = frozenset("着温凉泪群峰")


def count_words(words: str) -> Counter[str]:
    """About how many words of each script there are."""
    units: Counter[str] = Counter()
    for run in _RUNS.finditer(words):
        script = str(run.lastgroup)
        length = run.end() - run.start()
        units[script] += length if script in _IDEOGRAPHIC else -(-length // 4) if script in _UNSPACED else 1
    return units


def main_scripts(words: str) -> frozenset[str]:
    """The script that most words are in; several on a tie, none where no script is known."""
    units = count_words(words)
    # Han beside kana is Japanese; a little kana among many Han is a name in a Chinese text.
    if units["Kana"] * 10 >= units["Han"]:
        units["Kana"] += units["Han"] * (units["Kana"] > 0)
    else:
        units["Han"] += units["Kana"]
    most = max(units.values(), default=0)
    return frozenset(script for script, count in units.items() if 0 < count == most) - {"Other"}


def without_other_scripts(words: str) -> str:
    """`words` without those that are in another script than most; Han and kana stay together, as does a tie."""
    main = main_scripts(words)
    if main & {"Han", "Kana"}:
        main |= {"Han", "Kana"}
    if not main:
        return words
    return _RUNS.sub(lambda run: run.group() if run.lastgroup in main else " ", words)


def can_be_written_in(language: str, scripts: frozenset[str]) -> bool:
    """Whether a text in one of `scripts` can be in the language with the primary tag `language`."""
    known = any(language in LANGUAGES.get(script, frozenset()) for script in scripts)
    return known or ("Latin" in scripts and language not in NOT_LATIN)


def script_variant(text: str, tag: str) -> str:
    """`tag` with the script that `text` shows, for the two languages that have readers of one script alone.

    Chinese is `zh-Hans` or `zh-Hant` by the characters that only one of them uses, whichever are more; Serbian is
    `sr-Latn` or `sr-Cyrl` by its letters. A tag that names a script, any other language, and a text that does not tell
    leave `tag` as it is.

    Args:
        tag: canonical BCP-47.
    """
    language, _, rest = tag.partition("-")
    if language not in _VARIANTS or stated_script(tag) is not None:
        return tag
    one, other = _VARIANTS[language]
    votes = (
        _han_votes(text)
        if language == "zh"
        else tuple(len(regex.findall(rf"\p{{{each}}}", text)) for each in (one, other))
    )
    if votes[0] == votes[1]:
        return tag
    return "-".join(part for part in (language, one if votes[0] > votes[1] else other, rest) if part)


def stated_script(tag: str) -> str | None:
    """The script that a tag of Chinese or Serbian names, or that a Chinese territory writes: `Hant` of `zh-TW`.

    Args:
        tag: canonical BCP-47.
    """
    language, *rest = tag.split("-")
    if language not in _VARIANTS or not rest:
        return None
    if rest[0] in _VARIANTS[language]:
        return rest[0]
    return _HAN_OF.get(rest[0]) if language == "zh" else None


@cache
def _one_sided() -> tuple[frozenset[str], frozenset[str]]:
    """Han characters of Simplified texts alone, and of Traditional texts alone.

    By the character sets of the two: GB 2312 has no Traditional form that was simplified, Big5 no Simplified one. Of
    Big5 only level 1, the 5,401 characters in frequent use, counts, as rare ones are written alike in both.
    """
    simplified, traditional = set(), set()
    for code_point in range(0x4E00, 0xA000):
        character = chr(code_point)
        mainland, taiwan = character.encode("gb2312", "ignore"), character.encode("big5", "ignore")
        if mainland and not taiwan:
            simplified.add(character)
        elif taiwan and not mainland and taiwan <= _LAST_FREQUENT:
            traditional.add(character)
    return frozenset(simplified - _IN_BOTH), frozenset(traditional - _IN_BOTH)


def _han_votes(text: str) -> tuple[int, int]:
    simplified, traditional = _one_sided()
    return sum(character in simplified for character in text), sum(character in traditional for character in text)
