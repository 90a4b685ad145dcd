"""The Word reader on documents that the test writes with python-docx."""

from __future__ import annotations

import datetime
import io
import random
import zipfile

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from ingest.readers import read
from rag.errors import ReadError
from rag.types import Document


def saved(document: object) -> bytes:
    file = io.BytesIO()
    document.save(file)  # type: ignore[attr-defined]  # python-docx's class has the name of its factory
    return file.getvalue()


def read_docx(data: bytes) -> Document:
    (document,) = read("file:///library/bericht.docx", data)
    for heading in document.headings:
        assert document.text[heading.start : heading.end] == heading.title
    return document


def test_paragraphs_lists_and_tables_come_in_the_order_of_the_document() -> None:
    word = docx.Document()
    word.add_paragraph("Jahresbericht", style="Title")
    word.add_heading("U\u0308bersicht", level=1)
    word.add_paragraph("Ein  Absatz\tmit Tabulator.")
    word.add_paragraph("eins", style="List Bullet")
    word.add_paragraph("zwei", style="List Number")
    word.add_paragraph("")
    table = word.add_table(rows=2, cols=2)
    for cell, text in zip(
        [*table.rows[0].cells, *table.rows[1].cells], ["Jahr", "Umsatz", "2024", "7\nMio."], strict=True
    ):
        cell.text = text
    word.add_heading("Ausblick", level=2)
    word.add_paragraph("Zeile eins\nZeile zwei")
    document = read_docx(saved(word))
    assert document.text == (
        "Jahresbericht\n\nÜbersicht\n\nEin Absatz mit Tabulator.\n\n- eins\n- zwei\n\nJahr | Umsatz\n2024 | 7 Mio.\n\n"
        "Ausblick\n\nZeile eins\nZeile zwei"
    )
    assert [(heading.level, heading.title) for heading in document.headings] == [
        (1, "Übersicht"),
        (2, "Ausblick"),
    ]


def test_the_title_is_the_property_then_the_title_paragraph_then_the_first_heading_then_the_file_name() -> None:
    word = docx.Document()
    word.core_properties.title = ""
    word.add_paragraph("Text")
    assert read_docx(saved(word)).title == "bericht"
    word.add_heading("Kapitel", level=1)
    assert read_docx(saved(word)).title == "Kapitel"
    word.add_paragraph("Titelzeile", style="Title")
    assert read_docx(saved(word)).title == "Titelzeile"
    word.core_properties.title = "Microsoft Word - Entwurf3.doc"
    assert read_docx(saved(word)).title == "Titelzeile"
    word.core_properties.title = "Jahresbericht 2024"
    assert read_docx(saved(word)).title == "Jahresbericht 2024"


def test_properties_become_metadata() -> None:
    word = docx.Document()
    word.add_paragraph("Text")
    word.core_properties.author = "Ji-woo"
    word.core_properties.keywords = "휴가, 급여"
    word.core_properties.created = datetime.datetime(2024, 3, 1, 9, 30)
    assert read_docx(saved(word)).metadata == {"author": "Ji-woo", "keywords": "휴가, 급여", "created": "2024-03-01"}


def test_a_style_of_ones_own_heads_like_the_style_it_is_based_on() -> None:
    word = docx.Document()
    style = word.styles.add_style("Kapitelkopf", 1)
    style.base_style = word.styles["Heading 2"]
    word.add_paragraph("Eigene Überschrift", style="Kapitelkopf")
    assert [(h.level, h.title) for h in read_docx(saved(word)).headings] == [(2, "Eigene Überschrift")]


def test_tracked_changes_count_as_accepted_and_content_controls_and_text_boxes_are_read() -> None:
    word = docx.Document()
    names = nsdecls("w")
    box = f"<w:txbxContent {names}><w:p><w:r><w:t>Kasten</w:t></w:r></w:p></w:txbxContent>"
    for xml in (
        f"<w:p {names}><w:r><w:t>Frist: </w:t></w:r><w:del><w:r><w:delText>zwei</w:delText></w:r></w:del>"
        f"<w:ins><w:r><w:t>drei</w:t></w:r></w:ins><w:r><w:t> Tage</w:t></w:r></w:p>",
        f"<w:sdt {names}><w:sdtContent><w:p><w:r><w:t>Im Feld</w:t></w:r></w:p></w:sdtContent></w:sdt>",
        f"<w:p {names}><w:r><w:t>Anker</w:t><w:pict>{box}</w:pict></w:r></w:p>",
    ):
        word.element.body.insert(len(word.element.body) - 1, parse_xml(xml))
    assert read_docx(saved(word)).text == "Frist: drei Tage\n\nIm Feld\n\nAnker\n\nKasten"


def test_a_table_of_one_cell_is_a_frame_and_merged_cells_are_read_once() -> None:
    word = docx.Document()
    frame = word.add_table(rows=1, cols=1)
    frame.cell(0, 0).text = "Achtung"
    frame.cell(0, 0).add_paragraph("Heiß")
    table = word.add_table(rows=2, cols=2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "Kopf"
    table.cell(1, 0).text, table.cell(1, 1).text = "a", "b"
    assert read_docx(saved(word)).text == "Achtung\n\nHeiß\n\nKopf\na | b"


def test_a_document_without_text_is_refused() -> None:
    with pytest.raises(ReadError, match="no text"):
        read_docx(saved(docx.Document()))


def test_an_encrypted_or_old_document_is_told_from_a_damaged_one() -> None:
    with pytest.raises(ReadError, match=r"encrypted document or an old \.doc"):
        read_docx(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
    with pytest.raises(ReadError, match=r"not a Word document.*save it again"):
        read_docx(b"PK\x03\x04" + bytes(100))


def test_an_archive_that_is_no_word_document_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ReadError, match="not a Word document"):
        read_docx(file.getvalue())


def test_no_damage_lets_another_error_through() -> None:
    word = docx.Document()
    word.add_heading("Kopf", level=1)
    word.add_paragraph("Text " * 50)
    whole = saved(word)
    parts = {
        name: zipfile.ZipFile(io.BytesIO(whole)).read(name) for name in zipfile.ZipFile(io.BytesIO(whole)).namelist()
    }
    chance = random.Random(4)
    damaged = [whole[: len(whole) * cut // 12] for cut in range(1, 12)]
    for _ in range(20):  # inside the archive, where a checksum does not already find it
        name = chance.choice([name for name in parts if name.endswith((".xml", ".rels"))])
        start = chance.randrange(len(parts[name]))
        hurt = parts[name][:start] + chance.randbytes(3) + parts[name][start + chance.choice([0, 3, 40]) :]
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for part, content in parts.items():
                archive.writestr(part, hurt if part == name else content)
        damaged.append(file.getvalue())
    for name in parts:  # and with a part missing
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for part, content in parts.items():
                if part != name:
                    archive.writestr(part, content)
        damaged.append(file.getvalue())
    refusals = []
    for data in damaged:
        try:
            assert read_docx(data).text
        except ReadError as error:
            refusals.append(str(error))
    assert len(refusals) >= 11
    assert not any("\n" in refusal for refusal in refusals)
