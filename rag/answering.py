"""One answer while it is being made: what the model says, through the filters, to what may be shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rag import answer_language, locales
from rag.answer_gate import AnswerGate, halves
from rag.citations import Checked, check
from rag.errors import RagError
from rag.language_policy import Target
from rag.markers import CitationFilter, Offered
from rag.ports import ChatModel
from rag.quote_translation import QuoteTranslator
from rag.refusals import RefusalFilter
from rag.retrieval import Retrieved
from rag.types import (
    Answer,
    ChatRequest,
    Citation,
    Finished,
    Passage,
    Restarted,
    TextDelta,
    Usage,
    Voided,
)
from rag.untrusted import OutputFilter, gives_orders

_NOTHING_CHECKED = Checked((), None, (), 0)
_FEWEST_LETTERS = 20
"""Fewer before a refusal say nothing of why."""


class Answering:
    """What is known of one answer.

    Attributes:
        question: as it was asked.
        target: the languages that it is to be in.
        wrong_language: whether the last attempt was ended for its language.
        attempts: how often the model was asked.
        last_usage: of the last attempt.
    """

    def __init__(
        self, question: str, target: Target, stop: threading.Event, templates: Path | None, seconds: float | None = None
    ) -> None:
        """Begins.

        Args:
            seconds: after which no model is waited for any more, however often it was asked.
        """
        self.target = target
        self.wrong_language = False
        self.attempts = 0
        self.last_usage = Usage()
        self.question = question
        self._stop = stop
        self._until = None if seconds is None else time.monotonic() + seconds
        self._wrong = ""  # what an attempt said that was ended for its language
        self._templates = templates
        self._text = ""
        self._offered: tuple[Offered, ...] = ()
        self._language_ok: bool | None = None
        self._passages: Sequence[Passage] = ()
        self._complete = self._refused = False
        self._usage = Usage()
        self._remarks: list[str] = []
        self._timings: dict[str, float] = {}
        self._started = time.perf_counter()

    @property
    def stopped(self) -> bool:
        """Whether the asker has left."""
        return self._stop.is_set()

    def timed(self, stage: str) -> _Timer:
        """A `with` block whose seconds are told with the answer."""
        return _Timer(self._timings, stage)

    def note(self, found: Retrieved) -> None:
        """How the passages were found, for the answer to tell."""
        self._remarks += found.remarks
        self._usage = self._usage.plus(found.usage)
        self._passages = found.passages

    def refuse(self) -> Iterator[TextDelta]:
        """The passages do not hold the answer: says so in the asker's language, or in both."""
        self._refused = self._complete = True
        said = [locales.load(self.target.language, self._templates).no_answer]
        if self.target.second_language is not None:
            said += ["---", locales.load(self.target.second_language, self._templates).no_answer]
        yield from self._released(("\n\n" if self._text.strip() else "") + "\n\n".join(said))

    def attempt(self, chat_model: ChatModel, request: ChatRequest, *, last: bool) -> Iterator[TextDelta | Restarted]:
        """Asks once; text is released sentence by sentence, each once its language is known to be right.

        Leaves `wrong_language` set where the attempt was ended and is worth repeating; what had been shown of it is
        void then.

        Args:
            last: whether the text is delivered whatever its language.

        Raises:
            EndpointError: no answer could be begun.
        """
        self.attempts += 1
        self.wrong_language = self._complete = self._refused = False
        self._text, self._passages = "", request.passages
        self.last_usage = Usage(requests=1)  # of a request that is ended before it tells
        filters = self._filters(request, last)
        try:
            with closing(chat_model.stream(request, self._stop, self._until)) as events:
                for event in events:
                    if isinstance(event, Finished):
                        self._complete = event.reason == "stop"
                        self.last_usage = event.usage
                        break
                    if isinstance(event, Voided):
                        if self._text:
                            self._text = ""
                            yield Restarted(self.target.language)
                        filters = self._filters(request, last)
                        continue
                    if self.stopped:
                        break
                    # After a refusal, too, though nothing is shown any more: the endpoint may tell what it cost.
                    yield from self._released(filters.feed(event.text))
                    if filters.gate.wrong and not last:
                        break
        finally:
            self._usage = self._usage.plus(self.last_usage)
        self.wrong_language = filters.gate.wrong and not last
        if not self.wrong_language:
            yield from self._released(filters.finish(complete=self._complete and not self.stopped))
            self.wrong_language = filters.gate.wrong and not last and not filters.refusal.refused and not self.stopped
        self._refused = filters.refusal.refused and not self.wrong_language
        self._offered, self._language_ok = filters.markers.offered, filters.gate.language_ok
        if self.wrong_language:
            self._wrong = filters.said
            if self._text:
                self._text = ""
                yield Restarted(self.target.language)
        elif self._refused:
            self._complete = True
            if sum(map(str.isalpha, self._text)) < _FEWEST_LETTERS:
                yield from self.refuse()

    def give_back(self, error: RagError) -> Iterator[TextDelta]:
        """The attempt before, though in the wrong language: the next one failed with `error`."""
        self.wrong_language, self._complete, self._language_ok = False, False, False
        self._offered = ()
        self._remarks.append(f"a second attempt, for the language, failed: {error}")
        yield from self._released(self._wrong)

    def _filters(self, request: ChatRequest, last: bool) -> _Filters:
        return _Filters(
            CitationFilter(request.passages),
            OutputFilter(),
            RefusalFilter(),
            AnswerGate(self.target.language, second_language=self.target.second_language, deliver=last),
        )

    def answer(self, translator: QuoteTranslator | None) -> Answer:
        """The whole of it.

        Args:
            translator: of the quotes; None where they are not translated.
        """
        complete = self._complete and bool(self._text.strip())
        notice = locales.load(self.target.language, self._templates).no_language_model
        checked = (
            _NOTHING_CHECKED
            if self._refused
            else check(self._text, self._offered, self._passages, language=self.target.language, notice=notice)
        )
        citations = checked.citations
        if translator is not None and complete and not self._refused and not self.stopped:
            with self.timed("translate"):
                citations = self._translated(citations, translator)
        first = halves(self._text)[0] if self.target.second_language else self._text
        answered_in, of_all = answer_language.judge(first, self.target.language)
        self._timings["total"] = time.perf_counter() - self._started
        return Answer(
            question=self.question,
            text=self._text,
            asked_in=self.target.asked_in.code,
            language=self.target.language,
            answered_in=answered_in,
            language_ok=self._verdict(of_all),
            complete=complete,
            refused=self._refused,
            citations=citations,
            passages=tuple(self._passages),
            usage=self._usage,
            timings=self._timings,
            remarks=tuple(self._remarks),
            attempts=self.attempts,
            support=checked.support,
            unsupported=checked.unsupported,
            invented=checked.invented,
            flagged=tuple(
                number
                for number, passage in enumerate(self._passages, start=1)
                if gives_orders("\n".join((passage.chunk.title, *passage.chunk.headings, passage.chunk.text)))
            ),
            second_language=self.target.second_language,
        )

    def _verdict(self, of_all: bool | None) -> bool | None:
        """Whether the answer is in its language: of what was streamed the gate knows, of a refusal its whole text."""
        if not self._text.strip():
            return None
        return of_all if self._refused else self._language_ok

    def _translated(self, citations: Sequence[Citation], translator: QuoteTranslator) -> tuple[Citation, ...]:
        translated = translator.translate(citations, self.target.language, self._stop)
        self._usage = self._usage.plus(translated.usage)
        self._remarks += () if self.stopped else translated.remarks
        return translated.citations

    def _released(self, text: str) -> Iterator[TextDelta]:
        if text:
            self._timings.setdefault("first_text", time.perf_counter() - self._started)
            self._text += text
            yield TextDelta(text)


@dataclass(slots=True)
class _Filters:
    """What a model's words pass on their way to the asker, in this order.

    Attributes:
        said: all that has come to the gate.
    """

    markers: CitationFilter
    outlet: OutputFilter
    refusal: RefusalFilter
    gate: AnswerGate
    said: str = ""

    def feed(self, delta: str) -> str:
        """What can be shown now."""
        return self._gated(self.refusal.feed(self.outlet.feed(self.markers.feed(delta))))

    def finish(self, *, complete: bool) -> str:
        """What was still held back; the text has ended, or broken off."""
        rest = self.outlet.feed(self.markers.finish()) + self.outlet.finish()
        shown = self._gated(self.refusal.feed(rest) + self.refusal.finish())
        # Of a refusal from the beginning nothing has come this far.
        return shown + self.gate.finish(complete=complete and not self.refusal.refused)

    def _gated(self, text: str) -> str:
        self.said += text
        return self.gate.feed(text)


class _Timer:
    """Adds the wall seconds of a `with` block to a table."""

    def __init__(self, timings: dict[str, float], stage: str) -> None:
        self._timings = timings
        self._stage = stage

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timings[self._stage] = time.perf_counter() - self._begin
