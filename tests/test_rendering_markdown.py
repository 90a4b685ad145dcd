from __future__ import annotations

import io
import itertools
import re
import time
import unicodedata

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from wcwidth import wcwidth

from rag.rendering.markdown import MarkdownStream
from rag.rendering.screen import Order, Screen, Size

ANSWER = """# Torque

The **M8 bolts** are tightened with `25 Nm` [1], and *never* with an impact driver; see
the [handbook](docs/handbook.pdf) [2].

1. Switch the conveyor off.
2. Clean the belt:
   - with a dry cloth,
   - never with **solvent** [3].
3. Tighten the bolts crosswise and then once more all around.

```python
def torque(size):
    return {"M6": 10}[size]
```

> Bolts of strength class 8.8
> are tightened with 25 Nm.

| Bolt | Torque |
|------|-------:|
| M6   | 10 Nm  |
| M8   | 25 Nm  |

---

M8ボルトは **25 N·m** のトルクで締め付けます[1]。コンベアは毎週月曜日に清掃し、清掃中は必ず電源を切ってください。

[1]: docs/handbook.pdf
"""
ARABIC = "يجب شد براغي M8 بعزم 25 نيوتن متر (انظر الصفحة 3) [1]، ويُنظَّف الحزام الناقل كل يوم اثنين."


class Window:
    """A terminal window that remembers what has scrolled out of it.

    pyte forgets what follows a character without width that is no combining mark; it is not given any.
    """

    def __init__(self, columns: int = 60, lines: int = 24, *, order: Order = "isolated", colours: bool = True) -> None:
        self.emulator = pyte.HistoryScreen(columns, lines, history=5000, ratio=0.5)
        self.emulator.set_mode(pyte.modes.LNM)  # what a terminal's driver does to line feeds
        self._stream = pyte.Stream(self.emulator)
        self.raw = ""
        self.screen = Screen(is_terminal=True, colours=colours, order=order, measure=self._size)

    def _size(self) -> Size:
        return Size(self.emulator.columns, self.emulator.lines)

    def write(self, text: str) -> int:
        self.raw += text
        self._stream.feed("".join(c for c in text if wcwidth(c) or unicodedata.combining(c) or c < " "))
        return len(text)

    def flush(self) -> None:
        pass

    @property
    def text(self) -> str:
        """All lines, the scrolled out ones first, without empty ones at the end."""
        columns = self.emulator.columns
        gone = ["".join(row[at].data for at in range(columns)) for row in self.emulator.history.top]
        return "\n".join(line.rstrip() for line in [*gone, *self.emulator.display]).rstrip()


def shown(source: str, window: Window, *, cuts: list[int] | None = None) -> str:
    """What the window shows when `source` comes in deltas, each of which is drawn."""
    offsets = [0, *(cuts if cuts is not None else range(1, len(source))), len(source)]
    with MarkdownStream(window, window.screen, frame=0) as stream:  # type: ignore[arg-type]
        for start, end in itertools.pairwise(offsets):
            stream.feed(source[start:end])
    return window.text


@pytest.mark.parametrize("columns", [20, 33, 60, 100])
def test_an_answer_that_comes_bit_by_bit_ends_as_one_that_comes_at_once(columns: int) -> None:
    assert shown(ANSWER, Window(columns)) == shown(ANSWER, Window(columns), cuts=[])


@pytest.mark.parametrize("columns", [20, 33, 60, 100])
def test_nothing_of_an_answer_is_cut_or_doubled_in_a_narrow_window(columns: int) -> None:
    seen = shown(ANSWER, Window(columns))
    letters = re.sub(r"[\s▌•─]", "", seen)
    for part in (
        *("Torque", "TheM8boltsaretightenedwith25Nm[1],andnever", "1.Switchtheconveyoroff.", "2.Cleanthebelt:"),
        *("withadrycloth,", "neverwithsolvent[3].", "3.Tightentheboltscrosswiseandthenoncemoreallaround."),
        *("deftorque(size):", "10}[size]", "strengthclass8.8aretightenedwith25Nm.", "M610Nm", "M825Nm"),
        *("M8ボルトは25N·mのトルクで締め付けます[1]。", "清掃中は必ず電源を切ってください。", "[1]:docs/handbook.pdf"),
    ):
        assert letters.count(part) == (2 if part == "Torque" else 1), part
    assert all(cell_len(line) <= columns for line in seen.splitlines())


TEXTS = st.lists(
    st.sampled_from(
        [
            *(
                "word ",
                "**bold** ",
                "*it* ",
                "`code` ",
                "[1] ",
                "日本語の文",
                "ภาษาไทย",
                "é👩‍👧 ",
                "\n",
                "\n\n",
                "  ",
                "**",
                "`",
            ),
            *("\n- item ", "\n  - inner ", "\n1. first ", "\n2. second ", "\n* star ", "\n> quote ", "\n# head\n"),
            *("\n```\ncode\n", "\n```\n", "\n---\n", "\n|a|b|\n|-|-|\n|c|d|\n", "\n    ", "a\tb ", "***", "#", "1."),
        ]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.data())
def test_any_split_into_deltas_gives_the_same_screen(source: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(source)), max_size=8)))
    assert shown(source, Window(24, 8), cuts=cuts) == shown(source, Window(24, 8), cuts=[])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_no_control_character_reaches_a_screen_and_no_text_breaks_it(source: str) -> None:
    for window in (Window(20, 6), Window(20, 6, order="visual"), Window(20, 6, order="directed", colours=False)):
        shown(source, window, cuts=[len(source) // 2])
        left = re.sub(r"\x1b\[[0-9;]*(?:m|A|J| k)|\r\x1b\[J", "", window.raw)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", left)


def test_what_a_model_writes_cannot_command_the_terminal() -> None:
    attack = "a\x1b]0;title\x07b \x9b2Jc &#27;[31m `\x1b[8m` \u202etxt.exe &#x202e;x\n\n```\n\x1b[2J\rcode\n```\n"
    window = Window()
    seen = shown(attack, window)
    assert "\x1b[2J" not in window.raw
    assert "\x1b]" not in window.raw
    assert not re.search("[\x07\x9b\u202e]", window.raw)
    assert "txt.exe" in seen
    pipe = io.StringIO()
    with MarkdownStream(pipe, Screen()) as stream:
        for character in attack:
            stream.feed(character)
    assert not re.search("[\x1b\x07\x9b\r\u202e]", pipe.getvalue())


def test_a_block_taller_than_the_window_is_whole_in_the_scrollback() -> None:
    for source in (
        "```\n" + "".join(f"line {number};\n" for number in range(60)) + "```\n",
        "".join(f"{number}. item number {number};\n" for number in range(1, 61)),
        " ".join(f"word{number};" for number in range(200)),
        "| a | b |\n|---|---|\n" + "".join(f"| r{number}; | x |\n" for number in range(40)),
    ):
        cuts = list(range(0, len(source), 7))
        seen = shown(source, Window(40, 10), cuts=cuts)
        marks = re.findall(r"[a-z ]+\d+;", source)
        assert [seen.count(mark.strip()) for mark in marks] == [1] * len(marks)
        assert seen == shown(source, Window(40, 500), cuts=[])


def test_a_taller_block_shows_its_end_while_it_grows() -> None:
    window = Window(40, 10)
    stream = MarkdownStream(window, window.screen, frame=0)  # type: ignore[arg-type]
    for number in range(30):
        stream.feed(f"{'```' if not number else ''}\nline {number};")
    assert window.emulator.display[8].strip() == "line 29;"
    assert not window.emulator.history.top


def test_finished_blocks_are_written_once() -> None:
    window = Window()
    stream = MarkdownStream(window, window.screen, frame=0)  # type: ignore[arg-type]
    stream.feed("First paragraph.\n\n- one\n- two\n\nLast")
    already = len(window.raw)
    for _ in range(50):
        stream.feed(" more")
    assert "First" not in window.raw[already:]
    assert "two" not in window.raw[already:]


def test_the_first_words_are_there_at_once_and_emphasis_does_not_flicker() -> None:
    window = Window()
    stream = MarkdownStream(window, window.screen, frame=0)  # type: ignore[arg-type]
    stream.feed("The")
    assert window.text == "The"
    for delta in (" *", "*M8", " bolts*", "* and ", "`25", " Nm`", "\n", "-", " ", "x"):
        stream.feed(delta)
        assert not re.search(r"[*`]", window.text), delta
    assert window.text == "The M8 bolts and 25 Nm\n\n • x"


def test_markers_stay_as_they_are() -> None:
    source = "As [1] says [2][3]; see [4](docs/a.pdf) and\n\n[1]: docs/b.pdf\n[2]: c d e\n"
    seen = shown(source, Window(80)).replace("\n", " ")
    assert seen == "As [1] says [2][3]; see [4] (docs/a.pdf) and  [1]: docs/b.pdf [2]: c d e"


def test_links_show_their_address_and_html_stands_as_it_is() -> None:
    seen = shown("[page](https://x.org/手册) <https://y.org> ![plan](p.png) List<String> <br>", Window(100))
    assert seen == "page (https://x.org/手册) https://y.org plan (p.png) List<String> <br>"


def test_numbers_of_a_list_go_on_over_what_has_been_printed() -> None:
    assert shown("7. a\n7. b\n7. c\n\n- x\n- y", Window(30)) == " 7. a\n 8. b\n 9. c\n\n • x\n • y"


def test_chinese_and_japanese_are_broken_anywhere_but_not_before_a_full_stop_and_never_in_a_character() -> None:
    seen = shown("[1] 毎週月曜日にコンベアを清掃します。次に電源を切ります。", Window(21)).splitlines()
    assert seen[0].startswith("[1] 毎週月曜日に")
    assert all(cell_len(line) <= 21 for line in seen)
    assert all(line[0] not in "。、ー" for line in seen)


def test_thai_without_spaces_is_broken_between_clusters() -> None:
    source = "ทำความสะอาดสายพานทุกวันจันทร์ด้วยผ้าแห้งเสมอ"
    window = Window(12)
    shown(source, window, cuts=[])
    lines = window.raw.splitlines()
    assert "".join(lines) == source
    assert all(cell_len(line) <= 12 for line in lines)
    assert all(unicodedata.category(line[0]) == "Lo" for line in lines)


def test_a_table_too_wide_for_a_narrow_window_becomes_a_list() -> None:
    source = "| Bolt | Torque | Place |\n|---|---|---|\n| M8 | 25 Nm | motor mount |\n"
    assert shown(source, Window(20)) == "Bolt: M8\nTorque: 25 Nm\nPlace: motor mount"
    assert "motor mount" in shown(source, Window(60)).splitlines()[2]


def test_without_colours_there_is_no_style_and_the_marks_stay() -> None:
    window = Window(colours=False)
    assert (
        shown("## Head\n\n**M8** with `25 Nm`, *never* more\n", window)
        == "## Head\n\n**M8** with `25 Nm`, *never* more"
    )
    assert "m" not in "".join(re.findall(r"\x1b\[[0-9;]*([a-zA-Z])", window.raw))


@pytest.mark.parametrize("screen", [Screen(), Screen(is_terminal=True, is_dumb=True, measure=lambda: Size(10, 5))])
def test_a_pipe_or_dumb_terminal_gets_each_delta_as_it_comes(screen: Screen) -> None:
    class Pipe(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    pipe = Pipe()
    with MarkdownStream(pipe, screen) as stream:
        for count, delta in enumerate(("**M8** ", "يجب", " 25 Nm"), 1):
            stream.feed(delta)
            assert pipe.flushes == count
            assert pipe.getvalue().endswith(delta)
    assert pipe.getvalue() == "**M8** يجب 25 Nm\n"


def test_breaking_off_leaves_what_was_shown_and_a_clean_terminal() -> None:
    window = Window()

    def interrupted() -> None:
        with MarkdownStream(window, window.screen) as stream:  # type: ignore[arg-type]
            stream.feed("A paragraph.\n\n- an **item that")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    window.write("next")
    assert window.text == "A paragraph.\n\n • an **item that\nnext"
    assert not window.emulator.cursor.hidden
    assert not window.emulator.cursor.attrs.bold


def test_a_drawing_that_is_broken_off_is_done_again_below() -> None:
    class Torn(Window):
        tear_at = 3
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            if self.writes == self.tear_at:
                super().write(text[: len(text) // 2])
                raise KeyboardInterrupt
            return super().write(text)

    window = Torn()

    def interrupted() -> None:
        with MarkdownStream(window, window.screen, frame=0) as stream:  # type: ignore[arg-type]
            for delta in ("**one** ", "**two** ", "**three** ", "four"):
                stream.feed(delta)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert window.text.splitlines()[-1] == "one two three"
    assert not window.emulator.cursor.attrs.bold


@pytest.mark.parametrize("at", range(2, 36, 5))
def test_an_interrupt_while_a_drawing_is_prepared_loses_nothing(at: int) -> None:
    class Interrupted(Window):
        calls = 0

        def _size(self) -> Size:
            self.calls += 1
            if self.calls == at:
                raise KeyboardInterrupt
            return super()._size()

    source = "One two.\n\nThree four.\n\n- five\n- six\n"
    window = Interrupted()

    def interrupted() -> None:
        with MarkdownStream(window, window.screen, frame=0) as stream:  # type: ignore[arg-type]
            for character in source:
                stream.feed(character)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    fed = at - 1  # the size is first asked for when nothing has come
    assert window.text == shown(source[:fed], Window(), cuts=[])


@pytest.mark.parametrize("columns", [20, 35, 90])
def test_a_window_resized_in_mid_answer_keeps_every_line_once(columns: int) -> None:
    paragraph = " ".join(f"word{number};" for number in range(30))
    source = f"First paragraph.\n\n{paragraph}\n\nLast paragraph."
    window = Window(60, 24)
    with MarkdownStream(window, window.screen, frame=0) as stream:  # type: ignore[arg-type]
        half = len(source) // 2
        for character in source[:half]:
            stream.feed(character)
        window.emulator.resize(lines=24, columns=columns)
        for character in source[half:]:
            stream.feed(character)
    expected = shown(source, Window(columns, 24))
    assert window.text.split("\n\n")[1:] == expected.split("\n\n")[1:]
    assert window.text.startswith("First paragraph")


def test_right_to_left_paragraphs_stand_at_the_right_edge_in_visual_order() -> None:
    window = Window(40, order="visual")
    lines = shown(f"{ARABIC}\n\nEnglish again.\n\n- بند أول [2]\n", window).splitlines()
    assert lines[0].startswith(" ")
    assert cell_len(lines[0]) == 40
    assert "M8" in lines[0]
    assert "[1]" in "".join(lines), "brackets are turned around where they are read from the right"
    assert "English again." in lines
    assert lines[-1].endswith("•")
    assert lines[-1].strip().startswith("[2]")


def test_a_terminal_that_orders_text_itself_is_told_the_direction_of_each_line() -> None:
    window = Window(40, order="directed")
    shown(f"{ARABIC}\n\nEnglish again.\n", window, cuts=[])
    drawn = window.raw.split("\n")
    arabic = [line for line in drawn if "\u0627" in line]
    assert len(arabic) >= 2
    assert all("\x1b[2 k" in line for line in arabic)
    [english] = [line for line in drawn if "English" in line]
    assert "\x1b[2 k" not in english
    assert window.raw.rindex("\x1b[0 k") > window.raw.rindex("\x1b[2 k"), "the prompt below is left-to-right again"


def test_the_columns_of_a_right_to_left_table_run_from_the_right() -> None:
    source = "| البرغي | العزم |\n|---|---|\n| M8 | 25 Nm |\n"
    row = shown(source, Window(40, order="visual")).splitlines()[-1]
    assert row.index("25 Nm") < row.index("M8")
    assert row.endswith("M8")


def test_the_cost_of_a_delta_does_not_grow_with_the_answer() -> None:
    paragraph = "The **M8 bolts** are tightened with `25 Nm` [1], never with an impact driver.\n\n"

    def seconds(paragraphs: int) -> float:
        window = Window(80, 40)
        sink = io.StringIO()
        started = time.process_time()
        with MarkdownStream(sink, window.screen, frame=0) as stream:
            for at in range(0, paragraphs * len(paragraph), 8):
                stream.feed((paragraph * paragraphs)[at : at + 8])
        return time.process_time() - started

    seconds(2)
    assert seconds(40) < 20 * seconds(5)  # eight times as much; a quadratic cost would be 64 times


def test_what_comes_faster_than_it_can_be_drawn_is_there_a_moment_later() -> None:
    window = Window(70)
    stream = MarkdownStream(window, window.screen)  # type: ignore[arg-type]
    for number in range(200):
        stream.feed(f"w{number} ")
    drawn = window.raw.count("\r")
    assert drawn < 20
    deadline = time.monotonic() + 10
    while "w199" not in window.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert window.text.split() == [f"w{number}" for number in range(200)]
    stream.finish()
    assert window.text.split() == [f"w{number}" for number in range(200)]
