"""PDF files with a text layer."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from datetime import date
from typing import Any, TypeVar

from ingest.readers.cleaning import single_line
from ingest.readers.metadata import as_metadata, first_title, own_title
from ingest.readers.pdf_layout import Layout, body_size, largest_text, without_running_lines
from ingest.readers.pdf_lines import Line, lines_of
from rag.errors import ReadError
from rag.locations import source_of
from rag.types import Document

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PDFIUM = threading.Lock()  # pdfium is not thread-safe, not even for different files

_NUMBERING = re.compile(r"^(?:chapter|section|§)?\s*(?:(?:\d+|[IVXLC]+|[A-Z])(?:\.\d+)*[.):]?\s+)", re.IGNORECASE)
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?")
_LONGEST_HEADING_LINES = 3
# Share of the outline's entries that must be found in the text for it to be used.
_LEAST_LOCATED = 0.5


def read(uri: str, data: bytes, *, max_pages: int | None = None) -> Document:
    """The text layer, lines joined into paragraphs; `page_starts` has every page, also those without text.

    Headings are the outline's entries as far as they stand in the text, else the lines larger than the body. The title
    is the file's property, else the largest words on the first page.

    Raises:
        ReadError: malformed, encrypted, without a text layer, or of more than `max_pages`.
    """
    with _PDFIUM:
        pages, outline, properties, damaged = _extracted(data, max_pages)
    if damaged:
        logger.warning("%s: %d of %d pages are damaged and count as empty", source_of(uri), damaged, len(pages))
    pages = without_running_lines(pages)
    content = Layout(pages, _located(outline, pages)).assemble()
    if not content:
        raise ReadError(
            f"no text layer on any of its {len(pages)} pages, perhaps a scan: recognise the text (OCR) first, "
            "for example with ocrmypdf"
        )
    largest = largest_text(pages[0], body_size(pages))
    return Document(
        uri=uri,
        text=content.text,
        title=first_title(uri, (own_title(properties.get("Title")), largest)),
        format="pdf",
        headings=content.headings,
        page_starts=content.page_starts,
        metadata=as_metadata(
            {
                "author": properties.get("Author", ""),
                "subject": properties.get("Subject", ""),
                "keywords": properties.get("Keywords", ""),
                "created": _day(properties.get("CreationDate", "")),
            }
        ),
    )


def _extracted(
    data: bytes, max_pages: int | None
) -> tuple[list[list[Line]], list[tuple[int, str, int]], dict[str, str], int]:
    """Lines by page, outline as (level, title, page), properties, and the number of damaged pages."""
    from pypdfium2 import PdfDocument, PdfiumError, raw

    try:
        file = PdfDocument(data)
    except PdfiumError as error:
        if getattr(error, "err_code", None) in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise ReadError("the PDF is encrypted: save a copy without a password") from error
        raise ReadError("malformed PDF: open it in a viewer and print it to a new PDF") from error
    try:
        if max_pages is not None and len(file) > max_pages:
            raise ReadError(f"has {len(file)} pages, more than {max_pages}: split it, or raise RAG_INGEST__MAX_PAGES")
        pages = []
        damaged = 0
        for index in range(len(file)):
            try:
                page = file[index]
                try:
                    pages.append(lines_of(page))
                finally:
                    page.close()
            except PdfiumError:
                damaged += 1
                pages.append([])
        return pages, _lenient(lambda: _outline(file), []), _lenient(file.get_metadata_dict, {}), damaged
    finally:
        file.close()


def _lenient(get: Callable[[], T], otherwise: T) -> T:
    """What is nice to have must not cost the text: bytes that are no text in an outline or in properties."""
    try:
        return get()
    except (UnicodeDecodeError, ValueError):
        return otherwise


def _outline(file: Any) -> list[tuple[int, str, int]]:
    """Entries as (level from 1, title, 0-based page) that lead to a page of this file."""
    entries = []
    for entry in file.get_toc():
        target = entry.get_dest()
        page = target.get_index() if target is not None else None
        title = single_line(entry.get_title() or "")
        if page is not None and title:
            entries.append((entry.level + 1, title, page))
    return entries


def _located(outline: list[tuple[int, str, int]], pages: list[list[Line]]) -> dict[tuple[int, int], tuple[int, int]]:
    """Where the outline's headings are: (page, first line) → (level, number of lines); empty when too few are found."""
    located: dict[tuple[int, int], tuple[int, int]] = {}
    for level, title, page in outline:
        wanted = _squeezed(title)
        lines = pages[page] if page < len(pages) else []
        places = (
            (first, count)
            for count in range(1, _LONGEST_HEADING_LINES + 1)
            for first in range(len(lines) - count + 1)
            if (page, first) not in located
            and _squeezed(" ".join(line.text for line in lines[first : first + count])) == wanted
        )
        for first, count in places:
            located[page, first] = (level, count)
            break
    return located if len(located) >= _LEAST_LOCATED * len(outline) else {}


def _squeezed(title: str) -> str:
    """A heading's words without numbering, white space and case, in which outline and page often differ."""
    return "".join((_NUMBERING.sub("", title) or title).split()).casefold()


def _day(stamp: str) -> str:
    """The day of a PDF date (`D:20240131120000Z`) in ISO 8601; empty where there is none."""
    found = _DATE.match(stamp)
    if not found:
        return ""
    try:
        return date(int(found[1]), int(found[2] or 1), int(found[3] or 1)).isoformat()
    except ValueError:
        return ""
