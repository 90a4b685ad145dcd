"""A text that grows block by block and knows where its headings and pages are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from ingest.readers.cleaning import clean, has_words
from rag.errors import ReadError
from rag.types import Heading

PARAGRAPH = "\n\n"
LINE = "\n"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document in its final form.

    Attributes:
        text: visible, in NFC.
        separator: what stands between the block before and this one.
        level: of a heading, 1 for the highest; 0 for any other block.
        page: 0-based page it stands on; 0 for formats without pages.
    """

    text: str
    separator: str
    level: int
    page: int


class Assembly:
    """Collects blocks in reading order.

    Every block is put into its final form before it is added and blocks meet at a line end or a space, with which no
    character composes: so the whole text is NFC as well, and offsets never have to be mapped.
    """

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._blocks = list(blocks)
        self._pages = 0

    def add(self, text: str, separator: str = PARAGRAPH, level: int = 0) -> None:
        """Adds a block; nothing happens where it holds nothing visible. A heading must be one line without markup."""
        text = clean(text).strip("\n").rstrip()
        if has_words(text):
            self._blocks.append(Block(text, separator, level, max(self._pages - 1, 0)))

    def begin_page(self) -> None:
        """The next block is the first of a page; a page without blocks begins where the following one does."""
        self._pages += 1

    @property
    def blocks(self) -> tuple[Block, ...]:
        """In reading order."""
        return tuple(self._blocks)

    @property
    def text(self) -> str:
        """All blocks, joined.

        Raises:
            ReadError: there is none.
        """
        if not self._blocks:
            raise ReadError("no text in it: nothing to read")
        first, *others = self._blocks
        return first.text + "".join(block.separator + block.text for block in others)

    @property
    def headings(self) -> tuple[Heading, ...]:
        """In text order."""
        return tuple(
            Heading(block.level, start, start + len(block.text), block.text)
            for start, block in zip(self._starts(), self._blocks, strict=True)
            if block.level
        )

    @property
    def page_starts(self) -> tuple[int, ...]:
        """Offset of each page's first code point, ascending; the text's length for empty pages at the end."""
        starts = self._starts()
        pages = [block.page for block in self._blocks]
        ends = [*starts, len(self.text)]
        return tuple(ends[bisect_left(pages, page)] for page in range(self._pages))

    def _starts(self) -> list[int]:
        starts = []
        length = 0
        for position, block in enumerate(self._blocks):
            length += len(block.separator) if position else 0
            starts.append(length)
            length += len(block.text)
        return starts

    def __bool__(self) -> bool:
        return bool(self._blocks)
