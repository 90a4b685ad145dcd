"""Markers while an answer is streamed: what becomes of them, of the words in them, and of all other text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rag.marker_syntax import LONGEST_QUOTE, cited
from rag.markers import CitationFilter, Offered
from rag.types import Passage
from rag.untrusted import OutputFilter
from tests.samples import a_passage

PASSAGES = [
    a_passage(1, text="Die Schrauben werden mit 24 Nm angezogen, siehe [3]."),
    a_passage(2, text='Use array["x"] here.\nThe interval [0, 1) is open. He said “hello” and "left".'),
    *(a_passage(rank) for rank in range(3, 9)),
]


def _filtered(text: str, passage_count: int = 8) -> str:
    return _read(text, PASSAGES[:passage_count])[0]


def _read(text: str, passages: list[Passage] = PASSAGES) -> tuple[str, tuple[Offered, ...]]:
    markers = CitationFilter(passages)
    shown = markers.feed(text) + markers.finish()
    return shown, markers.offered


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ja [1].", "Ja [1]."),
        ("Ja[1].", "Ja[1]."),
        ("Ja [1, 2].", "Ja [1][2]."),
        ("Ja [1 and 2], [Passages 1, 2, and 9].", "Ja [1][2], [1][2]."),
        ("Ja [1 und 9] [1 y 2] [1和2] [1 および 2]", "Ja [1] [1][2] [1][2] [1 および 2]"),
        ("Ja [1 और 2] [١ و٢] [1 e 9] [1&2]", "Ja [1][2] [1][2] [1] [1][2]"),
        ("Ja [1,2;3].", "Ja [1][2][3]."),
        ("Ja [1][2].", "Ja [1][2]."),
        ("Ja [1] [2].", "Ja [1] [2]."),
        ("Ja [ 1 ].", "Ja [1]."),
        ("Ja [1-3].", "Ja [1][2][3]."),
        ("Ja [2–3, 5].", "Ja [2][3][5]."),
        ("Ja [1, 1].", "Ja [1]."),
        ("はい［１］。", "はい[1]。"),
        ("はい【1】【2】。", "はい[1][2]。"),
        ("是[1、2]。", "是[1][2]。"),
        ("نعم [١].", "نعم [1]."),
        ("نعم [١، ٢].", "نعم [1][2]."),
        ("हाँ [१]।", "हाँ [1]।"),
    ],
)
def test_markers_are_brought_into_one_form(written: str, shown: str) -> None:
    assert _filtered(written) == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ja [9].", "Ja."),
        ("Ja[9].", "Ja."),
        ("Ja [0].", "Ja."),
        ("Ja [1, 9].", "Ja [1]."),
        ("Ja [9][1].", "Ja[1]."),
        ("Ja [9] [1].", "Ja [1]."),
        ("Ja [7-12].", "Ja [7][8]."),
        ("Ja [10-12].", "Ja."),
        ("Ja  [9].", "Ja ."),
        ("Ja\u00a0[9].", "Ja."),
        ("[9] Ja", " Ja"),
        ("Ja [999]", "Ja"),
    ],
)
def test_a_marker_that_points_at_nothing_goes_with_one_space(written: str, shown: str) -> None:
    assert _filtered(written) == shown


@pytest.mark.parametrize(
    "text",
    [
        "[a]", "[1a]", "[]", "[ ]", "[2024]", "[2024-01-01]", "[01-15]", "[3-1]", "im Intervall [0, 1]",
        "[1.5]", "[-1]", "[1", " [", "[1, ", "Ende ", "`liste[0]`", "``a ` [9]``", "```\nx[9]\n\ny[0]\n```", "~[",
        "1]", "(1)", "[x](https://a.org)", "{9}", "[[a]]", "[1\n]",
    ],
)  # fmt: skip
def test_what_is_no_marker_is_left_alone(text: str) -> None:
    assert _filtered(text) == text
    assert cited(text) == ()


def test_a_stray_backtick_does_not_switch_off_the_markers_of_the_next_line() -> None:
    assert _filtered("Das ` Zeichen [1,2]\nund weiter [1,2].") == "Das ˋ Zeichen [1][2]\nund weiter [1][2]."


def test_markers_after_code_are_markers_again() -> None:
    assert _filtered("`a[0]` [1,2] ```b[0]``` [9] und `c`[2, 3]") == "`a[0]` [1][2] ```b[0]``` und `c`[2][3]"


def test_without_passages_every_marker_goes() -> None:
    assert _filtered("Ja [1] und [2].", passage_count=0) == "Ja und."


def test_only_what_may_become_a_marker_is_held_back() -> None:
    markers = CitationFilter(PASSAGES)
    assert markers.feed("Die Antwort") == "Die Antwort"
    assert markers.feed(" ist") == " ist"
    assert markers.feed(" [1") == ""
    assert markers.feed(", ") == ""
    assert markers.feed("2") == ""
    assert markers.feed("] gut") == " [1][2] gut"
    assert markers.feed(" [12") == ""
    assert markers.feed("34") == ""
    assert markers.feed("]") == " [1234]"
    assert markers.feed(" [x") == " [x"
    assert markers.feed("ccc [") == "ccc"
    assert markers.finish() == " ["
    assert markers.finish() == ""


def test_not_even_an_endless_list_is_held_back_for_long() -> None:
    markers = CitationFilter(PASSAGES)
    shown = markers.feed("[" + "1, " * 1000)
    assert len(shown) > 2800


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("It`s cleaned with water. The manual tells us [9].", "Itˋs cleaned with water. The manual tells us."),
        ('It`s so … [1: "Das Förderband …"] [1]', "Itˋs so … [1] [1]"),
        ("It`s so [9], and it`s dry [1,2].", "Itˋs so, and itˋs dry [1][2]."),
        ("A ` b [9] c `` d [1,2]", "A ˋ b c ˋˋ d [1][2]"),
        ("A ```b [9]\nc [9] d", "A ˋˋˋb\nc d"),
        ('A ` b [1: "use `x` now"] c', "A ˋ b [1] c"),
        ("A `x[9]` b", "A `x[9]` b"),
        ("A `x[9]`[9]``a``", "A `x[9]` ``a``"),
        ('A: ```py\nx\n```\nB [9] [1: "q"].', "A: ˋˋˋpy\nx\nˋˋˋ\nB [1]."),
        ('A ` b [9: "made `up"][9] it` c', "A ˋ b itˋ c"),
        ("A \\`b [9]` c", "A \\ˋbˋ c"),
        (f"A `{'x' * 310} [9]` b", f"A ˋ{'x' * 310}ˋ b"),
        ("A:\n```py\nx[9] = `y`\n```\nB [9].", "A:\n```py\nx[9] = `y`\n```\nB."),
        ("~~~\nx[9]\n~~~\nB [9].", "~~~\nx[9]\n~~~\nB."),
        ("```\n    ```\nx[9]\n```\nB [9].", "```\n    ```\nx[9]\n```\nB."),
        ("> ```\n> x[9]\n\nB [9].", "> ```\n> x[9]\n\nB."),
    ],
)
def test_code_is_what_is_closed_and_both_filters_agree_on_it(written: str, shown: str) -> None:
    assert _in_a_row(written, [len(written)])[0] == shown
    assert _in_a_row(written, [1] * len(written))[0] == shown


def _in_a_row(text: str, lengths: list[int]) -> tuple[str, tuple[Offered, ...]]:
    """What an asker sees of `text`, which comes in pieces of these lengths."""
    markers, outlet = CitationFilter(PASSAGES), OutputFilter()
    shown, position = "", 0
    for length in lengths:
        shown += outlet.feed(markers.feed(text[position : position + length]))
        position += length
    shown += outlet.feed(markers.feed(text[position:]) + markers.finish()) + outlet.finish()
    return shown, markers.offered


ROW = st.sampled_from(
    ["a", "It`s ", "`", "`", "``", "```", "~~~", "\n", "\n\n", "\r\n", " ", "\\", "[9]", " [9]", "[1]", "[1, 9]",
     "[9 and 1]", "[1 and ", "9]", "[^9]", '[1: "a `b` c"]', '[9: "made `up"]', "[1: “Die\nSchrauben”]", "【9†source】",
     "https://host.de/x?y", "<b>", "`x[9]`", "```py\nx[9]\n```\n", "wort " * 30, '[1: "' + "lang " * 130 + '"]',
     "é`x", "x`,", "."]
)  # fmt: skip


def _prose(text: str) -> str:
    """What of `text` is no code for an independent reader of Markdown."""
    blocks = MarkdownIt("commonmark").parse(text)
    inline = [each for block in blocks for each in block.children or []]
    return " ".join(each.content for each in inline if each.type in {"text", "text_special"})


@settings(max_examples=500, deadline=None)
@given(st.lists(ROW, max_size=14).map("".join), st.lists(st.integers(1, 9), max_size=30))
def test_no_marker_that_points_at_nothing_and_no_raw_quotation_leaves_both_filters(
    text: str, lengths: list[int]
) -> None:
    shown, offered = _in_a_row(text, [len(text)])
    assert (shown, offered) == _in_a_row(text, lengths) == _in_a_row(text, [1] * len(text))
    prose = _prose(shown)
    assert not any(made_up in prose for made_up in ("[9]", "[^9]", "[1, 9]", "[9 and 1]", "†", "made")), shown
    assert set(cited(shown)) <= {1}


PIECES = st.sampled_from(
    ["a", "é", " ", "\u00a0", "\n", "[", "]", "［", "］", "【", "】", "1", "2", "9", "0", "١", "१", "12", ",", ", ",
     "、", "-", "–", "`", "``", "```", "[1]", "[9]", " [9]", "[1, 2]", "[0, 1]", "[2-4]", "[2024]", "x[1]",
     "> ", '"', "。", ":", ": ", '[2: "', '"]', "Die Schrauben", 'array["x"]', "“"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join), st.data())
def test_the_result_does_not_depend_on_how_the_text_is_cut(text: str, data: st.DataObject) -> None:
    whole = _filtered(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    markers = CitationFilter(PASSAGES)
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(markers.feed, parts)) + markers.finish() == whole
    one_by_one = CitationFilter(PASSAGES)
    assert "".join(map(one_by_one.feed, text)) + one_by_one.finish() == whole
    assert markers.offered == one_by_one.offered
    # Each marker that is shown was offered, but for those in code, and none points at nothing.
    assert set(cited(whole)) <= {number for number, _ in markers.offered} <= set(range(1, 9))


def test_markers_are_counted_once_and_ascending() -> None:
    assert cited("Erst [3], dann [1, 3] und ［２］, nie `[4]`.") == (1, 2, 3)


SCREWS = "Die Schrauben werden mit 24 Nm angezogen"


@pytest.mark.parametrize(
    "marker",
    [
        f'[1: "{SCREWS}"]',
        f'[1:"{SCREWS}"]',
        f'[1 "{SCREWS}"]',
        f"[1: “{SCREWS}”]",
        f"[1: „{SCREWS}“]",
        f"[1: ”{SCREWS}”]",
        f"[1 : «\u00a0{SCREWS}\u00a0»]",
        f"[1: »{SCREWS}«]",
        f"［１：「{SCREWS}」］",
        f"【1：『{SCREWS}』】",
        f"〔1：“{SCREWS}”〕",
        f"[١: «{SCREWS}»]",
        f"[१: '{SCREWS}']",
        f"[1: ‘{SCREWS}’]",
        f'[ 1 : "{SCREWS}" ]',
        f'[1:\n"{SCREWS}"\n]',
        f'[1: "{SCREWS}".]',
        f'[1: "{SCREWS}]',  # a forgotten mark
        f"[1: {SCREWS}]",
    ],
)
def test_the_words_in_a_marker_are_kept_and_the_asker_sees_its_number(marker: str) -> None:
    shown, offered = _read(f"24 Nm {marker}. Gut.")
    assert shown == "24 Nm [1]. Gut."
    assert [(number, [words.strip() for words in quotes]) for number, quotes in offered] == [(1, [SCREWS])]


@pytest.mark.parametrize(
    ("written", "shown", "offered"),
    [
        ('A [1: "eins", 2: "zwei"] b', "A [1][2] b", [(1, ("eins",)), (2, ("zwei",))]),
        ('A [1: "eins"; 2: "zwei", 3] b', "A [1][2][3] b", [(1, ("eins",)), (2, ("zwei",)), (3, ())]),
        ("A [1: „eins“, „zwei“] b", "A [1] b", [(1, ("eins", "zwei"))]),
        ("甲【1：「一」、2：「二」】乙", "甲[1][2]乙", [(1, ("一",)), (2, ("二",))]),
        ("A [1: eins, 2: zwei] b", "A [1][2] b", [(1, ("eins",)), (2, ("zwei",))]),
        ('A [1, 2: "zwei"] b', "A [1][2] b", [(1, ()), (2, ("zwei",))]),
        ('A [1-2: "zwei"] b', "A [1][2] b", [(1, ("zwei",)), (2, ("zwei",))]),
        ('A [1: "eins", 9: "neun"] b', "A [1] b", [(1, ("eins",))]),
        ('A [9: "neun"] b', "A b", []),
        ('A [0: "null"] [01: "eins"] b', "A [1] b", [(1, ("eins",))]),
        ('A [1][2: "zwei"] b', "A [1][2] b", [(1, ()), (2, ("zwei",))]),
        ("A `[1: \"eins\"]` [2] b", "A `[1: \"eins\"]` [2] b", [(2, ())]),
        ('A [1: "a `b"] und [2] `c[3]`', "A [1] und [2] `c[3]`", [(1, ("a `b",)), (2, ())]),
    ],
)  # fmt: skip
def test_several_numbers_and_quotations_in_one_bracket(
    written: str, shown: str, offered: list[tuple[int, tuple[str, ...]]]
) -> None:
    assert _read(written) == (shown, tuple(Offered(*each) for each in offered))


@pytest.mark.parametrize(
    "words",
    [
        'array["x"]',
        'Use array["x"] here.\nThe interval [0, 1) is open',
        "The interval [0, 1) is open",
        "He said “hello”",
        '“hello” and "left".',
        'said “hello” and "left"',
    ],
)
@pytest.mark.parametrize("marks", ['""', "“”", "«»"])
def test_brackets_and_quotation_marks_of_the_passage_do_not_end_its_words(words: str, marks: str) -> None:
    shown, offered = _read(f"A [2: {marks[0]}{words}{marks[1]}]. B [1].")
    assert shown == "A [2]. B [1]."
    assert offered[0].quotes == (words,)


@pytest.mark.parametrize(
    ("written", "shown", "quote"),
    [
        ('A [2: "not [that] way"] b', "A [2] b", "not [that] way"),
        ('A [2: "from [0, 1) on"] b', "A [2] b", "from [0, 1) on"),
        ('A [2: "he "did" it"] b', "A [2] b", 'he "did" it'),
        ('A [2: "no end] b "c".', 'A [2] b "c".', "no end"),
        ("A [2: no marks] b", "A [2] b", "no marks"),
        ('A [2: Use array["x"] here.] b', "A [2] b", 'Use array["x"] here.'),  # this one does
    ],
)
def test_words_end_at_the_first_mark_that_can_end_them(written: str, shown: str, quote: str) -> None:
    assert _read(written) == (shown, (Offered(2, (quote,)),))


@pytest.mark.parametrize(
    "text",
    [
        "[12:30]", "[1:2]", "[2024: das Jahr]", "[2's complement]", '[5" pipe]', '[1, "a", 2]',
        '[1: "a" or so', "[1: or\nso]", "[1: or so", "[1:", "[1: ", '[a: "b"]', "[1] : x", '{1: "a"}', '(1: "a")',
    ],
)  # fmt: skip
def test_what_only_looks_like_a_marker_with_words_is_left_alone(text: str) -> None:
    assert _filtered(f"A {text}") == f"A {text}"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('A [1000: "x"] b', "A b"),
        ("A [2024: „Das Jahr“] b", "A b"),
        ('A [1001: "x"] [2024] b', "A [2024] b"),
        ("A [01] b [09] c [00] d", "A [1] b c d"),
        ("A [01, 02] b [01-15]", "A [1][2] b [01-15]"),
        ("A [^9] b [^1]", "A b [1]"),
        ("A [^1: „eins“] b", "A [1] b"),
        ("A [Passage 9] b [passage 2]", "A b [2]"),
        ("A [Source: 9] b", "A b"),
        ("A [Source #9] b [Textstelle 1: „eins“] c", "A b [1] c"),
        ("甲[来源1]乙[出典 9]丙【資料２】丁", "甲[1]乙丙[2]丁"),
        ("نعم [المصدر ١] [مقطع ٩] لا", "نعم [1] لا"),
        ("A 【9†source】 b【1†source】", "A b[1]"),
        ("A 【1†L3-L9】 b 【4:0†source】 c [2†handbuch.pdf]", "A [1] b c [2]"),
        ("A [¹] b [⁹] c [①]", "A [1] b c [1]"),
        ("甲[一：「一」]乙[九：「九」]丙【二】丁【十二】戊", "甲[1]乙丙[2]丁戊"),
        ("【一】概述\n## 【二】方法\n第[一]次", "【一】概述\n## 【二】方法\n第[一]次"),
        ("A [9: see below] b", "A b"),
        ("A [9: see below", "A [9: see below"),
        ("A [Table 3] [Section 9] [x9] b", "A [Table 3] [Section 9] [x9] b"),
    ],
)
def test_what_models_have_learnt_elsewhere_is_a_marker_too(written: str, shown: str) -> None:
    assert _filtered(written) == shown
    one_by_one = CitationFilter(PASSAGES)
    assert "".join(map(one_by_one.feed, written)) + one_by_one.finish() == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (f'A [1: "{"x " * 400}"] b', "A [1] b"),
        (f'A [9: "{"x " * 400}"] b', "A b"),
        (f"A [1: {'x ' * 400}] b", "A [1] b"),
        (f'A [1: "{"x [y] " * 200}"] b', "A [1] b"),
        (f'A [1: "{"x " * 400} b\nNext [2]', "A [1]\nNext [2]"),
        (f'A [1: "eins", "{"x " * 400}"] b', "A [1] b"),
        (f"A [1: {', '.join(['“x”'] * 12)}] b", "A [1] b"),
    ],
)
def test_words_too_long_for_a_quotation_are_left_out_up_to_their_bracket_or_the_end_of_the_line(
    written: str, shown: str
) -> None:
    assert _filtered(written) == shown
    one_by_one = CitationFilter(PASSAGES)
    assert "".join(map(one_by_one.feed, written)) + one_by_one.finish() == shown


def test_a_bracket_that_never_closes_does_not_swallow_the_next_marker() -> None:
    shown, offered = _read('A [1: "a" and then [2: "zwei"] b')
    assert shown == 'A [1: "a" and then [2] b'
    assert offered == (Offered(2, ("zwei",)),)


@pytest.mark.parametrize(
    ("written", "quotes"),
    [
        ('A [1: "Die Schrauben wer', ("Die Schrauben wer",)),
        ('A [1: "Die Schrauben"', ("Die Schrauben",)),
        ('A [1: "Die Schrauben", ', ("Die Schrauben",)),
        ("A [1: Die Schrauben wer", ("Die Schrauben wer",)),
        ('A [1: "Made up', ("Made up",)),
        ('A [1: "', ()),
    ],
)
def test_words_that_the_end_of_the_answer_cuts_off_are_kept_as_far_as_they_go(
    written: str, quotes: tuple[str, ...]
) -> None:
    assert _read(written) == ("A [1]", (Offered(1, quotes),))


def test_words_are_held_back_no_longer_than_they_may_be() -> None:
    markers = CitationFilter(PASSAGES)
    assert markers.feed('So [1: "') == "So"
    assert markers.feed("x" * LONGEST_QUOTE) == ""
    assert markers.feed("xx") == " [1]"
    assert markers.feed('x [sic] [2] x"') == ""
    assert markers.feed("] Gut [2]") == " Gut [2]"
    assert markers.offered == (Offered(1, ("x" * LONGEST_QUOTE,)), Offered(2))


@pytest.mark.parametrize("text", ["[[9]1]", "[ [9]1]", "[[9]99]", '[1[9: "x"],2]', "[[9] 1]"])
def test_what_is_left_where_a_marker_went_is_no_marker(text: str) -> None:
    assert cited(_filtered(text)) == ()


# Letters of many scripts with their marks, and all that means something in a marker but a passage's number.
SIGNS = st.sampled_from(
    "aebſßéẞ Ωλя ьй あガｶﾞ漢字한글 नमस्ते ไทยกำ سلامی‌ם ﬁ½…—–-\"“”„«»「」’'[]()［】:：,.7`\n\u00a0\u0301\u0327\u200b"
)
QUOTES = ["“”", "„“", "«»", "»«", "「」", '""', "『』"]


@st.composite
def _answers(draw: st.DrawFn) -> tuple[list[Passage], list[tuple[int, str, str]]]:
    """Passages, and markers with words of theirs as they are written: number, words, and the bracket."""
    texts = [unicodedata.normalize("NFC", text) for text in draw(st.lists(st.text(SIGNS, min_size=8), min_size=1))]
    passages = [a_passage(rank, text=text) for rank, text in enumerate(texts[:3], start=1)]
    markers = []
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(1, len(passages)))
        text = passages[number - 1].chunk.text
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        words = text[start:end]
        if draw(st.booleans()):
            words = unicodedata.normalize("NFD", words).replace(" ", "\n")
        marks = draw(st.sampled_from(QUOTES))
        markers.append((number, words, f"[{number}: {marks[0]}{words}{marks[1]}]"))
    return passages, markers


@settings(max_examples=200, deadline=None)
@given(_answers(), st.data())
def test_whatever_a_passage_says_can_be_quoted_and_nothing_else_of_the_answer_is_lost(
    answer: tuple[list[Passage], list[tuple[int, str, str]]], data: st.DataObject
) -> None:
    passages, written = answer
    text = "".join(f"CLAIM {marker}. " for _, _, marker in written)
    expected = "".join(f"CLAIM [{number}]. " for number, _, _ in written)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    markers = CitationFilter(passages)
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(markers.feed, parts)) + markers.finish() == expected
    assert (expected, markers.offered) == _read(text, passages)
    assert [number for number, _ in markers.offered] == [number for number, _, _ in written]
