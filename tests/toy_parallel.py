"""A toy corpus of translations: three languages, word for word, enough for a toy student to learn in seconds."""

from __future__ import annotations

import gzip
from itertools import product
from pathlib import Path

import numpy as np

_WHO = {
    "en": "the teacher|the doctor|my brother|our neighbour|the captain|a farmer|the queen|her lawyer|the baker|"
    "a painter",
    "de": "die Lehrerin|der Arzt|mein Bruder|unser Nachbar|der Kapitän|ein Bauer|die Königin|ihr Anwalt|der Bäcker|"
    "ein Maler",
    "es": "la maestra|el médico|mi hermano|nuestro vecino|el capitán|un granjero|la reina|su abogado|el panadero|"
    "un pintor",
}
_DOES = {
    "en": "buys|sells|washes|finds|loses|paints|hides|repairs|remembers|photographs",
    "de": "kauft|verkauft|wäscht|findet|verliert|bemalt|versteckt|repariert|erinnert|fotografiert",
    "es": "compra|vende|lava|encuentra|pierde|pinta|esconde|repara|recuerda|fotografía",
}
_WHAT = {
    "en": "a red bicycle|the old ship|two green apples|the broken window|a heavy suitcase|the white horse|"
    "an expensive watch|the kitchen table",
    "de": "ein rotes Fahrrad|das alte Schiff|zwei grüne Äpfel|das kaputte Fenster|einen schweren Koffer|"
    "das weiße Pferd|eine teure Uhr|den Küchentisch",
    "es": "una bicicleta roja|el barco viejo|dos manzanas verdes|la ventana rota|una maleta pesada|el caballo blanco|"
    "un reloj caro|la mesa de la cocina",
}

RECIPE = """
checkpoint = 30
sparse_weight = 0.5
[data]
held_out = 60
[student]
vocabulary = 180
hidden = 64
layers = 2
heads = 2
intermediate = 128
window = 64
[teacher]
vocabulary = 0.1
vocabulary_texts = 200
[static]
steps = 90
rate = 0.03
batch = 128
[transformer]
steps = 60
rate = 1e-3
batch = 2000
[heads]
steps = 60
rate = 1e-3
batch = 24
"""
"""A run of a few seconds."""


def pairs(language: str) -> list[tuple[str, str]]:
    """800 sentences in English and that language, in a mixed order that is always the same."""
    parts = zip(
        *([table[each].split("|") for table in (_WHO, _DOES, _WHAT)] for each in ("en", language)),
        strict=True,
    )
    columns = [list(zip(*part, strict=True)) for part in parts]
    sentences = [
        (" ".join(word[0] for word in chosen), " ".join(word[1] for word in chosen)) for chosen in product(*columns)
    ]
    order = np.random.default_rng(7).permutation(len(sentences))
    return [(_written(sentences[place][0]), _written(sentences[place][1])) for place in order]


def write_parallel(folder: Path, *languages: str) -> Path:
    """A folder of `en-xx.tsv.gz`."""
    folder.mkdir()
    for language in languages:
        with gzip.open(folder / f"en-{language}.tsv.gz", "wt", encoding="utf-8") as stream:
            stream.writelines(f"{english}\t{other}\ttoy\n" for english, other in pairs(language))
    return folder


def _written(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
