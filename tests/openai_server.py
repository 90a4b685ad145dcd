"""A scripted OpenAI-compatible server on this machine: real HTTP, no language model.

    with scripted_server([status(429, headers={"Retry-After": "0.05"}), text("Hel", "lo")]) as server:
        model = OpenAIChatModel("any", base_url=server.base_url)
        ...
        assert server.requests[1].body["model"] == "any"

Each request takes the next reply of the script; a single reply instead of a list answers every request. A request
beyond the script is refused with 400 and a message that says so. The replies:

    text("a", "b")              a streamed answer in two deltas, with usage 11 + 2
    text("a", finish="length")  … cut off by the token limit; "content_filter": by the filter; None: no finish reason
    answering(callable)         a streamed answer: the callable turns the request's JSON body into its deltas
    breaking("a")               one delta, then the connection is cut
    malformed("a")              one delta, then a line that is not JSON
    failing("a", message)       one delta, then an error object inside the stream
    empty()                     a stream with nothing in it
    raw(": ping\n\ndata: …")     an event stream, word for word
    holding("a", seconds=5)     one delta, then silence until the client hangs up, at most `seconds`
    slow(seconds, reply)        another reply, its first byte `seconds` later
    whole("ab")                 one JSON document, as from a server that ignores `stream`
    status(404, message)        an error with OpenAI's body, with a `code` of it; `headers` such as Retry-After
    page("<html>…")             a web page

Every request is kept in `server.requests`, in the order of arrival.
"""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

# Seconds after which a test may say that something will not happen.
_PATIENCE = 10.0

Deltas = Callable[[dict[str, Any]], Iterable[str]]


@dataclass(frozen=True)
class Reply:
    """One scripted reply; made by the functions of this module.

    Attributes:
        deltas: the streamed answer; None for a reply that is one `content`.
        thoughts: what the model thinks before it, sent in `reasoning_content`.
        finish: finish reason of the last chunk; None sends none.
        usage: prompt and completion tokens, sent in a chunk of its own when the request asks for it.
        ending: what follows the deltas: `done`, `cut`, `garbage` (raw bytes of an event), or `hold`.
        garbage: an event's data, sent as it is.
        delay: seconds before the first byte.
        hold: seconds of silence before the end of `hold`.
    """

    deltas: Deltas | None = None
    thoughts: tuple[str, ...] = ()
    finish: str | None = "stop"
    usage: tuple[int, int] = (11, 2)
    ending: str = "done"
    garbage: str = ""
    delay: float = 0.0
    hold: float = 0.0
    status: int = 200
    content: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """A request as it arrived.

    Attributes:
        headers: names in lower case.
        body: its JSON.
        at: monotonic seconds of its arrival.
        hung_up: set when the client closed the connection before the reply was complete.
        answered: set when the reply was sent, or as much of it as the client took.
    """

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    hung_up: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Server:
    """The running server, as a test sees it."""

    base_url: str
    requests: list[Request]

    def request(self, number: int) -> Request:
        """The request of this number, 1-based; waits for its arrival."""
        until = time.monotonic() + _PATIENCE
        while len(self.requests) < number:
            assert time.monotonic() < until, f"request {number} did not arrive within {_PATIENCE:g} s"
            time.sleep(0.005)
        return self.requests[number - 1]


def text(*deltas: str, finish: str | None = "stop", thoughts: Sequence[str] = ()) -> Reply:
    """A streamed answer."""
    return Reply(deltas=lambda _: deltas, finish=finish, thoughts=tuple(thoughts), usage=(11, len(deltas)))


def answering(deltas: Deltas) -> Reply:
    """A streamed answer that depends on the request."""
    return Reply(deltas=deltas)


def breaking(*deltas: str) -> Reply:
    """An answer whose connection is cut after `deltas`."""
    return replace(text(*deltas), ending="cut")


def malformed(*deltas: str, data: str = '{"choices": [') -> Reply:
    """An answer with an event that is not JSON after `deltas`."""
    return replace(text(*deltas), ending="garbage", garbage=data)


def failing(*deltas: str, message: str = "the model ran out of memory") -> Reply:
    """An answer with an error object after `deltas`."""
    return replace(text(*deltas), ending="garbage", garbage=json.dumps({"error": {"message": message}}))


def empty() -> Reply:
    """A stream without any event."""
    return Reply(content_type="text/event-stream")


def raw(stream: str) -> Reply:
    """An event stream as it is written here."""
    return Reply(content=stream.encode(), content_type="text/event-stream")


def holding(*deltas: str, seconds: float = 5.0) -> Reply:
    """An answer that falls silent after `deltas` until the client hangs up."""
    return replace(text(*deltas), ending="hold", hold=seconds)


def slow(seconds: float, reply: Reply) -> Reply:
    """`reply`, its first byte `seconds` later."""
    return replace(reply, delay=seconds)


def whole(content: str, finish: str = "stop") -> Reply:
    """The answer as one JSON document."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    usage = {"prompt_tokens": 11, "completion_tokens": 1, "total_tokens": 12}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return Reply(content=json.dumps(body).encode())


def status(
    number: int,
    message: str = "no",
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error in OpenAI's form."""
    body = {"error": {"message": message, "type": "error", "param": param, "code": code}}
    return Reply(status=number, content=json.dumps(body).encode(), headers=headers or {})


def page(html: str, code: int = 200) -> Reply:
    """A web page, as a wrong address answers."""
    return Reply(status=code, content=html.encode(), content_type="text/html; charset=utf-8")


@contextmanager
def scripted_server(replies: Sequence[Reply] | Reply) -> Iterator[Server]:
    """Serves `replies` on a free port of 127.0.0.1; everything it started has ended when the block is left."""
    server = _Server(replies)
    # The default interval lets every test wait half a second for the end.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}/v1", server.received)
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    # Threads are waited for at the end, so that no test leaves one behind.
    daemon_threads = False

    def __init__(self, replies: Sequence[Reply] | Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.closing = threading.Event()
        self.received: list[Request] = []
        self._replies = replies
        self._lock = threading.Lock()

    def next_reply(self, request: Request) -> Reply:
        with self._lock:
            self.received.append(request)
            if isinstance(self._replies, Reply):
                return self._replies
            number = len(self.received)
            if number > len(self._replies):
                return status(400, f"request {number}, but the script of this test has {len(self._replies)} replies")
            return self._replies[number - 1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = cast(_Server, self.server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, body, time.monotonic())
        reply = server.next_reply(request)
        # One connection a request: no thread waits for a next one.
        self.close_connection = True
        try:
            if self._client_left(reply.delay):
                request.hung_up.set()
            elif reply.deltas is None:
                self._send_content(reply)
            else:
                self._send_stream(reply, request)
        except OSError:
            request.hung_up.set()
        finally:
            request.answered.set()

    def _send_content(self, reply: Reply) -> None:
        self._send_head(reply, reply.content_type, {"Content-Length": str(len(reply.content))})
        self.wfile.write(reply.content)

    def _send_stream(self, reply: Reply, request: Request) -> None:
        assert reply.deltas is not None
        self._send_head(reply, "text/event-stream", {"Transfer-Encoding": "chunked"})
        for thought in reply.thoughts:
            self._send_choice({"content": None, "reasoning_content": thought, "reasoning": thought})
        for delta in reply.deltas(request.body):
            self._send_choice({"content": delta})
        if reply.ending == "cut":
            return
        if reply.ending == "garbage":
            self._send_event(reply.garbage)
        elif reply.ending == "hold" and self._client_left(reply.hold):
            request.hung_up.set()
            return
        elif reply.finish is not None:
            self._send_choice({}, reply.finish)
            if (request.body.get("stream_options") or {}).get("include_usage"):
                prompt, completion = reply.usage
                usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
                self._send_event(json.dumps({**_CHUNK, "choices": [], "usage": usage}))
            self._send_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _send_head(self, reply: Reply, content_type: str, framing: Mapping[str, str]) -> None:
        self.send_response(reply.status)
        for name, value in {"Content-Type": content_type, "Connection": "close", **framing, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_choice(self, delta: Mapping[str, str | None], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self._send_event(json.dumps({**_CHUNK, "choices": [choice]}))

    def _send_event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def _client_left(self, seconds: float) -> bool:
        """Waits `seconds`, less when the client hangs up (True) or the server is closing (False)."""
        server = cast(_Server, self.server)
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0 and not server.closing.is_set():
            # The client has sent all it has to say: what becomes readable now is the end of its side.
            if select.select([self.connection], [], [], min(rest, 0.02))[0]:
                return True
        return False

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output quiet."""


_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
