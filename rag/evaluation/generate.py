"""Questions in any language from the documents of an index, made by a language model, kept if the search finds them.

A question that the search does not find may be a bad one, or a good one that the search fails on: both are dropped. So
figures that are measured with those that were kept are too good, and most so for the model and ranking that did the
looking. The rank of each question, and all that were rejected, are kept to tell by how much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from rag.errors import EndpointError
from rag.evaluation.generate_files import Question, QuestionFiles, question_id
from rag.evaluation.generate_question import Reason, fault, parse, request
from rag.ports import ChatModel
from rag.retrieval import Retriever
from rag.types import ANYWHERE, ChatRequest, Chunk, Finished, FinishReason, TextDelta, Usage, Voided, Where

PASSAGES_A_QUESTION: Final = 2
"""Passages that may be asked about for each question that is wanted, so that rejected ones can be made up for."""

_FAILURES_IN_A_ROW: Final = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which questions are to be made.

    Attributes:
        languages: BCP-47 tags.
        questions: to be kept in each language.
        passages: to be asked about, in this order; the same in every language, so that languages can be compared.
    """

    languages: tuple[str, ...]
    questions: int
    passages: Sequence[Chunk]

    @property
    def total(self) -> int:
        """Questions in all languages."""
        return self.questions * len(self.languages)

    def kept(self, files: QuestionFiles) -> int:
        """How many of them there are."""
        return sum(files.kept(language) for language in self.languages)

    def outstanding(self, files: QuestionFiles) -> Mapping[str, tuple[int, Sequence[Chunk]]]:
        """Language → questions still wanted, and the passages that were not asked about yet."""
        return {
            language: (
                max(0, self.questions - files.kept(language)),
                [chunk for chunk in self.passages if not files.tried(question_id(chunk, language))],
            )
            for language in self.languages
        }


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """How a question is looked for.

    Attributes:
        k: passages among which one of its document must be.
        where: what is searched.
    """

    retriever: Retriever
    k: int
    where: Where = ANYWHERE

    def rank(self, question: str, uri: str) -> int | None:
        """Place of the best passage of the document at `uri`; None where none is among the first `k`."""
        found = self.retriever.retrieve(question, k=self.k, where=self.where)
        return next((passage.rank for passage in found if passage.chunk.uri == uri), None)


@dataclass(slots=True)
class Spent:
    """What a run has cost so far.

    Attributes:
        failed: requests that were not answered; their passages are asked about again when the run goes on.
        usage: as the endpoint counts it.
        seconds: wall time.
    """

    failed: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0


def generate(
    wanted: Wanted,
    files: QuestionFiles,
    *,
    chat_model: ChatModel,
    model: str,
    round_trip: RoundTrip,
    spent: Spent,
    on_progress: Callable[[], None] = lambda: None,
) -> None:
    """Asks for questions until there are enough in each language, or no passage is left.

    Every question is in `files` before the next one is asked for.

    Args:
        model: name of the language model, to be noted with each question.
        spent: counted up, so that it also tells what a run that is cut short has cost.
        on_progress: called after each request.

    Raises:
        EndpointError: the language model failed three times in a row.
        UnavailableError: the store does not answer.
    """
    begun = time.perf_counter()
    failures = 0
    round_trip.retriever.warm_up()  # what is wrong with the model is to be said before anything is paid for
    files.begin()
    try:
        for chunk in wanted.passages:
            for language in wanted.languages:
                question = question_id(chunk, language)
                if files.kept(language) >= wanted.questions or files.tried(question):
                    continue
                try:
                    reply, reason = _reply(chat_model, request(chunk, language), spent)
                except EndpointError as error:
                    failures += 1
                    spent.failed += 1
                    if failures == _FAILURES_IN_A_ROW:
                        raise EndpointError(f"{error} ({failures} failures in a row)") from error
                    continue
                failures = 0
                text, rejected, rank = _checked(reply, reason, chunk, language, files, round_trip)
                created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                files.add(_question(question, language, text, chunk, rank, model, created), rejected)
                on_progress()
    finally:
        spent.seconds = time.perf_counter() - begun


def _reply(chat_model: ChatModel, asked: ChatRequest, spent: Spent) -> tuple[str, FinishReason]:
    text = ""
    with closing(chat_model.stream(asked)) as events:
        for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Voided):
                text = ""
            elif isinstance(event, Finished):
                spent.usage = spent.usage.plus(event.usage)
                if event.reason != "disconnected":
                    return text, event.reason
    raise EndpointError("the language model's endpoint broke off in the middle of a question")


def _checked(
    reply: str, ended: FinishReason, chunk: Chunk, language: str, files: QuestionFiles, round_trip: RoundTrip
) -> tuple[str, Reason | None, int | None]:
    """The question, why it is not kept, and its rank; the search, which costs most, comes last."""
    text, reason = parse(reply)
    if ended == "content_filter":
        reason = "no fact"
    reason = reason or fault(text, language, chunk) or ("duplicate" if files.asked(text) else None)
    if reason:
        return text, reason, None
    rank = round_trip.rank(text, chunk.uri)
    return text, None if rank else "not found", rank


def _question(
    question: str, language: str, text: str, chunk: Chunk, rank: int | None, model: str, created: str
) -> Question:
    return Question(
        id=question,
        lang=language,
        text=text,
        gold=(chunk.uri,),
        source=chunk.source.encode(errors="replace").decode(),
        passage_ordinal=chunk.ordinal,
        document_language=chunk.document_language,
        rank=rank,
        model=model,
        created=created,
    )
