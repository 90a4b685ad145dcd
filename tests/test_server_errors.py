"""What the user reads when a Qdrant server is down, wrong, too old, unwilling, or goes away: against real sockets."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rag.errors import IndexMissingError, InputError, RagError, StoreError
from rag.stores.server import ServerStore
from rag.stores.server_address import ServerAddress
from tests.qdrant_server import Call, QdrantServer, Refusal, qdrant_server, two_free_ports
from tests.store_contract import INFO, everything, make_document, put

KEY = "s3cret-key-of-the-tests"
PROTOCOLS = pytest.mark.parametrize("with_grpc", [True, False], ids=["grpc", "http"])


@contextmanager
def opened(url: str, api_key: str | None = None, timeout: float = 1.0) -> Iterator[ServerStore]:
    store = ServerStore(url, "library", api_key=api_key, timeout=timeout)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def web_server(status: int, body: str, port: int = 0, headers: tuple[tuple[str, str], ...] = ()) -> Iterator[str]:
    """A server that is no Qdrant and answers every GET alike; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refusal_of(action: Callable[[], object]) -> StoreError:
    """The error of an action: of the kind that exits with 5, and one line."""
    with pytest.raises(StoreError) as refusal:
        action()
    assert refusal.value.exit_code == 5
    assert "\n" not in str(refusal.value)
    return refusal.value


# No server, or another one


def test_a_server_that_is_down_is_said_with_how_to_start_it() -> None:
    url = f"http://127.0.0.1:{two_free_ports()}"
    with opened(url) as store:
        for action in (store.info, lambda: store.prepare(INFO), lambda: everything(store)):
            message = str(refusal_of(action))
            assert message.startswith(f"no server answers at {url} ")
            assert "docker compose up -d" in message
            assert "RAG_STORE__URL" in message


def test_a_host_that_does_not_exist_is_no_server() -> None:
    with opened("http://nowhere.invalid:6333") as store:
        assert "no server answers at http://nowhere.invalid:6333" in str(refusal_of(store.info))


def test_the_grpc_port_in_the_url_is_recognised() -> None:
    with qdrant_server() as server, opened(f"http://127.0.0.1:{server.port + 1}") as store:
        message = str(refusal_of(store.info))
    assert str(server.port + 1) in message
    assert "HTTP port (6333 by default), not its gRPC port (6334)" in message


def test_a_web_server_on_the_grpc_port_is_no_obstacle() -> None:
    with qdrant_server(grpc=False) as server, web_server(200, "hello", server.port + 1), opened(server.url) as store:
        store.prepare(INFO)
        assert {call.protocol for call in server.calls} == {"http"}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, "<html>It works!</html>", "is no Qdrant server"),
        (200, '{"name": "node-1", "version": {"number": "8.1"}}', "is no Qdrant server"),
        (200, "null", "is no Qdrant server"),
        (200, "\ufffd\x00", "is no Qdrant server"),
        (404, "not here", "is no Qdrant server (HTTP 404)"),
        (301, "moved", "is no Qdrant server (HTTP 301)"),
        (500, "oops", "failed to answer (HTTP 500"),
        (401, "who are you", "wants an API key"),
        (403, "no", "wants an API key"),
    ],
)
def test_what_is_no_qdrant_server_is_said_to_be_none(status: int, body: str, said: str) -> None:
    with web_server(status, body) as url, opened(url) as store:
        message = str(refusal_of(store.info))
    assert said in message
    assert url in message
    assert "RAG_STORE__" in message or "log" in message


def test_a_server_without_tls_asked_for_it_says_how_to_write_the_url() -> None:
    with qdrant_server(grpc=False) as server, opened(server.url.replace("http://", "https://")) as store:
        message = str(refusal_of(store.info))
    assert "no secure connection" in message
    assert "write http:// if the server has no TLS" in message


def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        opened(f"http://127.0.0.1:{silent.getsockname()[1]}") as store,
    ):
        message = str(refusal_of(store.info))
    assert "within 1 s" in message
    assert "RAG_STORE__TIMEOUT" in message


@pytest.mark.parametrize("version", ["0.11.0", "1.9.7", "1.15.5", "dev"])
def test_a_server_that_is_too_old_is_refused_with_both_versions(version: str) -> None:
    with qdrant_server(version=version, grpc=False) as server, opened(server.url) as store:
        message = str(refusal_of(store.info))
    assert f"has version {version}, but 1.16 is the oldest" in message
    assert "upgrade" in message
    assert server.calls == []


@pytest.mark.parametrize("version", ["1.16.0", "1.20.0-dev", "2.0.1"])
def test_a_server_that_is_new_enough_is_taken(version: str) -> None:
    with qdrant_server(version=version, grpc=False) as server, opened(server.url) as store:
        store.prepare(INFO)
        assert store.info() == INFO


# Keys


@PROTOCOLS
def test_a_missing_and_a_wrong_key_are_told_apart(with_grpc: bool) -> None:
    with qdrant_server(api_key=KEY, grpc=with_grpc) as server:
        with opened(server.url) as store:
            assert "wants an API key: set RAG_STORE__API_KEY" in str(refusal_of(store.info))
        with opened(server.url, "another-key") as store:
            message = str(refusal_of(store.info))
            assert "refuses the API key: correct RAG_STORE__API_KEY" in message
            assert "another-key" not in message
        with opened(server.url, KEY) as store:
            store.prepare(INFO)
            assert store.info() == INFO


@PROTOCOLS
def test_a_key_that_may_only_read_reads_and_is_said_not_to_write(with_grpc: bool) -> None:
    def read_only(call: Call) -> None:
        if call.name in ("create", "index", "upsert", "set_payload", "delete"):
            raise Refusal(403, "Forbidden: read-only")

    with qdrant_server(api_key=KEY, grpc=with_grpc) as server, opened(server.url, KEY) as store:
        store.prepare(INFO)
        put(store, make_document("file:///a", "v1", 2))
        server.before = read_only
        with opened(server.url, KEY) as reader:
            assert len(everything(reader)) == 2
            message = str(refusal_of(lambda: put(reader, make_document("file:///b", "v1", 1))))
            assert "does not let this API key delete (wrong, or read-only)" in message
        server.before = lambda call: None


@PROTOCOLS
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_the_key_is_in_no_message_and_no_log_even_when_the_server_repeats_it(
    status: int, with_grpc: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="rag")
    with qdrant_server(api_key=KEY, grpc=with_grpc) as server, opened(server.url, KEY, timeout=0.3) as store:
        store.prepare(INFO)

        def refuse(call: Call) -> None:
            raise Refusal(status, f"the Collection says no to key {KEY}")

        server.before = refuse
        for action in (store.info, lambda: store.remove("file:///a")):
            with pytest.raises(RagError) as refusal:
                action()
            assert KEY not in str(refusal.value)
            assert "\n" not in str(refusal.value)
        assert KEY not in caplog.text


def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it() -> None:
    for key in ("line\nbreak", "schlüssel"):
        with pytest.raises(InputError, match="RAG_STORE__API_KEY") as refusal:
            ServerStore("http://localhost:6333", "library", api_key=key)
        assert key not in str(refusal.value)


def test_a_key_over_an_open_network_is_warned_about_and_over_loopback_not(caplog: pytest.LogCaptureFixture) -> None:
    with qdrant_server(api_key=KEY, grpc=False) as server, opened(server.url, KEY) as store:
        store.prepare(INFO)
    assert "unencrypted" not in caplog.text
    with opened("http://nowhere.invalid:6333", KEY) as store:
        refusal_of(store.info)
    assert "unencrypted" in caplog.text
    assert KEY not in caplog.text


# URLs


@pytest.mark.parametrize(
    ("url", "read_as", "grpc_port"),
    [
        ("http://localhost:6333", "http://localhost:6333", 6334),
        ("http://localhost", "http://localhost:6333", 6334),
        ("https://cluster.example.org", "https://cluster.example.org:6333", 6334),
        ("https://example.org:443", "https://example.org:443", None),
        ("https://example.org:8443/qdrant/", "https://example.org:8443/qdrant", None),
        ("http://[::1]:7000", "http://[::1]:7000", 7001),
        (" http://localhost:6333/ ", "http://localhost:6333", 6334),
    ],
)
def test_an_address_is_read(url: str, read_as: str, grpc_port: int | None) -> None:
    address = ServerAddress.parse(url)
    assert (address.url, address.grpc_port) == (read_as, grpc_port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6333",
        "ftp://localhost",
        "http://",
        "http://host:port",
        "http://[::1",
        "http://localhost?key=s3cret",
    ],
)
def test_what_is_no_address_is_refused_with_the_form_it_must_have(url: str) -> None:
    with pytest.raises(InputError, match="write it as http://host:6333") as refusal:
        ServerStore(url, "library")
    assert "s3cret" not in str(refusal.value)


def test_a_password_in_the_address_is_not_repeated() -> None:
    with pytest.raises(InputError, match="RAG_STORE__API_KEY") as refusal:
        ServerStore("http://me:s3cret@localhost:6333", "library")
    assert "s3cret" not in str(refusal.value)


# Trouble on the way


@pytest.fixture(params=[True, False], ids=["grpc", "http"])
def server(request: pytest.FixtureRequest) -> Iterator[QdrantServer]:
    with qdrant_server(grpc=request.param) as server:
        yield server


@pytest.fixture
def store(server: QdrantServer) -> Iterator[ServerStore]:
    with opened(server.url, timeout=10) as store:
        store.prepare(INFO)
        server.calls.clear()
        yield store


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_write_is_tried_again_while_the_server_is_overloaded(
    status: int, server: QdrantServer, store: ServerStore
) -> None:
    server.refuse(3, status)
    put(store, make_document("file:///a", "v1", 300))
    assert len(list(store.chunks("file:///a"))) == 300


def test_a_search_is_tried_again_when_the_server_stumbles(server: QdrantServer, store: ServerStore) -> None:
    put(store, make_document("file:///a", "v1", 2))
    server.refuse(2, 503)
    assert len(everything(store)) == 2


def test_a_refusal_for_good_is_not_tried_again(server: QdrantServer, store: ServerStore) -> None:
    server.refuse(1, 400, "Wrong input: no")
    message = str(refusal_of(lambda: store.remove("file:///a")))
    assert "refused to delete (HTTP 400: Wrong input: no)" in message
    assert server.names() == ["delete"]


@pytest.mark.parametrize(("status", "said"), [(429, "is too busy to delete"), (500, "failed to delete (HTTP 500")])
def test_trying_again_ends_at_the_timeout(status: int, said: str, server: QdrantServer, store: ServerStore) -> None:
    with opened(server.url, timeout=0.5) as impatient:
        impatient.info()
        server.calls.clear()
        server.refuse(1000, status)
        assert said in str(refusal_of(lambda: impatient.remove("file:///a")))
        assert 2 <= server.names().count("delete") < 20
        server._refusals.clear()


def test_a_server_that_comes_back_in_time_is_waited_for(server: QdrantServer, store: ServerStore) -> None:
    put(store, make_document("file:///a", "v1", 2))
    server.stop()
    later = threading.Timer(0.5, server.start)
    later.start()
    put(store, make_document("file:///b", "v1", 2))
    later.join()
    assert [each.uri for each in store.documents()] == ["file:///a", "file:///b"]


def test_a_server_that_goes_away_in_the_middle_of_an_ingest_leaves_what_was_committed(
    server: QdrantServer, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(server.url, timeout=0.5) as store:
        store.prepare(INFO)
        put(store, make_document("file:///a", "v1", 2))
        put(store, make_document("file:///b", "v1", 2))
        store.stage(*make_document("file:///b", "v2", 3))
        server.stop()
        refusal_of(lambda: store.commit("file:///b", "v2"))
        refusal_of(lambda: store.stage(*make_document("file:///c", "v1", 300)))
        store.close()
        assert "staged and not committed" in caplog.text
        server.start()
        assert [(each.uri, each.version) for each in store.documents()] == [("file:///a", "v1"), ("file:///b", "v1")]
        put(store, make_document("file:///b", "v2", 3))
        assert [each.version for each in store.documents()] == ["v1", "v2"]


def test_a_collection_that_is_deleted_under_the_program_is_said_to_be_missing(
    server: QdrantServer, store: ServerStore
) -> None:
    put(store, make_document("file:///a", "v1", 2))
    server._engine.delete_collection("library")
    for action in (lambda: everything(store), lambda: store.stage(*make_document("file:///b", "v1", 1)), store.info):
        with pytest.raises(IndexMissingError, match=r"'library'.*ingest PATH"):
            action()
