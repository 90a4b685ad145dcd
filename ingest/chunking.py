"""Document to chunks: cut at headings, then paragraphs, then sentences, within a budget of the model's own tokens.

A section under a quarter of the budget, with all that is below its heading, merges with its neighbours under the same
heading; whatever still is longer than the budget is cut at the next finer border: paragraph, sentence, line, word,
grapheme cluster.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from ingest.ruler import CountTokens, Piece, Ruler, between, context
from rag.identity import point_id, text_hash
from rag.normalization import visible
from rag.types import UNDETERMINED, Chunk, Document, Language

VERSION = 1
"""Raised whenever the same document may be cut differently; part of a document's version."""

# From the end of a paragraph to the end of the last empty line; what indents the next paragraph belongs to that.
_PARAGRAPH_BREAK = re.compile(r"\n(?:[^\S\n]*\n)+")
_LANGUAGE_SAMPLE = (
    10_000  # code points that tell a document's language; the whole text tells another for 4 of otel's 1,067 pages
)
_LETTERS_FOR_A_LANGUAGE = 40  # below, the passage is taken to be in its document's language
_SURE = 0.6  # detection confidence below which the document's language is the better guess
# Costs of chunk borders, in units of an empty chunk: enough to order them, no more was tuned.
_INSIDE_A_PARAGRAPH = 0.1
_UNDER_A_QUARTER = 1.0


@dataclass(frozen=True, slots=True)
class _Section:
    """A stretch of the text under one heading path."""

    path: tuple[str, ...]
    pieces: tuple[Piece, ...]

    @property
    def tokens(self) -> int:
        return sum(piece.tokens for piece in self.pieces)


@dataclass(slots=True)
class _Node:
    """A heading with the text right below it and the headings under it; the root has no heading."""

    level: int
    path: tuple[str, ...]
    pieces: tuple[Piece, ...] = ()
    children: list[_Node] = field(default_factory=list)


def chunk(
    document: Document,
    *,
    version: str,
    ingested_at: float,
    budget: int,
    count_tokens: CountTokens,
    detect: Callable[[str], Language],
) -> list[Chunk]:
    """The chunks of `document` in text order; their spans do not overlap and hold all that is not white space.

    Args:
        document: as its reader made it.
        version: of the document.
        ingested_at: seconds since 1970.
        budget: longest `embedding_input` of a chunk, in tokens, special tokens included.
        count_tokens: the model's own, special tokens included.
        detect: language of a text.
    """
    cuts = cut(
        document, version=version, ingested_at=ingested_at, budget=budget, count_tokens=count_tokens, detect=detect
    )
    return [made for made, _ in cuts]


def cut(
    document: Document,
    *,
    version: str,
    ingested_at: float,
    budget: int,
    count_tokens: CountTokens,
    detect: Callable[[str], Language],
) -> Iterator[tuple[Chunk, str]]:
    """The same, made one by one, each with the string that is embedded for it."""
    language = detect(document.text[:_LANGUAGE_SAMPLE]).code
    ruler = Ruler(document, language, budget, count_tokens)
    spans = [
        (section.path, start, end)
        for section in _merged(_tree(document, ruler), ruler)
        for start, end in _packed(section.pieces, ruler.room(section.path), ruler)
    ]
    for ordinal, (path, start, end) in enumerate(spans):
        text = document.text[start:end]
        first, last = (bisect_right(document.page_starts, at) for at in (start, end - 1))
        made = Chunk(
            id=point_id(document.uri, version, ordinal),
            uri=document.uri,
            version=version,
            ordinal=ordinal,
            chunk_count=len(spans),
            text=text,
            start=start,
            end=end,
            title=document.title,
            headings=path,
            page=first or None,
            page_breaks=tuple(document.page_starts[first:last]),
            language=_language(detect(text), text, language),
            document_language=language,
            format=document.format,
            text_hash="",
            ingested_at=ingested_at,
            metadata=document.metadata,
        )
        embedded = embedding_input(made, budget)
        yield replace(made, text_hash=text_hash(embedded)), embedded


def embedding_input(chunk: Chunk, budget: int) -> str:
    """The string that is embedded for `chunk`: title and heading path, then its text without invisible characters.

    Headings that begin the text itself are not said twice.

    Args:
        budget: the one the chunk was cut with; title and headings get at most a third of it, in code points.
    """
    about = context(chunk.title, tuple(h for h in chunk.headings if h not in chunk.text[: len(h) + 8]), budget)
    text = visible(chunk.text)
    return f"{about}\n\n{text}" if about and not text.startswith(about) else text


def _language(found: Language, text: str, of_document: str) -> str:
    sure = found.confidence >= _SURE and sum(map(str.isalpha, text)) >= _LETTERS_FOR_A_LANGUAGE
    return found.code if (sure and found.code != UNDETERMINED) or of_document == UNDETERMINED else of_document


def _tree(document: Document, ruler: Ruler) -> _Node:
    """The document's headings as a tree, each with the paragraphs right below it."""
    text = document.text
    first = document.headings[0].start if document.headings else len(text)
    root = _Node(0, (), tuple(ruler.measured(_paragraphs(text, 0, first))))
    open_nodes = [root]
    for heading, following in zip_longest(document.headings, document.headings[1:]):
        end = following.start if following else len(text)
        while len(open_nodes) > 1 and open_nodes[-1].level >= heading.level:
            open_nodes.pop()
        parent = open_nodes[-1]
        pieces = tuple(ruler.measured(_paragraphs(text, heading.start, end)))
        node = _Node(heading.level, (*parent.path, heading.title), pieces)
        parent.children.append(node)
        open_nodes.append(node)
    return root


def _paragraphs(text: str, start: int, end: int) -> list[tuple[int, int]]:
    return between(start, end, (start + match.end() for match in _PARAGRAPH_BREAK.finditer(text[start:end])))


def _merged(node: _Node, ruler: Ruler) -> list[_Section]:
    """The sections of `node` in text order, small neighbours under one heading joined.

    A neighbour is the text right below the heading, or all that is below a heading under it where that is one section.
    """
    neighbours = [[_Section(node.path, node.pieces)]] if node.pieces else []
    neighbours += [sections for child in node.children if (sections := _merged(child, ruler))]
    merged: list[_Section] = []
    joinable = False  # whether the last section is a neighbour of what comes
    for sections in neighbours:
        last = merged[-1] if merged and joinable else None
        joinable = len(sections) == 1
        if last and joinable:
            joined = _Section(node.path, last.pieces + sections[0].pieces)
            small = min(last.tokens, sections[0].tokens) < ruler.quarter
            if small and joined.tokens <= ruler.room(node.path):
                merged[-1] = joined
                continue
        merged += sections
    return merged


def _packed(pieces: Sequence[Piece], limit: int, ruler: Ruler) -> list[tuple[int, int]]:
    """Pieces joined into spans within `limit`, by the cheapest set of borders.

    A span costs the square of what it leaves empty, a border inside a paragraph and a span under a quarter cost extra:
    so chunks are full, alike, and end where paragraphs end when that costs little. Found by dynamic programming, as
    lines are broken into paragraphs (Knuth & Plass 1981).
    """
    if sum(piece.tokens for piece in pieces) <= limit:
        return _fitting([(pieces[0].start, pieces[-1].end)], limit, ruler)
    atoms: list[tuple[Piece, float]] = []  # each with the cost of a border behind it
    for piece in pieces:
        parts = [piece] if piece.tokens <= limit // 4 else ruler.sentences(piece, limit)
        atoms += [(part, _INSIDE_A_PARAGRAPH) for part in parts[:-1]] + [(part, 0.0) for part in parts[-1:]]
    best, previous = [0.0], [0]  # of the first n atoms: cost, and where their last span begins
    for end in range(1, len(atoms) + 1):
        held, cost, begin = 0, float("inf"), end - 1
        for start in range(end - 1, -1, -1):
            held += atoms[start][0].tokens
            if held > limit and start < end - 1:
                break
            wasted = (1 - held / limit) ** 2 + (_UNDER_A_QUARTER if held < limit / 4 else 0.0)
            if best[start] + wasted < cost:
                cost, begin = best[start] + wasted, start
        best.append(cost + atoms[end - 1][1])
        previous.append(begin)
    spans, end = [], len(atoms)
    while end:
        spans.append((atoms[previous[end]][0].start, atoms[end - 1][0].end))
        end = previous[end]
    return _fitting(spans[::-1], limit, ruler)


def _fitting(spans: list[tuple[int, int]], limit: int, ruler: Ruler) -> list[tuple[int, int]]:
    """The spans, those cut again that are longer as a whole than the sum of their pieces promised."""
    return [(part.start, part.end) for piece in ruler.measured(spans) for part in ruler.cut(piece, limit)]
