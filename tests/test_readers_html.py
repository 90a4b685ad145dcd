"""The HTML reader on small pages of its own."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readers import read
from rag.errors import ReadError
from rag.types import Document


def read_page(page: str | bytes) -> Document:
    (document,) = read("file:///library/page.html", page.encode() if isinstance(page, str) else page)
    for heading in document.headings:
        assert document.text[heading.start : heading.end] == heading.title
    return document


def headings_of(document: Document) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in document.headings]


PAGE = """<!doctype html><html lang="fr"><head><meta charset="utf-8"><title>Congés – Intranet</title>
<meta name="author" content="Hélène"><meta name="description" content="">
<style>p {color: red}</style></head><body>
<header>Bandeau</header><nav><a href="/">Accueil</a></nav>
<main><header><h1>Congés<a href="#conges">¶</a></h1></header>
<p>Chaque salarié a droit à
   <b>25 jours</b>.</p><script>var x;</script>
<h2>Demande <code>RH-7</code></h2><ul><li>écrire<ul><li>un mois avant</li></ul></li><li><p>attendre</p>
<p>la réponse</p></li></ul>
<ol><li>premier<li>second</ol>
<table><caption>Durées</caption><tr><th>Cas<th>Jours</tr><tr><td>Mariage<td><p>4</p></tr></table>
<pre>a = 1
  b = 2
</pre>une<br>deux<dl><dt>Solde</dt><dd>le reste</dd></dl><aside>Voir aussi</aside><p hidden>caché</p></main>
<footer>Mentions légales</footer></body></html>"""


def test_the_main_content_keeps_its_structure_and_loses_what_surrounds_it() -> None:
    assert read_page(PAGE).text == (
        "Congés\n\nChaque salarié a droit à 25 jours.\n\nDemande RH-7\n\n- écrire\n  - un mois avant\n- attendre\n"
        "  la réponse\n\n1. premier\n2. second\n\nDurées\n\nCas | Jours\nMariage | 4\n\na = 1\n  b = 2\n\n"
        "une\ndeux\n\nSolde\nle reste"
    )


def test_headings_and_metadata_are_those_of_the_page() -> None:
    document = read_page(PAGE)
    assert headings_of(document) == [(1, "Congés"), (2, "Demande RH-7")]
    assert document.metadata == {"author": "Hélène"}


def test_the_title_is_the_first_heading_where_the_title_element_only_adds_to_it() -> None:
    assert read_page(PAGE).title == "Congés"
    assert read_page("<title>Handbook</title><h1>Chapter 1</h1><p>x").title == "Handbook"
    assert read_page("<h1>Chapter 1</h1><p>x").title == "Chapter 1"
    assert read_page("<p>x").title == "page"


@pytest.mark.parametrize(
    ("language", "heading", "sentence"),
    [
        ("ja", "有給休暇", "年次有給休暇は、入社から六か月後に十日付与されます。"),
        ("ar", "الإجازات", "لكل موظف ثلاثون يومًا من الإجازة السنوية."),
        ("hi", "छुट्टियाँ", "हर कर्मचारी को साल में बीस दिन की छुट्टी मिलती है।"),
    ],
)
@pytest.mark.parametrize("container", ["main", "article", "div"])
def test_a_page_of_one_sentence_is_read_in_any_script(
    language: str, heading: str, sentence: str, container: str
) -> None:
    document = read_page(
        f'<html lang="{language}"><body><nav><a href="/">nav-link</a></nav>'
        f"<{container}><h2>{heading}</h2><p>{sentence}</p></{container}><footer>foot</footer></body></html>"
    )
    assert document.text == f"{heading}\n\n{sentence}"
    assert headings_of(document) == [(2, heading)]


def test_a_line_break_inside_a_japanese_sentence_leaves_no_space_and_readings_are_left_out() -> None:
    document = read_page("<p>これは<ruby>頁<rp>(</rp><rt>ページ</rt><rp>)</rp></ruby>\n  です。\nPython\nも。</p>")
    assert document.text == "これは頁です。Python も。"


def test_a_page_without_landmarks_loses_its_menu_and_keeps_headings_and_tables() -> None:
    sentences = "".join(
        f"<p>Paragraph {number} says at some length what an employee has to do when the machine number {number} stops "
        f"and nobody from the maintenance team can be reached by telephone.</p>"
        for number in range(1, 9)
    )
    menu = "".join(f'<li><a href="/{number}">Menu entry number {number} of the site</a></li>' for number in range(12))
    document = read_page(
        f"<body><div class=menu><ul>{menu}</ul></div><div id=content><h1>Breakdowns</h1>{sentences}<h2>Phones</h2>"
        f"<table><tr><th>Who<th>Number<tr><td>Gate<td>318</table>{sentences}</div>"
        f"<div class=footer><ul>{menu}</ul></div></body>"
    )
    assert "Menu entry" not in document.text
    assert document.text.startswith("Breakdowns\n\nParagraph 1 says")
    assert "Phones\n\nWho | Number\nGate | 318\n\nParagraph 1" in document.text
    assert headings_of(document) == [(1, "Breakdowns"), (2, "Phones")]


def test_a_table_that_only_arranges_the_page_is_read_as_blocks() -> None:
    document = read_page("<table><tr><td><h1>A</h1><p>one</p><p>two</p></td><td>side</td></tr></table>")
    assert document.text == "A\n\none\n\ntwo\n\nside"


@pytest.mark.parametrize(
    ("encoding", "head"),
    [
        ("shift_jis", '<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">'),
        ("euc_jp", "<meta charset=EUC-JP>"),
        ("utf-8", ""),
        ("utf-8", '<?xml version="1.0" encoding="UTF-8"?>'),
        ("utf-8", "<meta charset=iso-8859-1>"),  # wrong, and plainly so
        ("utf-16", ""),
    ],
)
def test_the_declared_encoding_is_used_unless_the_bytes_contradict_it(encoding: str, head: str) -> None:
    page = f"{head}<body><p>倉庫の規程</p></body>"
    assert read_page(page.encode(encoding)).text == "倉庫の規程"


def test_windows_quotes_declared_as_latin_1_come_out_as_browsers_show_them() -> None:
    assert read_page("<meta charset=iso-8859-1><p>“quoted” – café".encode("cp1252")).text == "“quoted” – café"


@pytest.mark.parametrize("page", ["<html></html>", "<body><nav>only</nav><script>x</script></body>", "<!-- c -->"])
def test_a_page_without_text_is_refused(page: str) -> None:
    with pytest.raises(ReadError, match="no text"):
        read_page(page)


def test_a_deeply_nested_page_is_read() -> None:
    assert read_page("<div>" * 200 + "deep" + "</div>" * 200).text == "deep"


# fmt: off
TAGS = [
    "p", "div", "li", "ul", "ol", "h1", "h2", "table", "tr", "td", "pre", "br", "a", "nav", "main", "article",
    "section", "header", "span", "b", "dl", "dd", "ruby", "rt",
]
# fmt: on
PIECES = st.one_of(
    st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS]),
    st.text(alphabet=st.characters(exclude_characters="<&\0"), max_size=8),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_any_soup_of_tags_gives_composed_text_with_right_headings_or_a_read_error(page: str) -> None:
    data = ("<body><main>" + page).encode("utf-8", "ignore")
    try:
        document = read_page(data)
    except ReadError:
        return
    assert unicodedata.is_normalized("NFC", document.text)
    assert document.text == document.text.rstrip()
    assert "\n\n\n" not in document.text or "<pre>" in page
