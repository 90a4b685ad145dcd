from __future__ import annotations

import pytest

from rag.answer_language import are_confusable, examine, judge

ANSWERS = {
    "en": "The bolts are tightened to 24 Nm and checked again after one hundred hours [1].",
    "de": "Die Schrauben werden mit 24 Nm angezogen und nach hundert Stunden noch einmal geprüft [1].",
    "fr": "Les vis sont serrées à 24 Nm, puis contrôlées de nouveau après cent heures [1].",
    "es": "Los tornillos se aprietan a 24 Nm y se revisan de nuevo después de cien horas [1].",
    "pt": "Os parafusos são apertados com 24 Nm e verificados novamente depois de cem horas [1].",
    "it": "Le viti si serrano a 24 Nm e si ricontrollano dopo cento ore di funzionamento [1].",
    "nl": "De bouten worden met 24 Nm aangedraaid en na honderd uur opnieuw gecontroleerd [1].",
    "pl": "Śruby dokręca się momentem 24 Nm i sprawdza ponownie po stu godzinach pracy [1].",
    "ru": "Болты затягивают с моментом 24 Нм и снова проверяют через сто часов работы [1].",
    "uk": "Болти затягують із моментом 24 Нм і знову перевіряють через сто годин роботи [1].",
    "ar": "تُشدّ البراغي بعزم ٢٤ نيوتن متر ثم تُفحص مرة أخرى بعد مئة ساعة من التشغيل [١].",
    "hi": "बोल्ट 24 न्यूटन मीटर पर कसे जाते हैं और सौ घंटे बाद फिर से जाँचे जाते हैं [१]।",
    "zh": "螺栓以24牛米的扭矩拧紧，并在运行一百小时之后再次检查【1】。",
    "ja": "ボルトは24ニュートンメートルで締め付け、百時間の運転後に再び点検します【1】。",
    "ko": "볼트는 24 Nm로 조이고 백 시간 동안 작동한 뒤에 다시 점검합니다 [1].",
    "tr": "Cıvatalar 24 Nm ile sıkılır ve yüz saatlik çalışmadan sonra yeniden kontrol edilir [1].",
    "vi": "Các bu lông được siết với lực 24 Nm và được kiểm tra lại sau một trăm giờ vận hành [1].",
    "th": "ขันสลักเกลียวด้วยแรงบิดที่กำหนด แล้วตรวจสอบอีกครั้งหลังจากใช้งานหนึ่งร้อยชั่วโมง [1]",
}
PAIRS = [(tag, other) for tag in ANSWERS for other in ("en", "de", "ja", "ru") if tag != other]


@pytest.mark.parametrize("tag", ANSWERS)
def test_an_answer_in_the_right_language_passes(tag: str) -> None:
    assert judge(ANSWERS[tag], tag) == (tag, True)


@pytest.mark.parametrize(("tag", "expected"), PAIRS)
def test_an_answer_in_another_language_does_not(tag: str, expected: str) -> None:
    assert judge(ANSWERS[tag], expected) == (tag, False)


@pytest.mark.parametrize(("tag", "expected"), [("de", "de-AT"), ("es", "es-419"), ("pt", "pt-BR"), ("zh", "yue")])
def test_the_territory_of_the_expected_tag_does_not_count(tag: str, expected: str) -> None:
    assert judge(ANSWERS[tag], expected) == (tag, True)


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "24 Nm [1].", "Ja [1].", "Peter Schmidt", "`kubectl rollout restart deployment/the-name-of-it`",
     "https://example.org/die/seite/mit/der/antwort", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10", "二十四牛米", "24 ニュートン"],
)  # fmt: skip
def test_too_few_letters_say_nothing(text: str) -> None:
    assert judge(text, "en") == ("und", None)


@pytest.mark.parametrize("text", ["螺栓每百小时检查一次", "볼트를 다시 조입니다"])
def test_a_short_answer_in_syllables_says_enough(text: str) -> None:
    assert judge(text, "en")[1] is False
    assert judge(text, judge(text, "en")[0])[1] is True


@pytest.mark.parametrize(
    "quotation",
    [
        "“The bolts are tightened to 24 Nm and are checked again after one hundred hours of operation.”",
        '"The bolts are tightened to 24 Nm and are checked again after one hundred hours of operation."',
        "„The bolts are tightened to 24 Nm and are checked again after one hundred hours of operation.“",
        "«The bolts are tightened to 24 Nm and are checked again after one hundred hours of operation.»",
        "»The bolts are tightened to 24 Nm and are checked again after one hundred hours of operation.«",
        "「The bolts are tightened to 24 Nm and are checked again after one hundred hours of operation.」",
        "\n\n> The bolts are tightened to 24 Nm and are checked\n> again after one hundred hours of operation. [1]\n\n",
    ],
)
@pytest.mark.parametrize(
    ("expected", "own"), [("de", "Im Handbuch heißt es dazu: {} [1]"), ("es", "El manual dice lo siguiente: {} [1]")]
)
def test_quotations_may_be_in_the_language_of_the_document(quotation: str, expected: str, own: str) -> None:
    assert judge(own.format(quotation), expected) == (expected, True)


def test_nothing_but_a_quotation_says_nothing() -> None:
    assert judge("> The bolts are tightened to 24 Nm and checked again after an hour. [1]", "de") == (
        "und",
        None,
    )


def test_code_and_names_in_latin_letters_do_not_make_an_answer_english() -> None:
    text = "Прометей собирает метрики с помощью `prometheus --config.file=prometheus.yml --web.listen-address` [1]."
    assert judge(text, "ru") == ("ru", True)


def test_a_mixed_answer_is_what_most_of_it_is() -> None:
    english, german = ANSWERS["en"], ANSWERS["de"]
    assert judge(f"Sure, here it is. {german} {german}", "de") == ("de", True)
    assert judge(f"Gerne, hier die Antwort. {english} {english}", "de") == ("en", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Boltene strammes med 24 Nm og kontrolleres igen efter hundrede timers drift.", "no"),
        ("Boltene trekkes til med 24 Nm og kontrolleres igjen etter hundre timers drift.", "da"),
        ("Vijci se zatežu momentom od 24 Nm i ponovo provjeravaju nakon sto sati rada.", "bs"),
        ("Vijci se zatežu momentom od 24 Nm i ponovo proveravaju posle sto sati rada.", "hr"),
        ("Baut dikencangkan dengan torsi 24 Nm dan diperiksa kembali setelah seratus jam.", "ms"),
        ("Skrutky sa uťahujú momentom 24 Nm a po sto hodinách sa znovu kontrolujú.", "cs"),
    ],
)
def test_languages_that_are_taken_for_one_another_are_not_held_against_an_answer(text: str, expected: str) -> None:
    found, verdict = judge(text, expected)
    assert found != "und"
    assert verdict is not False


def test_a_russian_answer_to_a_ukrainian_is_wrong_though_belarusian_is_taken_for_russian() -> None:
    assert judge(ANSWERS["ru"], "uk") == ("ru", False)
    assert judge(ANSWERS["ru"], "be") == ("ru", None)


@pytest.mark.parametrize("expected", ["nb", "no", "nn", "da"])
def test_among_languages_that_cannot_be_told_apart_there_is_no_verdict(expected: str) -> None:
    text = "Skruene trekkes til med 24 Nm, og så må du sjekke dem på nytt etter hundre timer."
    assert judge(text, expected) == ("no", None)
    assert judge(ANSWERS["en"], expected) == ("en", False)
    assert are_confusable(expected, "no")


@pytest.mark.parametrize(
    ("one", "other", "confusable"),
    [("nb", "da", True), ("sr-Latn", "hr", True), ("id", "ms", True), ("cs", "sk", True), ("de", "en", False),
     ("zh-Hant", "ja", False), ("ru", "uk", False)],
)  # fmt: skip
def test_the_set_of_close_kin_is_stated(one: str, other: str, confusable: bool) -> None:
    assert are_confusable(one, other) is are_confusable(other, one) is confusable


SIMPLIFIED, TRADITIONAL = "此后压力应当至少保持稳定十分钟。", "此後壓力應當至少保持穩定十分鐘。"
CYRILLIC, LATIN = (
    "Где се налази библиотека и када почиње са радом у недељу?",
    "Gde se nalazi biblioteka i kada počinje sa radom u nedelju?",
)


@pytest.mark.parametrize(
    ("text", "expected", "verdict"),
    [
        (TRADITIONAL, "zh-Hant", ("zh-Hant", True)),
        (SIMPLIFIED, "zh-Hant", ("zh-Hans", False)),
        (SIMPLIFIED, "zh-TW", ("zh-Hans", False)),
        (TRADITIONAL, "zh-Hans", ("zh-Hant", False)),
        (TRADITIONAL, "zh", ("zh", True)),
        (SIMPLIFIED, "zh", ("zh", True)),
        ("他在日本住了十年以上。", "zh-Hant", ("zh", None)),
        (CYRILLIC, "sr-Cyrl", ("sr-Cyrl", True)),
        (CYRILLIC, "sr", ("sr", True)),
        (CYRILLIC, "sr-Latn", ("sr-Cyrl", False)),
    ],
)
def test_the_script_counts_where_the_expected_tag_states_one(
    text: str, expected: str, verdict: tuple[str, bool | None]
) -> None:
    assert judge(text, expected) == verdict


def test_a_serbian_answer_in_latin_letters_is_wrong_for_a_reader_of_cyrillic_alone() -> None:
    assert judge(LATIN, "sr-Cyrl")[1] is False
    assert judge(LATIN, "sr-Latn")[1] is None  # Croatian, Bosnian or Serbian


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zuständig ist das Office of the High Commissioner for Human Rights in Geneva.", "de"),
        ("El autor del libro es John Fitzgerald Kennedy, presidente de los Estados Unidos.", "es"),
        ("Le livre *The Care and Feeding of Centrifugal Pumps* est recommandé aux débutants.", "fr"),
        ("Der Vertrag (contract for work and services under civil law) ist schriftlich zu schließen.", "de"),
        ("Для наблюдения сервер использует Prometheus, Grafana, Loki, Tempo, Alertmanager и Jaeger Operator.", "ru"),
        ("监控使用 Prometheus、Grafana 和 Open Source Alert Manager，此外还可以使用别的软件。", "zh"),
        ("The book Война и мир was written by a Russian count.", "en"),
    ],
)
def test_names_titles_and_terms_do_not_count(text: str, expected: str) -> None:
    assert judge(text, expected) == (expected, True)


@pytest.mark.parametrize("expected", ["ru", "de", "ja", "en"])
@pytest.mark.parametrize(
    "names", ["Siemens AG, Schneider Electric, Rockwell Automation", "John Fitzgerald Kennedy, Lyndon Baines Johnson"]
)
def test_nothing_but_names_is_never_wrong(names: str, expected: str) -> None:
    assert judge(f"{names} [1].", expected)[1] is not False


def test_commands_with_a_few_words_about_them_are_not_wrong() -> None:
    assert judge("kubectl rollout restart deployment を実行します", "ja")[1] is not False
    assert judge("git clone и затем make build install", "ru")[1] is not False


@pytest.mark.parametrize("text", ["DIE SCHRAUBEN WERDEN MIT HUNDERT NEWTONMETER ANGEZOGEN."])
def test_an_answer_in_capitals_is_no_row_of_names(text: str) -> None:
    assert judge(text, "de") == ("de", True)
    assert judge(text, "fr") == ("de", False)


def test_of_a_language_that_the_detector_does_not_know_nothing_is_wrong() -> None:
    assert judge(ANSWERS["en"], "zu")[1] is None


@pytest.mark.parametrize(
    "unit", ["a", "A", "A ", "A, ", "a.", "“", "“”", '"', "»«", "(", "*", "[a](", "漢", "ア", "> "]
)
def test_a_run_of_anything_is_no_trap(unit: str) -> None:
    found = examine(unit * 20_000, "de")
    assert 0 <= found.confidence <= 1
    assert found.letters >= 0
