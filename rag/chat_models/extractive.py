"""An answer without a language model: the sentences of the passages that are nearest to the question, word for word."""

from __future__ import annotations

import logging
import re
import threading
import unicodedata
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag import locales
from rag.errors import EmbeddingError
from rag.marker_syntax import cited
from rag.ports import Embedder
from rag.prompt import NO_ANSWER
from rag.segmentation import sentences as sentence_spans
from rag.types import ChatEvent, ChatRequest, Chunk, Finished, Passage, TextDelta, Usage

_LOG = logging.getLogger(__name__)

_MOST_OF_ONE_PASSAGE = 2
# Two sentences this alike say the same: the overlap of two chunks, or a sentence with another number of spaces.
_SAME = 0.97
# Added to the cosine of the best passage's sentences, a half of it to the second's. On 863 questions of XQuAD with
# their four nearest paragraphs (pocket-m3, 7 pairs of languages) 0 to 0.05 quote the answer equally often, 0.2 less.
_RANK_SHARE = 0.05
# A line of a wrapped sentence, or a heading that nothing marks as one, is worth less than a sentence as near.
_FRAGMENT_COST = 0.05
# Columns that the letters and digits fill, of which an ideograph fills two: below are page numbers and labels.
_FEWEST_COLUMNS = 10

# Where a quote must not reach across: ends of lines of every kind, and numbers in brackets that would read as markers.
_CUT = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]|[\[［【][\s\d,;、，；\-–—]+[\]］】:：]")
# What stands before the words of a list item, a quotation or a table row.
_BULLET = re.compile(
    r"(?:[ \t\u3000]*(?:[>|•‣◦▪■・](?=[ \t\u3000]|[^\W\d_])|[*+\-–—](?=[ \t])|\d{1,3}[.)](?=[ \t\u3000]|[^\W\d_])))+"
)
_ENDED = re.compile(r"[.!?…。！？｡؟۔।॥։።။។][\"'”’»›」』)）\]\s]*$")
# Half of a pair, as broken files leave it; it cannot be encoded.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_OFFERED = 500
"""Characters of a quote within a marker; longer ones are found where they stand, unless they hold an address."""
_NO_SENTENCE = re.compile(r"[ \t]*(?:#{1,6}(?:[ \t]|$)|```|~~~|<[!/a-zA-Z]|!\[|\[[^\]]+\]:)")


@dataclass(frozen=True, slots=True, eq=False)
class _Quote:
    """A piece of a passage that can be quoted on one line.

    Attributes:
        marker: number of the passage, 1-based.
        text: a verbatim part of the passage's text.
        whole: whether it is a whole sentence or list item rather than a part of one or a heading.
    """

    marker: int
    text: str
    whole: bool

    @property
    def line(self) -> str:
        """The quote with its marker, as Markdown."""
        return f"> {self.text} [{self.marker}]"

    @property
    def offered(self) -> str:
        """The line as a language model would write it: the words stand in the marker once more, to be checked."""
        brief = len(self.text) <= _LONGEST_OFFERED
        return f'> {self.text} [{self.marker}: "{self.text}"]' if brief else self.line

    @property
    def can_be_read(self) -> bool:
        """Whether it says something and its line holds its own marker alone.

        A stray backtick would hide the marker.
        """
        columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in self.text if c.isalnum())
        broken = _LONE_SURROGATE.search(self.text)
        return columns >= _FEWEST_COLUMNS and not broken and cited(self.line) == (self.marker,)

    @property
    def folded(self) -> str:
        """The letters and digits alone, for comparing."""
        return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", self.text).casefold()))


class ExtractiveChatModel:
    """A `rag.ports.ChatModel` that quotes: no text of its own but one notice in the asker's language."""

    def __init__(
        self, embedder: Embedder, *, sentences: int = 3, passages: int = 4, templates: Path | None = None
    ) -> None:
        """Args:
        embedder: says how near a sentence is to the question.
        sentences: most sentences in one answer.
        passages: how many of the best passages are looked at.
        templates: folder of the user's own texts.
        """
        self._embedder = embedder
        self._sentences = sentences
        self._passages = passages
        self._templates = templates

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sentences={self._sentences}, passages={self._passages})"

    def stream(
        self, request: ChatRequest, stop: threading.Event | None = None, until: float | None = None
    ) -> Generator[ChatEvent, None, None]:
        """The notice, then one Markdown block quote a sentence with its passage's marker, nearest first.

        Without a sentence to quote the text is `NO_ANSWER`, as a language model would say it. No request is sent that
        `stop` or `until` could end.
        """
        chosen = self._choose(request.question, request.passages)
        yield TextDelta(locales.load(request.language, self._templates).no_language_model if chosen else NO_ANSWER)
        for quote in chosen:
            yield TextDelta(f"\n\n{quote.offered}")
        yield Finished("stop", Usage())

    def _choose(self, question: str, passages: Sequence[Passage]) -> list[_Quote]:
        """The nearest sentences, nearest first, none of them twice, at most two of one passage."""
        quotes = [
            quote
            for marker, passage in enumerate(passages[: self._passages], start=1)
            for quote in _quotes(marker, passage.chunk)
        ]
        quotes = self._within_window(quotes)
        if not quotes:
            return []
        vectors, scores = self._score(question, quotes)
        chosen: list[int] = []
        for index in np.argsort(-scores, kind="stable").tolist():
            if len(chosen) == self._sentences:
                break
            of_passage = sum(quotes[other].marker == quotes[index].marker for other in chosen)
            repeats = any(
                _alike(quotes[index], quotes[other]) or float(vectors[index] @ vectors[other]) >= _SAME
                for other in chosen
            )
            if of_passage < _MOST_OF_ONE_PASSAGE and not repeats:
                chosen.append(index)
        _LOG.info("%d of %d sentences quoted", len(chosen), len(quotes))
        return [quotes[index] for index in chosen]

    def _within_window(self, quotes: list[_Quote]) -> list[_Quote]:
        if not quotes:
            return []
        counts = self._embedder.count_tokens([quote.text for quote in quotes])
        return [quote for quote, count in zip(quotes, counts, strict=True) if count <= self._embedder.window]

    def _score(self, question: str, quotes: Sequence[_Quote]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The quotes' dense vectors, float32 of shape (n, dimension), and their scores of shape (n,).

        Where something cannot be embedded all vectors are zero, so that the passages' own order decides.
        """
        share = [_RANK_SHARE / quote.marker - (0 if quote.whole else _FRAGMENT_COST) for quote in quotes]
        own = np.array(share, dtype=np.float32)
        try:
            query = self._embedder.embed_query(question).dense
            embeddings = self._embedder.embed_passages([quote.text for quote in quotes])
        except EmbeddingError as error:
            _LOG.warning(
                "%d sentences are quoted in the order of their passages: %s", len(quotes), type(error).__name__
            )
            return np.zeros((len(quotes), 1), dtype=np.float32), own
        vectors = np.stack([embedding.dense for embedding in embeddings])
        return vectors, vectors @ query + own


def _quotes(marker: int, chunk: Chunk) -> Iterator[_Quote]:
    """What of a passage can be quoted, in order; every text is a part of `chunk.text`."""
    titles = {_words(title) for title in (chunk.title, *chunk.headings)}
    # As long as the text itself, so that positions hold in both.
    readable = _LONE_SURROGATE.sub("\ufffd", chunk.text)
    for start, end in sentence_spans(readable, chunk.language):
        sentence = chunk.text[start:end]
        for piece in _CUT.split(sentence):
            if _NO_SENTENCE.match(piece):
                continue
            bullet = _BULLET.match(piece)
            text = piece[bullet.end() if bullet else 0 :].strip(" \t\u3000|")
            quote = _Quote(marker, text, whole=bullet is not None or (piece == sentence and bool(_ENDED.search(text))))
            if quote.can_be_read and _words(text) not in titles:
                yield quote


def _words(text: str) -> str:
    return " ".join(text.split()).casefold()


def _alike(one: _Quote, other: _Quote) -> bool:
    """Whether one holds the other."""
    first, second = one.folded, other.folded
    return first in second or second in first
