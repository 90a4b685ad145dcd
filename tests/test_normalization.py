from __future__ import annotations

from rag.normalization import printable, visible


def test_what_nobody_sees_does_not_reach_the_model() -> None:
    assert visible("Werk\u00adzeug\u200b \u202eabc\u202c\x07") == "Werkzeug abc"


def test_joiners_that_spell_words_stay() -> None:
    persian, hindi, family = "می\u200cخواهم", "क्\u200dष", "👩\u200d👧"
    assert visible(persian + hindi + family) == persian + hindi + family


def test_a_name_cannot_leave_its_line_or_turn_the_text_around() -> None:
    assert printable("a\nb\x1b[2J\u202egnp.exe\udce9 手册.md") == r"a\nb\x1b[2J\u202egnp.exe\udce9 手册.md"
