"""The openai client, held to the settings: nothing of the environment reaches an endpoint that the user named."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from rag.errors import InputError, NotConfiguredError

if TYPE_CHECKING:
    import httpx2
    import openai

OPENAI_URL = "https://api.openai.com/v1"

# Servers on one's own machine ask for no key, but the client insists on sending one.
_NO_KEY = "no-key"
_CONNECT_SECONDS = 10.0
# What is shorter is no secret, and taking it out of a message would only garble it.
_SHORTEST_SECRET = 4
# Seconds between two looks at a stop: too short to be felt, too long to be seen in the load.
_LOOK_SECONDS = 0.05
# An event cannot be waited for without an end.
_LONGEST_SLEEP = 3600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go, split into what may be shown and what must not.

    Attributes:
        url: scheme, host, port and path; the part that appears in messages.
        named: whether the user named it; False for OpenAI itself.
        key: sent as a bearer token, or as Azure's older addresses want it; see `credentials`.
        login: user and password from the URL; they replace the bearer token.
        query: sent with each request.
    """

    url: str
    named: bool
    key: str = field(repr=False)
    login: tuple[str, str] | None = field(repr=False)
    query: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that must appear in no message, longest first."""
        password = self.login[1:] if self.login else ()
        values = (self.key, *password, *(value for name, value in self.query if name != "api-version"))
        secret = (value for value in values if len(value) >= _SHORTEST_SECRET and value != _NO_KEY)
        return tuple(sorted(secret, key=len, reverse=True))

    @property
    def credentials(self) -> dict[str, str]:
        """The header that carries the key.

        Azure's addresses with a date in their query (`/openai/deployments/NAME?api-version=…`) take a key under a name
        of their own, and anything in `Authorization` for a token of Entra; its newer `/openai/v1` takes it as OpenAI.
        """
        if any(name == "api-version" for name, _ in self.query):
            return {"api-key": self.key}
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")


def endpoint(base_url: str | None, api_key: str | None) -> Endpoint:
    """The endpoint of these settings; None for OpenAI itself.

    Raises:
        InputError: the URL or the key cannot be used.
        NotConfiguredError: OpenAI itself, without a key.
    """
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError("the key in RAG_LLM__API_KEY has characters that no key has: copy it again, on one line")
    if base_url is None:
        if not key:
            raise NotConfiguredError(
                f"{OPENAI_URL} asks for a key: set RAG_LLM__API_KEY or OPENAI_API_KEY, "
                "or RAG_LLM__BASE_URL for a server of your own"
            )
        return Endpoint(OPENAI_URL, named=False, key=key, login=None, query=())
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = None, "", None
    if parts is None or parts.scheme not in ("http", "https") or not host or not host.isprintable() or " " in host:
        shown = base_url.split("?", 1)[0].rsplit("@", 1)[-1]
        raise InputError(
            f"RAG_LLM__BASE_URL {shown!r} is no http or https URL: write it like http://localhost:11434/v1"
        )
    place = f"[{host}]" if ":" in host else host
    if port is not None:
        place += f":{port}"
    url = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
    login = (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None
    return Endpoint(url, named=True, key=key or _NO_KEY, login=login, query=tuple(parse_qsl(parts.query)))


def limits(timeout: float) -> openai.Timeout:
    """At most `timeout` seconds for each sign of life, and no more than ten for a connection."""
    import openai

    return openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))


def connect(place: Endpoint) -> openai.OpenAI:
    """A client for `place` that sends each request once; how long it may take is said with each.

    openai takes what it is not given from OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS. Where the user
    named the endpoint those are meant for another one, so they are taken off each request before it is sent. The key is
    always given, and as a header too, because a custom header of the environment would override it.
    """
    import httpx2
    import openai

    own = place.credentials
    foreign = _environment_headers() - {name.lower() for name in own} if place.named else frozenset[str]()
    if "Authorization" not in own:
        foreign |= {"authorization"}

    def prepare(request: httpx2.Request) -> None:
        for name in foreign:
            request.headers.pop(name, None)
        if exchange := _SENDING.get():
            request.extensions = {**request.extensions, "trace": exchange.trace}

    http_client = openai.DefaultHttpxClient(
        auth=place.login,
        # A proxy of the environment cannot reach a server on this machine.
        trust_env=not place.is_loopback,
        event_hooks={"request": [prepare]},
        # An exchange must see its connection being made. It costs little: the client closes a connection at the end of
        # a stream anyway.
        limits=httpx2.Limits(max_keepalive_connections=0),
    )
    return openai.OpenAI(
        api_key=place.key,
        base_url=place.url,
        max_retries=0,
        default_headers=own,
        default_query=dict(place.query),
        http_client=http_client,
    )


class Exchange:
    """A request and its reply, ended at once when another thread sets `stop`, and at a point in time.

    Nothing can call off a read that waits for the server, but its connection can be shut down beneath it: the read then
    ends as if the server had hung up, in clear text and under TLS alike. A thread looks out for either as long as the
    `with` lasts. What cannot be cut short by `stop` is the making of a connection (at most 10 seconds for each address
    of the host); nothing is sent on it then.
    """

    def __init__(self, stop: threading.Event | None, until: float) -> None:
        """Waits for its `with`.

        Args:
            until: the latest end, in seconds of `time.monotonic`.
        """
        self._stop = stop
        self._until = until
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        # A stream that somebody forgot must not keep the program from ending.
        self._lookout = threading.Thread(target=self._look_out, name="rag-stop", daemon=True)

    @property
    def stopped(self) -> bool:
        """Whether `stop` is set."""
        return self._stop is not None and self._stop.is_set()

    @property
    def must_end(self) -> bool:
        """Whether it was stopped, or its time is over."""
        return self.stopped or time.monotonic() >= self._until

    def __enter__(self) -> Self:
        self._lookout.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        # A forgotten stream may be collected in any thread, this one too.
        if self._lookout is not threading.current_thread():
            self._lookout.join()
        for twin in self._sockets:
            twin.close()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Requests of this thread inside the block belong to this exchange."""
        token = _SENDING.set(self)
        try:
            yield
        finally:
            _SENDING.reset(token)

    def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Takes note of the connection; called by httpcore2 at every step of a request (its `trace` extension)."""
        if not event.endswith("connect_tcp.complete"):
            return
        # A twin of the socket: TLS moves the original into another object.
        self._sockets.append(details["return_value"].get_extra_info("socket").dup())
        if self.must_end:
            self._hang_up()

    def _look_out(self) -> None:
        while not self._over.wait(self._next_look()):
            if self.must_end:
                self._hang_up()
                return

    def _next_look(self) -> float:
        rest = max(0.0, self._until - time.monotonic())
        # Without a stop there is nothing to look for before the end.
        return min(rest, _LONGEST_SLEEP if self._stop is None else _LOOK_SECONDS)

    def _hang_up(self) -> None:
        for twin in tuple(self._sockets):
            # The server may have been quicker.
            with suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)


_SENDING: ContextVar[Exchange | None] = ContextVar("_SENDING", default=None)


def asked_to_wait(headers: httpx2.Headers) -> float | None:
    """Seconds that the server asks to wait before the next request (Retry-After, RFC 9110 section 10.2.3)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return float(value) / unit
        except ValueError:
            pass
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            continue
        return (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None


def _environment_headers() -> frozenset[str]:
    """Names of the headers that openai adds from the environment, in lower case."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    custom = (line.split(":", 1)[0].strip().lower() for line in lines if ":" in line)
    return frozenset({"openai-organization", "openai-project", *custom}) - {""}
