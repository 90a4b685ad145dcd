from __future__ import annotations

import io
import itertools
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rag.rendering.cells import cut, folded, padded, width_of, wrapped
from rag.rendering.directions import arranged, base_direction, oriented
from rag.rendering.passages import highlighted, laid_out
from rag.rendering.screen import BOLD, Order, Screen, Size
from rag.rendering.visual_order import Direction, Piece, in_visual_order
from rag.segmentation import cluster_starts

ARABIC = "يُنظَّف الحزام الناقل كل يوم اثنين بقطعة قماش جافة (انظر M8)، ولا تُستخدم المذيبات أبدًا."


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(order: Order = "isolated", columns: int = 40, *, colours: bool = True) -> Screen:
    return Screen(is_terminal=True, colours=colours, order=order, measure=lambda: Size(columns, 24))


# what a screen can do


@pytest.mark.parametrize("environ", [{}, {"VTE_VERSION": "7006"}, {"XTERM_VERSION": "XTerm(379)"}, {"COLUMNS": "30"}])
def test_a_pipe_has_no_width_and_gets_nothing_added(environ: dict[str, str]) -> None:
    for right_to_left in ("auto", "logical", "visual"):
        pipe = Screen.of(io.StringIO(), environ, right_to_left=right_to_left)
        assert (pipe.is_terminal, pipe.colours, pipe.width, pipe.order) == (False, False, None, "plain")
    assert Screen.of(None, environ) == Screen()


@pytest.mark.parametrize(
    ("environ", "order"),
    [
        ({"VTE_VERSION": "7006", "TERM": "xterm-256color"}, "directed"),
        ({"VTE_VERSION": "5202"}, "visual"),
        ({"KONSOLE_VERSION": "221203"}, "padded"),
        ({"MLTERM": "3.9.0"}, "plain"),
        ({"TERM_PROGRAM": "Apple_Terminal"}, "isolated"),
        ({"TERM_PROGRAM": "vscode"}, "visual"),
        ({"WT_SESSION": "0e1f"}, "visual"),
        ({"ALACRITTY_WINDOW_ID": "1"}, "visual"),
        ({"XTERM_VERSION": "XTerm(379)", "TERM": "xterm"}, "visual"),
        ({"TERM": "linux"}, "visual"),
        ({"TERM": "xterm-256color"}, "isolated"),
        ({"TERM_PROGRAM": "iTerm.app"}, "isolated"),
        ({"VTE_VERSION": "7006", "TMUX": "/tmp/tmux"}, "isolated"),
        ({"XTERM_VERSION": "XTerm(379)", "TERM": "screen.xterm"}, "isolated"),
        ({"XTERM_VERSION": "XTerm(379)", "VTE_VERSION": "7006"}, "isolated"),
    ],
)
def test_terminals_are_known_by_their_variables(environ: dict[str, str], order: str) -> None:
    assert Screen.of(Tty(), environ).order == order
    assert Screen.of(Tty(), environ, right_to_left="visual").order == "visual"
    logical = Screen.of(Tty(), environ, right_to_left="logical").order
    assert logical == ("isolated" if order == "visual" else order)


def test_styles_are_used_only_where_they_are_wanted() -> None:
    assert Screen.of(Tty(), {"TERM": "xterm"}).styled("x", BOLD) == "\x1b[1mx\x1b[0m"
    for environ in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert Screen.of(Tty(), environ).styled("x", BOLD) == "x"
    assert Screen.of(Tty(), {"NO_COLOR": ""}).colours, "an empty NO_COLOR counts as none (no-color.org)"
    assert Screen().styled("x", BOLD) == "x"


def test_a_dumb_terminal_gets_no_escape_sequence_for_directions() -> None:
    dumb = Screen.of(Tty(), {"TERM": "dumb", "VTE_VERSION": "7006"})
    assert (dumb.is_dumb, dumb.order) == (True, "isolated")


def test_the_width_is_what_the_window_has_now() -> None:
    assert Screen.of(Tty(), {"COLUMNS": "66", "LINES": "12"}).size == (66, 12)
    assert Screen.of(Tty(), {"COLUMNS": "wide"}).size == (80, 24)
    columns = [80]
    window = Screen(is_terminal=True, measure=lambda: Size(columns[0], 24))
    columns[0] = 30
    assert window.width == 30


# cells


def test_cells_are_padded_and_cut_by_what_characters_take() -> None:
    assert padded("安全", 6) == "安全  "
    assert padded("12", 4, to_the_right=True) == "  12"
    assert cut("安全マニュアル", 8) == "安全マ…"
    assert cut("安全", 4) == "安全"


@given(st.text(alphabet=st.sampled_from("ab 語。（）กำé́👩‍👧한글-\u00a0\tي"), max_size=60), st.integers(2, 20))
def test_wrapped_lines_fit_and_leave_out_white_space_alone(text: str, width: int) -> None:
    spans = wrapped(text, width)
    lines = [text[start:end] for start, end in spans]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    between = [(0, 0), *spans, (len(text), len(text))]
    assert all(not text[before[1] : after[0]].strip() for before, after in itertools.pairwise(between))
    assert all(width_of(line) <= width or len(cluster_starts(line)) == 1 for line in lines)


def test_a_word_longer_than_a_line_is_broken_and_others_are_not() -> None:
    text = "see documentation/handbook for more"
    assert [text[start:end] for start, end in wrapped(text, 12)] == ["see", "documentatio", "n/handbook", "for more"]


def test_japanese_begins_no_line_with_a_full_stop_and_ends_none_with_an_opening_bracket() -> None:
    text = "コンベアを清掃します。（詳細は手順書）"
    for width in range(6, 24, 2):
        lines = [text[start:end] for start, end in wrapped(text, width)]
        assert "".join(lines) == text
        assert all(line[0] not in "。）" and line[-1] != "（" for line in lines)


def test_korean_is_broken_at_its_spaces() -> None:
    text = "컨베이어는 매주 월요일에"
    assert [text[start:end] for start, end in wrapped(text, 12)] == ["컨베이어는", "매주", "월요일에"]


def test_code_keeps_its_white_space() -> None:
    assert list(folded("  a  b  語", 4)) == ["  a ", " b  ", "語"]
    assert list(folded("", 4)) == [""]


# directions


@pytest.mark.parametrize(
    ("text", "direction"),
    [("[1] 25 abc", "ltr"), ("(3) نص abc", "rtl"), ("M8 نص", "ltr"), ("\u2067نص\u2069 abc", "ltr"), ("שלום", "rtl")],
)
def test_the_first_strong_character_gives_the_direction(text: str, direction: str) -> None:
    assert base_direction(text) == direction


def test_a_piece_in_a_line_of_columns_is_a_run_of_its_own_and_keeps_its_width() -> None:
    cell = padded("دليل (1) لا", 14)
    assert oriented(cell, screen()) == "\u2068دليل (1) لا\u2069" + " " * (14 - 11)
    assert oriented(cell, screen("plain")) == cell
    assert oriented("handbook.md  ", screen()) == "handbook.md  "
    seen = oriented(cell, screen("visual"))
    assert cell_len(seen) == 14
    assert "(1)" in seen
    assert seen.strip().endswith("\ufea9"), "the first letter is the last that is drawn"


def texts(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_a_right_to_left_line_is_given_as_the_terminal_needs_it() -> None:
    line = [Piece("نص (3) M8.")]
    assert texts(arranged(line, "rtl", 20, screen("plain"))) == "نص (3) M8."
    assert texts(arranged(line, "rtl", 20, screen("isolated"))) == "نص (3) M8."
    assert texts(arranged(line, "rtl", 20, screen("directed"))) == "\x1b[2 kنص (3) M8."
    assert texts(arranged(line, "rtl", 20, screen("padded"))) == " " * 10 + "\u2067نص (3) M8.\u2069"
    assert texts(arranged(line, "rtl", 20, screen("visual"))) == " " * 10 + ".M8 (3) \ufeba\ufee7"


def test_the_cells_of_a_line_are_ordered_each_for_itself() -> None:
    row = [Piece("M8  ", None, True), Piece("  "), Piece("25 Nm ", None, True)]
    assert texts(arranged(row, "ltr", 20, screen("directed"))) == "M8    25 Nm "
    assert texts(arranged(row, "rtl", 12, screen("visual"))) == " 25 Nm    M8"
    assert texts(arranged(row, "rtl", 12, screen("directed"))).count("\u2068") == 2


def test_styles_follow_their_text_into_visual_order() -> None:
    pieces = [
        Piece("abc ", "plain"),
        Piece("شد", "bold"),
        Piece(" M8 ", "code"),
        Piece("(برغي)", "plain"),
        Piece(" z", 1),
    ]
    assert in_visual_order(pieces, "ltr") == [
        Piece("abc ", "plain"),
        Piece("\ufeaa\ufeb7", "bold"),
        Piece(" M8 ", "code"),
        Piece("(\ufef2\ufecf\ufeae\ufe91)", "plain"),
        Piece(" z", 1),
    ]


def test_arabic_letters_are_joined_where_the_terminal_does_not() -> None:
    joined = texts(in_visual_order([Piece("سلام")], "rtl"))
    assert joined == "\ufee1\ufefc\ufeb3", "seen, lam with alef, meem: final shapes where the word ends"
    assert texts(in_visual_order([Piece("می\u200cخواهم")], "rtl")).endswith("\ufbfd\ufee3"), "no joining over ZWNJ"
    marked = texts(in_visual_order([Piece("شدّ")], "rtl"))
    assert marked == "\ufeaa\u0651\ufeb7", "a mark stays behind its letter"


@given(st.text(alphabet=st.sampled_from("ab1 ()[]ابلمن\u064b\u200c\u200d\u200f\u00ad\u2068\u2069שλ語"), max_size=40))
def test_visual_order_loses_no_letter(text: str) -> None:
    for direction in ("ltr", "rtl"):
        seen = texts(in_visual_order([Piece(text)], direction))
        kept = "ab1 語שλ"
        assert sorted(c for c in seen if c in kept) == sorted(c for c in text if c in kept)
        assert sum(c in "()[]" for c in seen) == sum(c in "()[]" for c in text)


# passages


def test_a_quotation_is_marked_in_its_passage() -> None:
    text = "Die Schraube wird mit 25 Nm angezogen."
    start, end = text.index("mit"), text.index(" angezogen")
    assert (
        highlighted(text, [(start, end)], screen(columns=80)) == f"{text[:start]}\x1b[1;4mmit 25 Nm\x1b[0m{text[end:]}"
    )
    for plain in (Screen(), screen(columns=80, colours=False)):
        assert highlighted(text, [(start, end)], plain) == "Die Schraube wird >>mit 25 Nm<< angezogen."
    assert highlighted(text, [(3, 3)], Screen()) == text
    assert highlighted("one two three", [(8, 13), (0, 3), (2, 7)], Screen()) == ">>one two<< >>three<<"


def test_a_mark_goes_on_over_line_ends_and_control_characters_do_not_move_it() -> None:
    text = "a\x1b[31m one two\n\nthree\x07 four five"
    shown = highlighted(text, [(text.index("two"), text.index(" five"))], screen(columns=12))
    assert shown == "a[31m one\n\x1b[1;4mtwo\x1b[0m\n\n\x1b[1;4mthree four\x1b[0m\nfive"


def test_a_right_to_left_passage_stands_at_the_right_edge() -> None:
    start, end = ARABIC.index("قماش"), ARABIC.index(" جافة")
    seen = highlighted(ARABIC, [(start, end)], screen("visual", 30))
    plain = re.sub(r"\x1b\[[\d;]*m", "", seen)
    assert all(cell_len(line) == 30 for line in plain.splitlines())
    assert "(" in plain
    assert seen.count("\x1b[1;4m") == 1
    *arabic, last = laid_out(f"{ARABIC}\nabc", screen("directed", 30)).split("\n")
    assert all(line.lstrip(" ").startswith("\u2067") and cell_len(line) == 30 for line in arabic)
    assert last == "abc"


@pytest.mark.parametrize("order", ["plain", "isolated", "padded", "directed", "visual"])
def test_a_passage_shows_all_its_words_in_every_order(order: Order) -> None:
    text = "Das Band wird gereinigt.\n  毎週月曜日にコンベアを清掃します。\nEnde [1]"
    assert re.sub(r"\s", "", laid_out(text, screen(order, 20))) == re.sub(r"\s", "", text)


@pytest.mark.parametrize("direction", ["rtl", "ltr"])
@pytest.mark.parametrize(
    "line",
    [
        "من 10:30 إلى 16:45",
        "يوم 3.11.2026",
        "1,250 دينار",
        "192.168.1.10 هنا",
        "שלום 2.5 עולם",
        "שלום 5-3 x",
        "1,,2 כן",
    ],
)
def test_numbers_keep_their_order_in_a_line_in_visual_order(line: str, direction: Direction) -> None:
    from bidi import get_display

    seen = "".join(piece.text for piece in in_visual_order([Piece(line)], direction))
    wanted = str(get_display(line, base_dir="R" if direction == "rtl" else "L"))
    assert unicodedata.normalize("NFKC", seen) == wanted


def test_a_vowel_sign_beside_its_letter_takes_a_cell() -> None:
    assert width_of("को") == 2
    assert width_of("कु") == 1, "one below it takes none"
