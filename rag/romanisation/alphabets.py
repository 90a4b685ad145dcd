"""Russian, Ukrainian and Greek in Latin letters.

Typists mix the passport's transliteration, the sound (`ksana`) and the shape of letters (`8` for θ, `w` for ω, `4`
for ч); the tables below take them all.
"""

from __future__ import annotations

from itertools import product

import regex

from rag.romanisation.spelling import Spelling, Table, once, pairs, without_accents

# Sound forms write each sound with one sign: C tch, S sh, Z zh, T theta, K ks, P ps.
_CYRILLIC = pairs(
    "а:a б:b в:v г:g ґ:g д:d е:e ё:io ж:Z з:z и:i й:y к:k л:l м:m н:n о:o п:p р:r с:s т:t у:u ф:f х:h ц:ts ч:C ш:S щ:S "
    "ъ: ы:y ь: э:e ю:iu я:ia і:i ї:i є:e"
)
_TYPED_CYRILLIC = pairs(
    "shch:S sch:S shh:S sh:S ch:C tch:C zh:Z kh:h tz:ts cz:ts c:ts x:h w:v ya:ia ja:ia yu:iu ju:iu yo:io jo:io "
    "ye:e je:e yi:i j:y q:k ph:f ': ’: `: ck:k 4:C 6:S"
)
_SPELLED_RUSSIAN = pairs(
    "shch:щ sch:щ sh:ш ch:ч zh:ж kh:х ts:ц ya:я ja:я yu:ю ju:ю yo:ё jo:ё ye:е je:е iy:ий yy:ый a:а b:б v:в w:в g:г "
    "d:д e:е z:з i:и j:й k:к l:л m:м n:н o:о p:п r:р s:с t:т u:у f:ф h:х x:х c:ц y:ы q:к ':ь ’:ь 4:ч 6:ш"
)
_SPELLED_UKRAINIAN = _SPELLED_RUSSIAN | pairs("ye:є je:є yi:ї ji:ї i:і y:и h:г g:г iy:ий yy:ий yo:йо jo:йо")

_GREEK = pairs(
    "αι:e ει:i οι:i υι:i ου:u αυ:av ευ:ev ηυ:iv μπ:b ντ:d γκ:g γγ:g γχ:nh α:a β:v γ:g δ:d ε:e ζ:z η:i θ:T ι:i κ:k λ:l "
    "μ:m ν:n ξ:K ο:o π:p ρ:r σ:s ς:s τ:t υ:i φ:f χ:h ψ:P ω:o"
)
_TYPED_GREEK = pairs(
    "th:T 8:T 0:T ks:K 3:K kh:h ch:h ps:P ph:f ou:u oy:u ai:e ei:i oi:i yi:i au:av ay:av eu:ev ey:ev mp:b "
    "nt:d gk:g gg:g ng:g y:i w:o c:k j:z q:k dh:d"
)
_AMBIGUOUS_GREEK = {
    "x": ("h", "K"),
    "h": ("h", "i"),
    "u": ("u", "i"),
    "b": ("b", "v"),
    "v": ("v", "b"),
    "d": ("d", "D"),
}
_MOST_FORMS = 16
_DEVOICED = regex.compile("(?<=[ae])v(?=[TkKpstfhP]|$)")
_LAST_SIGMA = regex.compile(r"σ\b")
_SPELLED_GREEK = pairs(
    "th:θ 8:θ ks:ξ 3:ξ kh:χ ch:χ ps:ψ ph:φ ou:ου oy:ου ai:αι ei:ει oi:οι au:αυ av:αυ eu:ευ aft:αυτ eft:ευτ "
    "efx:ευχ efh:ευχ efk:ευκ efth:ευθ afth:αυθ "
    "ev:ευ mp:μπ nt:ντ "
    "gk:γκ gg:γγ ng:γγ a:α b:β c:κ d:δ e:ε f:φ g:γ h:η i:ι j:τζ k:κ l:λ m:μ n:ν o:ο p:π q:κ r:ρ s:σ t:τ u:υ "
    "v:β w:ω x:χ "
    "y:υ z:ζ"
)
# Unstressed vowels are typed as they sound, so whole words are looked up with a like o and e like i.
_VOWELS = Table(pairs("o:a e:i y:i"))
_cyrillic = Table(_CYRILLIC, keep_others=False)
_typed_cyrillic = Table(_TYPED_CYRILLIC)
_ukrainian = Table(_CYRILLIC | pairs("г:h х:h"), keep_others=False)
_greek = Table(_GREEK, keep_others=False)
_typed_greek = Table(_TYPED_GREEK)
_spelled_greek = Table(_SPELLED_GREEK)


def _native_russian(word: str) -> tuple[str, ...]:
    return (once(_cyrillic(word.lower())),)


def _typed_russian(word: str) -> tuple[str, ...]:
    forms = [once(_typed_cyrillic(word))]
    if "io" in forms[0]:
        forms.append(forms[0].replace("io", "e"))  # ё is written without its dots
    if "j" in word:
        forms.append(once(_typed_cyrillic(word.replace("j", "zh"))))
    return tuple(dict.fromkeys(forms))


def _native_ukrainian(word: str) -> tuple[str, ...]:
    return (once(_ukrainian(word.lower())),)


def _typed_ukrainian(word: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(form.replace("g", "h") for form in _typed_russian(word)))


def _native_greek(word: str) -> tuple[str, ...]:
    return (once(_devoiced(_greek(without_accents(word)))),)


def _typed_greek_forms(word: str) -> tuple[str, ...]:
    form = once(_devoiced(_typed_greek(without_accents(word))))
    # What one Latin letter may stand for is tried only as far as the number of forms stays small.
    choices, count = [], 1
    for letter in form:
        choice = _AMBIGUOUS_GREEK.get(letter, (letter,)) if count < _MOST_FORMS else (letter,)
        count *= len(choice)
        choices.append(choice)
    return tuple(dict.fromkeys("".join(letters).replace("D", "d") for letters in product(*choices)))


def _devoiced(form: str) -> str:
    """αυ and ευ sound af and ef before a voiceless consonant."""
    return _DEVOICED.sub("f", form)


def _spelled_as_greek(word: str) -> str:
    return _LAST_SIGMA.sub("ς", _spelled_greek(without_accents(word)))


def _word_key(form: str) -> str:
    return once(_VOWELS(form))


def _piece_key(form: str) -> str:
    return once(form.replace("y", "i"))


RUSSIAN = Spelling(
    "ru",
    letters=regex.compile(r"[а-яё]+"),
    native=_native_russian,
    typed=_typed_russian,
    word_key=_word_key,
    piece_key=_piece_key,
    spelled=Table(_SPELLED_RUSSIAN),
)
UKRAINIAN = Spelling(
    "uk",
    letters=regex.compile(r"[а-щьюяґєії]+"),
    native=_native_ukrainian,
    typed=_typed_ukrainian,
    word_key=_word_key,
    piece_key=_piece_key,
    spelled=Table(_SPELLED_UKRAINIAN),
)
GREEK = Spelling(
    "el",
    letters=regex.compile(r"[α-ωάέήίόύώϊϋΐΰ]+"),
    native=_native_greek,
    typed=_typed_greek_forms,
    word_key=_word_key,
    piece_key=_piece_key,
    spelled=_spelled_as_greek,
)
