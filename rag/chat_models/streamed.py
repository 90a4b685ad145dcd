"""A streamed completion, as endpoints send it, to the answer's text and the reason of its end."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from json import JSONDecodeError
from typing import TYPE_CHECKING

from rag.chat_models.connection import Endpoint, Exchange
from rag.chat_models.end_tokens import EndTokenFilter
from rag.chat_models.endpoint_errors import broken_off, cause, context_error, exceeds_context, server_words
from rag.chat_models.reasoning import ReasoningFilter
from rag.chat_models.structured_output import StructuredOutputFilter
from rag.errors import EndpointError
from rag.types import Finished, FinishReason, TextDelta, Usage, Voided

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk

# What endpoints call the end of an answer, where it is not plain "stop". "error" is no end: the stream broke.
_REASONS: Mapping[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "error": "disconnected",
    "abort": "disconnected",
}


class BrokenOffError(EndpointError):
    """The stream ended before its first text: nothing has been shown yet, so asking again is safe."""


def read(
    stream: openai.Stream[ChatCompletionChunk], place: Endpoint, exchange: Exchange, *, structured: bool
) -> Generator[TextDelta | Voided, None, Finished]:
    """Yields the text of `stream` until its end; returns why it ended, and the tokens it cost.

    Args:
        stream: closed when the generator ends or is closed.
        place: where it comes from.
        exchange: what it belongs to; nothing more is read when that must end.
        structured: whether JSON was asked for.

    Raises:
        BrokenOffError: it broke off before its first text.
        ContextLengthError: the endpoint says so in the stream.
        EndpointError: what came is no stream.
    """
    import openai

    text = _AnswerText(structured)
    reason: FinishReason | None = None
    usage = Usage()
    failure: Exception | None = None
    # Leaving the block closes the connection, also when the caller closes the generator.
    with stream:
        media = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media == "text/html":
            raise EndpointError(
                f"{place.url} answers with a web page: RAG_LLM__BASE_URL must be where the API begins, "
                "which often ends in /v1"
            )
        try:
            for chunk in [_whole(stream)] if media == "application/json" else stream:
                # What came in the same packet as the last text is here without waiting for the connection.
                if exchange.must_end:
                    break
                # Chunks are built without validation: whatever a server leaves out is missing here.
                if counted := getattr(chunk, "usage", None):
                    usage = _usage(counted)
                if getattr(chunk, "object", None) == "error":
                    raise ValueError(str(getattr(chunk, "message", None) or "an error in the stream"))
                for choice in (getattr(chunk, "choices", None) or ())[:1]:
                    yield from text.feed(_content(choice))
                    if ended := getattr(choice, "finish_reason", None):
                        reason = _REASONS.get(ended, "stop")
        except (openai.APIError, ValueError) as error:
            # ValueError: JSON or UTF-8 that cannot be read.
            failure = error
    if exchange.stopped and reason is None:
        return Finished("disconnected", usage)
    yield from text.finish()
    if reason is not None and not (reason == "disconnected" and not text.shown):
        # An answer that is half a thought or half a JSON did not end, whatever the server calls it.
        return Finished("disconnected" if reason == "stop" and not text.whole else reason, usage)
    if text.shown:
        return Finished("disconnected", usage)
    if failure is not None and exceeds_context(failure):
        raise context_error(failure, place) from cause(failure, place)
    why = "it ended without a word" if failure is None else _why(failure)
    raise BrokenOffError(broken_off(place, why)) from (failure and cause(failure, place))


class _AnswerText:
    """What of the model's words is the answer's text: no thoughts, no tokens of its end, no JSON.

    Attributes:
        shown: whether there is any that is not void.
    """

    def __init__(self, structured: bool) -> None:
        self.shown = False
        self._structured = structured
        self._reasoning = ReasoningFilter()
        self._begin()

    def _begin(self) -> None:
        self._end = EndTokenFilter()
        self._structure = StructuredOutputFilter() if self._structured else None

    @property
    def whole(self) -> bool:
        """Whether the text has ended where an answer ends; known after `finish`."""
        return not self._reasoning.unclosed and (self._structure is None or self._structure.whole)

    def feed(self, delta: str) -> Iterator[TextDelta | Voided]:
        said = self._reasoning.feed(delta)
        yield from self._voided()
        yield from self._deltas(self._unpacked(self._end.feed(said)))

    def finish(self) -> Iterator[TextDelta | Voided]:
        said = self._reasoning.finish()
        yield from self._voided()
        rest = self._unpacked(self._end.feed(said) + self._end.finish())
        yield from self._deltas(rest + (self._structure.finish() if self._structure else ""))

    def _voided(self) -> Iterator[Voided]:
        if self._reasoning.voided:
            self._begin()
            if self.shown:
                self.shown = False
                yield Voided()

    def _unpacked(self, text: str) -> str:
        return self._structure.feed(text) if self._structure else text

    def _deltas(self, text: str) -> Iterator[TextDelta]:
        if text:
            self.shown = True
            yield TextDelta(text)


def _whole(stream: openai.Stream[ChatCompletionChunk]) -> ChatCompletionChunk:
    """The answer of an endpoint that ignores `stream`, in the shape of a single chunk."""
    import httpx2
    import openai
    from openai.types.chat import ChatCompletionChunk

    try:
        stream.response.read()
    except httpx2.RequestError as broken:
        # As the client says it of a stream.
        raise openai.APIConnectionError(request=broken.request) from broken
    body = stream.response.json()
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices:
        error = body.get("error") if isinstance(body, dict) else None
        raise ValueError(f"its JSON holds no answer: {error}" if error else "its JSON holds no answer")
    deltas = [{**choice, "delta": choice.get("message")} for choice in choices if isinstance(choice, dict)]
    return ChatCompletionChunk.construct(None, **{**body, "choices": deltas})


def _usage(counted: object) -> Usage:
    """The tokens of a chunk's usage, 0 where the endpoint does not tell."""
    numbers = (getattr(counted, name, None) for name in ("prompt_tokens", "completion_tokens"))
    return Usage(*(number if isinstance(number, int) else 0 for number in numbers))


def _content(choice: object) -> str:
    """The text of a chunk's choice; some endpoints send a list of parts, of which thoughts are left out."""
    content = getattr(getattr(choice, "delta", None), "content", None)
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(str(part.get("text") or "") for part in parts)
    return content if isinstance(content, str) else ""


def _why(failure: Exception) -> str:
    import openai

    if isinstance(failure, openai.APIError):
        return server_words(failure) or str(failure.__cause__ or failure)
    return f"unreadable: {failure}" if isinstance(failure, (JSONDecodeError, UnicodeDecodeError)) else str(failure)
