"""From a question to an answer in the asker's language: retrieve, prompt, stream, check."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Self

from rag import answer_language, locales, prompt
from rag.citations import MarkerFilter, citations
from rag.language import choose
from rag.ports import ChatModel, PassageStore
from rag.retrieval import Retrieved, Retriever
from rag.types import (
    ANYWHERE,
    Answer,
    ChatRequest,
    Finished,
    Language,
    MatchedTerm,
    Message,
    Mode,
    Passage,
    StoredDocument,
    TextDelta,
    Usage,
    Where,
)

_FIRST_LOOK = 120
"""Characters held back until the answer's language is looked at: about two short sentences. Chosen, not measured."""


class CrossLingualRAG:
    """Asks one index; safe to use from several threads. Close it, or use it in a `with`, to let go of the index."""

    def __init__(
        self,
        retriever: Retriever,
        store: PassageStore,
        chat_model: ChatModel,
        *,
        default_language: str | None = None,
        attempts: int = 2,
    ) -> None:
        """Puts the parts together.

        Args:
            store: closed with this object.
            default_language: BCP-47 tag to answer in where the question's language cannot be told.
            attempts: how often an answer may be asked for until it is in the right language.
        """
        self._retriever = retriever
        self._store = store
        self._chat_model = chat_model
        self._default_language = default_language
        self._attempts = attempts

    def retrieve(
        self, question: str, *, k: int = 10, where: Where = ANYWHERE, mode: Mode | None = None
    ) -> list[Passage]:
        """The `k` best passages for `question`, best first.

        Args:
            mode: which scores rank; by default the settings' choice.

        Raises:
            InputError: the question is empty or longer than the model's window, or `k` is not positive.
            UnavailableError: the store does not answer.
        """
        return self.search(question, k=k, where=where, mode=mode).passages

    def search(self, question: str, *, k: int = 10, where: Where = ANYWHERE, mode: Mode | None = None) -> Retrieved:
        """As `retrieve`, and how the passages were found: what was done beside the search, and what it cost."""
        return self._retriever.search(question, k=k, where=where, mode=mode)

    def matched_terms(self, question: str, passages: Sequence[Passage]) -> list[tuple[MatchedTerm, ...]]:
        """Why each passage was found: the words of `question` it shares, the one with the highest weight first.

        A passage's weights sum to its `sparse_score`. No terms for a passage that shares no token, and for one that
        the index no longer holds. Words of the same meaning in another language share none: there the dense score
        tells.

        Args:
            passages: as `retrieve` gave them for `question`.

        Raises:
            InputError: the question is empty or longer than the model's window.
            UnavailableError: the store does not answer.
        """
        stored = self._store.embeddings([passage.chunk.text_hash for passage in passages])
        embeddings = [stored.get(passage.chunk.text_hash) for passage in passages]
        # A passage shares words with the wording that found it.
        wordings = {passage.wording or question for passage in passages} | {question}
        terms = {wording: self._retriever.matched_terms(wording, embeddings) for wording in wordings}
        return [terms[passage.wording or question][at] for at, passage in enumerate(passages)]

    def ask(
        self,
        question: str,
        *,
        language: str | None = None,
        k: int = 8,
        where: Where = ANYWHERE,
        history: Sequence[Message] = (),
        mode: Mode | None = None,
        stop: threading.Event | None = None,
    ) -> Answer:
        """The answer, whole; see `stream`."""
        for event in self.stream(question, language=language, k=k, where=where, history=history, mode=mode, stop=stop):
            if isinstance(event, Answer):
                return event
        raise AssertionError("a stream ends with its answer")

    def stream(
        self,
        question: str,
        *,
        language: str | None = None,
        k: int = 8,
        where: Where = ANYWHERE,
        history: Sequence[Message] = (),
        mode: Mode | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[TextDelta | Answer]:
        """The answer's text as it comes, then the `Answer`, whose text is what was streamed.

        Args:
            language: BCP-47 tag to answer in; by default the question's.
            k: passages the answer may draw on.
            history: earlier turns, oldest first.
            mode: which scores rank the passages; by default the settings' choice.
            stop: when set, the answer ends at the next event and is incomplete.

        Raises:
            InputError: the question is empty or longer than the model's window, or a tag is not one.
            UnavailableError: the store or the language model does not answer.
        """
        target, asked_in = choose(question, requested=language, fallback=self._default_language)
        run = _Run(question, target, asked_in, stop or threading.Event())
        with run.timed("retrieve"):
            found = self._retriever.search(question, k=k, where=where, mode=mode)
            passages = found.passages
            run.note(found)
        with run.timed("answer"):
            if not passages:
                yield from run.refuse()
            else:
                for attempt in range(1, self._attempts + 1):
                    if run.stopped:
                        break
                    request = prompt.build(question, passages, run.language, history=history, insist=attempt > 1)
                    yield from run.receive(self._chat_model, request, may_restart=attempt < self._attempts)
                    if not run.wrong_language:
                        break
        yield run.answer(passages)

    @property
    def tenant_key(self) -> str | None:
        """The metadata key that separates the tenants of the index; None where there are none.

        Raises:
            UnavailableError: the store does not answer.
        """
        return self._store.info().tenant_key

    def documents(self) -> Iterator[StoredDocument]:
        """What the index holds.

        Raises:
            UnavailableError: the store does not answer.
        """
        return self._store.documents()

    def warm_up(self) -> None:
        """Loads the model now instead of with the first question.

        Raises:
            NotConfiguredError: the model cannot be used.
        """
        self._retriever.warm_up()

    def close(self) -> None:
        """Lets go of the index; may be called twice."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Run:
    """What is known of one answer while it is being made."""

    def __init__(self, question: str, language: str, asked_in: Language, stop: threading.Event) -> None:
        self.language = language
        self.wrong_language = False
        self._question = question
        self._asked_in = asked_in
        self._stop = stop
        self._text = ""
        self._complete = self._refused = False
        self._usage = Usage()
        self._remarks: tuple[str, ...] = ()
        self._timings: dict[str, float] = {}
        self._started = time.perf_counter()

    @property
    def stopped(self) -> bool:
        """Whether the asker has left."""
        return self._stop.is_set()

    def timed(self, stage: str) -> _Timer:
        return _Timer(self._timings, stage)

    def note(self, found: Retrieved) -> None:
        """How the passages were found, for the answer to tell."""
        self._remarks = found.remarks
        self._usage = self._usage.plus(found.usage)

    def refuse(self) -> Iterator[TextDelta]:
        """The passages do not hold the answer: says so in the asker's language."""
        self._refused = self._complete = True
        self._text = locales.load(self.language).no_answer
        yield TextDelta(self._text)

    def receive(self, chat_model: ChatModel, request: ChatRequest, *, may_restart: bool) -> Iterator[TextDelta]:
        """One attempt: text is released once its beginning is no refusal and in the right language.

        Leaves `wrong_language` set, with nothing released, where the attempt is worth repeating.
        """
        self.wrong_language = self._complete = False
        usage = Usage(requests=1)  # of a request that is ended before it tells
        markers = MarkerFilter(len(request.passages))
        held = ""
        released = False
        with closing(chat_model.stream(request, self._stop)) as events:
            for event in events:
                if isinstance(event, Finished):
                    self._complete = event.reason == "stop"
                    usage = event.usage
                    held += markers.finish()
                    break
                if self.stopped:
                    break
                held += markers.feed(event.text)
                if not released and len(held) < _FIRST_LOOK:
                    continue
                if not released and self._turned_back(held, may_restart):
                    break
                released = True
                yield from self._release(held)
                held = ""
        self._usage = self._usage.plus(usage)
        if released or not self._turned_back(held, may_restart and not self.stopped):
            yield from self._release(held)
        elif self._refused:
            yield from self.refuse()

    def answer(self, passages: Sequence[Passage]) -> Answer:
        answered_in, language_ok = answer_language.judge(self._text, self.language)
        self._timings["total"] = time.perf_counter() - self._started
        return Answer(
            question=self._question,
            text=self._text,
            asked_in=self._asked_in.code,
            language=self.language,
            answered_in=answered_in,
            language_ok=language_ok,
            complete=self._complete and bool(self._text.strip()),
            refused=self._refused,
            citations=() if self._refused else tuple(citations(self._text, passages)),
            passages=tuple(passages),
            usage=self._usage,
            timings=self._timings,
            remarks=self._remarks,
        )

    def _turned_back(self, held: str, may_restart: bool) -> bool:
        """Whether the beginning of the answer is a refusal, or in the wrong language with an attempt left."""
        self._refused = prompt.is_refusal(held)
        self.wrong_language = (
            not self._refused and may_restart and answer_language.judge(held, self.language)[1] is False
        )
        return self._refused or self.wrong_language

    def _release(self, text: str) -> Iterator[TextDelta]:
        if text:
            self._timings.setdefault("first_text", time.perf_counter() - self._started)
            self._text += text
            yield TextDelta(text)


class _Timer:
    """Adds the wall seconds of a `with` block to a table."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self._timings = timings
        self._stage = stage

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._timings[self._stage] = time.perf_counter() - self._begin
