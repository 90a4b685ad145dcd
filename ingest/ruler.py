"""Spans of a text measured in a model's tokens, and cut where they are too long."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rag.normalization import visible
from rag.segmentation import cluster_starts, sentences, trim
from rag.types import Document

CountTokens = Callable[[Sequence[str]], list[int]]

_COUNTED_AT_ONCE = 1 << 18  # code points whose tokens are counted in one call, but for a few more


@dataclass(frozen=True, slots=True)
class Piece:
    """A trimmed span of the text and its tokens, special tokens not included."""

    start: int
    end: int
    tokens: int


class Ruler:
    """Measures spans of one document's text in tokens and cuts those that are too long."""

    def __init__(self, document: Document, language: str, budget: int, count_tokens: CountTokens) -> None:
        self.text = document.text
        self.quarter = budget // 4
        self._title = document.title
        self._language = language
        self._budget = budget
        self._count_tokens = count_tokens
        self._rooms: dict[tuple[str, ...], int] = {}

    def room(self, path: tuple[str, ...]) -> int:
        """Tokens that the title and the headings of `path` leave for the text; at least half of the budget."""
        if path not in self._rooms:
            # Special tokens and the empty line are counted with the context.
            told = self._count_tokens([context(self._title, path, self._budget)])[0]
            self._rooms[path] = max(self._budget // 2, self._budget - told)
        return self._rooms[path]

    def measured(self, spans: Iterable[tuple[int, int]]) -> list[Piece]:
        """The spans that hold more than white space, trimmed, each with its tokens."""
        trimmed = [span for span in (trim(self.text, *span) for span in spans) if span[0] < span[1]]
        if not trimmed:
            return []
        # The two special tokens come once a chunk, not once a piece.
        return [Piece(*span, max(1, count)) for span, count in zip(trimmed, self._counted(trimmed), strict=True)]

    def _counted(self, spans: Sequence[tuple[int, int]]) -> Iterator[int]:
        """Tokens of each span without the special ones. A tokenizer takes 100 bytes a token: it is not given all."""
        waiting: list[str] = []
        held = 0
        for start, end in spans:
            if end - start > _COUNTED_AT_ONCE:  # whatever it holds, it will be cut: its parts tell nearly as much
                yield from self._without_specials(waiting)
                waiting, held = [], 0
                yield sum(sum(self._without_specials([part])) for part in _parts(self.text, start, end))
                continue
            waiting.append(visible(self.text[start:end]) or " ")
            held += end - start
            if held > _COUNTED_AT_ONCE:
                yield from self._without_specials(waiting)
                waiting, held = [], 0
        yield from self._without_specials(waiting)

    def _without_specials(self, texts: Sequence[str]) -> list[int]:
        return [count - 2 for count in self._count_tokens(texts)] if texts else []

    def sentences(self, piece: Piece, limit: int) -> list[Piece]:
        """The sentences of `piece`; those longer than `limit` cut further."""
        parts = self.measured(_by_sentence(self.text, piece.start, piece.end, self._language))
        return [fine for part in parts for fine in self.cut(part, limit)]

    def cut(self, piece: Piece, limit: int) -> list[Piece]:
        """`piece` as pieces of at most `limit` tokens, cut at the coarsest border that does it."""
        pending, done = [(piece, 0)], []
        while pending:
            part, level = pending.pop()
            if part.tokens <= limit:
                done.append(part)
                continue
            if level < len(_FINER):
                parts = self.measured(_FINER[level](self.text, part.start, part.end, self._language))
            else:
                parts = self.measured(_halves(self.text, part.start, part.end))
                if len(parts) < 2:  # one grapheme cluster: it cannot be cut further
                    done.append(part)
                    continue
            pending += [(finer, min(level + 1, len(_FINER))) for finer in reversed(parts)]
        return done


def _parts(text: str, start: int, end: int) -> Iterator[str]:
    """What is seen of a long span, in parts that end where words do, if they do."""
    while start < end:
        stop = min(start + _COUNTED_AT_ONCE, end)
        space = text.rfind(" ", start + _COUNTED_AT_ONCE // 2, stop) if stop < end else -1
        stop = stop if space < 0 else space
        yield visible(text[start:stop]) or " "
        start = stop


def _by_sentence(text: str, start: int, end: int, language: str) -> list[tuple[int, int]]:
    return [(start + a, start + b) for a, b in sentences(text[start:end], language)]


def _by_line(text: str, start: int, end: int, language: str) -> list[tuple[int, int]]:
    return between(start, end, (start + match.end() for match in re.finditer(r"\n", text[start:end])))


_FINER = (_by_sentence, _by_line)


def _halves(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The span cut once near its middle, behind a space if one is near, always between grapheme clusters."""
    borders = [start + at for at in cluster_starts(text[start:end])][1:]
    if not borders:
        return [(start, end)]
    middle = (start + end) // 2
    spaces = [at for at in borders if text[at - 1].isspace() or text[at].isspace()]
    near = [at for at in spaces if abs(at - middle) <= (end - start) // 4]
    return between(start, end, [min(near or borders, key=lambda at: abs(at - middle))])


def between(start: int, end: int, cuts: Iterable[int]) -> list[tuple[int, int]]:
    """The spans into which `cuts` divide [start, end)."""
    edges = [start, *cuts, end]
    return [(a, b) for a, b in pairwise(edges) if a < b]


def context(title: str, path: tuple[str, ...], budget: int) -> str:
    """Title and heading path on one line, cut to a third of the budget; a title that is also a heading stands once."""
    parts = [part for part in dict.fromkeys((title, *path)) if part.strip()]
    return visible(" › ".join(parts))[: budget // 3].strip()
