from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import FrozenInstanceError, asdict, fields
from importlib.resources import files

import pytest

from rag.language import detect
from rag.locales import Locale, available, load
from rag.prompt import NO_ANSWER

TAGS = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "uk", "vi", "zh")
PROSE = ("system", "insist", "no_language_model", "no_answer")


def _sentences(tag: str) -> set[str]:
    texts = asdict(load(tag))
    lines = [line for key in (*PROSE, "incomplete") for line in re.split(r"\n|(?<=[.!?]) |(?<=[。।])", texts[key])]
    return {line.strip("- ") for line in lines if line.strip("- ")}


def test_there_are_eighteen_languages() -> None:
    assert available() == TAGS


@pytest.mark.parametrize("tag", TAGS)
def test_every_file_has_exactly_the_keys_that_are_read_and_none_is_empty(tag: str) -> None:
    texts = tomllib.loads(files("rag.locales").joinpath(f"{tag}.toml").read_text(encoding="utf-8"))
    assert set(texts) == {field.name for field in fields(Locale)} - {"tag"}
    assert all(text.strip() for text in texts.values())


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("key", PROSE)
def test_every_text_is_in_its_language(tag: str, key: str) -> None:
    assert detect(getattr(load(tag), key)).code == tag


@pytest.mark.parametrize("tag", TAGS)
def test_the_instruction_says_how_to_cite_and_how_to_refuse(tag: str) -> None:
    system = load(tag).system
    assert system.count(NO_ANSWER) == 1
    assert "[1]" in system
    assert "[2][3]" in system
    assert len(system.splitlines()) == 7


@pytest.mark.parametrize("tag", TAGS)
def test_labels_are_single_lines_and_distinct_where_they_stand_together(tag: str) -> None:
    texts = asdict(load(tag))
    labels = [text for key, text in texts.items() if key.endswith("_label")]
    assert all(text == text.strip() and "\n" not in text and ":" not in text for text in labels)
    header = [texts[f"{key}_label"] for key in ("source", "title", "section", "page", "language")]
    assert len(set(header)) == len(header)
    assert "\n" not in texts["insist"]


def test_no_two_languages_share_a_sentence() -> None:
    for one, other in itertools.combinations(TAGS, 2):
        assert not _sentences(one) & _sentences(other), (one, other)


@pytest.mark.parametrize("tag", TAGS)
def test_the_note_about_a_missing_model_names_the_setting(tag: str) -> None:
    assert "RAG_LLM__MODEL" in load(tag).no_language_model


@pytest.mark.parametrize(("tag", "own"), [("de-AT", "de"), ("zh-Hant-TW", "zh"), ("en-GB", "en"), ("PT_br", "pt")])
def test_a_variety_is_spoken_to_in_its_language(tag: str, own: str) -> None:
    assert load(tag) == load(own)


@pytest.mark.parametrize(("tag", "called"), [("sv", "Swedish"), ("th", "Thai"), ("sr-Latn", "Serbian (Latin)")])
def test_any_other_language_is_asked_for_in_english_by_its_name(tag: str, called: str) -> None:
    locale = load(tag)
    assert locale.tag == "en"
    assert f"answer in {called}" in locale.system
    assert locale.insist.count(called) == 2
    assert locale.no_answer == load("en").no_answer


def test_no_placeholder_is_left() -> None:
    assert not [text for tag in (*TAGS, "sv") for text in asdict(load(tag)).values() if "{" in text]


def test_a_locale_is_read_once_and_cannot_be_changed() -> None:
    assert load("de") is load("de")
    with pytest.raises(FrozenInstanceError):
        load("de").insist = ""  # type: ignore[misc]
