"""One answer while it is being made: what the model says, through the filters, to what may be shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType

from rag import answer_language, locales, refusals
from rag.answer_gate import AnswerGate
from rag.citations import Checked, check
from rag.language_policy import Target
from rag.markers import CitationFilter, Offered
from rag.ports import ChatModel
from rag.quote_translation import QuoteTranslator
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
)
from rag.untrusted import OutputFilter, gives_orders

_NOTHING_CHECKED = Checked((), None, ())


class Answering:
    """What is known of one answer.

    Attributes:
        question: as it was asked.
        target: the languages that it is to be in.
        wrong_language: whether the last attempt was ended for its language.
        attempts: how often the model was asked.
        last_usage: of the last attempt.
    """

    def __init__(self, question: str, target: Target, stop: threading.Event, templates: Path | None) -> None:
        self.target = target
        self.wrong_language = False
        self.attempts = 0
        self.last_usage = Usage()
        self.question = question
        self._stop = stop
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
        """The passages do not hold the answer: says so in the asker's language."""
        self._refused = self._complete = True
        self._text = locales.load(self.target.language, self._templates).no_answer
        yield TextDelta(self._text)

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
        markers, outlet = CitationFilter(request.passages), OutputFilter()
        gate = AnswerGate(self.target.language, second_language=self.target.second_language, deliver=last)
        opening = ""
        with closing(chat_model.stream(request, self._stop)) as events:
            for event in events:
                if isinstance(event, Finished):
                    self._complete = event.reason == "stop"
                    self.last_usage = event.usage
                    break
                if self.stopped:
                    break
                shown = outlet.feed(markers.feed(event.text))
                opening += shown if len(opening) < refusals.OPENING else ""
                if refusals.begins(opening):
                    self._refused = True  # whatever it says after that, and in what language
                    break
                yield from self._released(gate.feed(shown))
                if self._refused or (gate.wrong and not last):
                    break
        self._usage = self._usage.plus(self.last_usage)
        if not self._refused and not (gate.wrong and not last):
            rest = outlet.feed(markers.finish()) + outlet.finish()
            yield from self._released(gate.feed(rest) + gate.finish())
        self._offered, self._language_ok = markers.offered, gate.language_ok
        self.wrong_language = gate.wrong and not last and not self._refused and not self.stopped
        if self.wrong_language and self._text:
            self._text = ""
            yield Restarted(self.target.language)
        elif self._refused and not self._text:
            yield from self.refuse()

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
        answered_in, of_all = answer_language.judge(self._text, self.target.language)
        self._timings["total"] = time.perf_counter() - self._started
        return Answer(
            question=self.question,
            text=self._text,
            asked_in=self.target.asked_in.code,
            language=self.target.language,
            answered_in=answered_in,
            language_ok=of_all if self._refused else self._language_ok,
            complete=complete,
            refused=self._refused,
            citations=citations,
            passages=tuple(self._passages),
            usage=self._usage,
            timings=self._timings,
            remarks=tuple(self._remarks),
            attempts=max(1, self.attempts),
            support=checked.support,
            unsupported=checked.unsupported,
            flagged=tuple(
                number for number, passage in enumerate(self._passages, start=1) if gives_orders(passage.chunk.text)
            ),
            second_language=self.target.second_language,
        )

    def _translated(self, citations: Sequence[Citation], translator: QuoteTranslator) -> tuple[Citation, ...]:
        translated = translator.translate(citations, self.target.language, self._stop)
        self._usage = self._usage.plus(translated.usage)
        self._remarks += translated.remarks
        return translated.citations

    def _released(self, text: str) -> Iterator[TextDelta]:
        """Shows `text`, unless the model says with it that there is no answer."""
        if not text:
            return
        if not self._text.strip() and refusals.is_alone(text):
            self._refused = True
            return
        if refusals.ends(text):
            self._refused = True
            text = refusals.without(text)
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timings[self._stage] = time.perf_counter() - self._begin
