"""HTML pages: the main content with its headings, without navigation and scripts."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from ingest.readers.assembly import Assembly
from ingest.readers.cleaning import clean, single_line
from ingest.readers.decoding import decode
from ingest.readers.html_blocks import DROPPED, add_blocks
from ingest.readers.metadata import as_metadata, as_title, first_title
from rag.errors import ReadError
from rag.types import Document

if TYPE_CHECKING:
    from lxml.html import HtmlElement

logger = logging.getLogger(__name__)

# WHATWG's standard has browsers look for the encoding in the first 1024 bytes; real pages put scripts before it.
_DECLARATION_BYTES = 4096
_DECLARED = re.compile(
    rb"""<meta[^>]{0,300}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})|\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_:.-]{1,40})""",
    re.IGNORECASE,
)
_METADATA = ("author", "description", "keywords", "date")
_MAIN = "//main | //*[@role='main']"
# What trafilatura keeps must be at least this share of the page's words outside links; below it, it has lost content:
# it weighs paragraphs against each other and knows word lengths of European languages best.
_LEAST_SHARE = 0.6
# Bytes of UTF-8 below which a block may stand in a text by chance ("Home", "Contents"): 24 letters of Latin script, 12
# of Arabic or Cyrillic, 8 of Japanese, roughly the same amount of meaning.
_TELLING = 24
# Blocks that may stand between the page's main heading and the words found: a date, an author, a line of labels.
_UP_TO_HEADING = 5


def read(uri: str, data: bytes) -> Document:
    """The page's main content.

    It is what stands in `<main>`, else in the only `<article>`, else what trafilatura takes for it, else the body.
    The title is `<title>`, or the first `<h1>` where `<title>` only adds to it.

    Raises:
        ReadError: binary content, no encoding fits, or no text in it.
    """
    from lxml import etree, html

    declared = _DECLARED.search(data[:_DECLARATION_BYTES])
    encoding = (declared[1] or declared[2]).decode("ascii") if declared else None
    source = clean(decode(data, encoding))
    try:
        page = html.document_fromstring(
            source.encode(),
            parser=html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True),
        )
    except (etree.LxmlError, ValueError, AssertionError) as error:
        raise ReadError("no HTML elements and no text in it: nothing to read") from error
    title = as_title(page.findtext(".//title"))
    metadata = as_metadata({name: _meta(page, name) for name in _METADATA})
    content = _content(page)
    heading = next((heading.title for heading in content.headings if heading.level == 1), "")
    if heading and heading in title:
        title = heading
    return Document(
        uri=uri,
        text=content.text,
        title=first_title(uri, (title, heading)),
        format="html",
        headings=content.headings,
        metadata=metadata,
    )


def _words(element: HtmlElement) -> str:
    return "".join(element.itertext())


def _meta(page: HtmlElement, name: str) -> str:
    return next((tag.get("content", "") for tag in page.iter("meta") if tag.get("name", "").lower() == name), "")


def _content(page: HtmlElement) -> Assembly:
    """The blocks of the main content; those of the whole body where a narrower choice holds nothing."""
    landmarks = page.xpath(_MAIN)[:1]
    if not landmarks:
        articles = page.xpath("//article")
        landmarks = articles if len(articles) == 1 else []
    for landmark in landmarks:
        if content := _blocks(landmark):
            return content
    body = page.find("body")
    everything = _blocks(page if body is None else body)
    return everything if landmarks else _between(everything, page)


def _blocks(element: Any) -> Assembly:
    assembly = Assembly()
    add_blocks(element, assembly)
    return assembly


def _between(everything: Assembly, page: HtmlElement) -> Assembly:
    """`everything` without what lies before and behind the words that trafilatura takes for the main content.

    Only its first and last words count: inside, it leaves out headings, code and tables that belong to the content.
    """
    shown = (link for link in page.iterfind(".//a") if next(link.iterancestors(*DROPPED), None) is None)
    links = sum(len(single_line(_words(link))) for link in shown)
    if not everything or not links:
        return everything  # a page without links has no navigation to be rid of
    from trafilatura import bare_extraction

    found = bare_extraction(page, include_comments=False, include_tables=True, favor_recall=True)
    if found is None or isinstance(found, dict) or found.body is None:
        return everything
    main = _squeezed(_words(found.body))
    blocks = everything.blocks
    kept = [
        place
        for place, block in enumerate(blocks)
        if len(block.text.encode()) >= _TELLING and _squeezed(block.text) in main
    ]
    if not kept:
        return everything
    first = kept[0]
    while first and blocks[first - 1].level:
        first -= 1
    for place in range(first, max(first - _UP_TO_HEADING, 0) - 1, -1):
        if blocks[place].level == 1:
            first = place
            break
    content = Assembly(blocks[first : kept[-1] + 1])
    if len(content.text) < _LEAST_SHARE * (len(everything.text) - links):
        logger.info("main content not told apart; taking the whole body")
        return everything
    return content


def _squeezed(text: str) -> str:
    """`text` without white space and list markers, in which two extractions of one page differ."""
    return "".join(clean(text).removeprefix("- ").split())
