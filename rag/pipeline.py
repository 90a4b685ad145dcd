"""From a question to an answer in the asker's language: retrieve, prompt, stream, check."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from rag import prompt
from rag.answering import Answering
from rag.budget import Budget
from rag.errors import ContextLengthError, EndpointError, InputError
from rag.language import asked_in, primary
from rag.language_policy import LanguagePolicy, Target
from rag.ports import ChatModel, PassageStore
from rag.quote_translation import QuoteTranslator
from rag.retrieval import Retrieved, Retriever
from rag.types import (
    ANYWHERE,
    Answer,
    ChatRequest,
    MatchedTerm,
    Message,
    Mode,
    Passage,
    Restarted,
    StoredDocument,
    TextDelta,
    Usage,
    Where,
)


class CrossLingualRAG:
    """Asks one index; safe to use from several threads. Close it, or use it in a `with`, to let go of the index."""

    def __init__(
        self,
        retriever: Retriever,
        store: PassageStore,
        chat_model: ChatModel,
        *,
        policy: LanguagePolicy | None = None,
        attempts: int = 2,
        budget: Budget | None = None,
        answer_tokens: int = 1024,
        templates: Path | None = None,
        translator: QuoteTranslator | None = None,
        seconds: float | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            store: closed with this object.
            policy: which language to answer in; by default the question's.
            attempts: how often an answer may be asked for until it is in the right language.
            budget: the language model's context; None where it is not known.
            answer_tokens: longest answer in tokens.
            templates: folder of the user's own texts.
            translator: of an answer's quotes; None leaves them as they are.
            seconds: after which no language model is waited for any more, however often it was asked.
        """
        self._retriever = retriever
        self._store = store
        self._chat_model = chat_model
        self._policy = policy or LanguagePolicy()
        self._attempts = attempts
        self._budget = budget  # replaced, never changed, so that threads may read it without a lock
        self._answer_tokens = answer_tokens
        self._templates = templates
        self._translator = translator
        self._seconds = seconds

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
        # Words are weighed by the passages that were searched: a tenant's are all of one.
        tenant_key = self._store.info().tenant_key
        named = {tenant_key: passages[0].chunk.metadata[tenant_key]} if tenant_key and passages else {}
        where = Where(metadata=named)
        # A passage shares words with the wording that found it.
        wordings = {passage.wording or question for passage in passages} | {question}
        terms = {wording: self._retriever.matched_terms(wording, embeddings, where) for wording in wordings}
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
        conversation: str | None = None,
    ) -> Answer:
        """The answer, whole; see `stream`."""
        for event in self.stream(
            question,
            language=language,
            k=k,
            where=where,
            history=history,
            mode=mode,
            stop=stop,
            conversation=conversation,
        ):
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
        conversation: str | None = None,
    ) -> Iterator[TextDelta | Restarted | Answer]:
        """The answer's text as it comes, then the `Answer`, whose text is what was streamed after the last `Restarted`.

        Args:
            language: BCP-47 tag to answer in; by default as the policy says.
            k: passages the answer may draw on.
            history: earlier turns, oldest first.
            mode: which scores rank the passages; by default the settings' choice.
            stop: when set, the answer ends at the next event and is incomplete.
            conversation: BCP-47 tag of the conversation's language, for questions that do not tell their own; by
                default that of the last answer in `history`.

        Raises:
            InputError: the question is empty or longer than the model's window or the language model's context, or a
                tag is not one.
            UnavailableError: the store or the language model does not answer.
        """
        conversation = conversation or _conversation_language(history)
        target = partial(self._policy.decide, question, requested=language, conversation=conversation)
        answering = Answering(question, target(), stop or threading.Event(), self._templates, self._seconds)
        found = self._searched(answering, target, k, where, mode)
        with answering.timed("answer"):
            if not found.passages:
                yield from answering.refuse()
            else:
                yield from self._answered(answering, question, found.passages, history)
        yield answering.answer(self._translator)

    def request(
        self,
        question: str,
        *,
        language: str | None = None,
        k: int = 8,
        where: Where = ANYWHERE,
        history: Sequence[Message] = (),
        mode: Mode | None = None,
    ) -> ChatRequest | None:
        """What the language model would be sent first; None where no passage is found. Arguments as for `stream`."""
        target = partial(
            self._policy.decide, question, requested=language, conversation=_conversation_language(history)
        )
        answering = Answering(question, target(), threading.Event(), self._templates)
        found = self._searched(answering, target, k, where, mode)
        if not found.passages:
            return None
        return self._built(answering.target, question, found.passages, history, self._budget)

    def _searched(
        self, answering: Answering, target: Callable[..., Target], k: int, where: Where, mode: Mode | None
    ) -> Retrieved:
        """The passages; what they are mostly written in may be the second language of a bilingual answer."""
        with answering.timed("retrieve"):
            found = self._retriever.search(answering.question, k=k, where=where, mode=mode)
            answering.note(found)
        counts = Counter(primary(passage.chunk.language) for passage in found.passages)
        if counts:
            answering.target = target(documents_language=max(counts, key=lambda tag: (counts[tag], tag)))
        return found

    def _answered(
        self, answering: Answering, question: str, passages: Sequence[Passage], history: Sequence[Message]
    ) -> Iterator[TextDelta | Restarted]:
        """As many attempts as it takes until one is in the right language."""
        budget = self._budget
        for left in reversed(range(self._attempts)):
            insist = answering.wrong_language
            build = partial(self._built, answering.target, question, passages, history, insist=insist)
            try:
                budget = yield from self._attempt(answering, build, budget, last=not left)
            except (EndpointError, InputError) as error:
                if not insist:
                    raise
                yield from answering.give_back(error)
            if answering.stopped or not answering.wrong_language:
                break

    def _attempt(
        self, answering: Answering, build: Callable[[Budget | None], ChatRequest], budget: Budget | None, *, last: bool
    ) -> Generator[TextDelta | Restarted, None, Budget | None]:
        """Asks once, and once more where that was too long for the model; the budget that was not."""
        request = build(budget)
        try:
            yield from answering.attempt(self._chat_model, request, last=last)
        except ContextLengthError as too_long:
            budget = (budget or Budget.exceeded_by(request.messages, self._answer_tokens)).halved()
            try:
                request = build(budget)
            except InputError:
                raise too_long from None  # nothing can be left out
            yield from answering.attempt(self._chat_model, request, last=last)
        self._learn(request, answering.last_usage)
        return budget

    def _built(
        self,
        target: Target,
        question: str,
        passages: Sequence[Passage],
        history: Sequence[Message],
        budget: Budget | None,
        *,
        insist: bool = False,
    ) -> ChatRequest:
        return prompt.build(
            question,
            passages,
            target.language,
            second_language=target.second_language,
            history=history,
            insist=insist,
            budget=budget,
            templates=self._templates,
        )

    def _learn(self, request: ChatRequest, usage: Usage) -> None:
        """Corrects the estimates by what the endpoint counted."""
        budget = self._budget
        if budget is not None and usage.prompt_tokens and usage.requests == 1:
            self._budget = budget.corrected(budget.size(request.messages), usage.prompt_tokens)

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


def _conversation_language(history: Sequence[Message]) -> str | None:
    """The language of the last answer that tells its own."""
    said = (asked_in(message.content) for message in reversed(history) if message.role == "assistant")
    return next(filter(None, said), None)
