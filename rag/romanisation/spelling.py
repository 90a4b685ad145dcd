"""How one language is typed in Latin letters: the rules that make its own spelling and the typed one comparable."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import regex

_REPEATED = regex.compile(r"(.)\1+")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The rules of one language.

    A sound form is what remains of a word when differences are levelled that typists make at will: `kh`, `x` and `h`
    for one letter, long vowels once or twice. The two sides meet in it: what is typed, and what stands in the script.

    Attributes:
        language: BCP-47 primary tag.
        letters: matches a piece of a vocabulary that is written in the language's script and letters.
        native: word in its own script → its sound forms, the usual one first.
        typed: word in Latin letters, lower case → its sound forms, the usual one first.
        word_key: sound form → the part of it that typists agree on; whole words are looked up by it.
        piece_key: the same for pieces of a word, of which the typed form is not known exactly.
        spelled: typed word → script letter by letter, for words that no vocabulary holds; None where there is no way.
        prepared: the question with its words divided as the script divides them.
        surcharge: nats by which a piece is less likely than its frequency says.
        article: what a word may begin with that is written together with it, and how; none by default.
        unspaced: whether the script has no spaces, so that words of the question are read together.
    """

    language: str
    letters: regex.Pattern[str]
    native: Callable[[str], tuple[str, ...]]
    typed: Callable[[str], tuple[str, ...]]
    word_key: Callable[[str], str]
    piece_key: Callable[[str], str]
    spelled: Callable[[str], str] | None
    prepared: Callable[[str], str] = str
    surcharge: Callable[[str], float] = lambda _: 0.0
    article: tuple[regex.Pattern[str], str] | None = None
    unspaced: bool = False


class Table:
    """Replaces the longest key at every place, from left to right; what is no key stays, or goes."""

    def __init__(self, pairs: Mapping[str, str], *, keep_others: bool = True) -> None:
        """Takes the replacements.

        Args:
            keep_others: whether characters that are no key stay.
        """
        self._pairs = dict(pairs)
        longest_first = sorted(self._pairs, key=len, reverse=True)
        self._pattern = regex.compile("|".join(map(regex.escape, longest_first)) + r"|(?s:.)")
        self._keep_others = keep_others

    def __call__(self, text: str) -> str:
        """`text` with every key replaced."""
        return self._pattern.sub(lambda found: self._pairs.get(found[0], found[0] if self._keep_others else ""), text)


def pairs(text: str) -> dict[str, str]:
    """`"kh:x sh:s"` as a mapping; `ъ:` is replaced by nothing."""
    return {key: value for key, _, value in (item.partition(":") for item in text.split())}


def without_accents(text: str) -> str:
    """Lower case without combining marks: `Ώρα` is `ωρα`."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def once(text: str) -> str:
    """Every run of one character once: `allazw` is `alazw`."""
    return _REPEATED.sub(r"\1", text)
