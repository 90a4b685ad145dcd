"""Japanese and Chinese in Latin letters, whose own scripts write no spaces and whose characters are read by heart.

Japanese: kana are read by rule, kanji by the table kanji.txt, every combination of their readings. Chinese: pinyin
without tones, as pypinyin reads the words of the vocabulary.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import islice, product

import regex

from rag.romanisation.spelling import Spelling, Table, once, pairs, without_accents

_MOST_READINGS = 24
_LONE_KANJI, _TRADITIONAL = 3.0, 2.0
"""Surcharges in nats."""
_LONGEST_READ = 12
"""Pieces of more characters are whole phrases with more readings than are worth keeping."""

_LONGEST_OF_SEVERAL_READINGS = 3

_KANA_ROWS = {
    "": "あいうえお", "k": "かきくけこ", "g": "がぎぐげご", "s": "さしすせそ", "z": "ざじずぜぞ", "t": "たちつてと",
    "d": "だぢづでど", "n": "なにぬねの", "h": "はひふへほ", "b": "ばびぶべぼ",
    "p": "ぱぴぷぺぽ", "m": "まみむめも", "r": "らりるれろ",
}  # fmt: skip
_KANA = {
    kana: row + vowel for row, line in _KANA_ROWS.items() for kana, vowel in zip(line, "aiueo", strict=True)
} | pairs("や:ya ゆ:yu よ:yo わ:wa を:o ん:n っ: ー: ・: ゔ:bu ぢ:zi づ:zu")
_SMALL = "ゃゅょぁぃぅぇぉ"
_SMALL_SOUNDS = dict(zip(_SMALL, ("ya", "yu", "yo", "a", "i", "u", "e", "o"), strict=True))
# Hepburn to the table's own rows: shi and si, chi and ti, tsu and tu are one sound each.
_typed_japanese = Table(
    pairs(
        "sh:sy shi:si ch:ty chi:ti tch:ty tchi:ti tsu:tu j:zy ji:zi jy:zy dzu:zu du:zu fu:hu fa:hua fi:hui "
        "fe:hue fo:huo va:bua vi:bui ve:bue vo:buo vu:bu l:r wo:o -: ': ’: q:k c:k x:ks"
    )
)
_LABIAL, _LONG_E = regex.compile("m(?=[bp])"), regex.compile("e[ie]")
_BEFORE_SMALL = regex.compile("(?<=[kgsztdnhbpmr])i(?=y)")
_TONES, _HAN = regex.compile("[1-5'’]"), regex.compile(r"\p{Han}")
_LONG = regex.compile("ou|oo|oh(?![aiueoy])")
_FROM_KATAKANA = {code: code - 0x60 for code in range(0x30A1, 0x30F5)}


def _levelled_japanese(form: str) -> str:
    """Long vowels, doubled consonants and n before b, m, p as the short, single and plain ones."""
    form = _LABIAL.sub("n", _LONG.sub("o", form))
    return once(_LONG_E.sub("e", form))


def _typed_japanese_forms(word: str) -> tuple[str, ...]:
    return (_levelled_japanese(_typed_japanese(without_accents(word))),)


@cache
def _kanji() -> dict[str, tuple[str, ...]]:
    """Character → its readings in the table's own rows."""
    text = files(__package__).joinpath("kanji.txt").read_text(encoding="utf-8")
    readings: dict[str, tuple[str, ...]] = {}
    for entry in regex.split(r"[|\n]", text):
        character, *read = entry.split() or [""]
        if character:
            known = readings.get(character, ())
            readings[character] = tuple(dict.fromkeys((*known, *map(_typed_japanese, read))))
    return readings


def _native_japanese(text: str) -> tuple[str, ...]:
    """All readings of `text`, at most 24; none where a character has none in the table."""
    text = text.translate(_FROM_KATAKANA)
    if len(text) > _LONGEST_READ:
        return ()
    units: list[tuple[str, ...]] = []
    for place, character in enumerate(text):
        if character in _SMALL:
            units.append((_SMALL_SOUNDS[character],))
        elif character in _KANA:
            edge = place in (0, len(text) - 1)
            units.append(("wa", "ha") if character == "は" and edge else (_KANA[character],))
        elif character in _kanji():
            next_one = text[place + 1 : place + 2]
            read = _kanji()[character]
            # Before another character a reading that ends in tu, ku, ti may lose its end: setu + tei is settei.
            cut = (form[:-2] for form in read if len(form) > 3 and form[-2:] in ("tu", "ku", "ti"))
            units.append((*read, *cut) if next_one in _kanji() else read)
        else:
            return ()
    forms: dict[str, None] = {}
    for read in product(*units):
        joined = "".join(read)
        # A small vowel takes the place of the one before it: ki + ya is kya, hu + a is hua as it is typed.
        forms[_levelled_japanese(_BEFORE_SMALL.sub("", joined))] = None
        if len(forms) >= _MOST_READINGS:
            break
    return tuple(forms)


def _native_chinese(text: str) -> tuple[str, ...]:
    """Short words are read in every way their characters are, as pypinyin does not know them all: 调休, unlike 调查."""
    if len(text) > _LONGEST_READ:
        return ()
    if len(text) == 1 or len(text) > _LONGEST_OF_SEVERAL_READINGS:
        from pypinyin import lazy_pinyin

        forms = ["".join(lazy_pinyin(text))]
    else:
        forms = list(map("".join, islice(product(*map(_pinyin, text)), _MOST_READINGS)))
    forms += [form.replace("v", "u") for form in forms if "v" in form]
    return tuple(dict.fromkeys(forms))


@cache
def _pinyin(character: str) -> tuple[str, ...]:
    """The readings of one character without tones, the usual one first."""
    from pypinyin import Style, pinyin

    return tuple(pinyin(character, style=Style.NORMAL, heteronym=True)[0])


def _typed_chinese_forms(word: str) -> tuple[str, ...]:
    # ü is typed v or u; tones come as accents or digits.
    return (_TONES.sub("", without_accents(word.replace("ü", "v"))),)


def _japanese_surcharge(piece: str) -> float:
    """A kanji that stands alone is less likely than kana of its sound, which it has in common with fifty others."""
    return _LONE_KANJI if len(piece) == 1 and _HAN.fullmatch(piece) else 0.0


def _chinese_surcharge(piece: str) -> float:
    """Traditional characters, and Japanese ones, are the rarer way to write what pinyin stands for."""
    return 0.0 if piece == piece.encode("gb2312", "ignore").decode("gb2312") else _TRADITIONAL


def _unchanged(form: str) -> str:
    return form


JAPANESE = Spelling(
    "ja",
    letters=regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Han}ー]+"),
    native=_native_japanese,
    typed=_typed_japanese_forms,
    word_key=_unchanged,
    piece_key=_unchanged,
    spelled=None,
    surcharge=_japanese_surcharge,
    unspaced=True,
)
CHINESE = Spelling(
    "zh",
    letters=regex.compile(r"\p{Han}+"),
    native=_native_chinese,
    typed=_typed_chinese_forms,
    word_key=_unchanged,
    piece_key=_unchanged,
    spelled=None,
    surcharge=_chinese_surcharge,
    unspaced=True,
)
