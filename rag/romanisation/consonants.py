"""Hindi and Arabic in Latin letters: typists agree on the consonants, and each writes the vowels after his own ear.

Arabizi's digits stand for letters whose shape they recall: 2 ء, 3 ع, 5 خ, 6 ط, 7 ح, 8 غ, 9 ق.
"""

from __future__ import annotations

import regex

from rag.romanisation.spelling import Spelling, Table, once, pairs

_DEVANAGARI_CONSONANTS = pairs(
    "क:k ख:kh ग:g घ:gh ङ:n च:c छ:ch ज:j झ:jh ञ:n ट:t ठ:th ड:d ढ:dh ण:n त:t थ:th द:d ध:dh न:n प:p फ:f ब:b भ:bh म:m "
    "य:y र:r ल:l ळ:l व:v श:sh ष:sh स:s ह:h"
)
_DEVANAGARI_VOWELS = pairs(
    "अ:a आ:a इ:i ई:i उ:u ऊ:u ऋ:ri ए:e ऐ:e ओ:o औ:o ऑ:o ऍ:e ा:a ि:i ी:i ु:u ू:u ृ:ri े:e ै:e ो:o ौ:o ॉ:o ॅ:e"
)
_LABIAL, _BREATH = regex.compile("m(?=[pb])"), regex.compile("(?<=[^aeiou])h")
_LAST_H, _SOFT = regex.compile("(?<=a)h$"), regex.compile("[awy3]")
_VIRAMA, _NUKTA, _NASAL = "्", "़", "ंँ"
_typed_hindi = Table(
    pairs("chh:ch ch:c ck:k ph:f zh:j aa:a ee:i ii:i oo:u uu:u ai:e ei:e au:o ou:o sh:sh w:v z:j q:k x:ks c:k ': ’: -:")
)
_HINDI_KEY = Table(pairs("e:i o:u iy:i"))
_SPELLED_CONSONANTS = pairs(
    "chh:छ ch:च kh:ख gh:घ th:थ dh:ध bh:भ jh:झ ph:फ sh:श gy:ज्ञ ksh:क्ष k:क g:ग j:ज t:त d:द n:न p:प b:ब m:म "
    "y:य r:र l:ल v:व "
    "w:व s:स h:ह f:फ z:ज़ q:क x:क्स c:क"
)
_SPELLED_VOWELS = {
    "aa": ("आ", "ा"), "a": ("अ", ""), "ee": ("ई", "ी"), "ii": ("ई", "ी"), "i": ("इ", "ि"), "oo": ("ऊ", "ू"),
    "uu": ("ऊ", "ू"), "u": ("उ", "ु"), "ai": ("ऐ", "ै"), "au": ("औ", "ौ"), "ou": ("औ", "ौ"),
    "e": ("ए", "े"), "o": ("ओ", "ो"),
}  # fmt: skip
_SPELLED_UNITS = regex.compile(
    "|".join(sorted([*_SPELLED_CONSONANTS, *_SPELLED_VOWELS], key=len, reverse=True)), regex.IGNORECASE
)

_arabic = Table(
    pairs(
        "ا:a آ:a أ:a إ:a ٱ:a ء: ئ: ؤ: ب:b ت:t ث:t ج:j ح:h خ:x د:d ذ:d ر:r ز:z س:s ش:c ص:s ض:d ط:t ظ:z ع:3 غ:g ف:f ق:q "
        "ك:k ل:l م:m ن:n ه:h و:w ي:y ى:a ة:a"
    ),
    keep_others=False,
)
_typed_arabic = Table(
    pairs(
        "kh:x 7':x 5:x sh:c ch:c $:c gh:g 3':g 8:g th:t dh:d 7:h 2: ': ’: `: -: 9:q 6:t g:j p:b v:f aa:a ee:y "
        "ii:y oo:w "
        "ou:w uu:w e:a i:y o:w u:w c:k x:ks"
    )
)
_spelled_arabic = Table(
    pairs(
        "kh:خ 7':خ 5:خ sh:ش ch:ش gh:غ 3':غ 8:غ th:ث dh:ذ 7:ح 3:ع 2:ء 9:ق 6:ط aa:ا ee:ي ii:ي oo:و ou:و uu:و b:ب "
        "t:ت j:ج g:ج "
        "d:د r:ر z:ز s:س f:ف q:ق k:ك l:ل m:م n:ن h:ه w:و y:ي p:ب v:ف c:ك x:كس a: e: i: o: u: ': ’: -:"
    )
)
# The l of the article takes the sound of the letter after it, and some type it so: ash-shams is al-shams.
_ARTICLE = regex.compile(r"\A[aei]?(?:l|(?P<sun>sh|th|dh|[dnrstz])(?=-(?P=sun)))-")
_ARABIC_ARTICLE = "ال"


_LOOSE_ARTICLE = regex.compile(r"\b(?P<before>f|b|l)?(?:[aei]l) (?=[a-z0-9])", regex.IGNORECASE)


def _native_hindi(word: str) -> tuple[str, ...]:
    sounds: list[str] = []
    pending = False  # whether the last consonant still has its own a
    for letter in word:
        if letter in _DEVANAGARI_CONSONANTS:
            sounds.append("a" * pending + _DEVANAGARI_CONSONANTS[letter])
            pending = True
        elif letter in _DEVANAGARI_VOWELS:
            sounds.append(_DEVANAGARI_VOWELS[letter])
            pending = False
        elif letter == _VIRAMA:
            pending = False
        elif letter in _NASAL:
            sounds.append("a" * pending + "n")
            pending = False
        elif letter == _NUKTA and sounds and sounds[-1].endswith(("d", "dh")):
            sounds[-1] = sounds[-1].replace("d", "r")  # ड़ is typed as it sounds, or as it looks
    form = _levelled_hindi("".join(sounds))
    forms = [form]
    if word[-1:] in _NASAL:
        forms.append(form.removesuffix("n"))
    if _NUKTA in word:
        forms.extend(_native_hindi(word.replace(_NUKTA, "")))
    return tuple(dict.fromkeys(forms))


def _typed_hindi_forms(word: str) -> tuple[str, ...]:
    return (_levelled_hindi(_typed_hindi(word)),)


def _levelled_hindi(form: str) -> str:
    return once(_LABIAL.sub("n", form))


def _hindi_word_key(form: str) -> str:
    """Consonants without their breath, and vowels but a, of which front and back ones are not told apart."""
    return once(_HINDI_KEY(_hindi_piece_key(_BREATH.sub("", form))))


def _hindi_piece_key(form: str) -> str:
    """Without the a that typists set or leave out, except at either end."""
    final = "a" if len(form) > 1 and form.endswith("a") else ""
    return once(form[:1] + form[1:].replace("a", "")) + final


def _spelled_as_hindi(word: str) -> str:
    written, after_consonant = [], False
    units = _SPELLED_UNITS.findall(word)
    for place, unit in enumerate(units):
        if unit in _SPELLED_CONSONANTS:
            # Two consonants in a row share the syllable, except where the first ends it.
            written.append(_SPELLED_CONSONANTS[unit])
            after_consonant = True
        else:
            independent, sign = _SPELLED_VOWELS[unit]
            last = place == len(units) - 1 and unit == "a"
            written.append(("ा" if last else sign) if after_consonant else independent)
            after_consonant = False
    return "".join(written)


def _native_arabic(word: str) -> tuple[str, ...]:
    form = _levelled_arabic(_arabic(word))
    # The ending ة is heard as t before another noun: kalimat al-murur.
    return (form, f"{form}t") if word.endswith("ة") else (form,)


def _typed_arabic_forms(word: str) -> tuple[str, ...]:
    form = _levelled_arabic(_typed_arabic(_ARTICLE.sub("al", word)))
    # z may stand for ذ or ظ, g for ج or غ, and 9 for ق or ص.
    forms = [form]
    if "9" in word:
        forms.append(_levelled_arabic(_typed_arabic(word.replace("9", "s"))))
    return tuple(dict.fromkeys(forms))


def _levelled_arabic(form: str) -> str:
    return once(_LAST_H.sub("", form))


def _arabic_key(form: str) -> str:
    consonants = _SOFT.sub("", form)
    return once(consonants.replace("z", "d").replace("q", "k"))


def _article_joined(question: str) -> str:
    """`el maktab` as `al-maktab`, `fel maktab` as `fi al-maktab`."""
    return _LOOSE_ARTICLE.sub(lambda found: {"f": "fi ", "b": "b", "l": "l"}.get(found["before"], "") + "al-", question)


def _spelled_as_arabic(word: str) -> str:
    article = _ARTICLE.match(word)
    stem = word[article.end() :] if article else word
    first = "ا" if stem[:1] in tuple("aeiou") else ""
    last = {"a": "ة", "e": "ة", "i": "ي", "y": "", "o": "و", "u": "و"}.get(stem[-1:], "") if len(stem) > 1 else ""
    return (_ARABIC_ARTICLE if article else "") + first + _spelled_arabic(stem) + last


HINDI = Spelling(
    "hi",
    letters=regex.compile(r"[\p{Devanagari}--[०-९।॥]]+", regex.V1),
    native=_native_hindi,
    typed=_typed_hindi_forms,
    word_key=_hindi_word_key,
    piece_key=_hindi_piece_key,
    spelled=_spelled_as_hindi,
)
ARABIC = Spelling(
    "ar",
    # Persian and Urdu share the script; their own letters keep their words out.
    letters=regex.compile(r"[ء-غف-يًٌٍَُِّْ]+"),
    native=_native_arabic,
    typed=_typed_arabic_forms,
    word_key=_arabic_key,
    piece_key=_arabic_key,
    spelled=_spelled_as_arabic,
    prepared=_article_joined,
    article=(_ARTICLE, _ARABIC_ARTICLE),
)
