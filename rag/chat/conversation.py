"""Questions that know the earlier turns. Nothing here reads a keyboard or writes to a screen."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag.chat.sessions import Session, Turn
from rag.errors import InputError
from rag.markers import CitationFilter
from rag.pipeline import CrossLingualRAG
from rag.retrieval import Retrieved
from rag.types import ANYWHERE, Answer, Message, Mode, Restarted, TextDelta, Where

_MOST_TURNS: Final = 8
_MOST_CHARACTERS: Final = 8000
"""Of earlier turns in a prompt: some 2,000 tokens of a European language, beside passages of about as many. Chosen, not
measured; a budget in tokens takes its place with the setting for the context's length."""


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for all questions until it is changed.

    Attributes:
        language: BCP-47 tag to answer in; None for the question's.
        mode: which scores rank; None for the settings' choice.
        k: passages an answer may draw on.
    """

    language: str | None = None
    where: Where = ANYWHERE
    mode: Mode | None = None
    k: int = 8


class Conversation:
    """A session over an open index.

    Attributes:
        rag: the index; whoever opened it closes it.
        session: where turns are kept.
        options: for the next question.
        collection: what is open; with the tenant that is asked for, it decides which turns a prompt may hold.
        last_question: also of a question that got no answer.
    """

    def __init__(self, rag: CrossLingualRAG, session: Session, options: Options, collection: str) -> None:
        self.rag = rag
        self.collection = collection
        self.session = session
        self.options = options
        self.last_question: str | None = session.turns[-1].answer.question if session.turns else None

    @property
    def scope(self) -> str:
        """The collection, and the tenant whose documents are searched where there are several."""
        key = self.rag.tenant_key
        return f"{self.collection} · {key}={self.options.where.metadata.get(key)}" if key else self.collection

    @property
    def last(self) -> Answer:
        """The last answer.

        Raises:
            InputError: there is none yet.
        """
        if not self.session.turns:
            raise InputError("there is no answer yet: ask something first")
        return self.session.turns[-1].answer

    def ask(
        self, question: str, stop: threading.Event, *, language: str | None = None, again: bool = False
    ) -> Iterator[TextDelta | Restarted | Answer]:
        """The answer's text as it comes, then the `Answer`, which has become a turn unless it is empty.

        Args:
            language: BCP-47 tag to answer in this once.
            again: whether the answer takes the place of the last turn, if that was to this question.

        Raises:
            RagError: as `CrossLingualRAG.stream`; or the turn cannot be written down.
        """
        turns = self.session.turns
        again = again and bool(turns) and turns[-1].answer.question == question
        scope = self.scope
        # What was answered from another collection, or for another tenant, is none of this one's business.
        earlier = [turn for turn in (turns[:-1] if again else turns) if turn.scope == scope]
        self.last_question = question
        for event in self.rag.stream(
            question,
            language=language or self.options.language,
            conversation=earlier[-1].answer.language if earlier else None,
            k=self.options.k,
            where=self.options.where,
            history=history(earlier),
            mode=self.options.mode,
            stop=stop,
        ):
            yield event  # first: what cannot be kept must be shown all the same
            if isinstance(event, Answer) and event.text.strip():
                self.session.add(event, scope=scope, replaces_last=again)

    def search(self, question: str, *, k: int = 10) -> Retrieved:
        """The passages that fit `question`, without an answer; leaves no turn."""
        return self.rag.search(question, k=k, where=self.options.where, mode=self.options.mode)

    def change(self, **options: object) -> None:
        """Sets options for the questions that follow."""
        self.options = replace(self.options, **options)  # type: ignore[arg-type]


def history(turns: Sequence[Turn]) -> list[Message]:
    """The latest turns as messages, oldest first; whole turns, as many as the budget holds, and the last in any case.

    Markers are taken out: their numbers are those of other passages.
    """
    messages: list[Message] = []
    left = _MOST_CHARACTERS
    for turn in reversed(turns[-_MOST_TURNS:]):
        markers = CitationFilter(())
        answered = markers.feed(turn.answer.text) + markers.finish()
        question = turn.answer.question
        if not messages:  # of the last turn, however long, something is better than nothing
            question, answered = question[: left // 2], answered[: left // 2]
        left -= len(question) + len(answered)
        if left < 0:
            break
        messages[:0] = [Message("user", question), Message("assistant", answered)]
    return messages
