"""Document to chunks: cut at headings, then paragraphs, then sentences, within a budget of the model's own tokens.

A section under a quarter of the budget merges with its siblings under the same heading; whatever still is longer than
the budget is cut at the next finer border: paragraph, sentence, line, word, grapheme cluster.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rag.identity import point_id, text_hash
from rag.normalization import visible
from rag.segmentation import cluster_starts, sentences, trim
from rag.types import UNDETERMINED, Chunk, Document, Language

VERSION = 1
"""Raised whenever the same document may be cut differently; part of a document's version."""

CountTokens = Callable[[Sequence[str]], list[int]]

_PARAGRAPH_BREAK = re.compile(r"\n[^\S\n]*\n\s*")
_LETTERS_FOR_A_LANGUAGE = 40  # below, the passage is taken to be in its document's language
_INSIDE_A_PARAGRAPH = 0.1  # costs of chunk borders, in units of an empty chunk
_UNDER_A_QUARTER = 1.0
_SURE = 0.6  # detection confidence below which the document's language is the better guess


@dataclass(frozen=True, slots=True)
class _Section:
    """A stretch of the text under one heading path; pieces are trimmed spans with their token counts."""

    path: tuple[str, ...]
    pieces: tuple[tuple[int, int, int], ...]

    @property
    def tokens(self) -> int:
        return sum(piece[2] for piece in self.pieces)


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
        budget: longest `embedding_input` of a chunk, in tokens, special tokens included.
        count_tokens: the model's own, special tokens included.
        detect: language of a text.
    """
    language = detect(document.text[:10_000]).code
    room = _Room(document.text, language, count_tokens)
    spans: list[tuple[tuple[str, ...], int, int]] = []
    for section in _merged(_sections(document, room), budget):
        context = _context(document.title, section.path, budget)
        limit = max(budget // 2, budget - count_tokens([context])[0]) if context else budget - 2
        spans += [(section.path, start, end) for start, end in _packed(section.pieces, limit, room)]
    languages = [
        _language(detect(document.text[start:end]), document.text[start:end], language) for _, start, end in spans
    ]
    return [
        _with_hash(
            Chunk(
                id=point_id(document.uri, version, ordinal),
                uri=document.uri,
                version=version,
                ordinal=ordinal,
                chunk_count=len(spans),
                text=document.text[start:end],
                start=start,
                end=end,
                title=document.title,
                headings=path,
                page=bisect_right(document.page_starts, start) or None,
                language=languages[ordinal],
                document_language=language,
                format=document.format,
                text_hash="",
                ingested_at=ingested_at,
                metadata=document.metadata,
            ),
            budget,
        )
        for ordinal, (path, start, end) in enumerate(spans)
    ]


def embedding_input(chunk: Chunk, budget: int) -> str:
    """The string that is embedded for `chunk`: title and heading path, then its text without invisible characters.

    Args:
        budget: the one the chunk was cut with; title and headings get at most a third of it, in code points.
    """
    context = _context(chunk.title, tuple(h for h in chunk.headings if h not in chunk.text[: len(h) + 8]), budget)
    text = visible(chunk.text)
    return f"{context}\n\n{text}" if context and not text.startswith(context) else text


def _with_hash(chunk: Chunk, budget: int) -> Chunk:
    return replace(chunk, text_hash=text_hash(embedding_input(chunk, budget)))


def _context(title: str, path: tuple[str, ...], budget: int) -> str:
    """Title and heading path as one block, cut to a third of the budget; a title that is also a heading stands once."""
    parts = [part for part in dict.fromkeys((title, *path)) if part.strip()]
    return visible(" › ".join(parts))[: budget // 3].strip()


def _language(found: Language, text: str, of_document: str) -> str:
    sure = found.confidence >= _SURE and sum(map(str.isalpha, text)) >= _LETTERS_FOR_A_LANGUAGE
    return found.code if (sure and found.code != UNDETERMINED) or of_document == UNDETERMINED else of_document


class _Room:
    """Measures spans of one text and cuts those that are too long."""

    def __init__(self, text: str, language: str, count_tokens: CountTokens) -> None:
        self.text = text
        self.language = language
        self._count_tokens = count_tokens

    def measured(self, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """The spans that hold more than white space, trimmed, each with its tokens."""
        trimmed = [span for span in (trim(self.text, *span) for span in spans) if span[0] < span[1]]
        if not trimmed:
            return []
        counts = self._count_tokens([visible(self.text[start:end]) or " " for start, end in trimmed])
        # The two special tokens come once a chunk, not once a piece.
        return [(start, end, max(1, count - 2)) for (start, end), count in zip(trimmed, counts, strict=True)]

    def sentences(self, piece: tuple[int, int, int], limit: int) -> list[tuple[int, int, int]]:
        """The sentences of `piece`; those longer than `limit` cut further."""
        parts = self.measured(_by_sentence(self.text, piece[0], piece[1], self.language))
        return [fine for part in parts for fine in self.cut(part, limit)]

    def cut(self, piece: tuple[int, int, int], limit: int) -> list[tuple[int, int, int]]:
        """`piece` as pieces of at most `limit` tokens, cut at the coarsest border that does it."""
        pending, done = [(piece, 0)], []
        while pending:
            (start, end, tokens), level = pending.pop()
            if tokens <= limit:
                done.append((start, end, tokens))
                continue
            if level < len(_FINER):
                parts = self.measured(_FINER[level](self.text, start, end, self.language))
            else:
                parts = self.measured(_halves(self.text, start, end))
                if len(parts) < 2:  # one grapheme cluster: it cannot be cut further
                    done.append((start, end, tokens))
                    continue
            pending += [(part, min(level + 1, len(_FINER))) for part in reversed(parts)]
        return done


def _by_sentence(text: str, start: int, end: int, language: str) -> list[tuple[int, int]]:
    return [(start + a, start + b) for a, b in sentences(text[start:end], language)]


def _by_line(text: str, start: int, end: int, language: str) -> list[tuple[int, int]]:
    return _between(start, end, (start + match.end() for match in re.finditer(r"\n", text[start:end])))


_FINER = (_by_sentence, _by_line)


def _halves(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The span cut once near its middle, behind a space if one is near, always between grapheme clusters."""
    borders = [start + at for at in cluster_starts(text[start:end])][1:]
    if not borders:
        return [(start, end)]
    middle = (start + end) // 2
    spaces = [at for at in borders if text[at - 1].isspace() or text[at].isspace()]
    near = [at for at in spaces if abs(at - middle) <= (end - start) // 4]
    return _between(start, end, [min(near or borders, key=lambda at: abs(at - middle))])


def _between(start: int, end: int, cuts: Iterable[int]) -> list[tuple[int, int]]:
    edges = [start, *cuts, end]
    return [(a, b) for a, b in itertools.pairwise(edges) if a < b]


def _sections(document: Document, room: _Room) -> list[_Section]:
    """The text between headings, each with the path of headings above it and its paragraphs."""
    found: list[_Section] = []
    path: list[tuple[int, str]] = []
    start = 0
    for heading in (*document.headings, None):
        end = heading.start if heading else len(document.text)
        pieces = room.measured(_paragraphs(document.text, start, end))
        if pieces:
            found.append(_Section(tuple(title for _, title in path), tuple(pieces)))
        if heading:
            path = [*((level, title) for level, title in path if level < heading.level), (heading.level, heading.title)]
            start = heading.start
    return found


def _paragraphs(text: str, start: int, end: int) -> list[tuple[int, int]]:
    return _between(start, end, (start + match.end() for match in _PARAGRAPH_BREAK.finditer(text[start:end])))


def _merged(sections: Sequence[_Section], budget: int) -> list[_Section]:
    """Sections under a quarter of the budget joined to a neighbour under the same heading, up to two thirds of it."""
    merged: list[_Section] = []
    for section in sections:
        last = merged[-1] if merged else None
        if last and min(last.tokens, section.tokens) < budget // 4 and last.tokens + section.tokens <= budget * 2 // 3:
            parent = _shared(last.path, section.path)
            if parent is not None:
                merged[-1] = _Section(parent, last.pieces + section.pieces)
                continue
        merged.append(section)
    return merged


def _shared(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...] | None:
    """The heading path two neighbours share, if they are siblings or the second is a child of the first."""
    if before == after[:-1] or before == after:
        return before
    if before[:-1] == after[:-1]:
        return before[:-1]
    return None


def _packed(pieces: Sequence[tuple[int, int, int]], limit: int, room: _Room) -> list[tuple[int, int]]:
    """Pieces joined into spans within `limit`, by the cheapest set of borders.

    A span costs the square of what it leaves empty, a border inside a paragraph and a span under a quarter cost extra:
    so chunks are full, alike, and end where paragraphs end when that costs little. Found by dynamic programming, as
    lines are broken into paragraphs (Knuth & Plass 1981).
    """
    if sum(tokens for _, _, tokens in pieces) <= limit:
        return _fitting([(pieces[0][0], pieces[-1][1])], limit, room)
    atoms: list[tuple[int, int, int, float]] = []  # start, end, tokens, cost of a border behind it
    for piece in pieces:
        parts = [piece] if piece[2] <= limit // 4 else room.sentences(piece, limit)
        atoms += [(*part, _INSIDE_A_PARAGRAPH) for part in parts[:-1]] + [(*part, 0.0) for part in parts[-1:]]
    best, previous = [0.0], [0]  # of the first n atoms: cost, and where their last span begins
    for end in range(1, len(atoms) + 1):
        held, cost, begin = 0, float("inf"), end - 1
        for start in range(end - 1, -1, -1):
            held += atoms[start][2]
            if held > limit and start < end - 1:
                break
            wasted = (1 - held / limit) ** 2 + (_UNDER_A_QUARTER if held < limit / 4 else 0.0)
            if best[start] + wasted < cost:
                cost, begin = best[start] + wasted, start
        best.append(cost + atoms[end - 1][3])
        previous.append(begin)
    spans, end = [], len(atoms)
    while end:
        spans.append((atoms[previous[end]][0], atoms[end - 1][1]))
        end = previous[end]
    return _fitting(spans[::-1], limit, room)


def _fitting(spans: list[tuple[int, int]], limit: int, room: _Room) -> list[tuple[int, int]]:
    """The spans, those cut again that are longer as a whole than the sum of their pieces promised."""
    fitting: list[tuple[int, int]] = []
    for piece in room.measured(spans):
        fitting += [(start, end) for start, end, _ in room.cut(piece, limit)]
    return fitting
