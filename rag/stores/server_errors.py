"""What went wrong between this program and a Qdrant server, in one line each with the way out.

The client raises errors of four families (its own two, gRPC's, and plain ValueError for answers that are no JSON);
everything that knows them is here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rag.errors import IndexMissingError, RagError, StoreError
from rag.stores.server_address import ServerAddress

_TRANSIENT = (429, 500, 502, 503, 504)
_LONGEST_REASON = 200  # characters of what a server says
_UNREADABLE = "its answer cannot be read"  # the parser's own words would repeat what it read


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request in this program's words.

    Attributes:
        status: the HTTP status, or the HTTP status that means what gRPC's status means; None without an answer.
        reason: what the server or the network said, one line.
        transient: whether the same request may succeed a little later.
        wait: seconds that the server asks to wait before.
        kind: `answer`, `refused` (nobody listens), `timeout`, `lost` (broke off), `tls` or `garbage` (not Qdrant's).
    """

    kind: str
    reason: str
    status: int | None = None
    transient: bool = False
    wait: float = 0.0


def vendor_errors() -> tuple[type[Exception], ...]:
    """What the client raises when a request fails; everything else is a mistake in this program."""
    import grpc
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException

    # The client asserts that an answer has a result, and lets an answer that is no JSON escape as a ValueError.
    return (ApiException, QdrantException, grpc.RpcError, AssertionError, ValueError)


def failure_of(error: Exception) -> Failure:
    """Reads one of `vendor_errors`."""
    import grpc
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        status = error.status_code or 0
        return Failure("answer", _said(error), status, transient=status in _TRANSIENT)
    if isinstance(error, ResourceExhaustedResponse):
        return Failure("answer", _line(error.message), 429, transient=True, wait=float(error.retry_after_s))
    if isinstance(error, ResponseHandlingException):
        return _failure_of_http(error.source)
    if isinstance(error, grpc.RpcError):
        return _failure_of_grpc(error)
    if isinstance(error, ValueError) and "not found" in str(error):  # the client's own engine in this process
        return Failure("answer", _line(str(error)), 404)
    return Failure("garbage", _UNREADABLE)


def translated(
    failure: Failure, doing: str, address: ServerAddress, api_key: str | None, collection: str, timeout: float
) -> RagError:
    """The error to raise for a failed request; never holds the key.

    Args:
        doing: the verb phrase of what was tried, such as `search`.
        timeout: seconds that the request was given.
    """
    url = address.url
    reason = failure.reason.replace(api_key, "…") if api_key else failure.reason
    answers: dict[str, Callable[[], str]] = {
        "refused": lambda: (
            f"no server answers at {url} ({reason}): start it (`docker compose up -d`), "
            "or correct RAG_STORE__URL or --store"
        ),
        "timeout": lambda: (
            f"the Qdrant server at {url} did not {doing} within {timeout:g} s: try again, or raise RAG_STORE__TIMEOUT"
        ),
        "lost": lambda: (
            f"the connection to {url} broke off ({reason}): see whether the server runs, and that the port is Qdrant's "
            "HTTP port (6333 by default), not its gRPC port (6334)"
        ),
        "tls": lambda: (
            f"no secure connection to {url} ({reason}): write http:// if the server has no TLS, "
            "else give it a certificate that this machine trusts"
        ),
        "garbage": lambda: (
            f"what answers at {url} is no Qdrant server ({reason}): correct the port in RAG_STORE__URL or --store, "
            "6333 by default"
        ),
    }
    if failure.kind in answers:
        return StoreError(answers[failure.kind]())
    return _translated_status(failure.status or 0, reason, doing, url, api_key, collection)


def _translated_status(
    status: int, reason: str, doing: str, url: str, api_key: str | None, collection: str
) -> RagError:
    if status == 401 or (status == 403 and not api_key):
        if not api_key:
            return StoreError(f"the Qdrant server at {url} wants an API key: set RAG_STORE__API_KEY")
        return StoreError(f"the Qdrant server at {url} refuses the API key: correct RAG_STORE__API_KEY")
    if status == 403:
        return StoreError(
            f"the Qdrant server at {url} does not let this API key {doing} (wrong, or read-only): "
            "correct RAG_STORE__API_KEY"
        )
    if status == 404 and "ollection" in reason:
        return IndexMissingError(f"there is no collection {collection!r} at {url}: make one with `ingest PATH…`")
    if status == 404 or 300 <= status < 400:
        return StoreError(
            f"what answers at {url} is no Qdrant server (HTTP {status}): correct RAG_STORE__URL or --store, "
            "http://host:6333 by default"
        )
    if status == 429:
        return StoreError(f"the Qdrant server at {url} is too busy to {doing} ({reason}): try again later")
    if status >= 500:
        return StoreError(
            f"the Qdrant server at {url} failed to {doing} (HTTP {status}: {reason}): see its log and its disk's space"
        )
    return StoreError(
        f"the Qdrant server at {url} refused to {doing} (HTTP {status}: {reason}): "
        "see whether its version fits, or ingest again into another --collection"
    )


def _failure_of_http(source: Any) -> Failure:
    import httpx

    reason = _line(str(source)) or type(source).__name__
    if isinstance(source, httpx.ConnectTimeout):
        return Failure("refused", "no answer to the connection", transient=True)
    if isinstance(source, httpx.TimeoutException):
        return Failure("timeout", reason, transient=True)
    if isinstance(source, httpx.ConnectError):
        if "SSL" in reason or "CERTIFICATE" in reason:
            return Failure("tls", reason)
        return Failure("refused", reason, transient=True)
    if isinstance(source, httpx.TransportError):
        return Failure("lost", reason, transient=True)
    return Failure("garbage", _UNREADABLE)


def _failure_of_grpc(error: Any) -> Failure:
    """gRPC's status as the HTTP status that the same refusal has on Qdrant's other port."""
    import grpc

    code = error.code() if callable(getattr(error, "code", None)) else None
    reason = _line((error.details() if callable(getattr(error, "details", None)) else "") or str(code))
    if code == grpc.StatusCode.UNAVAILABLE and re.search("connect|resol|dns", reason, re.IGNORECASE):
        return Failure("refused", reason, transient=True)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Failure("timeout", reason, transient=True)
    if code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED):
        return Failure("lost", reason, transient=True)
    statuses = {
        grpc.StatusCode.UNAUTHENTICATED: 401,
        grpc.StatusCode.PERMISSION_DENIED: 403,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.ALREADY_EXISTS: 409,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.ABORTED: 503,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.INTERNAL: 500,
        grpc.StatusCode.UNIMPLEMENTED: 501,
    }
    status = statuses.get(code, 400)
    return Failure("answer", reason, status, transient=status in _TRANSIENT)


def _said(error: Any) -> str:
    """The server's own words out of a refusal: Qdrant's `status.error`, else the HTTP reason."""
    try:
        said = error.structured()["status"]["error"]
    except (ValueError, KeyError, TypeError):
        said = error.reason_phrase
    return _line(str(said))


def _line(text: str) -> str:
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
