"""What endpoints do differently, refuse and break, over real HTTP on this machine: each ends as it should."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest

from rag.chat_models.openai_chat import OpenAIChatModel
from rag.errors import ContextLengthError, EndpointError
from rag.types import ChatRequest, Finished, FinishReason, Message, TextDelta, Usage
from tests.openai_server import (
    Reply,
    Server,
    answering,
    failing,
    holding,
    malformed,
    raw,
    scripted_server,
    slow,
    status,
    text,
)

REQUEST = ChatRequest((Message("user", "Wie heißt der Fluss?"),), "Wie heißt der Fluss?", (), "de")


def model_at(server: Server, **settings: object) -> OpenAIChatModel:
    return OpenAIChatModel("small", base_url=server.base_url, **settings)  # type: ignore[arg-type]  # passed on as given


def answer(model: OpenAIChatModel, stop: threading.Event | None = None) -> tuple[str, Finished]:
    events = list(model.stream(REQUEST, stop))
    end = events.pop()
    assert isinstance(end, Finished)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), end


def reply_to(*replies: Reply, **settings: object) -> tuple[str, FinishReason]:
    """Text and end of an answer for which `replies` are given one after the other, and all of them."""
    with scripted_server(list(replies)) as server:
        written, end = answer(model_at(server, **settings))
        assert len(server.requests) == len(replies)
    return written, end.reason


def chunk(delta: dict[str, object] | None = None, finish: str | None = None, **rest: object) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': choices, **rest})}\n\n"


# The deadline.


def test_the_deadline_ends_an_answer_that_hangs_and_keeps_its_text() -> None:
    with scripted_server([holding("Der ", seconds=30)]) as server:
        assert answer(model_at(server, deadline=0.4)) == ("Der ", Finished("disconnected", Usage(requests=1)))
        assert server.requests[0].hung_up.wait(5)


def test_the_deadline_ends_an_answer_that_never_stops_coming() -> None:
    def endless(_: object) -> Iterator[str]:
        while True:
            time.sleep(0.01)
            yield "Rhein "

    with scripted_server([answering(endless)]) as server:
        written, end = answer(model_at(server, deadline=0.4))
        assert written.startswith("Rhein Rhein ")
        assert end.reason == "disconnected"
        assert server.requests[0].hung_up.wait(5)


def test_before_the_first_text_the_deadline_is_an_error_that_names_its_setting() -> None:
    with scripted_server([slow(30, text("late"))]) as server:
        with pytest.raises(EndpointError, match=r"began no answer within 0\.4 s, after 1 request.*RAG_LLM__DEADLINE"):
            answer(model_at(server, deadline=0.4))
        assert server.requests[0].hung_up.wait(5)


def test_the_end_may_be_given_with_the_request() -> None:
    with scripted_server([holding("Der ", seconds=30), slow(30, text("late"))]) as server:
        model = model_at(server, deadline=60)
        events = list(model.stream(REQUEST, until=time.monotonic() + 0.4))
        assert events == [TextDelta("Der "), Finished("disconnected", Usage(requests=1))]
        with pytest.raises(EndpointError, match=r"within 60 s, after 1 request.*RAG_LLM__DEADLINE"):
            list(model.stream(REQUEST, until=time.monotonic() + 0.4))
        assert all(request.hung_up.wait(5) for request in server.requests)


def test_after_the_end_nothing_is_sent() -> None:
    with scripted_server([]) as server:
        with pytest.raises(EndpointError, match="after 0 requests"):
            list(model_at(server).stream(REQUEST, until=time.monotonic() - 1))
        assert server.requests == []


def test_thinking_until_the_deadline_is_no_answer() -> None:
    thinking = holding("<think>Let me see", seconds=30)
    with scripted_server(thinking) as server, pytest.raises(EndpointError, match=r"within 0\.4 s"):
        answer(model_at(server, deadline=0.4))


def test_the_deadline_counts_all_attempts_together() -> None:
    with scripted_server(slow(30, text("late"))) as server:
        with pytest.raises(EndpointError, match=r"after \d requests?"):
            answer(model_at(server, deadline=1.0, timeout=0.3, retries=1000))
        assert len(server.requests) < 1000


def test_a_wait_that_would_outlast_the_deadline_is_not_begun() -> None:
    with scripted_server(status(429, "slow down", headers={"Retry-After": "20"})) as server:
        with pytest.raises(EndpointError, match=r"\(429\), it says: slow down; try again in 20 s"):
            answer(model_at(server, deadline=10))
        assert len(server.requests) == 1


def test_an_answer_before_the_deadline_is_whole_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    assert reply_to(text("Rhein"), deadline=30) == ("Rhein", "stop")
    assert set(threading.enumerate()) <= before


def test_the_asker_may_leave_before_the_deadline() -> None:
    stop = threading.Event()
    with scripted_server([holding("Der ", seconds=30)]) as server:
        events = model_at(server, deadline=60).stream(REQUEST, stop)
        assert next(events) == TextDelta("Der ")
        stop.set()
        assert list(events) == [Finished("disconnected", Usage(requests=1))]


def test_a_wait_may_be_given_in_milliseconds() -> None:
    with scripted_server(
        [status(503, headers={"Retry-After-Ms": "150", "Retry-After": "30"}), text("Rhein")]
    ) as server:
        assert answer(model_at(server))[0] == "Rhein"
        first, second = server.requests
    assert second.at - first.at >= 0.15


# Azure.


def test_azures_newer_address_takes_the_key_as_openai_does() -> None:
    with scripted_server([text("Rhein")]) as server:
        url = server.base_url.replace("/v1", "/openai/v1/")
        assert answer(OpenAIChatModel("my-deployment", base_url=url, api_key="azure-key-1"))[0] == "Rhein"
        [request] = server.requests
    assert request.path == "/openai/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer azure-key-1"
    assert "api-key" not in request.headers


def test_azures_older_address_takes_the_key_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer another\napi-key: another")
    with scripted_server([text("Rhein")]) as server:
        url = server.base_url.replace("/v1", "/openai/deployments/my-gpt?api-version=2024-10-21")
        assert answer(OpenAIChatModel("my-gpt", base_url=url, api_key="azure-key-1"))[0] == "Rhein"
        [request] = server.requests
    assert request.path == "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == "azure-key-1"
    assert "authorization" not in request.headers


def test_azures_first_chunk_speaks_of_filters_and_its_filter_ends_an_answer() -> None:
    filtered = chunk(None, prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}])
    stream = filtered + chunk({"role": "assistant", "content": ""}) + chunk({"content": "Der "})
    assert reply_to(raw(stream + chunk({}, "content_filter") + "data: [DONE]\n\n")) == ("Der ", "content_filter")


# Servers of one's own.


def test_vllm_counts_tokens_in_every_chunk() -> None:
    def usage(prompt: int, completion: int) -> dict[str, int]:
        return {"prompt_tokens": prompt, "completion_tokens": completion}

    stream = chunk({"role": "assistant", "content": ""}, usage=usage(9, 0))
    stream += chunk({"content": "Der ", "reasoning": None}, usage=usage(9, 1))
    stream += chunk({"content": "Rhein"}, "stop", usage=usage(9, 2), stop_reason=None)
    with scripted_server([raw(stream + "data: [DONE]\n\n")]) as server:
        assert answer(model_at(server)) == ("Der Rhein", Finished("stop", Usage(9, 2, 1)))


def test_vllm_that_drops_a_request_has_not_ended_its_answer() -> None:
    assert reply_to(raw(chunk({"content": "Der "}) + chunk({}, "abort"))) == ("Der ", "disconnected")


def test_llama_cpp_begins_with_a_role_and_null_and_ends_with_a_chunk_of_its_own() -> None:
    stream = chunk({"role": "assistant", "content": None}) + chunk({"content": "Der "}) + chunk({"content": "Rhein"})
    stream += chunk({}, "stop", timings={"predicted_n": 2}) + "data: [DONE]\n\n"
    assert reply_to(raw(stream)) == ("Der Rhein", "stop")


def test_ollama_says_its_role_each_time_thinks_in_a_field_and_counts_behind_the_end() -> None:
    thinking = chunk({"role": "assistant", "content": "", "reasoning": "Hm, rivers"})
    said = "".join(chunk({"role": "assistant", "content": word}) for word in ("Der ", "Rhein"))
    end = chunk({"role": "assistant", "content": ""}, "stop")
    counted = chunk(None, usage={"prompt_tokens": 26, "completion_tokens": 5, "total_tokens": 31})
    with scripted_server([raw(thinking + said + end + counted + "data: [DONE]\n\n")]) as server:
        assert answer(model_at(server)) == ("Der Rhein", Finished("stop", Usage(26, 5, 1)))


def test_lm_studio_thinks_in_another_field_and_counts_nothing() -> None:
    stream = chunk({"role": "assistant", "reasoning_content": "Hm"}) + chunk({"content": "Rhein"})
    with scripted_server([raw(stream + chunk({}, "stop") + "data: [DONE]\n\n")]) as server:
        assert answer(model_at(server)) == ("Rhein", Finished("stop", Usage(requests=1)))


def test_lm_studio_reports_an_error_as_an_event_of_a_good_reply() -> None:
    error = 'event: error\ndata: {"error": {"message": "The model has crashed"}}\n\n'
    assert reply_to(raw(chunk({"content": "Der "}) + error)) == ("Der ", "disconnected")
    with scripted_server(raw(error)) as server, pytest.raises(EndpointError, match="The model has crashed"):
        answer(model_at(server, retries=0))


def test_an_error_that_is_a_chunk_by_itself_is_reported() -> None:
    error = 'data: {"object": "error", "message": "engine is dead", "code": 500}\n\n'
    with scripted_server(raw(error)) as server, pytest.raises(EndpointError, match="engine is dead"):
        answer(model_at(server, retries=0))


def test_comments_and_empty_events_keep_a_connection_alive_and_say_nothing() -> None:
    stream = ": keep-alive\n\n" + chunk({"content": "Der "}) + ": OPENROUTER PROCESSING\n\n\n\n"
    stream += chunk({"content": "Rhein"}).replace("\n", "\r\n") + chunk({}, "stop")
    assert reply_to(raw(stream)) == ("Der Rhein", "stop")


def test_a_stream_may_end_without_saying_so() -> None:
    assert reply_to(raw(chunk({"content": "Rhein"}, "stop"))) == ("Rhein", "stop")


def test_an_answer_of_several_choices_is_its_first() -> None:
    two = [{"index": at, "delta": {"content": word}, "finish_reason": "stop"} for at, word in enumerate(("Rhein", "x"))]
    assert reply_to(raw(f"data: {json.dumps({'choices': two})}\n\n")) == ("Rhein", "stop")


# A request that is too long.

TOO_LONG = {
    "OpenAI": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "vLLM": "'max_tokens' or 'max_completion_tokens' is too large: 1024. This model's maximum context length is 512 "
    "tokens and your request has 300 input tokens (1024 > 512 - 300).",
    "vLLM's engine": "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "llama.cpp": "the request exceeds the available context size. try increasing the context size",
    "llama.cpp, with figures": "request (70494 tokens) exceeds the available context size (67584 tokens), try "
    "increasing it",
    "Ollama": "the input length exceeds the context length",
    "LM Studio": "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with "
    "context length of only 32768 tokens, which is not enough.",
    "LM Studio, newer": "The number of tokens to keep from the initial prompt is greater than the context length",
    "MLX": "Context size has been exceeded.",
    "SGLang": "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens",
    "LiteLLM": "litellm.ContextWindowExceededError: litellm.BadRequestError: too long",
    "Anthropic": "prompt is too long: 210000 tokens > 200000 maximum",
    "Google": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
}


@pytest.mark.parametrize("words", TOO_LONG.values(), ids=TOO_LONG.keys())
@pytest.mark.parametrize("number", [400, 500])
def test_a_request_that_is_too_long_has_an_error_of_its_own_and_is_not_repeated(words: str, number: int) -> None:
    with scripted_server(status(number, words)) as server:
        with pytest.raises(ContextLengthError, match=r"too long.*RAG_LLM__CONTEXT_TOKENS"):
            answer(model_at(server))
        assert len(server.requests) == 1


@pytest.mark.parametrize("code", ["context_length_exceeded", "exceed_context_size_error"])
def test_a_request_that_is_too_long_is_known_by_its_code(code: str) -> None:
    with scripted_server(status(400, "zu lang", code=code)) as server, pytest.raises(ContextLengthError):
        answer(model_at(server))


@pytest.mark.parametrize(
    "reply",
    [
        failing(message=TOO_LONG["llama.cpp"]),
        malformed(data=json.dumps({"object": "error", "message": TOO_LONG["OpenAI"], "code": 400})),
        Reply(content=json.dumps({"error": {"message": TOO_LONG["LM Studio"]}}).encode()),
    ],
    ids=["error object", "error chunk", "whole reply"],
)
def test_a_request_that_is_too_long_may_be_said_so_in_a_good_reply(reply: Reply) -> None:
    with scripted_server(reply) as server:
        with pytest.raises(ContextLengthError):
            answer(model_at(server))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "The model small does not exist in this context",
        "Rate limit reached: tokens per minute exceeded",
        "messages: at least one message is required",
    ],
)
def test_other_refusals_are_not_taken_for_a_request_that_is_too_long(words: str) -> None:
    with scripted_server(status(400, words)) as server, pytest.raises(EndpointError) as caught:
        answer(model_at(server))
    assert not isinstance(caught.value, ContextLengthError)


# What it costs.


def test_prices_make_a_cost_of_the_tokens() -> None:
    with scripted_server([text("Der ", "Rhein")]) as server:
        end = answer(model_at(server, prompt_price=2.5, completion_price=10.0))[1]
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (11, 2)
    assert end.usage.cost == pytest.approx(11 * 2.5e-6 + 2 * 10e-6)


def test_without_both_prices_or_without_a_count_there_is_no_cost() -> None:
    prices: list[dict[str, float]] = [{}, {"prompt_price": 2.5}, {"completion_price": 10.0}]
    with scripted_server(text("Rhein")) as server:
        for each in prices:
            assert answer(model_at(server, **each))[1].usage == Usage(11, 1, 1)
    with scripted_server(raw(chunk({"content": "Rhein"}, "stop"))) as server:
        assert answer(model_at(server, prompt_price=2.5, completion_price=10.0))[1].usage == Usage(requests=1)
