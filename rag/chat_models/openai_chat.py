"""Any OpenAI-compatible endpoint as a chat model: one streamed completion for each request."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Generator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from rag.chat_models.connection import Exchange, connect, endpoint, limits
from rag.chat_models.endpoint_errors import (
    cause,
    endpoint_error,
    exceeds_context,
    out_of_time,
    pause_before_retry,
    server_words,
)
from rag.chat_models.streamed import BrokenOffError, read
from rag.chat_models.structured_output import RESPONSE_FORMAT
from rag.types import ChatEvent, ChatRequest, Finished, Usage

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk

_LOG = logging.getLogger(__name__)

_PRICED_TOKENS: Final = 1_000_000

# Options that an answer can do without, and the words by which endpoints refuse them.
_DISPENSABLE: Final[Mapping[str, tuple[str, ...]]] = {
    "response_format": ("response_format", "json_schema", "structured output", "grammar"),
    "stream_options": ("stream_options",),
    "max_tokens": ("max_tokens",),
    "temperature": ("temperature",),
}


class OpenAIChatModel:
    """A `rag.ports.ChatModel` at an OpenAI-compatible endpoint. Safe to use from several threads."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        temperature: float = 0.1,
        max_tokens: int = 1024,
        timeout: float = 60.0,
        deadline: float = 300.0,
        retries: int = 2,
        prompt_price: float | None = None,
        completion_price: float | None = None,
        structured: bool = False,
    ) -> None:
        """Keeps the settings; nothing is imported or connected before the first request.

        Args:
            model: name of the model at the endpoint.
            base_url: where the API begins, such as http://localhost:11434/v1; None for OpenAI itself. On a given
                endpoint the openai client's environment variables (OPENAI_API_KEY, OPENAI_ORG_ID…) have no effect.
            api_key: key of the endpoint; servers on one's own machine need none.
            temperature: sampling temperature, 0 to 2.
            max_tokens: longest answer in tokens.
            timeout: seconds without a sign of life after which a request is given up; also the longest wait that a
                server may ask for before a retry.
            deadline: seconds for an answer as a whole, over all attempts and the waits between them.
            retries: further attempts after a refusal for load (429), a server error, a failed connection, or a stream
                that breaks off before its first text.
            prompt_price: of a million tokens of a request, in any currency; None for one that is not known.
            completion_price: of a million tokens of an answer, in the same; the cost is told where both are known.
            structured: whether to ask for answers as JSON of `structured_output.RESPONSE_FORMAT`, where the endpoint
                can do that; what is streamed is text all the same. For answers to questions alone.

        Raises:
            InputError: the URL or the key cannot be used.
            NotConfiguredError: OpenAI itself, without a key.
        """
        self._model = model
        self._endpoint = endpoint(base_url, api_key)
        self._timeout = timeout
        self._deadline = deadline
        self._retries = retries
        # With one of them alone a cost would be told that is none.
        self._prices = (0.0, 0.0)
        if prompt_price is not None and completion_price is not None:
            self._prices = (prompt_price, completion_price)
        self._structured = structured
        # Replaced, never changed, so that threads may read it without a lock.
        self._options: Mapping[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "stream_options": {"include_usage": True},
            **({"response_format": RESPONSE_FORMAT} if structured else {}),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._model!r}, base_url={self._endpoint.url!r})"

    def stream(
        self, request: ChatRequest, stop: threading.Event | None = None, until: float | None = None
    ) -> Generator[ChatEvent, None, None]:
        """The answer's text as it comes, without what a model thinks before it, then one `Finished`.

        Where only their end tells that thoughts were thoughts, they have come as text, and `Voided` takes them back.

        Closing the generator closes the connection. A stream that ends without a finish reason after its first text, or
        is not over at the deadline, is `disconnected`, and so is one that ends within a thought; where there was no
        text yet the request is made again. `Finished.usage.requests` counts all attempts.

        Args:
            request: what is asked.
            stop: when set, the connection is closed at once and the answer is `disconnected`; a connection that is just
                being made is given up as soon as it stands, before anything is sent on it.
            until: the latest end, in seconds of `time.monotonic`; None for the deadline of the settings from now on.

        Raises:
            ContextLengthError: the request is longer than the model can read.
            EndpointError: no answer could be begun.
        """
        import openai

        stopped = stop or threading.Event()
        until = time.monotonic() + self._deadline if until is None else until
        options = self._options
        requests = retries = 0
        end = Finished("disconnected")
        while not stopped.is_set():
            if time.monotonic() >= until:
                raise out_of_time(self._endpoint, self._deadline, requests)
            requests += 1
            try:
                with Exchange(stop, until) as exchange:
                    reply = self._send(request, options, exchange, until)
                    self._options = options
                    end = yield from read(reply, self._endpoint, exchange, structured=self._structured)
                break
            except (openai.APIError, BrokenOffError) as error:
                if stopped.is_set():
                    break
                if time.monotonic() >= until:
                    raise out_of_time(self._endpoint, self._deadline, requests) from cause(error, self._endpoint)
                if accepted := _without_refused(options, error):
                    _LOG.info("%s: asking again with the options %s", self._model, ", ".join(accepted))
                    options = accepted
                    continue
                pause = pause_before_retry(error, self._timeout, retries)
                if pause is None or retries >= self._retries or time.monotonic() + pause >= until:
                    if isinstance(error, BrokenOffError):
                        raise
                    failure = endpoint_error(error, self._endpoint, self._model, self._timeout, requests)
                    raise failure from cause(error, self._endpoint)
                name = type(error.__cause__ or error).__name__
                _LOG.info("%s: no answer (%s), asking again in %.1f s", self._model, name, pause)
            retries += 1
            stopped.wait(pause)
        usage = self._priced(end.usage, requests)
        _LOG.info(
            "%s: %s, requests: %d, tokens: %d + %d",
            self._model,
            end.reason,
            requests,
            usage.prompt_tokens,
            usage.completion_tokens,
        )
        yield Finished(end.reason, usage)

    def _send(
        self, request: ChatRequest, options: Mapping[str, Any], exchange: Exchange, until: float
    ) -> openai.Stream[ChatCompletionChunk]:
        """Sends the request once; returns when the reply has begun.

        Raises:
            openai.APIError: the endpoint refuses, fails, or cannot be reached.
        """
        import httpx2
        import openai

        timeout = min(self._timeout, max(until - time.monotonic(), 0.001))
        messages: list[Any] = [{"role": message.role, "content": message.content} for message in request.messages]
        try:
            with exchange.sending():
                stream: openai.Stream[ChatCompletionChunk] = self._client.chat.completions.create(
                    model=self._model, messages=messages, stream=True, timeout=limits(timeout), **options
                )
        except httpx2.RequestError as error:
            # The client does not translate what happens while it reads the words of a refusal.
            raise openai.APIConnectionError(request=error.request) from error
        return stream

    def _priced(self, usage: Usage, requests: int) -> Usage:
        tokens = (usage.prompt_tokens, usage.completion_tokens)
        cost = sum(count * price for count, price in zip(tokens, self._prices, strict=True)) / _PRICED_TOKENS
        return Usage(*tokens, requests, cost)

    @cached_property
    def _client(self) -> openai.OpenAI:
        client = connect(self._endpoint)
        # The port knows no close(): connections end with the model.
        weakref.finalize(self, client.close)
        return client


def _without_refused(options: Mapping[str, Any], error: Exception) -> Mapping[str, Any] | None:
    """`options` without the first one that `error` refuses by name; None where it names none that can be left out."""
    import openai

    if not isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)):
        return None
    if exceeds_context(error):  # which may name `max_tokens`, and is about the sum
        return None
    complaint = f"{error.param or ''} {server_words(error)}"
    for name, words in _DISPENSABLE.items():
        if name in options and any(word in complaint for word in words):
            rest = {key: value for key, value in options.items() if key != name}
            # OpenAI's reasoning models take the longest answer under its newer name only.
            return {**rest, "max_completion_tokens": options[name]} if name == "max_tokens" else rest
    return None
