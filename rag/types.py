"""The nouns of the whole application, in the order in which data flows through it.

A span is a half-open range [start, end) of Unicode code points into `Document.text`; for every chunk
`chunk.text == document.text[chunk.start:chunk.end]`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rag.errors import InputError
from rag.locations import source_of

UNDETERMINED = "und"
"""BCP-47's tag for a language that is not known."""

Mode = Literal["hybrid", "dense", "sparse"]
FusionMethod = Literal["normalized", "weighted", "rrf"]
FinishReason = Literal["stop", "length", "content_filter", "disconnected"]


@dataclass(frozen=True, slots=True)
class Language:
    """A detected language.

    Attributes:
        code: BCP-47 primary tag, `und` when nothing can be said.
        confidence: 0 to 1.
    """

    code: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a document.

    Attributes:
        level: 1 for the highest.
        start: first code point of the heading's line in `Document.text`.
        end: one past its last code point, line end excluded.
        title: the heading's words without markup.
    """

    level: int
    start: int
    end: int
    title: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document as its reader extracted it.

    Attributes:
        uri: absolute location, percent-encoded.
        text: the extracted text, Unicode NFC, with `\\n` line ends; every span refers to it.
        title: the document's own title, or its file name without the suffix.
        format: `txt`, `md`, `html`, `pdf` or `docx`.
        headings: in text order.
        page_starts: offset of each page's first code point, page 1 first; empty for formats without pages.
        metadata: what the document says of itself (front matter, ingest's --meta); keys match `[A-Za-z0-9_-]+`.
    """

    uri: str
    text: str
    title: str
    format: str
    headings: tuple[Heading, ...] = ()
    page_starts: tuple[int, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document, with all that a citation needs. Its `id` is uuid5(uri, version, ordinal).

    Attributes:
        version: digest of the file's bytes and of everything that shaped the text (docs/DESIGN.md, Identity).
        ordinal: 0-based position among the document's chunks.
        chunk_count: number of chunks of the document.
        title: the document's title.
        headings: path of headings above the passage, outermost first.
        page: 1-based page on which the passage starts; None for formats without pages.
        page_breaks: offsets in `Document.text` at which further pages begin inside the passage, ascending.
        language: BCP-47 tag of the passage.
        document_language: BCP-47 tag of the whole document.
        format: the document's format.
        text_hash: digest of the string that is embedded; equal hashes share their vectors.
        ingested_at: seconds since the epoch at which its document was read.
    """

    id: str
    uri: str
    version: str
    ordinal: int
    chunk_count: int
    text: str
    start: int
    end: int
    title: str
    headings: tuple[str, ...]
    page: int | None
    language: str
    document_language: str
    format: str
    text_hash: str
    ingested_at: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    page_breaks: tuple[int, ...] = ()

    def page_at(self, offset: int) -> int | None:
        """1-based page of the code point at `offset` of the document's text, which lies in this passage."""
        return None if self.page is None else self.page + bisect_right(self.page_breaks, offset)

    @property
    def source(self) -> str:
        """The document's location as shown to people; depends on the working folder."""
        return source_of(self.uri)

    @property
    def heading(self) -> str:
        """The heading path on one line; empty where there is none."""
        return " › ".join(self.headings)

    @property
    def span(self) -> tuple[int, int]:
        """[start, end) in code points of the document's text."""
        return (self.start, self.end)


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """Lexical weights of a text.

    Attributes:
        ids: token ids of the model's vocabulary, uint32 of shape (n,), strictly ascending.
        weights: float32 of shape (n,), all positive and finite.
    """

    ids: NDArray[np.uint32]
    weights: NDArray[np.float32]

    @property
    def own_score(self) -> float:
        """Its score with itself, which a text with all of its tokens and weights would have."""
        return float(self.weights.astype(np.float64) @ self.weights.astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What the model makes of one text in one forward pass.

    Attributes:
        dense: float32 of shape (dimension,), unit norm.
        sparse: lexical weights.
        colbert: float32 of shape (tokens - 1, d), unit norm, one of each token but the first; None where they were not
            asked for.
    """

    dense: NDArray[np.float32]
    sparse: SparseVector
    colbert: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index was made with; an index and a model fit when schema version, fingerprint and dimension agree.

    Attributes:
        schema_version: version of the payload's layout.
        fingerprint: the embedder's fingerprint.
        model: the name the model was asked for, for messages only.
        dimension: length of the dense vectors.
        tenant_key: metadata key by which the index separates its tenants, see rag.stores.tenants; None where it
            separates none.
    """

    schema_version: int
    fingerprint: str
    model: str
    dimension: int
    tenant_key: str | None = None


@dataclass(frozen=True, slots=True)
class InspectedPoint:
    """A point of the index as it is kept: whole or not, whatever its state.

    Attributes:
        id: as the engine has it, in words.
        uri: of its document; empty where it does not say.
        version: of its document; empty where it does not say.
        state: `live` (searched) or `staged` (not seen yet); anything else is a fault, None where none is written.
        chunk: None where what it carries makes none.
        fault: what is wrong with it by itself, as a clause; empty where nothing is.
        abandoned: staged, and no writer that lives will commit it.
    """

    id: str
    uri: str
    version: str
    state: str | None
    chunk: Chunk | None
    fault: str = ""
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Where:
    """A filter on passages. Empty fields do not filter; fields are joined by AND, the values of one field by OR.

    Attributes:
        languages: BCP-47 tags of the passage.
        not_languages: BCP-47 tags that it is not in.
        sources: globs over `source` or the whole URI; `retrieval` expands them to `uris` before a store sees them.
        uris: exact documents; None means any, an empty tuple means none.
        metadata: key and exact value pairs that must all hold.
    """

    languages: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    uris: tuple[str, ...] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    not_languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("languages", "not_languages", "sources", "uris"):
            if isinstance(getattr(self, name), str):  # would be taken letter by letter
                raise InputError(f"Where({name}={getattr(self, name)!r}): give a tuple of values, not one string")


ANYWHERE = Where()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage found by either vector, with both exact scores: hundreds come of a search, and few are shown.

    Attributes:
        id: its chunk's, by which a store gives all the rest.
        uri: its chunk's, and so are `language` and `text_hash`.
        dense_score: cosine similarity, -1 to 1.
        sparse_score: dot product of the lexical weights, 0 where no token is shared.
    """

    id: str
    uri: str
    language: str
    text_hash: str
    dense_score: float
    sparse_score: float

    @classmethod
    def of(cls, chunk: Chunk, dense_score: float, sparse_score: float) -> Candidate:
        """The candidate that a chunk is."""
        return cls(chunk.id, chunk.uri, chunk.language, chunk.text_hash, dense_score, sparse_score)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate among others; `Passage` says what its numbers are."""

    candidate: Candidate
    score: float
    fused_score: float = 0.0
    level: float = 0.0
    handicap: float = 0.0
    rerank_score: float | None = None
    wording: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StoredVector:
    """What tells how alike passages are.

    Attributes:
        dense: float32 of shape (dimension,), unit norm.
        terms: how many lexical weights there are beside it.
    """

    dense: NDArray[np.float32]
    terms: int


@dataclass(frozen=True, slots=True, eq=False)
class StoredPassage:
    """All that is stored of a passage.

    Attributes:
        vector: where it was asked for.
    """

    chunk: Chunk
    vector: StoredVector | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A ranked candidate.

    Attributes:
        rank: 1 for the best.
        score: what it is ranked by; comparable within one result only.
        dense_score: cosine with the question's vector, centred where hybrid does that.
        fused_score: both scores joined, before the level of its language is taken out.
        level: what passages of its language reach for this question; 0 where languages are not normalized.
        handicap: what one more in the asker's language has to stand out more; 0 for the first and for all others.
        rerank_score: what the reranker gave, on its own scale; None for a passage that it did not see.
        wording: the wording of the question by which it was found, where it was not the question's own.
        copies: translations and near-copies of it that were found, too, best first.
    """

    rank: int
    chunk: Chunk
    score: float
    dense_score: float
    sparse_score: float
    fused_score: float = 0.0
    level: float = 0.0
    handicap: float = 0.0
    rerank_score: float | None = None
    wording: str | None = None
    copies: tuple[Chunk, ...] = ()


@dataclass(frozen=True, slots=True)
class MatchedTerm:
    """A word of the question that brought a passage up.

    Attributes:
        term: the word as the question writes it, though the passage may share no more than a piece; in scripts
            without spaces between words, the piece.
        weight: its share of the passage's `sparse_score`: over the shared tokens, the sum of the question's weight
            times the passage's.
    """

    term: str
    weight: float


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A live document as the index knows it."""

    uri: str
    version: str
    title: str
    language: str
    format: str
    chunk_count: int
    ingested_at: float
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The document's location as shown to people; depends on the working folder."""
        return source_of(self.uri)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation with a language model."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """All that a chat model is given.

    Attributes:
        messages: what a language model reads.
        question: the question as the user wrote it.
        passages: in the order of their markers, the first is [1].
        language: BCP-47 tag the answer must be in.
        second_language: BCP-47 tag of the language in which it is to be said once more, after a line of three dashes.
    """

    messages: Sequence[Message]
    question: str
    passages: Sequence[Passage]
    language: str
    second_language: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What was consumed: tokens as the endpoint counts them, and the number of requests.

    Attributes:
        cost: by the prices of the settings, in their currency; 0 where none are set.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 0
    cost: float = 0.0

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.requests + other.requests,
            self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True)
class RerankScores:
    """What a reranker makes of passages.

    Attributes:
        scores: finite, one for each passage in the order they were given; higher is better.
        usage: of a language model, where one was asked.
    """

    scores: tuple[float, ...]
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Other wordings of a question, to be searched beside it.

    Attributes:
        usage: of a language model, where one was asked.
    """

    texts: tuple[str, ...]
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of an answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """What was shown of the answer so far is void, as it went on in the wrong language: it begins anew.

    Attributes:
        language: BCP-47 tag it is to be in.
    """

    language: str


@dataclass(frozen=True, slots=True)
class Voided:
    """What the model has said so far were its thoughts; its answer begins now."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a chat model's stream; `disconnected` when it broke off without a finish reason."""

    reason: FinishReason
    usage: Usage = Usage()


ChatEvent = TextDelta | Voided | Finished


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a claim comes from.

    Attributes:
        marker: the number in the answer's text, 1-based.
        quote: verbatim words of the document.
        span: of the quote in `Document.text`.
        page: 1-based page on which the quote starts; None for formats without pages.
        checked: whether the answer offered these very words; else it named the passage alone, and the quote is all
            of it.
        translation: of the quote into the asker's language, by the language model; nobody has checked it.
    """

    marker: int
    source: str
    uri: str
    title: str
    heading: str
    page: int | None
    language: str
    quote: str
    span: tuple[int, int]
    checked: bool = False
    translation: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    Attributes:
        asked_in: BCP-47 tag of the question's language.
        language: BCP-47 tag the answer must be in.
        answered_in: BCP-47 tag of the answer's language as detected, `und` when too short to say.
        language_ok: whether the answer is in the language it must be in; None when that cannot be said.
        complete: False when the answer broke off (length, filter, lost connection).
        refused: True when the passages do not hold the answer.
        citations: by marker, each marker in `text` with at least one.
        passages: what the answer could draw on, best first.
        timings: seconds by stage.
        remarks: what was done to find the passages beside the search, what it cost, and what could not be done; one
            line each.
        attempts: how often the language model was asked for the answer.
        support: share of the sentences that claim something of which a quote was checked; None without any.
        unsupported: of each other sentence that claims something, its span in `text`.
        invented: quotes that the model offered and that are not in the passage it named.
        flagged: numbers of the passages that give orders to a language model, as the markers count them.
        second_language: BCP-47 tag of the language in which the answer is said once more; None for one language.
    """

    question: str
    text: str
    asked_in: str
    language: str
    answered_in: str
    language_ok: bool | None
    complete: bool
    refused: bool
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    usage: Usage = Usage()
    timings: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    attempts: int = 1
    support: float | None = None
    unsupported: tuple[tuple[int, int], ...] = ()
    invented: int = 0
    flagged: tuple[int, ...] = ()
    second_language: str | None = None
