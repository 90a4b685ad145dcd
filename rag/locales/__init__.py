"""What the program says in the user's language: instructions to the language model, labels, and notes to the reader.

One TOML file a language, all with the same keys (the fields of `Locale`). English serves every other language, with
that language's name filled in. A user's own files take the place of ours key by key.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from rag.errors import InputError
from rag.language import name, parse_tag, primary
from rag.scripts import stated_script

FALLBACK: Final = "en"

SECOND: Final = "{second}"
"""In `bilingual` alone: where the name of the second language goes."""

_LANGUAGE: Final = "{language}"
_PLACEHOLDER: Final = re.compile(r"\{\w*\}")


@dataclass(frozen=True, slots=True)
class Locale:
    """The texts of one language.

    Attributes:
        tag: BCP-47 tag of the language the texts are in: `en` for a language that has no file of its own.
        system: the whole instruction to the language model, naming the language to answer in.
        insist: one line to add when a first answer came in the wrong language.
        bilingual: one line to add when the answer is to be said once more in another language, whose name goes where
            `{second}` stands.
        no_language_model: for the reader: why there are sentences of the sources instead of an answer.
        no_answer: for the reader: the documents do not hold the answer.
        incomplete: for the reader: the answer broke off.
        wrong_language: for the reader: the answer may not be in the language they read.
        restarted: for the reader: the answer began anew, as it was in the wrong language.
        unsupported: for the reader, with the sentences after it: the documents hold no quote for them.
        gives_orders: for the reader, with markers after it: these documents give orders to the language model.
        machine_translated: label of a quote's translation.
    """

    tag: str
    system: str
    insist: str
    bilingual: str
    question_label: str
    passages_label: str
    passage_label: str
    source_label: str
    title_label: str
    section_label: str
    date_label: str
    page_label: str
    language_label: str
    answer_language_label: str
    no_language_model: str
    no_answer: str
    incomplete: str
    wrong_language: str
    restarted: str
    unsupported: str
    gives_orders: str
    machine_translated: str


KEYS: Final = tuple(each.name for each in fields(Locale) if each.name != "tag")
"""What a file may give."""


@cache
def available() -> tuple[str, ...]:
    """Tags of the languages that have a file, sorted."""
    names = (each.name for each in files(__name__).iterdir())
    return tuple(sorted(each.removesuffix(".toml") for each in names if each.endswith(".toml")))


@cache
def load(tag: str, folder: Path | None = None) -> Locale:
    """The texts for a reader of `tag`, a BCP-47 tag: of its language subtag (`de` for `de-AT`), else English.

    Readers of Traditional Chinese have texts of their own.

    Args:
        folder: of the user's own files, TAG.toml each. What they give replaces ours; a file of the very tag goes before
            one of its language subtag. `{language}` in a text stands for the name of the language to answer in.

    Raises:
        InputError: the folder or a file of it cannot be used.
    """
    own = primary(tag)
    written = f"{own}-{stated_script(tag)}"
    found = next((each for each in (written, own) if each in available()), FALLBACK)
    texts = tomllib.loads(files(__name__).joinpath(f"{found}.toml").read_text(encoding="utf-8"))
    spoken = found
    if folder is not None:
        theirs = _user_files(folder)
        for each in dict.fromkeys((found.lower(), own, tag.replace("_", "-").lower())):
            given = theirs.get(each, {})
            texts |= given
            # A file for a language that we have none for: it is that language's from the instruction on.
            spoken = each if "system" in given and found == FALLBACK != own else spoken
    # In most files of ours the language is no placeholder, as inflection forbids it.
    called = name(FALLBACK if own == FALLBACK else tag, spoken)
    return Locale(tag=spoken, **{key: text.replace(_LANGUAGE, called).strip() for key, text in texts.items()})


@cache
def _user_files(folder: Path) -> dict[str, dict[str, str]]:
    """Tag in lower case → the texts of that file, all files checked."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of templates: name one with files such as de.toml")
    texts: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            tag = parse_tag(path.stem)
        except InputError as error:
            raise InputError(f"{path}: a template is named after its language, such as de.toml: {error}") from error
        texts[tag.lower()] = _checked(path)
    return texts


def _checked(path: Path) -> dict[str, str]:
    try:
        texts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML: {error}") from error
    for key, text in texts.items():
        if key not in KEYS:
            raise InputError(f"{path}: {key!r} is no text of a template; there are: {', '.join(KEYS)}")
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{path}: {key} must be a text in quotation marks that is not empty, not {text!r}")
        may_hold = {_LANGUAGE, SECOND} if key == "bilingual" else {_LANGUAGE}
        for placeholder in _PLACEHOLDER.findall(text):
            if placeholder not in may_hold:
                known = " and ".join(sorted(may_hold))
                raise InputError(f"{path}: {key} has the placeholder {placeholder}; it may have {known}")
        if key == "bilingual" and SECOND not in text:
            raise InputError(f"{path}: bilingual must say where the other language's name goes: write {SECOND}")
        if key.endswith("_label") and ("\n" in text.strip() or ":" in text):
            raise InputError(f"{path}: {key} must be one line without a colon, not {text!r}")
    return texts
