"""The seams of the application: what it needs from a model, a store and a language model, and nothing more."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rag.types import (
    ANYWHERE,
    Candidate,
    ChatEvent,
    ChatRequest,
    Chunk,
    Embedding,
    IndexInfo,
    InspectedPoint,
    RerankScores,
    Rewritten,
    StoredDocument,
    StoredPassage,
    Where,
)


class Embedder(Protocol):
    """Text to vectors. Safe to call from several threads; loads its weights on first use."""

    @property
    def model(self) -> str:
        """The name the model was asked for."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the vectors; known without loading the weights."""
        ...

    @property
    def dimension(self) -> int:
        """Length of the dense vectors."""
        ...

    @property
    def window(self) -> int:
        """Longest text in tokens, special tokens included."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> list[Embedding]:
        """Embeddings in the order of `texts`; never truncates.

        Raises:
            EmbeddingError: a text is empty or longer than the window.
        """
        ...

    def embed_query(self, text: str) -> Embedding:
        """Embedding of a question.

        Raises:
            EmbeddingError: the text is empty or longer than the window.
        """
        ...

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        """What `embed_query` gives for each of `texts`, made together.

        Raises:
            EmbeddingError: a text is empty or longer than the window.
        """
        ...

    def terms(self, text: str) -> Mapping[int, str]:
        """Id of each token that may have a lexical weight → the word of `text` in which it occurs first.

        The words are substrings of `text`. A token of punctuation stands for itself, and so does one of several words,
        as in scripts without spaces.

        Raises:
            EmbeddingError: the text holds what is no character.
        """
        ...


class PassageReader(Protocol):
    """What a question needs of a store. Sees live documents only, each in one version."""

    def info(self) -> IndexInfo:
        """What the index was made with.

        Raises:
            IndexMissingError: there is no index yet.
        """
        ...

    def candidates(
        self, query: Embedding, depth: int, where: Where = ANYWHERE, *, language_depth: int = 0
    ) -> list[Candidate]:
        """The union of the `depth` best by dense and the `depth` best by sparse score, each with both exact scores.

        And, where there are several languages, of the `language_depth` nearest of each; beyond 32 languages the rarest
        share theirs. Sorted by chunk id. `where.sources` must have been expanded to `where.uris`.

        Raises:
            InputError: the index separates tenants, and `where.metadata` names none.
        """
        ...

    def passages(self, ids: Sequence[str], *, with_vectors: bool = False) -> Mapping[str, StoredPassage]:
        """What is stored of candidates, by their ids; one that has been replaced or removed by now is left out."""
        ...

    def languages(self) -> Mapping[str, int]:
        """Languages of the passages → about how many passages each has, most first."""
        ...

    def centre(self, where: Where = ANYWHERE) -> NDArray[np.float32] | None:
        """(dimension,) mean of the dense vectors of a sample of the passages, at most a minute old.

        Of all passages or, where the index separates tenants, of those of the one that `where` names. None without any.

        Raises:
            InputError: the index separates tenants, and `where.metadata` names none.
        """
        ...

    def weighted(self, query: Embedding, where: Where = ANYWHERE) -> Embedding:
        """A question's embedding as `candidates` compares it; it may be given in place of the question's.

        Lexical weights that are counts of terms (`rag.bm25.TermCounts`) become BM25's, by how rare the terms are among
        the passages, or the tenant's; others stay as they are.

        Raises:
            InputError: the index separates tenants, and `where.metadata` names none.
        """
        ...

    def embeddings(self, text_hashes: Sequence[str]) -> Mapping[str, Embedding]:
        """Stored embeddings of texts by `Chunk.text_hash`; unknown hashes are left out."""
        ...

    def document(self, uri: str) -> StoredDocument | None:
        """The live document at `uri`."""
        ...

    def documents(self) -> Iterator[StoredDocument]:
        """All live documents, by uri."""
        ...

    def chunks(self, uri: str) -> Iterator[Chunk]:
        """The chunks of a live document, by ordinal."""
        ...

    def inspect(self, uri: str | None = None) -> Iterator[InspectedPoint]:
        """Every point that is kept, by id: staged, damaged and other programs' ones too; of one document, or all.

        Read a page at a time, between which others may write: what looks torn is to be looked at again by its `uri`.
        """
        ...


class PassageWriter(Protocol):
    """What ingestion needs of a store."""

    def prepare(self, info: IndexInfo) -> None:
        """Creates the index, or checks that the one there fits.

        Raises:
            IndexMismatchError: it was made with another model or schema.
        """
        ...

    def stage(self, chunks: Sequence[Chunk], embeddings: Sequence[Embedding]) -> None:
        """Writes points that no search sees yet. Called with all chunks of a document before its commit, once or often.

        Points that are live already stay as they are; those that a live version lacks are written.

        Raises:
            InputError: the index separates tenants, and a document is nobody's or another one's.
        """
        ...

    def commit(self, uri: str, version: str) -> None:
        """Makes the staged version of a document live and removes its other versions."""
        ...

    def commit_all(self, documents: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Commits documents, each given as uri and version, together as far as that is cheaper.

        Gives those that are committed; each is seen whole or not at all, also where it raises.
        """
        ...

    def remove(self, uri: str) -> None:
        """Removes a document in all its versions; nothing happens if it is not there."""
        ...

    def discard(self, points: Sequence[InspectedPoint]) -> None:
        """Removes single points, each unless it is in another state by now."""
        ...


class PassageStore(PassageReader, PassageWriter, Protocol):
    """Both sides, as every adapter provides them."""

    def close(self) -> None:
        """Flushes and lets go of the index; may be called twice."""
        ...


class QueryRewriter(Protocol):
    """A question to other wordings of it."""

    @property
    def name(self) -> str:
        """What people are told that it is."""
        ...

    def rewrite(self, question: str, languages: Sequence[str]) -> Rewritten:
        """Other wordings, to be searched beside the question; none where there is nothing to be gained.

        Args:
            languages: BCP-47 tags of the passages that are searched, most passages first.

        Raises:
            UnavailableError: what it needs cannot be had.
        """
        ...


class Reranker(Protocol):
    """Passages to a better order."""

    @property
    def name(self) -> str:
        """What people are told that it is."""
        ...

    def scores(self, question: str, chunks: Sequence[Chunk]) -> RerankScores:
        """One score for each of `chunks`, which come best first.

        Raises:
            UnavailableError: it cannot be loaded or asked, or gives no order.
        """
        ...


class ChatModel(Protocol):
    """Passages and a question to an answer."""

    def stream(
        self, request: ChatRequest, stop: threading.Event | None = None, until: float | None = None
    ) -> Generator[ChatEvent, None, None]:
        """Text as it comes, then one `Finished`. Closing the generator ends the request.

        A `Voided` takes back all text before it.

        Args:
            request: what is asked.
            stop: when another thread sets it, no further request is sent, the open one is ended at once, also while
                the first byte, a next piece or a next attempt is waited for, and the stream ends with
                `Finished("disconnected")`, whose usage counts the requests that were sent.
            until: the latest end, in seconds of `time.monotonic`, after which it ends in the same way; None for the
                model's own.

        Raises:
            ContextLengthError: the request is longer than the model can read.
            EndpointError: no answer could be begun.
        """
        ...
