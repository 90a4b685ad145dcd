from __future__ import annotations

from rag.normalization import stored, visible


def test_stored_text_is_nfc_with_plain_line_ends_and_no_byte_order_mark() -> None:
    assert stored("\ufeffCafe\u0301\r\nzwei\rdrei\u2028vier") == "Café\nzwei\ndrei\nvier"


def test_what_nobody_sees_does_not_reach_the_model() -> None:
    assert visible("Werk\u00adzeug\u200b \u202eabc\u202c\x07") == "Werkzeug abc"


def test_joiners_that_spell_words_stay() -> None:
    persian, hindi, family = "می\u200cخواهم", "क्\u200dष", "👩\u200d👧"
    assert visible(persian + hindi + family) == persian + hindi + family
