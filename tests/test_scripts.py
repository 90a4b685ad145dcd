from __future__ import annotations

import pytest

from rag.scripts import can_be_written_in, main_scripts, script_variant, stated_script, without_other_scripts


@pytest.mark.parametrize(
    ("text", "tag", "expected"),
    [
        ("圖書館的開放時間在哪裡可以查到？", "zh", "zh-Hant"),
        ("图书馆的开放时间在哪里可以查到？", "zh", "zh-Hans"),
        ("為什麼他穿着西裝？", "zh", "zh-Hant"),
        ("为什么他穿着西装？", "zh", "zh-Hans"),
        ("中文", "zh", "zh"),
        ("他在日本。", "zh", "zh"),
        ("这本书的作者張愛玲说过，出版社在上海。", "zh", "zh-Hans"),
        ("Где се налази библиотека?", "sr", "sr-Cyrl"),
        ("Gde se nalazi biblioteka?", "sr", "sr-Latn"),
        ("Да ли Docker ради?", "sr", "sr-Cyrl"),
        ("42?", "sr", "sr"),
        ("圖書館", "zh-Hans", "zh-Hans"),
        ("圖書館", "zh-CN", "zh-CN"),
        ("圖書館", "ja", "ja"),
        ("Gde?", "hr", "hr"),
    ],
)
def test_the_script_of_a_text_goes_into_its_tag(text: str, tag: str, expected: str) -> None:
    assert script_variant(text, tag) == expected


def test_equal_evidence_for_both_scripts_decides_nothing() -> None:
    assert script_variant("书書", "zh") == "zh"


@pytest.mark.parametrize(
    ("tag", "script"),
    [("zh-TW", "Hant"), ("zh-HK", "Hant"), ("zh-CN", "Hans"), ("zh-Hant", "Hant"), ("zh-Hans-SG", "Hans"), ("zh", None),
     ("sr-Latn", "Latn"), ("sr-Cyrl-ME", "Cyrl"), ("sr-RS", None), ("sr", None), ("ja-JP", None), ("uz-Latn", None)],
)  # fmt: skip
def test_a_tag_states_the_script_of_chinese_and_serbian(tag: str, script: str | None) -> None:
    assert stated_script(tag) == script


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Мы используем Kubernetes и Docker уже три года", {"Cyrillic"}),
        ("ボルトを締める", {"Kana"}),
        ("这家东京的公司出版了许多漫画の书", {"Han"}),
        ("12 34", set()),
        ("ᎣᏏᏲ", set()),
    ],
)
def test_the_main_script_is_that_of_most_words(text: str, expected: set[str]) -> None:
    assert main_scripts(text) == expected


def test_words_of_other_scripts_go_and_han_stays_beside_kana() -> None:
    assert without_other_scripts("Прометей использует PromQL везде").split() == ["Прометей", "использует", "везде"]
    assert without_other_scripts("漢字とかなと Latin") == "漢字とかなと  "
    assert without_other_scripts("123") == "123"


@pytest.mark.parametrize(
    ("language", "script", "possible"),
    [("sr", "Latin", True), ("sr", "Cyrillic", True), ("hr", "Cyrillic", False), ("de", "Latin", True),
     ("ru", "Latin", False), ("ja", "Han", True), ("ko", "Han", False), ("eo", "Latin", True)],
)  # fmt: skip
def test_a_language_is_written_in_its_scripts_alone(language: str, script: str, possible: bool) -> None:
    assert can_be_written_in(language, frozenset({script})) is possible
