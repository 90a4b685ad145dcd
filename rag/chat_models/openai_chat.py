"""Any OpenAI-compatible endpoint as a chat model: one streamed completion for each request."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Generator, Mapping
from functools import cached_property
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from rag.chat_models.connection import Exchange, connect, endpoint
from rag.chat_models.endpoint_errors import broken_off, cause, endpoint_error, pause_before_retry, server_words
from rag.errors import EndpointError
from rag.types import ChatEvent, ChatRequest, Finished, FinishReason, TextDelta, Usage

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk

_LOG = logging.getLogger(__name__)

# What endpoints call the end of an answer, where it is not plain "stop". "error" is no end: the stream broke.
_REASONS: Mapping[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "error": "disconnected",
}


class _BrokenOffError(EndpointError):
    """The stream ended before its first text: nothing has been shown yet, so asking again is safe."""


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
        retries: int = 2,
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
            retries: further attempts after a refusal for load (429), a server error, a failed connection, or a stream
                that breaks off before its first text.

        Raises:
            InputError: the URL or the key cannot be used.
            NotConfiguredError: OpenAI itself, without a key.
        """
        self._model = model
        self._endpoint = endpoint(base_url, api_key)
        self._timeout = timeout
        self._retries = retries
        # Replaced, never changed, so that threads may read it without a lock.
        self._options: Mapping[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "stream_options": {"include_usage": True},
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._model!r}, base_url={self._endpoint.url!r})"

    def stream(self, request: ChatRequest, stop: threading.Event | None = None) -> Generator[ChatEvent, None, None]:
        """The answer's text as it comes, without what a model thinks before it, then one `Finished`.

        Closing the generator closes the connection. A stream that ends without a finish reason after its first text is
        `disconnected`; before that the request is made again. `Finished.usage.requests` counts all attempts.

        Args:
            request: what is asked.
            stop: when set, the connection is closed at once and the answer is `disconnected`; a connection that is just
                being made is given up as soon as it stands, before anything is sent on it.

        Raises:
            EndpointError: no answer could be begun.
        """
        import openai

        stopped = stop or threading.Event()
        options = self._options
        requests = retries = 0
        reason: FinishReason = "disconnected"
        usage = Usage()
        while not stopped.is_set():
            requests += 1
            try:
                with Exchange(stop) as exchange:
                    reply = self._send(request, options, exchange)
                    self._options = options
                    reason, usage = yield from self._events(reply, stopped)
                break
            except (openai.APIError, _BrokenOffError) as error:
                if stopped.is_set():
                    break
                if accepted := _without_refused(options, error):
                    _LOG.info("%s: asking again with the options %s", self._model, ", ".join(accepted))
                    options = accepted
                    continue
                pause = pause_before_retry(error, self._timeout, retries)
                if pause is None or retries >= self._retries:
                    if isinstance(error, _BrokenOffError):
                        raise
                    failure = endpoint_error(error, self._endpoint, self._model, self._timeout, requests)
                    raise failure from cause(error, self._endpoint)
                name = type(error.__cause__ or error).__name__
                _LOG.info("%s: no answer (%s), asking again in %.1f s", self._model, name, pause)
            retries += 1
            stopped.wait(pause)
        _LOG.info(
            "%s: %s, requests: %d, tokens: %d + %d",
            self._model,
            reason,
            requests,
            usage.prompt_tokens,
            usage.completion_tokens,
        )
        yield Finished(reason, Usage(usage.prompt_tokens, usage.completion_tokens, requests))

    def _send(
        self, request: ChatRequest, options: Mapping[str, Any], exchange: Exchange
    ) -> openai.Stream[ChatCompletionChunk]:
        """Sends the request once; returns when the reply has begun.

        Raises:
            openai.APIError: the endpoint refuses, fails, or cannot be reached.
        """
        import httpx2
        import openai

        messages: list[Any] = [{"role": message.role, "content": message.content} for message in request.messages]
        try:
            with exchange.sending():
                stream: openai.Stream[ChatCompletionChunk] = self._client.chat.completions.create(
                    model=self._model, messages=messages, stream=True, **options
                )
        except httpx2.RequestError as error:
            # The client does not translate what happens while it reads the words of a refusal.
            raise openai.APIConnectionError(request=error.request) from error
        return stream

    def _events(
        self, stream: openai.Stream[ChatCompletionChunk], stopped: threading.Event
    ) -> Generator[ChatEvent, None, tuple[FinishReason, Usage]]:
        """Yields the text of `stream` until its end or `stopped`; returns why it ended and what it cost.

        Raises:
            EndpointError: what came is no stream, or it broke off before its first text.
        """
        import openai

        spoke = False
        reason: FinishReason | None = None
        usage = Usage()
        failure: Exception | None = None
        # Leaving the block closes the connection, also when the caller closes the generator.
        with stream:
            media = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media == "text/html":
                raise EndpointError(
                    f"{self._endpoint.url} answers with a web page: RAG_LLM__BASE_URL must be where the API begins, "
                    "which often ends in /v1"
                )
            try:
                for chunk in [_whole(stream)] if media == "application/json" else stream:
                    # What came in the same packet as the last text is here without waiting for the connection.
                    if stopped.is_set():
                        break
                    # Chunks are built without validation: whatever a server leaves out is missing here.
                    if counted := getattr(chunk, "usage", None):
                        usage = _usage(counted)
                    for choice in (getattr(chunk, "choices", None) or ())[:1]:
                        if text := _text(choice):
                            spoke = True
                            yield TextDelta(text)
                        if ended := getattr(choice, "finish_reason", None):
                            reason = _REASONS.get(ended, "stop")
            except (openai.APIError, ValueError) as error:
                # ValueError: JSON or UTF-8 that cannot be read.
                failure = error
        if stopped.is_set():
            return "disconnected", usage
        if reason is not None and not (reason == "disconnected" and not spoke):
            return reason, usage
        if spoke:
            return "disconnected", usage
        why = "it ended without a word" if failure is None else _why(failure)
        raise _BrokenOffError(broken_off(self._endpoint, why)) from (failure and cause(failure, self._endpoint))

    @cached_property
    def _client(self) -> openai.OpenAI:
        client = connect(self._endpoint, self._timeout)
        # The port knows no close(): connections end with the model.
        weakref.finalize(self, client.close)
        return client


def _without_refused(options: Mapping[str, Any], error: Exception) -> Mapping[str, Any] | None:
    """`options` without the first one that `error` refuses by name; None where it names none that can be left out."""
    import openai

    if not isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)):
        return None
    complaint = f"{error.param or ''} {server_words(error)}"
    for name in ("stream_options", "max_tokens", "temperature"):
        if name in options and name in complaint:
            rest = {key: value for key, value in options.items() if key != name}
            # OpenAI's reasoning models take the longest answer under its newer name only.
            return {**rest, "max_completion_tokens": options[name]} if name == "max_tokens" else rest
    return None


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


def _text(choice: object) -> str:
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
