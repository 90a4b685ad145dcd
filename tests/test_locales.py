from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import FrozenInstanceError, asdict
from importlib.resources import files
from pathlib import Path

import pytest

from rag.errors import InputError
from rag.language import detect, primary
from rag.locales import KEYS, SECOND, available, load
from rag.prompt import NO_ANSWER
from rag.scripts import script_variant

TAGS = (
    "ar",
    "de",
    "en",
    "es",
    "fr",
    "hi",
    "id",
    "it",
    "ja",
    "ko",
    "nl",
    "pl",
    "pt",
    "ru",
    "tr",
    "uk",
    "vi",
    "zh",
    "zh-Hant",
)
NOTES = ("no_answer", "incomplete", "wrong_language", "restarted", "unsupported", "gives_orders")
PROSE = ("system", "insist", "bilingual", "no_language_model", *NOTES)


def _sentences(tag: str) -> set[str]:
    texts = asdict(load(tag))
    lines = [line for key in PROSE for line in re.split(r"\n|(?<=[.!?]) |(?<=[。।])", texts[key])]
    return {line.strip("- ") for line in lines if line.strip("- ")}


def test_there_are_eighteen_languages_and_both_scripts_of_chinese() -> None:
    assert available() == TAGS
    assert (load("zh-TW").tag, load("zh-Hant-HK").tag, load("zh-CN").tag, load("zh").tag) == (
        "zh-Hant",
        "zh-Hant",
        "zh",
        "zh",
    )
    for text in asdict(load("zh-Hant")).values():
        assert script_variant(text, "zh") in {"zh-Hant", "zh"}


@pytest.mark.parametrize("tag", TAGS)
def test_every_file_has_exactly_the_keys_that_are_read_and_none_is_empty(tag: str) -> None:
    texts = tomllib.loads(files("rag.locales").joinpath(f"{tag}.toml").read_text(encoding="utf-8"))
    assert set(texts) == set(KEYS)
    assert all(text.strip() for text in texts.values())


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("key", ["system", "insist", "no_language_model"])
def test_every_long_text_is_in_its_language(tag: str, key: str) -> None:
    assert detect(getattr(load(tag), key)).code == primary(tag)


@pytest.mark.parametrize("tag", TAGS)
def test_the_notes_to_the_reader_are_in_their_language(tag: str) -> None:
    assert detect(" ".join(getattr(load(tag), key) for key in NOTES)).code == primary(tag)
    assert all("\n" not in getattr(load(tag), key) for key in NOTES)


@pytest.mark.parametrize("tag", TAGS)
def test_notes_that_something_follows_end_in_a_colon(tag: str) -> None:
    for key in NOTES:
        assert getattr(load(tag), key).endswith((":", "：")) == (key in {"unsupported", "gives_orders"})


@pytest.mark.parametrize("tag", TAGS)
def test_the_instruction_for_two_languages_says_how_to_part_them(tag: str) -> None:
    text = load(tag).bilingual
    assert text.count(SECOND) == text.count("---") == 1
    assert "{" not in text.replace(SECOND, "")


@pytest.mark.parametrize("tag", TAGS)
def test_the_instruction_says_how_to_cite_and_how_to_refuse(tag: str) -> None:
    system = load(tag).system
    assert system.count(NO_ANSWER) == 1
    assert len(re.findall(r'\[2: "[^"\]]+"\]', system)) == 1
    assert len(re.findall(r'\[1: "[^"\]]+"\]\[3: "[^"\]]+"\]', system)) == 1
    assert len(system.splitlines()) == 7


@pytest.mark.parametrize("tag", TAGS)
def test_labels_are_single_lines_and_distinct_where_they_stand_together(tag: str) -> None:
    texts = asdict(load(tag))
    labels = [text for key, text in texts.items() if key.endswith("_label")]
    assert all(text == text.strip() and "\n" not in text and ":" not in text for text in labels)
    header = [texts[f"{key}_label"] for key in ("source", "title", "section", "date", "page", "language")]
    assert len(set(header)) == len(header)
    assert "\n" not in texts["insist"]


def test_no_two_languages_share_a_sentence() -> None:
    for one, other in itertools.combinations(TAGS, 2):
        assert not _sentences(one) & _sentences(other), (one, other)


@pytest.mark.parametrize("tag", TAGS)
def test_the_note_about_a_missing_model_names_the_setting(tag: str) -> None:
    assert "RAG_LLM__MODEL" in load(tag).no_language_model


@pytest.mark.parametrize(
    ("tag", "own"), [("de-AT", "de"), ("zh-Hant-TW", "zh-Hant"), ("zh-SG", "zh"), ("en-GB", "en"), ("PT_br", "pt")]
)
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
    texts = [text.replace(SECOND, "") for tag in (*TAGS, "sv") for text in asdict(load(tag)).values()]
    assert not [text for text in texts if "{" in text]


def test_a_locale_is_read_once_and_cannot_be_changed() -> None:
    assert load("de") is load("de")
    with pytest.raises(FrozenInstanceError):
        load("de").insist = ""  # type: ignore[misc]


def test_what_a_user_writes_replaces_ours_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "de.toml").write_text('no_answer = "Dazu steht hier nichts."\nsystem = "Antworte auf {language}."')
    locale = load("de-AT", tmp_path)
    assert (locale.tag, locale.no_answer) == ("de", "Dazu steht hier nichts.")
    assert locale.system == "Antworte auf Österreichisches Deutsch."
    assert locale.insist == load("de").insist
    assert load("fr", tmp_path) == load("fr")


def test_a_file_of_the_very_tag_goes_before_one_of_the_language(tmp_path: Path) -> None:
    (tmp_path / "pt.toml").write_text('no_answer = "pt"\nincomplete = "pt"')
    (tmp_path / "pt-BR.toml").write_text('no_answer = "pt-BR"')
    assert (load("pt-BR", tmp_path).no_answer, load("pt-BR", tmp_path).incomplete) == ("pt-BR", "pt")
    assert load("pt-PT", tmp_path).no_answer == "pt"


def test_a_user_may_bring_a_language_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "sv.toml").write_text('system = "Svara på {language}."')
    locale = load("sv", tmp_path)
    assert (locale.tag, locale.system) == ("sv", "Svara på svenska.")
    assert locale.no_answer == load("en").no_answer
    assert load("fi", tmp_path) == load("fi")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("de.toml", "system = ", "cannot be read as TOML"),
        ("de.toml", 'systm = "x"', "'systm' is no text of a template"),
        ("de.toml", "system = 3", "system must be a text"),
        ("de.toml", 'system = " "', "system must be a text"),
        ("de.toml", 'system = "{passages}"', "system has the placeholder {passages}"),
        ("de.toml", 'insist = "{second}"', "insist has the placeholder {second}"),
        ("de.toml", 'bilingual = "zweimal"', "write {second}"),
        ("de.toml", 'page_label = "Seite:"', "one line without a colon"),
        ("deutsch-und-so.toml", 'insist = "x"', "named after its language"),
    ],
)
def test_a_template_that_cannot_be_used_is_named_with_its_key(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(said)) as raised:
        load("de", tmp_path)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder of templates"):
        load("de", tmp_path / "none")
