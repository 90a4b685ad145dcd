from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rag.errors import InputError
from rag.language import primary
from rag.language_policy import LanguagePolicy, Target
from rag.types import Language

GERMAN = "Wo finde ich die Öffnungszeiten der Bibliothek?"
TRADITIONAL = "圖書館的開放時間在哪裡可以查到？"
SIMPLIFIED = "图书馆的开放时间在哪里可以查到？"
UNTOLD = ["42?", "Kubernetes", "ok", "https://example.org", "PostgreSQL 17", "🙂", ""]
MATCH = LanguagePolicy()


@pytest.fixture(autouse=True)
def no_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)


def test_a_question_is_answered_in_its_language_whatever_else_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "it_IT.UTF-8")
    target = LanguagePolicy(fallback="es").decide(GERMAN, conversation="fr", documents_language="en")
    assert (target.language, target.second_language, target.asked_in.code) == ("de", None, "de")


@pytest.mark.parametrize(
    "policy", [MATCH, LanguagePolicy("pin", pinned="es"), LanguagePolicy("bilingual", second="es")]
)
def test_the_language_that_is_asked_for_with_the_question_wins(policy: LanguagePolicy) -> None:
    assert policy.decide(GERMAN, requested="PT_br", conversation="fr").language == "pt-BR"


@pytest.mark.parametrize("question", UNTOLD)
def test_a_question_that_does_not_tell_goes_down_the_line(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decided = [MATCH.decide(question).language]
    monkeypatch.setenv("LANG", "it_IT.UTF-8")
    decided.append(MATCH.decide(question).language)
    decided.append(LanguagePolicy(fallback="es").decide(question).language)
    decided.append(LanguagePolicy(fallback="es").decide(question, conversation="fr").language)
    decided.append(LanguagePolicy(fallback="es").decide(question, conversation="fr", requested="de").language)
    assert decided == ["en", "it-IT", "es", "fr", "de"]


@pytest.mark.parametrize("value", ["C", "C.UTF-8", "POSIX", "nonsense"])
def test_a_process_without_a_language_speaks_english(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", value)
    assert MATCH.decide("42?").language == "en"


@pytest.mark.parametrize("question", ["Und?", "Mais?", "Ja!", "Why?"])
def test_a_question_of_a_few_letters_stays_in_the_language_of_the_conversation(question: str) -> None:
    assert LanguagePolicy(fallback="es").decide(question, conversation="de").language == "de"


@pytest.mark.parametrize(
    ("question", "language"),
    [("Wie geht das?", "de"), ("¿Por qué?", "es"), ("なぜ?", "ja"), ("Pourquoi pas ?", "fr"), ("Γιατί;", "el")],
)
def test_a_short_question_that_tells_changes_the_language_of_the_conversation(question: str, language: str) -> None:
    assert MATCH.decide(question, conversation="nl").language == language


def test_a_question_that_the_letters_do_not_settle_stays_in_the_language_of_the_conversation() -> None:
    question = "Колико често се чисти транспортна трака"
    assert MATCH.decide(question, conversation="sr-Cyrl").language == "sr-Cyrl"
    assert LanguagePolicy(fallback="sr").decide(question, conversation="de").language == "sr"


def test_equal_circumstances_give_equal_languages() -> None:
    assert {MATCH.decide("5G?", conversation="fr") for _ in range(20)} == {Target("fr", None, Language("und", 0.0))}


@pytest.mark.parametrize("question", ["料金は?", "ราคา?", "Τιμή;", "가격은?"])
def test_a_script_of_one_language_tells_even_in_one_word(question: str) -> None:
    target = LanguagePolicy(fallback="es").decide(question, conversation="fr")
    assert target.language == target.asked_in.code != "es"


@pytest.mark.parametrize(
    ("question", "conversation", "expected"),
    [
        ("гарантия", "de", {"ru", "bg", "uk"}),
        ("гарантия", "uk", {"uk"}),
        ("مرحبا", "en", {"ar", "fa", "ur"}),
        ("مرحبا", "ur", {"ur"}),
    ],
)
def test_nothing_is_taken_that_cannot_be_written_as_the_question_is(
    question: str, conversation: str, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    assert LanguagePolicy(fallback="de").decide(question, conversation=conversation).language in expected


@pytest.mark.parametrize(
    ("question", "language"),
    [
        (TRADITIONAL, "zh-Hant"),
        (SIMPLIFIED, "zh-Hans"),
        ("他在日本住了十年。", "zh"),
        ("Где се налази библиотека и кад ради?", "sr-Cyrl"),
        ("Gde se nalazi biblioteka i kada radi?", "sr-Latn"),
    ],
)
def test_the_answer_is_in_the_script_of_the_question(question: str, language: str) -> None:
    target = MATCH.decide(question)
    assert (target.language, target.asked_in.code) == (language, language.partition("-")[0])


def test_a_question_without_characters_that_differ_is_answered_in_the_script_of_its_asker() -> None:
    question = "他在日本住了十年。"
    assert MATCH.decide(question, conversation="zh-Hant").language == "zh-Hant"
    assert LanguagePolicy(fallback="zh-TW").decide(question).language == "zh-TW"
    assert LanguagePolicy(fallback="zh-TW").decide(question, conversation="ja").language == "zh-TW"
    assert LanguagePolicy(fallback="zh-TW").decide(SIMPLIFIED).language == "zh-Hans"


@pytest.mark.parametrize("question", [GERMAN, TRADITIONAL, *UNTOLD])
def test_a_pinned_language_is_that_of_every_answer(question: str) -> None:
    target = LanguagePolicy("pin", pinned="pt_br", fallback="es").decide(question, conversation="fr")
    assert (target.language, target.second_language) == ("pt-BR", None)


@pytest.mark.parametrize(
    ("second", "documents", "expected"),
    [(None, "en", "en"), ("fr", "en", "fr"), (None, None, None), (None, "und", None), (None, "de", None),
     ("de-AT", "en", None), ("zh_hant", None, "zh-Hant")],
)  # fmt: skip
def test_two_languages_are_the_question_s_and_the_second_or_the_documents(
    second: str | None, documents: str | None, expected: str | None
) -> None:
    target = LanguagePolicy("bilingual", second=second).decide(GERMAN, documents_language=documents)
    assert (target.language, target.second_language) == ("de", expected)


def test_two_scripts_of_one_language_are_two_texts() -> None:
    policy = LanguagePolicy("bilingual", second="zh-Hans")
    assert policy.decide(TRADITIONAL).second_language == "zh-Hans"
    assert policy.decide(SIMPLIFIED).second_language is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "guess"}, "'guess' is no language mode: choose one of match, pin, bilingual"),
        ({"mode": "pin"}, "the language mode 'pin' has no language"),
        ({"mode": "pin", "pinned": "klingon"}, "'klingon' is not a language tag"),
        ({"mode": "bilingual", "second": "klingon"}, "'klingon' is not a language tag"),
        ({"fallback": "klingon"}, "'klingon' is not a language tag"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_when_it_is_made(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        LanguagePolicy(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"requested": "klingon"}, {"conversation": "klingon"}])
def test_a_tag_that_is_none_is_refused_with_the_question(given: dict[str, str]) -> None:
    with pytest.raises(InputError, match="klingon"):
        MATCH.decide("42?", **given)


def test_questions_of_xquad_are_answered_in_their_language(data: Path) -> None:
    lines = (data / "xquad" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines][::5]
    policy = LanguagePolicy(fallback="eo")
    right = [primary(policy.decide(each["text"]).language) == each["lang"] for each in questions]
    assert sum(right) / len(right) >= 0.98
    chinese = [policy.decide(each["text"]).language for each in questions if each["lang"] == "zh"]
    assert "zh-Hant" not in chinese
    assert chinese.count("zh-Hans") / len(chinese) >= 0.95
