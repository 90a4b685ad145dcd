"""What the program says in the user's language: instructions to the language model, labels, and notes to the reader.

One TOML file a language, all with the same keys (the fields of `Locale`). English serves every other language, with
that language's name filled in.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from rag.language import name, primary

FALLBACK: Final = "en"


@dataclass(frozen=True, slots=True)
class Locale:
    """The texts of one language.

    Attributes:
        tag: BCP-47 tag of the language the texts are in: `en` for a language that has no file of its own.
        system: the whole instruction to the language model, naming the language to answer in.
        insist: one line to add when a first answer came in the wrong language.
        no_language_model: for the reader: why there are sentences of the sources instead of an answer.
        no_answer: for the reader: the documents do not hold the answer.
        incomplete: for the reader: the answer broke off.
    """

    tag: str
    system: str
    insist: str
    question_label: str
    passages_label: str
    passage_label: str
    source_label: str
    title_label: str
    section_label: str
    page_label: str
    language_label: str
    answer_language_label: str
    no_language_model: str
    no_answer: str
    incomplete: str


@cache
def available() -> tuple[str, ...]:
    """Tags of the languages that have a file, sorted."""
    names = (each.name for each in files(__name__).iterdir())
    return tuple(sorted(each.removesuffix(".toml") for each in names if each.endswith(".toml")))


@cache
def load(tag: str) -> Locale:
    """The texts for a reader of `tag`, a BCP-47 tag: of its language subtag (`de` for `de-AT`), else English."""
    own = primary(tag)
    found = own if own in available() else FALLBACK
    texts = tomllib.loads(files(__name__).joinpath(f"{found}.toml").read_text(encoding="utf-8"))
    if found == FALLBACK:
        # Only here is the language a placeholder: inflection forbids it in most of the others.
        wanted = FALLBACK if own == FALLBACK else tag
        called = name(wanted, FALLBACK)
        texts = {key: text.replace("{language}", called) for key, text in texts.items()}
    return Locale(tag=found, **{key: text.strip() for key, text in texts.items()})
