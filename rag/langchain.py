"""The LangChain face: retrieval as a `BaseRetriever`, the model as `Embeddings`, the pipeline as a `Runnable`.

The only room of langchain_core. Nothing here searches or answers: it translates LangChain's nouns to this library's
and back. `docs/langchain.md` shows each in a chain.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from logging import getLogger
from typing import Any, Final, Literal, NotRequired, cast

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage, ChatMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor

# The standard library's TypedDict gives no schema before Python 3.12 (pydantic says so).
from typing_extensions import TypedDict

from rag.errors import InputError
from rag.pipeline import CrossLingualRAG
from rag.ports import Embedder
from rag.types import ANYWHERE, Answer, Message, Passage, Restarted, TextDelta, Where

logger = getLogger(__name__)

_Bound = Mapping[str, Any]


class CrossLingualRetriever(BaseRetriever):
    """Passages of an open index as LangChain documents, best first; see `document_of`.

    `k` and `where` may be given anew in each call: `retriever.invoke(question, k=3)`, `retriever.bind(k=3)`.

    Attributes:
        rag: an open index; whoever opened it closes it.
        k: passages to return.
        where: filter on passages.
    """

    rag: CrossLingualRAG
    k: int = 10
    where: Where = ANYWHERE

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        where: Where | None = None,
    ) -> list[Document]:
        found = self.rag.search(query, k=self.k if k is None else k, where=self.where if where is None else where)
        for remark in found.remarks:
            logger.info("%s", remark)
        return [document_of(passage) for passage in found.passages]

    # The base class's own does the same, but hands on neither `k` nor `where`.
    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        where: Where | None = None,
    ) -> list[Document]:
        return await run_in_executor(
            None, self._get_relevant_documents, query, run_manager=run_manager.get_sync(), k=k, where=where
        )


def document_of(passage: Passage) -> Document:
    """A passage as a LangChain document: its text verbatim, its id, and all that a citation needs.

    The metadata has the passage's rank and scores and, named as in `rag.types.Chunk`, what is known of its place.
    `span` is [start, end) in code points of the document's text. What the document says of itself stays apart, under
    `metadata`: front matter can put no other `uri` in its place.
    """
    chunk = passage.chunk
    return Document(
        page_content=chunk.text,
        id=chunk.id,
        metadata={
            "rank": passage.rank,
            "score": passage.score,
            "dense_score": passage.dense_score,
            "sparse_score": passage.sparse_score,
            "copies": [
                {"uri": copy.uri, "language": copy.language, "span": list(copy.span)} for copy in passage.copies
            ],
            # A file name need not be valid text; prompts and traces must be. The URI is exact.
            "source": chunk.source.encode(errors="replace").decode(),
            "uri": chunk.uri,
            "version": chunk.version,
            "title": chunk.title,
            "heading": chunk.heading,
            "page": chunk.page,
            "language": chunk.language,
            "document_language": chunk.document_language,
            "format": chunk.format,
            "ordinal": chunk.ordinal,
            "chunk_count": chunk.chunk_count,
            "span": list(chunk.span),
            "metadata": dict(chunk.metadata),
        },
    )


class BgeM3Embeddings(Embeddings):
    """The dense half of BGE-M3 for LangChain's vector stores; unit norm, so that a dot product is the cosine.

    The sparse half has no place in this interface: `CrossLingualRetriever` searches both.
    """

    def __init__(self, embedder: Embedder) -> None:
        """Takes an embedding model, such as `rag.build.embedder(settings)` gives."""
        self._embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector of the model's dimension for each text, in the order of `texts`.

        Raises:
            EmbeddingError: a text is empty or longer than the model's window; nothing is truncated.
        """
        return [[float(value) for value in each.dense] for each in self._embedder.embed_passages(texts)]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question.

        Raises:
            EmbeddingError: the text is empty or longer than the model's window; nothing is truncated.
        """
        return [float(value) for value in self._embedder.embed_query(text).dense]


class Question(TypedDict):
    """A question with what may go with it; the arguments of `CrossLingualRAG.ask`. None counts as left out.

    Attributes:
        history: earlier turns, oldest first. Messages without text and what tools returned are left out.
    """

    question: str
    language: NotRequired[str | None]
    k: NotRequired[int | None]
    where: NotRequired[Where | None]
    history: NotRequired[Sequence[BaseMessage] | None]


class AnswerRunnable(Runnable[str | Question, str | Restarted | Answer]):
    """The pipeline as a step of a chain; made by `answer_runnable`.

    `invoke` and `ainvoke` give the `Answer`; `batch` and `abatch` one for each question, several at a time. `stream`
    and `astream` give the answer's text piece by piece and at last the `Answer`, whose `text` is the pieces joined. A
    step that follows in a chain and does not stream itself gets the `Answer` in either case.

    The keys of `Question` may also be bound or given as keyword arguments, as in `.bind(language="de")`; what the input
    says itself comes first. Leaving a stream or cancelling a task ends the request to the language model, at the latest
    when its next sign of life comes.
    """

    def __init__(self, rag: CrossLingualRAG) -> None:
        """Takes an open index; whoever opened it closes it."""
        self._rag = rag

    def invoke(self, input: str | Question, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        """The answer, whole.

        Raises:
            InputError: the input has an unknown key, lacks its question, or has a value that cannot be used.
            UnavailableError: the store or the language model does not answer.
        """
        return cast(Answer, self._call_with_config(partial(self._answer, bound=kwargs), input, config))

    async def ainvoke(self, input: str | Question, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        """`invoke` for asynchronous code: runs in a thread."""
        return cast(Answer, await self._acall_with_config(partial(self._aanswer, bound=kwargs), input, config))

    def stream(
        self, input: str | Question, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[str | Restarted | Answer]:
        """The answer's text as it comes, then the `Answer`; raises what `invoke` raises."""
        return self._transform_stream_with_config(iter([input]), partial(self._events, bound=kwargs), config)

    def astream(
        self, input: str | Question, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[str | Restarted | Answer]:
        """`stream` for asynchronous code: runs in a thread."""

        async def inputs() -> AsyncIterator[str | Question]:
            yield input

        return self._atransform_stream_with_config(inputs(), partial(self._aevents, bound=kwargs), config)

    def _answer(self, asked: str | Question, *, bound: _Bound, stop: threading.Event | None = None) -> Answer:
        return self._rag.ask(**_arguments(asked, bound), stop=stop)

    async def _aanswer(self, asked: str | Question, *, bound: _Bound) -> Answer:
        stop = threading.Event()
        try:
            return await run_in_executor(None, partial(self._answer, asked, bound=bound, stop=stop))
        finally:
            stop.set()

    def _events(
        self, inputs: Iterator[str | Question], *, bound: _Bound, stop: threading.Event | None = None
    ) -> Iterator[str | Restarted | Answer]:
        for asked in inputs:
            for event in self._rag.stream(**_arguments(asked, bound), stop=stop):
                yield event.text if isinstance(event, TextDelta) else event

    async def _aevents(
        self, inputs: AsyncIterator[str | Question], *, bound: _Bound
    ) -> AsyncIterator[str | Restarted | Answer]:
        asked = [each async for each in inputs]
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[str | Restarted | Answer | None] = asyncio.Queue()
        stop = threading.Event()

        def produce() -> None:
            try:
                for event in self._events(iter(asked), bound=bound, stop=stop):
                    loop.call_soon_threadsafe(arrived.put_nowait, event)
            finally:
                loop.call_soon_threadsafe(arrived.put_nowait, None)

        producer = asyncio.create_task(run_in_executor(None, produce))
        try:
            while (event := await arrived.get()) is not None:
                yield event
            await producer  # raises what broke the stream off
        finally:
            stop.set()
            producer.cancel()


def answer_runnable(rag: CrossLingualRAG) -> AnswerRunnable:
    """The pipeline of an open index as a `Runnable` from a question, or a `Question`, to its `Answer`."""
    return AnswerRunnable(rag)


_ROLES: Final[Mapping[str, Literal["system", "user", "assistant"]]] = {
    **dict.fromkeys(("human", "HumanMessageChunk", "user"), "user"),
    **dict.fromkeys(("ai", "AIMessageChunk", "assistant"), "assistant"),
    **dict.fromkeys(("system", "SystemMessageChunk", "developer"), "system"),
}
_OF_TOOLS: Final = frozenset({"tool", "ToolMessageChunk", "function", "FunctionMessageChunk"})
_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "question": (str, "a string"),
    "language": (str, "a BCP-47 tag such as 'de'"),
    "k": (int, "a whole number"),
    "where": (Where, "a rag.Where"),
    "history": (Sequence, "a list of LangChain messages"),
}


def _arguments(asked: str | Question, bound: _Bound) -> dict[str, Any]:
    """The input and what is bound to the runnable as arguments of `CrossLingualRAG.stream`."""
    own: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {"question": asked}
    for key in (*own, *bound):
        if key not in _KINDS:
            close = get_close_matches(str(key), _KINDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_KINDS)}"
            raise InputError(f"the input has the unknown key {key!r}: {hint}")
    arguments = {key: value for given in (bound, own) for key, value in given.items() if value is not None}
    if "question" not in arguments:
        raise InputError("the input has no question: pass a string, or a dict with the key 'question'")
    for key, value in arguments.items():
        kind, expected = _KINDS[key]
        if not isinstance(value, kind):
            raise InputError(f"{key} is of type {type(value).__name__}: pass {expected}")
    if "history" in arguments:
        arguments["history"] = _turns(arguments["history"])
    return arguments


def _turns(history: Sequence[object]) -> tuple[Message, ...]:
    """LangChain's messages as this library's, without those that have no text and those of tools."""
    turns = []
    for number, message in enumerate(history, start=1):
        if not isinstance(message, BaseMessage):
            raise InputError(
                f"message {number} of the history is of type {type(message).__name__}: pass LangChain messages "
                "(langchain_core.messages.convert_to_messages makes them of dicts and pairs)"
            )
        # ChatMessage is the one whose role is not its type.
        role = message.role.lower() if isinstance(message, ChatMessage) else message.type
        if role in _OF_TOOLS or not message.text.strip():
            continue
        if role not in _ROLES:
            raise InputError(
                f"message {number} of the history has the role {role!r}: pass human, AI and system messages only"
            )
        turns.append(Message(_ROLES[role], str(message.text)))
    return tuple(turns)
