from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunking import chunk
from rag.citations import Checked, check
from rag.marker_syntax import cited
from rag.markers import CitationFilter, Offered
from rag.types import Citation, Language, Passage
from rag.untrusted import OutputFilter
from tests.samples import a_passage
from tests.test_readers_pdf import lines, read_pdf, written

TEXT = (
    "Vor der Montage ist das Gewinde zu reinigen. Die Schrauben werden mit 24 Nm angezogen,\n"
    "und zwar „über Kreuz“. Danach prüft man den Sitz.  Nach 100 Stunden wird nachgezogen – nicht später."
)


def citations(text: str, passages: list[Passage]) -> tuple[Citation, ...]:
    """Of markers that brought no words."""
    return check(text, (), passages).citations


def _only(text: str, passage: Passage) -> Citation:
    (found,) = citations(text, [passage])
    chunk = passage.chunk
    assert found.quote == chunk.text[found.span[0] - chunk.start : found.span[1] - chunk.start]
    return found


def _answered(written: str, passages: list[Passage], **options: str) -> tuple[str, Checked]:
    """The text that the asker sees of what a model has written, and what its markers come to."""
    markers = CitationFilter(passages)
    shown = markers.feed(written) + markers.finish()
    return shown, check(shown, markers.offered, passages, **options)


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


PASSAGES = [
    a_passage(text=TEXT),
    a_passage(2, text="The engine must be cold. Open the lid slowly.", start=7, language="en"),
    a_passage(3, text="Le couvercle se ferme à la main, sans outil.", language="fr"),
]


def test_offered_words_that_stand_in_their_passage_become_the_quote_as_the_document_has_it() -> None:
    shown, found = _answered(
        'Cross-wise, with 24 Nm [1: "mit 24 Nm angezogen, und zwar "über Kreuz""]. No tool [3: « sans outil »].',
        PASSAGES,
    )
    assert shown == "Cross-wise, with 24 Nm [1]. No tool [3]."
    assert [(each.marker, each.quote, each.checked) for each in found.citations] == [
        (1, "mit 24 Nm angezogen,\nund zwar „über Kreuz“", True),
        (3, "sans outil", True),
    ]
    assert found.citations[0].span == (100 + TEXT.index("mit 24"), 100 + TEXT.index(". Danach"))
    assert (found.support, found.unsupported) == (1.0, ())


@pytest.mark.parametrize(
    "quote",
    [
        "mit 26 Nm angezogen",
        "MIT 24 NM ANGEZOGEN",
        "The engine must be cold",  # stands in another passage
        "mit 24 Nm … und nie",
        "und zwar … mit 24 Nm",
        "24",
    ],
)
def test_offered_words_that_do_not_stand_in_their_passage_are_dropped_and_their_claim_is_unsupported(
    quote: str,
) -> None:
    shown, found = _answered(f'It is so [1: "{quote}"]. Cold it must be [2: "must be cold"].', PASSAGES)
    assert [(each.marker, each.quote, each.checked) for each in found.citations] == [
        (1, TEXT, False),
        (2, "must be cold", True),
    ]
    assert found.support == 0.5
    assert [shown[start:end] for start, end in found.unsupported] == ["It is so [1]."]


def test_offered_words_may_leave_something_out_and_their_first_part_is_the_quote() -> None:
    _, found = _answered('It is so [1: "mit 24 Nm … und zwar [...] prüft man"].', PASSAGES)
    assert [(each.quote, each.checked) for each in found.citations] == [("mit 24 Nm", True)]
    assert found.support == 1.0


@pytest.mark.parametrize(
    "words",
    [
        "Open https://host.de/setup?step=2#top first",
        "host.de/a?b=c is the `old` page",
        "<b>bold</b> text &amp; [words](https://host.de/x?y)",
    ],
)
def test_offered_words_are_found_though_the_outlet_breaks_such_addresses(words: str) -> None:
    passage = a_passage(text=f"Begin. {words}. End.")
    for text in (f'It is so [1: "{words}"].', f'It`s at https://host.de/setup?step=2 [1: "{words}"]. Go `x` on [9].'):
        markers, outlet = CitationFilter([passage]), OutputFilter()
        shown = "".join(outlet.feed(markers.feed(each)) for each in text)
        shown += outlet.feed(markers.finish()) + outlet.finish()
        assert "?" not in shown
        found = check(shown, markers.offered, [passage])
        assert [(each.quote, each.checked) for each in found.citations] == [(words, True)]


def test_a_marker_without_words_leads_to_its_passage_and_supports_nothing() -> None:
    _, found = _answered("It is so [2].", PASSAGES)
    assert [(each.quote, each.checked) for each in found.citations] == [(PASSAGES[1].chunk.text, False)]
    assert (found.support, found.unsupported) == (0.0, ((0, 13),))


def test_one_checked_quote_is_enough_for_a_claim_and_two_of_one_passage_are_two_citations() -> None:
    _, found = _answered('It is so [2: "must be cold", "Open the lid", "made up", 1: "made up"].', PASSAGES)
    assert [(each.marker, each.quote) for each in found.citations] == [
        (1, TEXT),
        (2, "must be cold"),
        (2, "Open the lid"),
    ]
    assert found.support == 1.0


def test_what_claims_nothing_does_not_count() -> None:
    _, found = _answered('# Steps\n\nWhat is to be done? This:\n\n- Open it [2: "Open the lid"].\n', PASSAGES)
    assert found.support == 1.0
    assert _answered("# Steps\n\nWhat is to be done?", PASSAGES)[1].support is None
    notice = "No language model is configured. Here are the sources."
    _, found = _answered(f"{notice}\n\n> Open the lid slowly. [2]", PASSAGES, notice=notice)
    assert (found.support, found.unsupported) == (None, ())
    assert [(each.quote, each.checked) for each in found.citations] == [("Open the lid slowly.", True)]


def test_a_quotation_in_the_text_counts_where_the_offered_words_fail_or_there_are_none() -> None:
    for marker in ("[2]", '[2: "made up"]'):
        _, found = _answered(f"It says “Open the lid slowly.” {marker}", PASSAGES)
        assert [each.quote for each in found.citations] == ["Open the lid slowly."]
        assert found.support == 1.0


def test_markers_that_were_hidden_since_do_not_confuse_what_the_others_brought() -> None:
    hidden = (Offered(1, ("made up",)), Offered(1, ("mit 24 Nm",)))
    offered = (*hidden, Offered(2, ("must be cold",)), Offered(1, ("prüft man den Sitz",)))
    found = check("It is `so [1][1]`. Cold [2]. Checked [1].", offered, PASSAGES)
    assert [(each.marker, each.quote) for each in found.citations] == [(1, "prüft man den Sitz"), (2, "must be cold")]
    found = check("Cold `[1]` it must be [2], and [3].", offered, PASSAGES)
    assert [(each.marker, each.checked) for each in found.citations] == [(2, True), (3, False)]


def test_the_page_of_a_citation_is_the_page_of_its_quote_in_a_real_pdf() -> None:
    first = ("The lid is opened slowly and only when the engine has become quite cold, as", "the water in it is hot.")
    second = ("Afterwards the two screws at the side are tightened with a torque of 24 Nm,", "and the seat is checked.")
    third = ("The oil is changed once a year by somebody who has been trained to do that",)
    document = read_pdf(written([lines(*first), lines(*second), lines(*third)]))
    assert len(document.page_starts) == 3
    (only,) = chunk(
        document,
        version="v1",
        ingested_at=1.0,
        budget=500,
        count_tokens=lambda texts: [len(text.split()) for text in texts],
        detect=lambda _: Language("en", 1.0),
    )
    passage = Passage(1, only, 1.0, 0.5, 0.1)
    _, found = _answered(
        'Ölwechsel [1: "oil is changed once a year"]. Kalt [1: "quite cold, as the water"]. '
        'Fest [1: "with a torque of 24 Nm"]. Heiß [1: "it is hot. Afterwards the two"].',
        [passage],
    )
    assert [(each.quote.split()[0], each.page) for each in found.citations] == [
        ("oil", 3),
        ("quite", 1),
        ("with", 2),
        ("it", 1),
    ]
    for each in found.citations:
        assert each.checked
        assert document.text[slice(*each.span)] == each.quote
        assert document.page_starts[(each.page or 0) - 1] <= each.span[0]


SIGNS = st.sampled_from(
    "abcdeßéẞ Ωλξя ьжй あかガｶﾞ漢字文한글 नमस्ते ไทยกำ سلامی‌ם ﬁ½…—–-\"“”„«»「」’'()[]:：,.78\n\u00a0\u0301\u200b"
)


def _letters(text: str) -> str:
    """What of a text no typesetting changes."""
    return "".join(each for each in unicodedata.normalize("NFKD", text) if each.isalnum())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(SIGNS, min_size=12).map(lambda text: f"{text}x"), min_size=1, max_size=3), st.data())
def test_delivered_quotes_stand_in_the_stored_text_and_made_up_words_support_nothing(
    texts: list[str], data: st.DataObject
) -> None:
    passages = [a_passage(rank, text=text, start=7 * rank) for rank, text in enumerate(texts, start=1)]
    answer = ""
    true_words = []
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(1, len(texts) + 1))  # the last is nobody's
        stored = texts[min(number, len(texts)) - 1]
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(stored))] * 2)))
        words = stored[start:end]
        if data.draw(st.booleans()):
            # Letters that no passage has; without brackets, at which made-up words may end too soon.
            at = data.draw(st.integers(0, len(words)))
            words = words[:at] + data.draw(st.sampled_from("Zゑ龘Ѣ9")) + words[at:]
            words = "".join(each for each in words if each.isalnum() or each.isspace())
        elif number <= len(texts):
            true_words.append(_letters(words))
        answer += f'The claim is made [{number}: "{words}"]. '
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=20)))
    markers = CitationFilter(passages)
    parts = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    shown = "".join(map(markers.feed, parts)) + markers.finish()
    found = check(shown, markers.offered, passages)
    assert set(cited(shown)) == {each.marker for each in found.citations} <= set(range(1, len(texts) + 1))
    for each in found.citations:
        start = 7 * each.marker
        assert each.quote == texts[each.marker - 1][each.span[0] - start : each.span[1] - start]
        if each.checked:
            assert any(_letters(each.quote) in words for words in true_words)
        else:
            assert each.quote == texts[each.marker - 1]
    assert (found.support is None) == ("The claim" not in shown)
    if not true_words:
        assert found.support == 0
