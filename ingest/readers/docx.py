"""Word documents (Office Open XML)."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from ingest.readers.assembly import LINE, PARAGRAPH, Assembly
from ingest.readers.cleaning import single_line
from ingest.readers.metadata import as_metadata, first_title, own_title
from rag.errors import ReadError
from rag.types import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docx.document import Document as WordDocument
    from lxml.etree import _Element

_COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")  # the container of .doc, and of every encrypted Office file
# A document of this size when unpacked is a trap, not a text: all of Wikipedia's longest page is under one megabyte.
_MOST_BYTES = 500_000_000
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Words that are not (or no longer) there, and what is read on its own.
_SKIPPED = frozenset(
    {f"{_W}{name}" for name in ("del", "moveFrom", "pPr", "rPr", "txbxContent", "instrText")} | {_FALLBACK}
)
_WRAPPERS = frozenset({f"{_W}{name}" for name in ("sdt", "sdtContent", "customXml", "smartTag", "ins", "moveTo")})
_CHARACTERS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_HEADING_STYLE = re.compile(r"heading ([1-9])", re.IGNORECASE)


def read(uri: str, data: bytes) -> Document:
    """Paragraphs and tables in document order; headers, footers, comments and tables of contents are left out.

    The title is the document's property, else its paragraph in the style Title, else its first heading of level 1.

    Raises:
        ReadError: encrypted, an old .doc, malformed, or no text in it.
    """
    walk = _Walk(_opened(data))
    try:
        walk.run()
        properties = walk.properties()
    # python-docx finds out only on use that a part is missing or an attribute has no valid value.
    except (KeyError, ValueError, AttributeError, TypeError, IndexError) as error:
        raise ReadError(
            f"malformed Word document ({type(error).__name__}): open it in Word and save it again"
        ) from error
    if not walk.assembly:
        raise ReadError("the Word document holds no text, perhaps only pictures: nothing to read")
    headings = walk.assembly.headings
    first = next((heading.title for heading in headings if heading.level == 1), "")
    return Document(
        uri=uri,
        text=walk.assembly.text,
        title=first_title(uri, (own_title(str(properties.pop("title") or "")), walk.title, first)),
        format="docx",
        headings=headings,
        metadata=as_metadata(properties),
    )


def _opened(data: bytes) -> WordDocument:
    import docx
    from docx.opc.exceptions import OpcError
    from lxml.etree import LxmlError

    if data.startswith(_COMPOUND_FILE):
        raise ReadError("an encrypted document or an old .doc file: save it as .docx without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > _MOST_BYTES:
                raise ReadError(f"{size} bytes when unpacked, more than {_MOST_BYTES}: split the document")
        return docx.Document(io.BytesIO(data))
    # A damaged archive shows itself in many ways: not a zip, a wrong checksum, a part or a relation that is not there.
    except (
        OpcError,
        LxmlError,
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        ValueError,
        AttributeError,
        TypeError,
        IndexError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
    ) as error:
        raise ReadError(_damaged(error)) from error


def _damaged(error: Exception) -> str:
    return f"not a Word document or a damaged one ({type(error).__name__}): open it in Word and save it again"


class _Walk:
    """One pass over the body."""

    def __init__(self, document: WordDocument) -> None:
        self._document = document
        self._styles = {style.style_id: style for style in document.styles}
        self._in_list = False
        self.assembly = Assembly()
        self.title = ""

    def run(self) -> None:
        self._blocks(self._document.element.body)

    def properties(self) -> dict[object, object]:
        core = self._document.core_properties
        return {
            "title": core.title,
            "author": core.author,
            "subject": core.subject,
            "keywords": core.keywords,
            "category": core.category,
            "created": core.created.date() if core.created else None,
        }

    def _blocks(self, parent: _Element) -> None:
        for element in parent:
            if element.tag == f"{_W}p":
                self._paragraph(element)
            elif element.tag == f"{_W}tbl":
                self._table(element)
            elif element.tag in _WRAPPERS:
                self._blocks(element)

    def _paragraph(self, paragraph: _Element) -> None:
        text = "\n".join(filter(None, (single_line(line) for line in _text(paragraph).split("\n"))))
        styles = list(self._style_chain(paragraph))
        names = [str(style.name or "").lower() for style in styles]
        level = _level(paragraph, styles, names)
        in_list = False
        if not text or (names[:1] and names[0].startswith(("toc ", "table of figures"))):
            pass
        elif "title" in names:
            self.title = self.title or single_line(text)
            self.assembly.add(text)
        elif level:
            self.assembly.add(single_line(text), level=level)
        elif (depth := _list_depth(paragraph, styles, names)) is not None:
            in_list = True
            self.assembly.add(f"{'  ' * depth}- {text}", LINE if self._in_list else PARAGRAPH)
        else:
            self.assembly.add(text)
        self._in_list = in_list or (self._in_list and not text)
        for box in _outermost(paragraph, f"{_W}txbxContent"):
            self._blocks(box)

    def _table(self, table: _Element) -> None:
        rows = [[cell for cell in row.iter(f"{_W}tc") if _owner(cell) is table] for row in table.iter(f"{_W}tr")]
        rows = [row for row in rows if row]
        if len(rows) == 1 and len(rows[0]) == 1:  # a frame around text
            self._blocks(rows[0][0])
            return
        separator = PARAGRAPH
        for row in rows:
            # A cell that a merged one covers is there, and empty.
            cells = [single_line(" ".join(_text(p) for p in cell.iter(f"{_W}p"))) for cell in row]
            if any(cells):
                self.assembly.add(" | ".join(cells), separator)
                separator = LINE
        self._in_list = False

    def _style_chain(self, paragraph: _Element) -> Iterator[Any]:
        """The paragraph's style and those it is based on, its own first."""
        named = paragraph.find(f"{_W}pPr/{_W}pStyle")
        style = self._styles.get(named.get(f"{_W}val")) if named is not None else None
        seen: set[str] = set()
        while style is not None and style.style_id not in seen:
            seen.add(style.style_id)
            yield style
            style = style.base_style


def _text(paragraph: _Element) -> str:
    """The words of a paragraph as they stand after all tracked changes; text boxes are read on their own."""
    words = []
    waiting = [paragraph]
    while waiting:
        element = waiting.pop()
        if element.tag in _SKIPPED or (element.tag == f"{_W}p" and element is not paragraph):
            continue
        if element.tag == f"{_W}t":
            words.append(element.text or "")
        elif element.tag in _CHARACTERS:
            words.append(_CHARACTERS[element.tag])
        waiting.extend(reversed(element))
    return "".join(words)


def _outermost(element: _Element, tag: str) -> list[_Element]:
    """Descendants with `tag` that lie in no other such, nor in the copy kept for old versions of Word."""
    return [
        found
        for found in element.iter(tag)
        if not any(
            above.tag in (tag, _FALLBACK) and above is not element and element in above.iterancestors()
            for above in found.iterancestors()
        )
    ]


def _owner(cell: _Element) -> _Element | None:
    return next(cell.iterancestors(f"{_W}tbl"), None)


def _level(paragraph: _Element, styles: list[Any], names: list[str]) -> int:
    """A heading's level, 0 for other paragraphs: by its own outline level, else its style's, else the style's name."""
    for properties in (paragraph.find(f"{_W}pPr"), *(style.element.find(f"{_W}pPr") for style in styles)):
        outline = properties.find(f"{_W}outlineLvl") if properties is not None else None
        if outline is not None:
            level = int(outline.get(f"{_W}val", "9")) + 1
            return level if level <= 9 else 0  # 9 stands for body text
    found = next(filter(None, map(_HEADING_STYLE.fullmatch, names)), None)
    return int(found[1]) if found else 0


def _list_depth(paragraph: _Element, styles: list[Any], names: list[str]) -> int | None:
    """0 for an item of an outer list; None for what is no list item."""
    for properties in (paragraph.find(f"{_W}pPr"), *(style.element.find(f"{_W}pPr") for style in styles)):
        numbering = properties.find(f"{_W}numPr") if properties is not None else None
        if numbering is not None:
            number, depth = numbering.find(f"{_W}numId"), numbering.find(f"{_W}ilvl")
            if number is not None and number.get(f"{_W}val") == "0":  # takes the paragraph out of its style's list
                return None
            return int(depth.get(f"{_W}val", "0")) if depth is not None else 0
    return 0 if any(name.startswith(("list bullet", "list number")) for name in names) else None
