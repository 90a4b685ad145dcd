"""What every reader promises, plain text and Markdown."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.readers import SUFFIXES, VERSIONS, format_of, read
from rag.errors import ReadError
from rag.types import Document, Heading


def read_one(name: str, data: str | bytes) -> Document:
    (document,) = read(f"file:///library/{name}", data.encode() if isinstance(data, str) else data)
    return document


def assert_headings_are_whole_lines_with_their_words(document: Document) -> None:
    for heading in document.headings:
        assert heading.start == 0 or document.text[heading.start - 1] == "\n"
        assert heading.end == len(document.text) or document.text[heading.end] == "\n"
        line = html.unescape(document.text[heading.start : heading.end])
        assert re.match(r" {0,3}#", line) or re.search(r"\n {0,3}(=+|-+)[ \t]*$", line), line
        letters = iter(unicodedata.normalize("NFC", line))
        assert all(letter in letters for letter in heading.title if letter.isalnum()), (heading.title, line)


def test_importing_the_readers_loads_none_of_their_libraries() -> None:
    vendors = "trafilatura lxml pypdfium2 docx markdown_it yaml charset_normalizer"
    code = f"import ingest.readers, sys; print([name for name in {vendors.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_suffix_leads_to_a_format_with_a_version() -> None:
    assert set(SUFFIXES.values()) == set(VERSIONS) == {"txt", "md", "html", "pdf", "docx"}
    assert all(version >= 1 for version in VERSIONS.values())


def test_the_format_is_told_by_the_suffix_in_any_case() -> None:
    assert format_of(Path("a/Report.PDF")) == "pdf"
    assert format_of(Path("notes.markdown")) == "md"
    assert format_of(Path("archive.tar.gz")) is None
    assert format_of(Path("README")) is None


def test_the_suffix_is_found_in_the_percent_decoded_path_of_a_url() -> None:
    (document,) = read("https://example.org/a%20b/%E7%AB%A0%2Emd?version=2", b"# One")
    assert document.format == "md"
    assert document.uri == "https://example.org/a%20b/%E7%AB%A0%2Emd?version=2"


def test_an_unknown_suffix_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ReadError, match=r"no reader for the suffix '\.odt': convert the file to one of \.txt .*\.docx"):
        read_one("a.odt", "words")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.pdf", "a.docx"])
def test_an_empty_file_is_refused_before_anything_is_read_from_the_iterator(name: str) -> None:
    with pytest.raises(ReadError, match="empty"):
        read(f"file:///{name}", b"")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
@pytest.mark.parametrize("data", [b" \n\t\n ", "\u200b\u00a0\ufeff".encode()])
def test_a_file_without_anything_visible_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(ReadError, match="no text"):
        read_one(name, data)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.pdf", "a.docx"])
@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 9, bytes(range(256)) * 4, b"PK\x03\x04\0\0broken" * 5]
)
def test_what_is_no_text_is_refused_in_one_line_without_the_file_name(name: str, data: bytes) -> None:
    with pytest.raises(ReadError) as refusal:
        read_one(name, data)
    assert "\n" not in str(refusal.value)
    assert name not in str(refusal.value)


def test_nul_bytes_and_a_flood_of_controls_are_called_binary() -> None:
    with pytest.raises(ReadError, match=r"binary content.*byte 3"):
        read_one("a.txt", b"abc\0def")
    with pytest.raises(ReadError, match=r"binary content.*4 of 8"):
        read_one("a.txt", b"\x01a\x02b\x03c\x04d")


def test_text_comes_out_composed_with_plain_line_ends_and_without_a_byte_order_mark() -> None:
    document = read_one("a.txt", "\ufeff\n\nCafe\u0301\r\nau\rlait\u2028oui\x0cnon\n\n\n")
    assert document.text == "Café\nau\nlait\noui\nnon"


def test_the_indentation_of_the_first_line_is_kept() -> None:
    assert read_one("a.txt", "\n  \n    deep\nflat").text == "    deep\nflat"


def test_a_text_is_called_by_its_file_name() -> None:
    (document,) = read("file:///x/%E8%A6%8F%E7%A8%8B%20v1.2.txt", "本文".encode())
    assert document.title == "規程 v1.2"
    assert (document.headings, document.page_starts, dict(document.metadata)) == ((), (), {})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_decides_the_encoding(encoding: str) -> None:
    text = "Привет, 世界"
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    assert read_one("a.txt", mark + text.encode(encoding)).text == text


def test_a_text_cut_off_after_its_byte_order_mark_is_refused() -> None:
    with pytest.raises(ReadError, match=r"byte order mark.*utf-16.*save it as UTF-8"):
        read_one("a.txt", b"\xff\xfea\0b")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        (
            "cp1251",
            "Работники обязаны носить каску и защитные очки при входе в производственный цех. Лифтом не пользуйтесь.",
        ),
        (
            "shift_jis",
            "この手順書は、第二倉庫で使用している電動フォークリフト五台の充電と電池の手入れについて定めたものです。",
        ),
        ("gb18030", "为了保障员工的休息权利，规范加班的申请、计算和补偿，特制定本办法。本办法适用于全体正式员工。"),
    ],
)
def test_an_old_encoding_is_recognised_in_a_few_sentences(encoding: str, text: str) -> None:
    assert read_one("a.txt", text.encode(encoding)).text == text


@settings(max_examples=80, deadline=None)
@given(st.text())
@example("e\u0301\u0323 \u1100\u1161")
@example("\ufeff\ufeffx")
def test_any_text_is_refused_or_comes_out_composed_and_trimmed(text: str) -> None:
    try:
        document = read_one("a.txt", text.encode("utf-8", "ignore"))
    except ReadError:
        return
    assert unicodedata.is_normalized("NFC", document.text)
    assert document.text == document.text.rstrip()
    assert not re.search("[\r\x00-\x08\x7f\x85\u2028]", document.text)
    document.text.encode()


FRONT = """---
title: "Données : l'essentiel"
tags: [sécurité, données]
date: 2024-03-01
draft: false
weight: 12
"og:type": article
owner: {name: nested}
名前: 値
empty:
---

# Un

Texte.
"""


def test_front_matter_becomes_metadata_and_title_and_leaves_the_text() -> None:
    document = read_one("a.md", FRONT)
    assert document.text == "# Un\n\nTexte."
    assert document.title == "Données : l'essentiel"
    assert document.metadata == {
        "tags": "sécurité, données",
        "date": "2024-03-01",
        "draft": "false",
        "weight": "12",
        "og-type": "article",
    }


def test_toml_front_matter_is_read_as_well() -> None:
    document = read_one("a.md", '+++\ntitle = "T"\ndate = 2024-03-01T10:00:00Z\n+++\nText')
    assert (document.title, document.text) == ("T", "Text")
    assert document.metadata == {"date": "2024-03-01T10:00:00+00:00"}


@pytest.mark.parametrize(
    "broken", ["title: a: b", "a: [1", "d: 2024-13-45", "b: !!bool maybe", "a: &x [*x]\n? {}\n: 1"]
)
def test_broken_front_matter_costs_the_metadata_and_not_the_document(broken: str) -> None:
    document = read_one("a.md", f"---\n{broken}\n---\n# Heading\n\nBody")
    assert document.text == "# Heading\n\nBody"
    assert document.title == "Heading"
    assert document.metadata == {}


def test_text_between_two_rules_is_no_front_matter() -> None:
    text = "---\nAn aside.\n\n---\nBody"
    assert read_one("a.md", text).text == text


def test_headings_of_both_kinds_are_found_with_their_words_and_places() -> None:
    text = "Top *line*\ngoes on\n===\n\n## A [link](x) & `code` {#anchor .wide} ##\n\n  ### C#\ntext\n---\n#no\n\n#\n"
    document = read_one("a.md", text)
    found = [(h.level, h.title, document.text[h.start : h.end]) for h in document.headings]
    assert found == [
        (1, "Top line goes on", "Top *line*\ngoes on\n==="),
        (2, "A link & code", "## A [link](x) & `code` {#anchor .wide} ##"),
        (3, "C#", "  ### C#"),
        (2, "text", "text\n---"),
    ]
    assert document.title == "Top line goes on"


def test_a_heading_inside_code_a_quote_or_a_list_is_none() -> None:
    document = read_one(
        "a.md", "# Real\n\n```\n# fenced\n```\n\n    # indented\n\n> # quoted\n\n- # listed\n\n~~~\n# open"
    )
    assert [heading.title for heading in document.headings] == ["Real"]


def test_a_page_without_a_title_goes_by_its_file_name() -> None:
    assert read_one("setup-guide.md", "## Only a section").title == "setup-guide"


MARKUP = st.lists(
    st.one_of(
        st.sampled_from(
            ["# ", "## ", "===", "---", "```", "> ", "- ", "\t", "    ", "\n", "\n\n", "\r\n", "[a]: b", "&amp;"]
        ),
        st.text(max_size=12),
    ),
    max_size=20,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(MARKUP)
@example("---\na: b\n---\n\n# e\u0301\r\n\r\nb\u2028# c")
def test_in_any_markdown_headings_are_ordered_whole_lines(text: str) -> None:
    try:
        document = read_one("a.md", text.encode("utf-8", "ignore"))
    except ReadError:
        return
    assert unicodedata.is_normalized("NFC", document.text)
    assert all(h.title == h.title.strip() and "\n" not in h.title for h in document.headings)
    ends = [0, *(heading.end for heading in document.headings)]
    assert all(end <= heading.start for end, heading in zip(ends, document.headings, strict=False))
    for heading in document.headings:
        assert_is_a_line(document.text, heading)


def assert_is_a_line(text: str, heading: Heading) -> None:
    assert heading.start == 0 or text[heading.start - 1] == "\n"
    assert heading.end == len(text) or text[heading.end] == "\n"
    assert text[heading.start : heading.end].strip()


def test_all_pages_of_a_translated_documentation_are_read_with_right_headings() -> None:
    if "RAG_DATA" not in os.environ:
        pytest.skip("RAG_DATA is not set: the folder with the OpenTelemetry documentation")
    pages = sorted((Path(os.environ["RAG_DATA"]) / "docs" / "otel").rglob("*.md"))
    assert len(pages) == 1067
    titled = 0
    for page in pages:
        (document,) = read(page.as_uri(), page.read_bytes())
        assert unicodedata.is_normalized("NFC", document.text), page
        assert not document.text.startswith("---"), page
        assert_headings_are_whole_lines_with_their_words(document)
        titled += document.title not in (page.stem, "")
    assert titled > 1000
