"""The OpenAI-compatible chat model against a scripted server on this machine, over real HTTP."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from rag.chat_models.endpoint_errors import pause_before_retry
from rag.chat_models.openai_chat import OpenAIChatModel
from rag.errors import EndpointError, InputError, NotConfiguredError
from rag.types import ChatEvent, ChatRequest, Finished, Message, TextDelta, Usage
from tests.openai_server import (
    Reply,
    Server,
    answering,
    breaking,
    empty,
    failing,
    holding,
    malformed,
    page,
    scripted_server,
    slow,
    status,
    text,
    whole,
)

REQUEST = ChatRequest(
    messages=(Message("system", "Antworte auf Deutsch."), Message("user", "Wie heißt der Fluss?")),
    question="Wie heißt der Fluss?",
    passages=(),
    language="de",
)
KEY = "sk-test-4f9a1c77e2"
SOON = {"Retry-After": "0.05"}


def model_at(server: Server, **settings: object) -> OpenAIChatModel:
    return OpenAIChatModel("small", base_url=server.base_url, **settings)  # type: ignore[arg-type]  # passed on as given


def answer(model: OpenAIChatModel) -> tuple[str, Finished]:
    """The whole text and the end of one answer; what comes between must be text alone."""
    events: list[ChatEvent] = list(model.stream(REQUEST))
    last = events.pop()
    assert isinstance(last, Finished)
    assert all(isinstance(event, TextDelta) for event in events)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), last


def refusal(reply: Reply, **settings: object) -> str:
    """The message of the error that `reply` leads to, with every further attempt refused as well."""
    with scripted_server(reply) as server, pytest.raises(EndpointError) as caught:
        answer(model_at(server, **{"retries": 0, "api_key": KEY, **settings}))
    message = str(caught.value)
    assert "\n" not in message
    assert KEY not in message
    return message


def test_the_text_comes_in_pieces_and_ends_with_the_endpoints_count_of_tokens() -> None:
    with scripted_server([text("Der ", "Rhein ", "[1].")]) as server:
        events = list(model_at(server).stream(REQUEST))
    assert events == [TextDelta("Der "), TextDelta("Rhein "), TextDelta("[1]."), Finished("stop", Usage(11, 3, 1))]


def test_the_request_carries_model_messages_and_options() -> None:
    with scripted_server([text("ja")]) as server:
        answer(model_at(server, temperature=0.3, max_tokens=77))
        request = server.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Antworte auf Deutsch."},
            {"role": "user", "content": "Wie heißt der Fluss?"},
        ],
        "temperature": 0.3,
        "max_tokens": 77,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_nothing_is_sent_before_the_first_event_is_asked_for() -> None:
    with scripted_server([text("ja")]) as server:
        model_at(server).stream(REQUEST)
        assert server.requests == []


def test_an_answer_can_depend_on_the_request() -> None:
    with scripted_server(answering(lambda body: [body["messages"][-1]["content"], "!"])) as server:
        model = model_at(server)
        assert answer(model)[0] == "Wie heißt der Fluss?!"
        assert answer(model)[0] == "Wie heißt der Fluss?!"


def test_what_the_model_thinks_before_it_answers_is_no_text() -> None:
    with scripted_server([text("Rhein.", thoughts=["Let me think", " about rivers"])]) as server:
        assert answer(model_at(server))[0] == "Rhein."


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_the_finish_reason_is_handed_on(reason: str) -> None:
    with scripted_server([text("Der Rh", finish=reason)]) as server:
        written, end = answer(model_at(server))
    assert (written, end.reason) == ("Der Rh", reason)


@pytest.mark.parametrize(("theirs", "ours"), [("max_tokens", "length"), ("eos", "stop"), ("error", "disconnected")])
def test_other_names_of_finish_reasons_are_understood(theirs: str, ours: str) -> None:
    with scripted_server([text("Der Rh", finish=theirs)]) as server:
        assert answer(model_at(server))[1].reason == ours


def test_an_answer_without_text_but_with_a_finish_reason_is_an_answer() -> None:
    with scripted_server([text(finish="content_filter")]) as server:
        assert answer(model_at(server)) == ("", Finished("content_filter", Usage(11, 0, 1)))


@pytest.mark.parametrize(
    "reply",
    [
        breaking("Der ", "Rh"),
        malformed("Der ", "Rh"),
        malformed("Der ", "Rh", data="17"),
        failing("Der ", "Rh"),
        text("Der ", "Rh", finish=None),
    ],
    ids=["connection cut", "half a JSON", "a number for a chunk", "error in the stream", "no finish reason"],
)
def test_a_stream_that_breaks_after_its_first_text_is_disconnected_and_not_repeated(reply: Reply) -> None:
    with scripted_server([reply]) as server:
        written, end = answer(model_at(server))
        assert (written, end.reason) == ("Der Rh", "disconnected")
        assert len(server.requests) == 1


def test_silence_after_the_first_text_is_disconnected() -> None:
    with scripted_server([holding("Der ")]) as server:
        assert answer(model_at(server, timeout=0.2)) == ("Der ", Finished("disconnected", Usage(requests=1)))


@pytest.mark.parametrize(
    "reply",
    [breaking(), malformed(), failing(), empty(), text(finish=None), text(finish="error")],
    ids=["connection cut", "half a JSON", "error in the stream", "empty", "no finish reason", "finished by an error"],
)
def test_a_stream_that_breaks_before_its_first_text_is_asked_for_again(reply: Reply) -> None:
    with scripted_server([reply, text("Rhein")]) as server:
        assert answer(model_at(server)) == ("Rhein", Finished("stop", Usage(11, 1, 2)))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (breaking(), "incomplete chunked read"),
        (malformed(), "unreadable"),
        (failing(message="out of\nmemory"), "out of memory"),
        (empty(), "without a word"),
        (Reply(content=b'{"error": "overloaded"}'), "overloaded"),
    ],
)
def test_a_stream_that_never_begins_is_an_error_that_says_why(reply: Reply, reason: str) -> None:
    message = refusal(reply)
    assert reason in message
    assert "127.0.0.1" in message


def test_a_refusal_for_load_is_waited_out_as_long_as_the_server_asks() -> None:
    with scripted_server([status(429, headers={"Retry-After": "0.2"}), text("Rhein")]) as server:
        assert answer(model_at(server)) == ("Rhein", Finished("stop", Usage(11, 1, 2)))
        first, second = server.requests
    assert second.at - first.at >= 0.2


def test_a_server_error_is_tried_again_and_counted() -> None:
    with scripted_server([status(500, headers=SOON), status(503, headers=SOON), text("Rhein")]) as server:
        assert answer(model_at(server, retries=2))[1].usage.requests == 3


def test_a_failing_server_is_asked_once_more_than_the_retries() -> None:
    with scripted_server(status(500, "CUDA error", headers=SOON)) as server:
        with pytest.raises(EndpointError, match=r"failed after 3 requests \(500\), it says: CUDA error"):
            answer(model_at(server, retries=2))
        assert len(server.requests) == 3


def test_a_server_that_still_refuses_for_load_is_reported() -> None:
    message = refusal(status(429, "slow down", headers=SOON), retries=1)
    assert "still refuses for load or quota after 2 requests (429), it says: slow down" in message


@pytest.mark.parametrize("wait", ["30", "300", formatdate(4102444800, usegmt=True)])
def test_a_wait_beyond_the_timeout_is_reported_instead_of_waited_for(wait: str) -> None:
    with scripted_server(status(429, headers={"Retry-After": wait})) as server:
        with pytest.raises(EndpointError, match=r"after 1 request \(429\).*try again in \d+ s"):
            answer(model_at(server, timeout=5, retries=5))
        assert len(server.requests) == 1


@pytest.mark.parametrize(("code", "advice", "requests"), [(500, "false", 1), (418, "true", 2)])
def test_a_server_that_says_whether_asking_again_helps_is_believed(code: int, advice: str, requests: int) -> None:
    with scripted_server(status(code, headers={"x-should-retry": advice, **SOON})) as server:
        with pytest.raises(EndpointError, match=str(code)):
            answer(model_at(server, retries=1))
        assert len(server.requests) == requests


def test_a_failed_connection_is_tried_again() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    model = OpenAIChatModel("small", base_url=f"http://127.0.0.1:{port}/v1", retries=1)
    with pytest.raises(EndpointError, match="after 2 requests"):
        answer(model)


def test_silence_is_tried_again_and_all_requests_are_in_the_message() -> None:
    with scripted_server(slow(30, text("late"))) as server:
        with pytest.raises(EndpointError, match=r"within 0\.2 s, after 2 requests"):
            answer(model_at(server, timeout=0.2, retries=1))
        assert len(server.requests) == 2
        assert all(request.hung_up.wait(5) for request in server.requests)


def test_the_pauses_before_further_attempts_are_any_share_of_a_doubling_limit() -> None:
    for retries, longest in ((0, 0.5), (1, 1), (2, 2), (3, 4), (4, 8), (2000, 8)):
        pauses = [pause_before_retry(ValueError(), 60, retries) for _ in range(200)]
        shares = [pause / longest for pause in pauses if pause is not None]
        assert len(shares) == 200
        assert 0 <= min(shares) < 0.25
        assert 0.75 < max(shares) <= 1


def test_an_answer_or_a_refusal_that_is_cut_off_in_its_body_is_asked_for_again() -> None:
    cut = {"Content-Length": "999"}
    replies = [Reply(content=b'{"choices"', headers=cut), Reply(status=404, content=b"{", headers=cut), text("Rhein")]
    with scripted_server(replies) as server:
        assert answer(model_at(server)) == ("Rhein", Finished("stop", Usage(11, 1, 3)))


def test_broken_streams_and_server_errors_share_the_further_attempts() -> None:
    replies = [status(500, headers=SOON), breaking(), status(500, headers=SOON), text("too late")]
    with scripted_server(replies) as server:
        with pytest.raises(EndpointError, match=r"\(500\)"):
            answer(model_at(server, retries=2))
        assert len(server.requests) == 3


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_a_refusal_that_will_not_change_is_not_tried_again(code: int) -> None:
    with scripted_server(status(code)) as server:
        with pytest.raises(EndpointError, match=str(code)):
            answer(model_at(server, retries=3))
        assert len(server.requests) == 1


def test_a_refused_key_leads_to_its_setting_and_is_not_shown() -> None:
    message = refusal(status(401, f"Incorrect API key provided: {KEY}"))
    assert "refused the key (401)" in message
    assert "RAG_LLM__API_KEY" in message


def test_a_key_that_a_server_repeats_is_in_no_message_and_no_traceback() -> None:
    with scripted_server(status(400, f"bad request with {KEY}")) as server, pytest.raises(EndpointError) as caught:
        answer(model_at(server, api_key=KEY))
    assert "it says: bad request with …" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_unknown_model_is_named() -> None:
    message = refusal(status(404, "model 'small' not found, try pulling it first"))
    assert "does not know the model 'small'" in message
    assert "try pulling it first" in message
    assert "RAG_LLM__MODEL" in message


def test_the_servers_words_are_handed_on_shortened_and_on_one_line() -> None:
    message = refusal(status(400, "context\nlength exceeded " + "x" * 5000))
    assert "context length exceeded" in message
    assert len(message) < 500


def test_a_refused_connection_asks_whether_the_server_runs() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    model = OpenAIChatModel("small", base_url=f"http://127.0.0.1:{port}/v1", retries=0)
    with pytest.raises(EndpointError, match=r"Connection refused.*is the server running.*RAG_LLM__BASE_URL"):
        answer(model)


def test_a_server_without_a_sign_of_life_is_given_up() -> None:
    message = refusal(slow(5, text("late")), timeout=0.2)
    assert "within 0.2 s" in message
    assert "RAG_LLM__TIMEOUT" in message


def test_a_slow_first_byte_within_the_timeout_is_waited_for() -> None:
    with scripted_server([slow(0.3, text("Rhein"))]) as server:
        assert answer(model_at(server, timeout=10))[0] == "Rhein"


def test_closing_the_generator_hangs_up() -> None:
    with scripted_server([holding("Der ")]) as server:
        events = model_at(server).stream(REQUEST)
        assert next(events) == TextDelta("Der ")
        assert not server.requests[0].hung_up.is_set()
        events.close()
        assert server.requests[0].hung_up.wait(2)


@contextmanager
def answering_aside(model: OpenAIChatModel, stop: threading.Event) -> Iterator[Future[list[ChatEvent]]]:
    """The events of one answer, gathered by another thread as in `aask`."""
    with ThreadPoolExecutor(1) as aside:
        try:
            yield aside.submit(lambda: list(model.stream(REQUEST, stop)))
        finally:
            stop.set()


def test_a_stop_while_the_first_byte_is_waited_for_hangs_up_and_sends_nothing_more() -> None:
    stop = threading.Event()
    before = set(threading.enumerate())
    with scripted_server(slow(30, text("late"))) as server:
        with answering_aside(model_at(server, timeout=60, retries=2), stop) as events:
            request = server.request(1)
            assert not request.hung_up.wait(0.1)
            stop.set()
            assert request.hung_up.wait(5)
            assert events.result(5) == [Finished("disconnected", Usage(requests=1))]
        assert len(server.requests) == 1
    assert set(threading.enumerate()) <= before


def test_a_stop_while_the_next_piece_is_waited_for_hangs_up() -> None:
    stop = threading.Event()
    before = set(threading.enumerate())
    with scripted_server(holding("Der ", seconds=30)) as server:
        with answering_aside(model_at(server, timeout=60), stop) as events:
            request = server.request(1)
            assert not request.hung_up.wait(0.1)
            stop.set()
            assert request.hung_up.wait(5)
            assert events.result(5) == [TextDelta("Der "), Finished("disconnected", Usage(requests=1))]
        assert len(server.requests) == 1
    assert set(threading.enumerate()) <= before


def test_a_stop_hangs_up_though_nobody_asks_for_the_next_piece() -> None:
    stop = threading.Event()
    with scripted_server(holding("Der ", seconds=30)) as server:
        events = model_at(server, timeout=60).stream(REQUEST, stop)
        assert next(events) == TextDelta("Der ")
        stop.set()
        assert server.request(1).hung_up.wait(5)
        assert list(events) == [Finished("disconnected", Usage(requests=1))]


@pytest.mark.parametrize(
    "reply",
    [status(429, headers={"Retry-After": "30"}), status(503, headers={"Retry-After": "30"})],
    ids=["load", "failure"],
)
def test_a_stop_between_two_attempts_ends_the_wait_and_sends_nothing_more(reply: Reply) -> None:
    stop = threading.Event()
    before = set(threading.enumerate())
    with scripted_server(reply) as server:
        with answering_aside(model_at(server, timeout=60, retries=2), stop) as events:
            assert server.request(1).answered.wait(5)
            time.sleep(0.1)
            assert not events.done()
            stop.set()
            assert events.result(5) == [Finished("disconnected", Usage(requests=1))]
        assert len(server.requests) == 1
    assert set(threading.enumerate()) <= before


def test_a_stop_during_a_later_attempt_counts_all_that_were_sent() -> None:
    stop = threading.Event()
    with scripted_server([status(500, headers=SOON), slow(30, text("late")), text("too late")]) as server:
        with answering_aside(model_at(server, timeout=60), stop) as events:
            request = server.request(2)
            stop.set()
            assert request.hung_up.wait(5)
            assert events.result(5) == [Finished("disconnected", Usage(requests=2))]
        assert len(server.requests) == 2


def test_a_stop_ends_the_wait_for_the_rest_of_a_refusal() -> None:
    stop = threading.Event()
    # Ten more bytes are promised than come.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        model = OpenAIChatModel("small", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", timeout=60)
        with answering_aside(model, stop) as events:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 500 no\r\nContent-Length: 12\r\n\r\n{}")
                time.sleep(0.1)
                stop.set()
                assert events.result(5) == [Finished("disconnected", Usage(requests=1))]


def test_text_that_came_together_with_the_last_piece_is_not_handed_on_after_a_stop() -> None:
    stop = threading.Event()
    with scripted_server([text("Der ", "Rhein ", "[1].")]) as server:
        events = model_at(server).stream(REQUEST, stop)
        assert next(events) == TextDelta("Der ")
        assert server.request(1).answered.wait(5)
        stop.set()
        assert list(events) == [Finished("disconnected", Usage(requests=1))]


def test_with_a_stop_that_is_set_already_nothing_is_sent() -> None:
    stop = threading.Event()
    stop.set()
    with scripted_server([]) as server:
        assert list(model_at(server).stream(REQUEST, stop)) == [Finished("disconnected", Usage())]
        assert server.requests == []


def test_a_stop_that_never_comes_changes_nothing_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    replies = [status(429, headers=SOON), breaking(), text("Rhein"), holding("Der "), breaking("Der ")]
    with scripted_server(replies) as server:
        model = model_at(server)
        assert list(model.stream(REQUEST, threading.Event()))[-1] == Finished("stop", Usage(11, 1, 3))
        events = model.stream(REQUEST, threading.Event())
        assert next(events) == TextDelta("Der ")
        events.close()
        assert server.requests[3].hung_up.wait(5)
        assert list(model.stream(REQUEST, threading.Event()))[-1] == Finished("disconnected", Usage(requests=1))
    assert set(threading.enumerate()) <= before


def test_a_stop_ends_its_own_answer_alone() -> None:
    stop = threading.Event()
    with scripted_server([holding("Der ", seconds=30), slow(0.3, text("Rhein"))]) as server:
        model = model_at(server, timeout=60)
        stopped = model.stream(REQUEST, stop)
        assert next(stopped) == TextDelta("Der ")
        with answering_aside(model, threading.Event()) as events:
            server.request(2)
            stop.set()
            assert server.requests[0].hung_up.wait(5)
            assert events.result(5) == [TextDelta("Rhein"), Finished("stop", Usage(11, 1, 1))]
        assert list(stopped) == [Finished("disconnected", Usage(requests=1))]


def test_a_model_can_be_asked_by_several_threads_at_once() -> None:
    with scripted_server(answering(lambda body: [body["messages"][-1]["content"]])) as server:
        model = model_at(server)
        answers: dict[str, str] = {}

        def ask(question: str) -> None:
            request = ChatRequest((Message("user", question),), question, (), "en")
            answers[question] = "".join(e.text for e in model.stream(request) if isinstance(e, TextDelta))

        threads = [threading.Thread(target=ask, args=(f"question {number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {f"question {number}": f"question {number}" for number in range(8)}


@pytest.mark.parametrize("option", ["stream_options", "temperature"])
def test_an_option_that_the_endpoint_refuses_is_left_out(option: str) -> None:
    with scripted_server([status(400, f"Unsupported parameter: '{option}'", param=option), text("Rhein")]) as server:
        assert answer(model_at(server))[0] == "Rhein"
        assert option in server.requests[0].body
        assert option not in server.requests[1].body


def test_the_longest_answer_goes_by_its_newer_name_where_the_older_is_refused() -> None:
    complaint = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with scripted_server([status(400, complaint, param="max_tokens"), text("Rhein")]) as server:
        assert answer(model_at(server, max_tokens=77))[1].usage.requests == 2
        assert "max_tokens" not in server.requests[1].body
        assert server.requests[1].body["max_completion_tokens"] == 77


def test_several_refused_options_are_left_out_one_after_the_other_and_stay_out() -> None:
    replies = [status(400, "no max_tokens"), status(400, "no temperature"), text("a"), text("b")]
    with scripted_server(replies) as server:
        model = model_at(server)
        assert answer(model)[0] == "a"
        assert answer(model) == ("b", Finished("stop", Usage(11, 1, 1)))
        assert "temperature" not in server.requests[3].body


def test_an_option_refused_under_either_name_is_reported() -> None:
    with scripted_server(status(400, "max_tokens or max_completion_tokens is too large")) as server:
        with pytest.raises(EndpointError, match="is too large"):
            answer(model_at(server))
        assert len(server.requests) == 2


def test_an_option_refused_by_a_validating_server_is_left_out() -> None:
    detail = b'{"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted", "input": {}}]}'
    with scripted_server([Reply(status=422, content=detail), text("Rhein")]) as server:
        assert answer(model_at(server))[0] == "Rhein"
        assert "stream_options" not in server.requests[1].body


def test_an_endpoint_that_does_not_stream_is_understood() -> None:
    with scripted_server([whole("Der Rhein.", finish="length")]) as server:
        assert answer(model_at(server)) == ("Der Rhein.", Finished("length", Usage(11, 1, 1)))


def test_a_list_of_parts_is_text_without_its_thoughts() -> None:
    parts = '[{"type": "thinking", "thinking": []}, {"type": "text", "text": "Rhein"}]'
    data = f'{{"choices": [{{"index": 0, "delta": {{"content": {parts}}}, "finish_reason": "stop"}}]}}'
    with scripted_server([malformed(data=data)]) as server:
        assert answer(model_at(server)) == ("Rhein", Finished("stop", Usage(requests=1)))


def test_a_web_page_leads_to_the_base_url() -> None:
    assert "RAG_LLM__BASE_URL" in refusal(page("<html>Welcome</html>"))
    assert "<html>" not in refusal(page("<html>Not found</html>", code=404))


@pytest.fixture
def foreign_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-of-another-service")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another-service")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-of-another-service")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: another-service\nAuthorization: Bearer another-service")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")


@pytest.mark.usefixtures("foreign_environment")
@pytest.mark.parametrize("key", [None, "", KEY])
def test_nothing_of_the_environment_reaches_an_endpoint_that_was_named(key: str | None) -> None:
    with scripted_server([status(503, headers=SOON), text("Rhein")]) as server:
        assert answer(model_at(server, api_key=key))[0] == "Rhein"
        for request in server.requests:
            assert request.headers["authorization"] == f"Bearer {key or 'no-key'}"
            assert "openai-organization" not in request.headers
            assert "openai-project" not in request.headers
            assert "another-service" not in str(request.headers)


def test_login_and_query_of_the_url_are_sent_and_not_shown() -> None:
    with scripted_server([status(404, "no s3cr3t-query here"), text("Rhein")]) as server:
        url = server.base_url.replace("http://", "http://anna:s3cr3t-word@") + "?token=s3cr3t-query"
        model = OpenAIChatModel("small", base_url=url)
        with pytest.raises(EndpointError) as caught:
            answer(model)
        assert "s3cr3t" not in str(caught.value) + repr(model)
        assert f"{server.base_url} does not know" in str(caught.value)
        assert answer(model)[0] == "Rhein"
        assert server.requests[1].path == "/v1/chat/completions?token=s3cr3t-query"
        assert server.requests[1].headers["authorization"].startswith("Basic ")


def test_the_key_is_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted_server([status(500, headers=SOON), text("Rhein")]) as server:
        model = model_at(server, api_key=KEY)
        answer(model)
    assert "requests: 2" in caplog.text
    assert KEY not in caplog.text + repr(model) + str(model)
    assert "Fluss" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("rag"))


def test_openai_itself_asks_for_a_key() -> None:
    with pytest.raises(NotConfiguredError, match="RAG_LLM__API_KEY or OPENAI_API_KEY"):
        OpenAIChatModel("gpt", api_key=None)


@pytest.mark.parametrize(
    "url", ["localhost:11434/v1", "ftp://host/v1", "http://", "http://a:b@[x/v1", "http://h:99999"]
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="RAG_LLM__BASE_URL") as caught:
        OpenAIChatModel("small", base_url=url)
    assert "a:b" not in str(caught.value)


def test_a_key_that_cannot_be_sent_is_refused_without_being_shown() -> None:
    with pytest.raises(InputError, match="RAG_LLM__API_KEY") as caught:
        OpenAIChatModel("small", base_url="http://localhost/v1", api_key="sk-ключ\nx")
    assert "sk-" not in str(caught.value)


def test_white_space_around_a_key_is_not_part_of_it() -> None:
    with scripted_server([text("ja")]) as server:
        answer(model_at(server, api_key=f" {KEY}\n"))
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_importing_the_model_does_not_load_the_client() -> None:
    code = "import sys, rag.chat_models.openai_chat; sys.exit('openai' in sys.modules or 'httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False).returncode == 0


def test_a_script_that_is_too_short_says_so() -> None:
    with scripted_server([]) as server, pytest.raises(EndpointError, match="the script of this test has 0 replies"):
        answer(model_at(server))
