from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.checkpoint import BUNDLED
from rag.romanisation import detection
from rag.romanisation.alphabets import GREEK, RUSSIAN, UKRAINIAN
from rag.romanisation.consonants import ARABIC, HINDI
from rag.romanisation.lexicon import Lexicon, words_of
from rag.romanisation.rewriter import SPELLINGS, RomanisedQuestions
from rag.romanisation.syllables import CHINESE, JAPANESE

ALL = list(SPELLINGS)
FIXTURE = Path(__file__).parent / "fixtures" / "romanised"
TOKENIZER = BUNDLED["pocket-m3"] / "tokenizer.json"

ORDINARY = {
    "en": ["How do I reset my password?", "Where is the printer manual?", "A hen, a man and me: who has the key?"],
    "de": ["Wo ist mein Ausweis?", "Kann man den Drucker am Samstag nutzen?", "Wer hat mein Auto gesehen?"],
    "fr": ["Comment puis-je changer mon mot de passe ?", "Qui a pris la clé du bureau ?", "Je ne sais pas ou il est."],
    "es": ["Donde esta la impresora?", "A que hora me toca comer?", "Como se hace para pedir vacaciones?"],
    "it": ["Come posso cambiare la mia password?", "Chi mi sa dire che ora fa?", "Dove sono le chiavi della sala?"],
    "pt": ["Como faço para mudar a minha senha?", "Onde fica o armazem?", "De quem e a mesa que esta na sala?"],
    "tr": ["Izin icin nasil basvururum?", "Yazici nerede, kim biliyor?", "Bana bir kopya yolla."],
    "pl": ["Jak zmienic haslo do poczty?", "Kto ma klucz do sali?", "Gdzie jest moja karta?"],
    "nl": ["Hoe kan ik mijn wachtwoord wijzigen?", "Wie is die man in de hal?", "Mag ik op kantoor eten?"],
    "vi": ["Toi co the doi mat khau o dau?", "Máy in ở đâu?", "Khi nao thi toi nhan luong?"],
    "id": ["Di mana saya bisa mengganti kata sandi?", "Kapan gaji dibayar?", "Apa mata kuliah yang ada hari ini?"],
}

TYPED = {
    "hi": ["mera password kaise reset karu", "chhutti ke liye aavedan kaise kare", "office kitne baje khulta hai"],
    "ru": ["kak smenit parol ot pochty", "gde nahoditsya sklad", "chto delat' esli zabyl parol'"],
    "uk": ["yak zminyty parol vid poshty", "de znakhodytsya sklad i koly potribno prijti"],
    "el": ["pos allazo ton kodiko mou", "pws allazw ton kwdiko mou", "ti ora kleinei to grafeio"],
    "ar": ["kayfa ughayyir kalimat al-murur", "kif a8ayyer el password", "ezay a3mel reset lel password"],
    "ja": ["pasuwaado wo henkou suru houhou wa", "kaigi no yoyaku wa dou shimasu ka", "doko de insatsu dekimasu ka"],
    "zh": ["zenme xiugai mima", "ruhe lianjie wuxian wangluo", "qing wen huiyishi zai nali"],
}


@pytest.fixture(scope="module")
def rewriter() -> RomanisedQuestions:
    return RomanisedQuestions(TOKENIZER)


@pytest.mark.parametrize("language", TYPED)
def test_a_romanised_question_is_known_by_its_small_words(language):
    for question in TYPED[language]:
        found = detection.detect(question, ALL)
        assert found, question
        assert found[0].language == language, question


@pytest.mark.parametrize("language", ORDINARY)
def test_a_question_in_a_language_of_latin_letters_is_left_alone(language, rewriter):
    for question in ORDINARY[language]:
        assert rewriter.rewrite(question, ALL).texts == (), question


def test_every_question_of_the_fixture_is_known_and_no_native_form_is():
    lines = (FIXTURE / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    for question in map(json.loads, lines):
        found = detection.detect(question["romanised"], ALL)
        assert [each.language for each in found[:1]] == [question["language"]], question["romanised"]
        assert detection.detect(question["native"], ALL) == [], question["native"]


def test_two_languages_in_latin_letters_in_one_question_need_no_rewriting(rewriter):
    assert rewriter.rewrite("wo ist my invoice", ALL).texts == ()


def test_only_languages_of_the_index_are_tried(rewriter):
    question = "gde nahoditsya sklad"
    assert rewriter.rewrite(question, ["de", "hi"]).texts == ()
    assert rewriter.rewrite(question, []).texts == ()
    assert rewriter.rewrite(question, ["de", "ru"]).texts == ("где находится склад",)


def test_a_tag_with_a_script_counts_as_its_language(rewriter):
    assert rewriter.rewrite("zenme xiugai mima", ["zh-Hans"]).texts == ("怎么修改密码",)


@pytest.mark.parametrize(
    ("language", "typed", "native"),
    [
        ("ru", "gde nahoditsya sklad", "где находится склад"),
        ("ru", "gde nakhoditsja sklad", "где находится склад"),
        ("hi", "yatra ka kharch wapas kaise milega", "यात्रा का खर्च वापस कैसे मिलेगा"),
        ("ja", "pasuwaado wo henkou suru houhou wa", "パスワードを変更する方法は"),
        ("ja", "pasuwādo o henkō suru hōhō wa", "パスワードを変更する方法は"),
        ("zh", "zenme xiugai mima", "怎么修改密码"),
        ("el", "pote anoigei to grafeio kai pote kleinei", "ποτε ανοιγει το γραφειο και ποτε κλεινει"),
    ],
)
def test_words_of_the_vocabulary_come_back_as_they_are_written(language, typed, native, rewriter):
    assert rewriter.rewrite(typed, [language]).texts[0] == native


def test_words_in_latin_letters_are_put_back_and_left_so_that_both_are_searched(rewriter):
    texts = rewriter.rewrite("naya email account kaise create karu", ["hi"]).texts
    assert len(texts) == 2
    assert texts[0].startswith("नया ईमेल")
    assert texts[1].startswith("नया email account")


def test_the_words_of_the_index_are_found_where_the_vocabulary_lacks_them():
    texts = {"zh": ["加班之后可以调休，调休要申请。"], "el": ["Η αίτηση για άδεια"], "hi": ["छुट्टी के लिए आवेदन"]}
    asked: list[str] = []

    def passages(language):
        asked.append(language)
        return texts[language]

    informed = RomanisedQuestions(TOKENIZER, passages)
    assert "加班调休" in informed.rewrite("jiaban tiaoxiu zenme shenqing", ["zh"]).texts[0]
    assert informed.rewrite("pos kano aitisi gia adeia", ["el"]).texts[0].endswith("αίτηση για άδεια")
    assert informed.rewrite("chhutti ke liye aavedan kaise kare", ["hi"]).texts[0].startswith("छुट्टी के लिए आवेदन")
    informed.rewrite("zenme shenqing jiaban", ["zh"])
    assert asked == ["zh", "el", "hi"]  # each language is read once


def test_nothing_is_read_before_a_romanised_question_comes(tmp_path):
    lazy = RomanisedQuestions(tmp_path / "missing.json")
    assert lazy.rewrite("Where is the key?", ALL).texts == ()


def test_without_a_vocabulary_words_are_spelled_letter_by_letter(tmp_path):
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0}}}))
    spelling = RomanisedQuestions(tokenizer)
    assert spelling.rewrite("kak otkryt schet", ["ru"]).texts == ("как открыт щет",)
    assert spelling.rewrite("zenme xiugai mima", ["zh"]).texts == ()


@pytest.mark.parametrize(
    "question",
    ["", "   ", "12345", "???", "😀 😀", "1+1=2", "\ud800", "\x00", "ﾊﾝｶｸ", "mp3 b2b 4k 2nd h2o web3", "a" * 100_000],
)
def test_what_is_no_question_is_left_alone(question, rewriter):
    assert rewriter.rewrite(question, ALL).texts == ()


def test_a_question_with_emoji_numbers_and_names_keeps_them(rewriter):
    (text, *_) = rewriter.rewrite("gde nahoditsya sklad 42 😀 (корпус Б)?", ["ru"]).texts
    assert text == "где находится склад 42 😀 (корпус Б)?"


def test_a_pasted_page_is_no_question(rewriter):
    question = "kak smenit parol ot pochty "
    assert rewriter.rewrite(question, ["ru"]).texts != ()
    assert rewriter.rewrite(question * 20_000, ["ru"]).texts == ()


def test_a_question_mostly_in_another_script_is_left_alone(rewriter):
    assert rewriter.rewrite("Где находится склад и когда открыт, kak i gde", ["ru"]).texts == ()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.lists(st.sampled_from([*ALL, "en", "xx", ""]), max_size=9))
def test_no_text_is_refused(question, languages):
    for text in RomanisedQuestions(TOKENIZER).rewrite(question, languages).texts:
        assert text
        assert text != question


@pytest.mark.parametrize(
    ("spelling", "native", "typed"),
    [
        (RUSSIAN, "щука", "shchuka"),
        (RUSSIAN, "объявление", "obyavlenie"),
        (RUSSIAN, "почты", "pochty"),
        (UKRAINIAN, "година", "hodyna"),
        (GREEK, "ευχαριστώ", "efxaristw"),
        (GREEK, "βιβλιοθήκη", "vivliothiki"),
        (GREEK, "μπύρα", "mpira"),
        (HINDI, "छुट्टी", "chhutti"),
        (HINDI, "करें", "kare"),
        (HINDI, "बड़ा", "bara"),
        (HINDI, "बड़ा", "bada"),
        (ARABIC, "المكتب", "almaktb"),
        (ARABIC, "الشمس", "ash-shms"),
        (ARABIC, "كلمة", "klmat"),
        (JAPANESE, "設定", "settei"),
        (JAPANESE, "パスワード", "pasuwaado"),
        (JAPANESE, "写真", "shashin"),
        (JAPANESE, "新聞", "shimbun"),
        (CHINESE, "绿色", "lüse"),
        (CHINESE, "银行", "yínháng"),
    ],
)
def test_both_sides_of_a_spelling_meet_in_one_sound_form(spelling, native, typed):
    native_forms = set(map(spelling.piece_key, spelling.native(native)))
    assert native_forms & set(map(spelling.piece_key, spelling.typed(typed))), (native_forms, spelling.typed(typed))


def test_of_words_that_sound_alike_the_more_frequent_one_wins():
    def first(pieces):
        return Lexicon(pieces, RUSSIAN).whole("gorod")[0].text

    assert first([("▁город", -9.0), ("▁гарад", -14.0)]) == "город"
    assert first([("▁город", -20.0), ("▁гарод", -9.0)]) == "гарод"


def test_a_word_is_put_together_of_pieces_along_the_cheapest_path():
    pieces = [("▁при", -6.0), ("каз", -6.0), ("ы", -6.0), ("▁п", -5.0), ("р", -5.0), ("и", -7.0), ("▁приказ", -30.0)]
    reading = Lexicon(pieces, RUSSIAN).composed("prikazy")
    assert reading is not None
    assert (reading.text, reading.distance) == ("приказы", 0.0)
    assert Lexicon(pieces, RUSSIAN).composed("slovo") is None


def test_a_piece_seldom_goes_across_the_end_of_a_typed_word():
    pieces = [("とき", -9.0), ("の", -5.0), ("ときの", -13.0), ("設定", -10.0)]
    assert Lexicon(pieces, JAPANESE).joined(["toki", "no", "settei"]) == "ときの設定"


def test_words_of_texts_have_the_shares_they_have_in_them():
    words = dict(words_of(["Мир, мир и дом 12"], RUSSIAN))
    assert set(words) == {"▁мир", "▁и", "▁дом"}
    assert words["▁мир"] > words["▁дом"] == words["▁и"]
    assert {"会议室", "会议", "议室"} <= set(dict(words_of(["预订会议室"], CHINESE)))
    assert words_of([], RUSSIAN) == []
