from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.citations import MarkerFilter, citations, cited
from rag.types import Citation, Passage
from tests.samples import a_passage

TEXT = (
    "Vor der Montage ist das Gewinde zu reinigen. Die Schrauben werden mit 24 Nm angezogen,\n"
    "und zwar „über Kreuz“. Danach prüft man den Sitz.  Nach 100 Stunden wird nachgezogen – nicht später."
)


def _filtered(text: str, passage_count: int = 8) -> str:
    markers = MarkerFilter(passage_count)
    return markers.feed(text) + markers.finish()


def _only(text: str, passage: Passage) -> Citation:
    (found,) = citations(text, [passage])
    chunk = passage.chunk
    assert found.quote == chunk.text[found.span[0] - chunk.start : found.span[1] - chunk.start]
    return found


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ja [1].", "Ja [1]."),
        ("Ja[1].", "Ja[1]."),
        ("Ja [1, 2].", "Ja [1][2]."),
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
        "[a]", "[1a]", "[^1]", "[]", "[ ]", "[2024]", "[2024-01-01]", "[01-15]", "[3-1]", "im Intervall [0, 1]",
        "[1.5]", "[-1]", "[1", " [", "[1, ", "Ende ", "`liste[0]`", "``a ` [9]``", "```\nx[9]\n\ny[0]\n```", "~[",
        "1]", "(1)", "[x](https://a.org)", "{9}", "[[a]]", "[1\n]",
    ],
)  # fmt: skip
def test_what_is_no_marker_is_left_alone(text: str) -> None:
    assert _filtered(text) == text
    assert cited(text) == ()


def test_a_stray_backtick_does_not_switch_off_the_markers_of_the_next_line() -> None:
    assert _filtered("Das ` Zeichen [1,2]\nund weiter [1,2].") == "Das ` Zeichen [1,2]\nund weiter [1][2]."


def test_markers_after_code_are_markers_again() -> None:
    assert _filtered("`a[0]` [1,2] ```b[0]``` [9] und `c`[2, 3]") == "`a[0]` [1][2] ```b[0]``` und `c`[2][3]"


def test_without_passages_every_marker_goes() -> None:
    assert _filtered("Ja [1] und [2].", passage_count=0) == "Ja und."


def test_only_what_may_become_a_marker_is_held_back() -> None:
    markers = MarkerFilter(8)
    assert markers.feed("Die Antwort") == "Die Antwort"
    assert markers.feed(" ist") == " ist"
    assert markers.feed(" [1") == ""
    assert markers.feed(", ") == ""
    assert markers.feed("2") == ""
    assert markers.feed("] gut") == " [1][2] gut"
    assert markers.feed(" [12") == ""
    assert markers.feed("34") == " [1234"
    assert markers.feed(" [a") == " [a"
    assert markers.feed("ccc [") == "ccc"
    assert markers.finish() == " ["
    assert markers.finish() == ""


def test_not_even_an_endless_list_is_held_back_for_long() -> None:
    markers = MarkerFilter(8)
    shown = markers.feed("[" + "1, " * 1000)
    assert len(shown) > 2800


PIECES = st.sampled_from(
    ["a", "é", " ", "\u00a0", "\n", "[", "]", "［", "］", "【", "】", "1", "2", "9", "0", "١", "१", "12", ",", ", ",
     "、", "-", "–", "`", "``", "```", "[1]", "[9]", " [9]", "[1, 2]", "[0, 1]", "[2-4]", "[2024]", "x[1]",
     "> ", '"', "。"]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join), st.data())
def test_the_result_does_not_depend_on_how_the_text_is_cut(text: str, data: st.DataObject) -> None:
    whole = _filtered(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    markers = MarkerFilter(8)
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(markers.feed, parts)) + markers.finish() == whole
    one_by_one = MarkerFilter(8)
    assert "".join(map(one_by_one.feed, text)) + one_by_one.finish() == whole


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_what_is_cited_points_at_passages_and_each_has_its_citation(text: str) -> None:
    passages = [a_passage(rank) for rank in range(1, 9)]
    shown = _filtered(text)
    numbers = cited(shown)
    assert set(numbers) <= set(range(1, 9))
    assert list(numbers) == sorted(set(numbers))
    assert tuple(dict.fromkeys(citation.marker for citation in citations(shown, passages))) == numbers


def test_markers_are_counted_once_and_ascending() -> None:
    assert cited("Erst [3], dann [1, 3] und ［２］, nie `[4]`.") == (1, 2, 3)


def test_a_citation_carries_where_it_comes_from_and_by_default_the_whole_passage() -> None:
    passage = a_passage()
    assert _only("Mit 24 Nm [1].", passage) == Citation(
        marker=1,
        source="/library/handbuch.pdf",
        uri="file:///library/handbuch.pdf",
        title="Handbuch",
        heading="Montage › Schrauben",
        page=3,
        language="de",
        quote="Die Schrauben werden mit 24 Nm angezogen.",
        span=(100, 141),
    )


def test_two_quotations_of_one_passage_are_two_citations() -> None:
    passage = a_passage(text="Erst lesen. Dann handeln. Zuletzt prüfen.", start=10)
    found = citations("> Dann handeln. [1]\n\n> Erst lesen. [1]\n\n> Dann handeln. [1]\n\nSo ist es [1].", [passage])
    assert [(citation.marker, citation.quote, citation.span) for citation in found] == [
        (1, "Dann handeln.", (22, 35)),
        (1, "Erst lesen.", (10, 21)),
    ]


def test_the_page_is_that_of_the_quote_and_not_of_its_passage() -> None:
    passage = a_passage(text="Erst lesen. Dann handeln.", start=100, page=3, page_breaks=(112,))
    found = citations("„Dann handeln.“ [1] und „Erst lesen.“ [1]", [passage])
    assert [(citation.quote, citation.page) for citation in found] == [("Dann handeln.", 4), ("Erst lesen.", 3)]


def test_a_marker_without_a_passage_has_no_citation() -> None:
    assert citations("Ja [2].", [a_passage()]) == ()
    assert citations("Ja.", [a_passage()]) == ()


SENTENCE = "Danach prüft man den Sitz."


@pytest.mark.parametrize(
    "answer",
    [
        "It says “Danach prüft man den Sitz.” [1]",
        "It says “Danach prüft man den Sitz”. [1]",
        "It says “Danach prüft man den Sitz,” [1]",
        'It says "Danach prüft man den Sitz."[1].',
        "Es heißt: „Danach prüft man den Sitz.“ [1]",
        "Es heißt: »Danach prüft man den Sitz.« [1]",
        "Il est dit : « Danach prüft man den Sitz. » [1]",
        "原文は「Danach prüft man den Sitz.」[1]です。",
        "原文は『Danach prüft man den Sitz.』［1］です。",
        "See:\n\n> Danach prüft man den Sitz. [1]",
        "See:\n\n> Danach prüft\n> man den Sitz. [1]",
        "See:\n\n> Danach prüft man den Sitz.\n\n[1]",
        "See:\n> „Danach prüft man den Sitz.“ [1]",
        "Both “a” and “Danach prüft man den Sitz.” [2][1]",
        "First [1]. Then “Danach prüft man den Sitz.” [1]",
    ],
)
def test_a_quotation_before_the_marker_becomes_the_quote(answer: str) -> None:
    found = _only(answer, a_passage(text=TEXT))
    assert found.quote.rstrip(".") == SENTENCE.rstrip(".")
    assert found.span[0] == 100 + TEXT.index(SENTENCE)


def test_the_quote_is_what_the_document_says_even_where_spacing_and_marks_differ() -> None:
    answer = 'Es heißt: "mit 24 Nm angezogen, und zwar "über Kreuz"" [1]'
    assert _only(answer, a_passage(text=TEXT)).quote == "mit 24 Nm angezogen,\nund zwar „über Kreuz“"
    answer = "„Nach 100 Stunden wird nachgezogen - nicht später.“ [1]"
    assert _only(answer, a_passage(text=TEXT)).quote == "Nach 100 Stunden wird nachgezogen – nicht später."


def test_a_decomposed_quotation_finds_the_composed_text() -> None:
    assert _only("„Danach pru\u0308ft man“ [1]", a_passage(text=TEXT)).quote == "Danach prüft man"


@pytest.mark.parametrize(
    "answer",
    [
        "„Danach prüft man den Motor.“ [1]",
        "„danach PRÜFT man den Sitz.“ [1]",
        "„Danach prüft man den Sitz.“ steht dort, und zwar ganz am Ende [1].",
        "“ab” [1]",
        "“” [1]",
        "> [1]",
    ],
)
def test_what_the_passage_does_not_say_or_the_marker_does_not_follow_is_no_quote(answer: str) -> None:
    assert _only(answer, a_passage(text=TEXT)).quote == TEXT


def test_a_row_of_thousands_of_markers_is_read_in_one_go() -> None:
    passage = a_passage(text=TEXT)
    assert _only(f"„{SENTENCE}“" + " [1]" * 3000, passage).quote == SENTENCE
    assert _only('"a ' * 1000 + "[1] " * 3000, passage).quote == TEXT


def test_a_quotation_is_looked_for_in_its_own_passage_only() -> None:
    passages = [a_passage(text=TEXT), a_passage(2, text=f"Anders. {SENTENCE}", start=7)]
    first, second = citations(f"„{SENTENCE}“ [2] Das Gewinde wird gereinigt [1].", passages)
    assert (first.quote, first.span) == (TEXT, (100, 100 + len(TEXT)))
    assert (second.quote, second.span) == (SENTENCE, (15, 15 + len(SENTENCE)))


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from("ab „“”\"'’\n\t.–-漢字かé\u0301>1[]"), min_size=1, max_size=40),
    st.text(st.sampled_from("ab „“”\"'’\n\t.–-漢字かé\u0301>1[]"), max_size=40),
    st.data(),
)
def test_every_quote_is_the_stored_text_at_its_span(passage_text: str, before: str, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(passage_text))] * 2)))
    opening, closing = data.draw(st.sampled_from([*map(tuple, ("“”", "„“", "«»", "「」", '""', "> "))]))
    _only(f"{before}\n{opening}{passage_text[start:end]}{closing} [1]\n", a_passage(text=passage_text, start=17))
