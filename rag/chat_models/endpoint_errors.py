"""What an endpoint's failures mean: whether to ask again, and one line for the user on what happened and what to do."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from rag.chat_models.connection import Endpoint, asked_to_wait
from rag.errors import ContextLengthError, EndpointError

if TYPE_CHECKING:
    import openai

_LONGEST_WORDS = 200
"""Characters of a server's own message that are passed on."""

_LOOKED_AT = 2000
"""Characters of it in which a meaning is looked for."""

# The most seconds before the first further attempt, doubled each time up to the second; the openai client's own
# figures, as is the longest wait that a server may ask for.
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 8.0
_LONGEST_WAIT = 120.0
# Request timeout, conflict, too many requests; with all server errors what the openai client asks again after.
_PASSING = (408, 409, 429)

# What an endpoint calls a request that is longer than its model can read: OpenAI, Azure and Groq, llama.cpp.
_TOO_LONG_CODES = ("context_length_exceeded", "exceed_context_size_error")
# And how it says so: OpenAI, Azure and vLLM ("maximum context length is 4096 tokens"); vLLM's "longer than the maximum
# model length"; llama.cpp ("exceeds the available context size"); Ollama ("exceeds the context length"); LM Studio
# ("when context the overflows", "Context size has been exceeded", "greater than the context length"); SGLang ("longer
# than the model's context length"); LiteLLM (ContextWindowExceededError); Hugging Face's TGI ("`inputs` tokens +
# `max_new_tokens` must be <= 4096"); Anthropic ("prompt is too long: 200001 tokens"); Google ("input token count
# (1) exceeds the maximum number of tokens").
_TOO_LONG_WORDS = re.compile(
    r"maximum context length|maximum model length|maximum input length|exceed\w*[\w ]* context|"
    r"context[\w ]*(?:exceed|overflow)|(?:longer|greater) than [\w' ]*context|context ?window ?exceeded|"
    r"tokens \+ `max_new_tokens` must be|prompt is too long|token count[\w ()]* exceeds the maximum|"
    r"context the overflows",
    re.IGNORECASE,
)


def endpoint_error(error: openai.APIError, place: Endpoint, model: str, timeout: float, requests: int) -> EndpointError:
    """The error to show for a request that failed before an answer began.

    Args:
        error: as the client raised it.
        place: where the request went.
        model: name of the model asked for.
        timeout: seconds without a sign of life after which requests are given up.
        requests: how many were sent.
    """
    import openai

    if exceeds_context(error):
        return context_error(error, place)
    after = f"after {_count(requests)}"
    if isinstance(error, openai.APITimeoutError):
        text = (
            f"{place.url} gave no sign of life within {timeout:g} s, {after}: "
            "is the server overloaded or still loading the model? Raise RAG_LLM__TIMEOUT or try again"
        )
    elif isinstance(error, openai.APIConnectionError):
        reason = str(error.__cause__ or error)
        text = (
            f"no connection to {place.url} ({reason}), {after}: is the server running, and is RAG_LLM__BASE_URL right?"
        )
    elif isinstance(error, openai.APIStatusError):
        text = f"{place.url} {_refusal(error, model, after)}"
    else:
        text = broken_off(place, str(error))
    return EndpointError(presentable(text, place))


def pause_before_retry(error: Exception, patience: float, retries: int) -> float | None:
    """Seconds to wait before the request is made again; None where that is of no use.

    Args:
        error: what ended the last attempt: a refusal, a failed connection, or a stream that broke off.
        patience: the longest wait in seconds that a server may ask for. Nobody sits in front of a silent program for
            minutes: a longer one is reported instead of waited for.
        retries: further attempts made so far.
    """
    import openai

    if exceeds_context(error):
        return None
    if isinstance(error, openai.APIStatusError):
        asked = asked_to_wait(error.response.headers)
        if asked is not None and asked > min(patience, _LONGEST_WAIT):
            return None
        # Not a standard: OpenAI's servers know best what will pass.
        advice = error.response.headers.get("x-should-retry")
        passing = error.status_code in _PASSING or error.status_code >= 500
        if advice == "false" or (advice != "true" and not passing):
            return None
        if asked is not None and asked > 0:
            return asked
    # "Full jitter" keeps many clients from coming back at once (Brooker 2015, AWS Architecture Blog, "Exponential
    # Backoff And Jitter"). Ten doublings are beyond the longest delay.
    return random.uniform(0, min(_FIRST_DELAY * 2.0 ** min(retries, 10), _LONGEST_DELAY))


def exceeds_context(error: Exception) -> bool:
    """Whether the endpoint says that the request is longer than its model can read: by a code, or in its own words."""
    import openai

    if isinstance(error, openai.APIError):
        if error.code in _TOO_LONG_CODES or error.type in _TOO_LONG_CODES:
            return True
        words = server_words(error)
    else:
        words = str(error) if isinstance(error, ValueError) else ""
    return bool(_TOO_LONG_WORDS.search(words[:_LOOKED_AT]))


def context_error(error: Exception, place: Endpoint) -> ContextLengthError:
    """The error to show where `exceeds_context`."""
    import openai

    words = _short(server_words(error) if isinstance(error, openai.APIError) else str(error))
    said = f", it says: {words}" if words else ""
    return ContextLengthError(
        presentable(
            f"the request is too long for the model at {place.url}{said}; set RAG_LLM__CONTEXT_TOKENS to what it can "
            "read, lower RAG_LLM__MAX_TOKENS, or ask for fewer passages",
            place,
        )
    )


def out_of_time(place: Endpoint, deadline: float, requests: int) -> EndpointError:
    """The error to show where no answer was begun within `deadline` seconds, over all attempts."""
    return EndpointError(
        f"{place.url} began no answer within {deadline:g} s, after {_count(requests)}: "
        "is the server overloaded, or the model thinking for long? Raise RAG_LLM__DEADLINE or try again"
    )


def broken_off(place: Endpoint, reason: str) -> str:
    """The message for a stream that ended before its first text."""
    return presentable(f"{place.url} began no answer ({_short(reason)}): try again, or look at the server's log", place)


def server_words(error: openai.APIError) -> str:
    """What the server says of a failure, without any markup pages; empty where it says nothing."""
    words: object = error.body
    if isinstance(words, dict):
        words = next((words[key] for key in ("message", "detail", "error", "msg") if words.get(key)), "")
    if isinstance(words, list):
        # FastAPI's validation errors: the place and the reason of each, without the input that they repeat.
        words = "; ".join(f"{item.get('loc')}: {item.get('msg')}" for item in words if isinstance(item, dict))
    return words if isinstance(words, str) and not words.lstrip().startswith("<") else ""


def presentable(text: str, place: Endpoint) -> str:
    """`text` on one line, without a secret that a server may have repeated."""
    for secret in place.secrets:
        text = text.replace(secret, "…")
    return " ".join(text.split())


def cause(error: Exception, place: Endpoint) -> Exception | None:
    """`error` for `raise … from`, or None where a traceback would show a secret that the server repeated."""
    return None if any(secret in str(error) for secret in place.secrets) else error


def _refusal(error: openai.APIStatusError, model: str, after: str) -> str:
    status = error.status_code
    words = _short(server_words(error))
    said = f", it says: {words}" if words else ""
    wait = asked_to_wait(error.response.headers)
    later = f"try again in {wait:.0f} s" if wait is not None and wait >= 1 else "try again later"
    # What a 401 says often repeats a part of the key.
    if status == 401:
        return "refused the key (401): set RAG_LLM__API_KEY to a key of this endpoint"
    if status == 403:
        return f"does not let this key use the model {model!r} (403){said}; check RAG_LLM__API_KEY and RAG_LLM__MODEL"
    if status == 404:
        return (
            f"does not know the model {model!r}, or is not the API's address (404){said}; "
            "check RAG_LLM__MODEL, and RAG_LLM__BASE_URL, which often ends in /v1"
        )
    if status == 429:
        return f"still refuses for load or quota {after} (429){said}; {later}"
    if status >= 500:
        return f"failed {after} ({status}){said}; {later}, or look at the server's log"
    return (
        f"refused the request ({status}){said}; "
        f"check RAG_LLM__MODEL {model!r} and RAG_LLM__MAX_TOKENS, or ask for fewer passages"
    )


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= _LONGEST_WORDS else words[: _LONGEST_WORDS - 1] + "…"


def _count(requests: int) -> str:
    return "1 request" if requests == 1 else f"{requests} requests"
