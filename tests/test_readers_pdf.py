"""The PDF reader on files that the test writes by hand."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import pytest

from ingest.readers import read
from rag.errors import ReadError
from rag.types import Document

BODY, LARGE = 11, 18
Piece = tuple[float, float, float, str]
"""Size, x, y and text; y upwards from the bottom of a page of 600 × 800 points."""


def written(
    pages: Sequence[Sequence[Piece] | str],
    *,
    properties: str = "",
    outline: Sequence[tuple[str, int]] = (),
    letters: str = "",
    encrypted: bool = False,
) -> bytes:
    """A PDF in Helvetica.

    Args:
        pages: pieces of text, or a content stream.
        properties: entries of the information dictionary.
        outline: titles with 0-based pages.
        letters: what the codes from `a` on stand for, instead of Latin letters.
        encrypted: with a password nobody knows.
    """
    bodies: dict[int, bytes] = {}
    streams = [
        page if isinstance(page, str) else "".join(f"BT /F1 {s} Tf {x} {y} Td ({t}) Tj ET\n" for s, x, y, t in page)
        for page in pages
    ]
    first_page, first_entry = 10, 10 + 2 * len(pages)
    kids = " ".join(f"{first_page + 2 * number} 0 R" for number in range(len(pages)))
    bodies[1] = b"<< /Type /Catalog /Pages 2 0 R /Outlines 6 0 R >>"
    bodies[2] = f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode()
    unicode = " /ToUnicode 4 0 R" if letters else ""
    encoding = f"/Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding{unicode}"
    bodies[3] = f"<< {encoding} >>".encode()
    pairs = "\n".join(f"<{ord('a') + place:02x}> <{ord(letter):04x}>" for place, letter in enumerate(letters))
    others = "\n".join(f"<{code:02x}> <{code:04x}>" for code in range(32, 97))
    cmap = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
        "1 begincodespacerange <00> <ff> endcodespacerange\n"
        f"65 beginbfchar\n{others}\nendbfchar\n{len(letters)} beginbfchar\n{pairs}\nendbfchar\nendcmap end end"
    )
    bodies[4] = f"<< /Length {len(cmap)} >>\nstream\n{cmap}\nendstream".encode()
    bodies[5] = f"<< {properties} >>".encode()
    last = first_entry + len(outline) - 1
    bodies[6] = f"<< /Type /Outlines /First {first_entry} 0 R /Last {last} 0 R >>".encode() if outline else b"<< >>"
    bodies[7] = f"<< /Filter /Standard /V 1 /R 2 /O <{'41' * 32}> /U <{'42' * 32}> /P -44 >>".encode()
    for number, stream in enumerate(streams):
        content = stream.encode("cp1252")
        place = first_page + 2 * number
        resources = "/Resources << /Font << /F1 3 0 R >> >> /MediaBox [0 0 600 800]"
        bodies[place] = f"<< /Type /Page /Parent 2 0 R {resources} /Contents {place + 1} 0 R >>".encode()
        bodies[place + 1] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)
    for number, (title, page) in enumerate(outline):
        entry = first_entry + number
        following = f" /Next {entry + 1} 0 R" if entry < last else ""
        target = f"/Dest [{first_page + 2 * page} 0 R /Fit]"
        bodies[entry] = f"<< /Title ({title}) /Parent 6 0 R {target}{following} >>".encode("cp1252")
    data = b"%PDF-1.7\n"
    places = {}
    for number, body in sorted(bodies.items()):
        places[number] = len(data)
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(
        b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n"
        for number in range(max(bodies) + 1)
    )
    lock = b" /Encrypt 7 0 R /ID [<00> <00>]" if encrypted else b""
    trailer = b"<< /Size %d /Root 1 0 R /Info 5 0 R%s >>" % (max(bodies) + 1, lock)
    return (
        data
        + b"xref\n0 %d\n%s" % (max(bodies) + 1, table)
        + b"trailer\n%s\nstartxref\n%d\n%%%%EOF" % (trailer, len(data))
    )


def lines(*texts: str, x: float = 60, top: float = 700, size: float = BODY, step: float = 14) -> list[Piece]:
    return [(size, x, top - step * number, text) for number, text in enumerate(texts)]


def read_pdf(data: bytes) -> Document:
    (document,) = read("file:///library/manual.pdf", data)
    for heading in document.headings:
        assert document.text[heading.start : heading.end] == heading.title
    return document


WRAPPED = (
    "Everybody who works in the building must know what to do when the alarm",
    "sounds. We practise it twice a year, once in spring and once in the late autu-",
    "mn, and the date of one of the two drills is announced some weeks before by",
    "the safety officer.",
)
JOINED = (
    "Everybody who works in the building must know what to do when the alarm sounds. We practise it twice a year, once "
    "in spring and once in the late autumn, and the date of one of the two drills is announced some weeks before by "
    "the safety officer."
)


def test_lines_of_a_paragraph_are_joined_and_a_hyphenated_word_is_put_together() -> None:
    assert read_pdf(written([lines(*WRAPPED)])).text == JOINED


def test_a_gap_an_indent_or_a_list_sign_parts_what_belongs_apart() -> None:
    page = [
        *lines(*WRAPPED),
        *lines(*WRAPPED, top=620),
        (BODY, 76, 564, "An indented paragraph begins without a gap and is long enough to really"),
        (BODY, 60, 550, "need a second line."),
        *lines("1. Stop working at once.", "2. Leave by the nearest exit.", top=520),
    ]
    assert read_pdf(written([page])).text == (
        f"{JOINED}\n\n{JOINED}\n\n"
        "An indented paragraph begins without a gap and is long enough to really need a second line.\n\n"
        "1. Stop working at once.\n2. Leave by the nearest exit."
    )


def test_rows_of_a_table_stay_on_lines_of_their_own() -> None:
    rows = [
        piece
        for number, (left, right) in enumerate([("Floor", "Assembly point"), ("Ground", "Lawn"), ("First", "Car park")])
        for piece in [(BODY, 60, 600 - 16 * number, left), (BODY, 300, 600 - 16 * number, right)]
    ]
    text = read_pdf(written([[*lines(*WRAPPED), *rows]])).text
    assert text == f"{JOINED}\n\nFloor Assembly point\nGround Lawn\nFirst Car park"


def test_every_page_has_its_start_also_an_empty_one() -> None:
    document = read_pdf(written([[], lines("One."), [], lines("Two."), []]))
    assert document.text == "One.\n\nTwo."
    assert document.page_starts == (0, 0, 6, 6, 10)


def test_a_sentence_that_runs_over_the_end_of_a_page_is_not_torn() -> None:
    document = read_pdf(written([lines(*WRAPPED[:3]), lines("the safety officer.", "And more.")]))
    assert document.text.startswith(JOINED)
    assert document.text[document.page_starts[1] :].startswith("the safety officer.")


def test_larger_lines_are_headings_by_size_and_name_the_document() -> None:
    page = [
        *lines("Fire alarm and", "evacuation", top=760, size=22, step=26),
        *lines(*WRAPPED, top=690),
        *lines("The signal", top=610, size=14),
        *lines(*WRAPPED, top=590),
    ]
    document = read_pdf(written([page]))
    assert [(heading.level, heading.title) for heading in document.headings] == [
        (1, "Fire alarm and evacuation"),
        (2, "The signal"),
    ]
    assert document.title == "Fire alarm and evacuation"


def test_the_outline_gives_the_headings_where_it_is_found_in_the_text() -> None:
    pages = [
        [*lines("1. Signal", top=740), *lines(*WRAPPED)],
        [*lines("2. Exits", top=740), *lines(*WRAPPED), *lines("LARGE PRINT", top=600, size=LARGE)],
    ]
    document = read_pdf(written(pages, outline=[("Signal", 0), ("2. Exits", 1)]))
    assert [heading.title for heading in document.headings] == ["1. Signal", "2. Exits"]
    assert document.headings[1].start == document.page_starts[1]
    unfound = read_pdf(written(pages, outline=[("Cover", 0), ("Back", 1), ("Signal", 0)]))
    assert [heading.title for heading in unfound.headings] == ["LARGE PRINT"]


def test_running_heads_and_page_numbers_are_left_out() -> None:
    pages = [
        [*lines("Safety manual", top=780), *lines(*WRAPPED), *lines("Next.", top=600), *lines(f"- {number} -", top=30)]
        for number in range(1, 5)
    ]
    document = read_pdf(written(pages))
    assert document.text.count("Safety manual") == 1
    assert "- 2 -" not in document.text
    assert document.text.count("Next.") == 4


def test_properties_become_title_and_metadata_unless_a_program_made_them_up() -> None:
    properties = "/Title (Emergency plan) /Author (G. Whitcombe) /CreationDate (D:20240131120000Z)"
    document = read_pdf(written([lines("Text.")], properties=properties))
    assert document.title == "Emergency plan"
    assert document.metadata == {"author": "G. Whitcombe", "created": "2024-01-31"}
    made_up = read_pdf(written([lines("Text.")], properties="/Title (Microsoft Word - plan_v3.doc)"))
    assert made_up.title == "manual"


def test_arabic_stored_as_it_is_seen_comes_out_in_the_order_of_reading() -> None:
    # The letters of "رقم 12 (باب)" as they stand on paper from left to right, brackets turned.
    seen = "(باب) 12 مقر".replace("باب", "باب"[::-1]).replace("(", "\\(").replace(")", "\\)")
    letters = "ابرقم"
    codes = "".join(chr(ord("a") + letters.index(sign)) if sign in letters else sign for sign in seen)
    document = read_pdf(written([[(BODY, 60, 700, codes)]], letters=letters))
    assert document.text == "رقم 12 (باب)"


def test_characters_said_of_a_group_of_glyphs_are_read_once() -> None:
    # Browsers write Thai like this: one group with its characters, a text object for each glyph.
    group = "/Span << /ActualText <FEFF0E170E38> >> BDC (a) Tj 8 3 Td (b) Tj EMC -2 -3 Td (c) Tj"
    page = f"BT /F1 {BODY} Tf 60 700 Td {group} ET"
    assert read_pdf(written([page], letters="ทุก")).text == "ทุก"


def test_lines_in_a_script_without_spaces_are_joined_without_one() -> None:
    letters = "充電所規程火気厳禁第二倉庫水素"
    codes = "".join(chr(ord("a") + place) for place in range(len(letters)))
    document = read_pdf(written([lines(codes, codes, codes)], letters=letters))
    assert document.text == letters * 3


def test_a_file_without_a_text_layer_is_refused_and_told_about_recognition() -> None:
    with pytest.raises(ReadError, match=r"no text layer on any of its 2 pages.*OCR"):
        read_pdf(written(["0 0 m 10 10 l S", []]))


def test_an_encrypted_file_is_told_from_a_malformed_one() -> None:
    with pytest.raises(ReadError, match="encrypted"):
        read_pdf(written([lines("Text.")], encrypted=True))
    with pytest.raises(ReadError, match="malformed PDF"):
        read_pdf(b"%PDF-1.7\nnothing else")


def test_no_damage_lets_another_error_through() -> None:
    whole = written([lines(*WRAPPED), lines("Two.")], outline=[("Two.", 1)], properties="/Title (T)")
    chance = random.Random(3)
    damaged = [whole[: len(whole) * cut // 10] for cut in range(1, 10)]
    for _ in range(60):
        start = chance.randrange(8, len(whole))
        damaged.append(whole[:start] + chance.randbytes(4) + whole[start + chance.choice([0, 4, 30]) :])
    refusals = []
    for data in damaged:
        try:
            assert read_pdf(data).text
        except ReadError as error:
            refusals.append(str(error))
    assert refusals
    assert not any("\n" in refusal for refusal in refusals)


def test_several_threads_may_read_at_once() -> None:
    data = [written([lines(*WRAPPED), lines(f"Page of {number}.")]) for number in range(4)]
    texts: dict[int, str] = {}

    def work(number: int) -> None:
        for _ in range(3):
            texts[number] = read_pdf(data[number]).text

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts[number][-10:] for number in range(4)] == [f"Page of {number}." for number in range(4)]
