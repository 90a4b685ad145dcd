"""The store on a Qdrant server: the port's contract on four engines, and what goes over the wire.

A real server is taken from QDRANT_TEST_URL (with QDRANT_TEST_API_KEY), else started with testcontainers from the image
that docker-compose.yml names, else those tests are skipped; with REQUIRE_QDRANT=1 they fail instead.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from qdrant_client import QdrantClient, models

from rag.errors import IndexMismatchError, IndexMissingError, StoreError
from rag.ports import PassageStore
from rag.stores.schema import CANDIDATE_FIELDS, SCHEMA_VERSION
from rag.stores.server import LEASE_SECONDS, ServerStore
from rag.stores.server_connection import server_at
from rag.stores.server_metadata import collections_on
from rag.types import Where
from tests.qdrant_server import Call, QdrantServer, Refusal, qdrant_server, two_free_ports
from tests.store_contract import (
    INFO,
    WITH_TENANTS,
    Reopen,
    StoreContract,
    everything,
    make_chunk,
    make_document,
    make_embedding,
    put,
)

COMPOSE = Path(__file__).parent.parent / "docker-compose.yml"
NOWHERE = "http://localhost:6333"  # for a store that is given its client

NewStore = Callable[[], ServerStore]


class ServerContract(StoreContract):
    """The contract over `new_store`, which opens one and the same collection each time."""

    @pytest.fixture
    def new_store(self) -> NewStore:
        raise NotImplementedError("override this fixture with a function that opens the test's collection")

    @pytest.fixture
    def empty(self, new_store: NewStore) -> Iterator[PassageStore]:
        store = new_store()
        yield store
        store.close()

    @pytest.fixture
    def reopen(self, new_store: NewStore) -> Iterator[Reopen]:
        opened: list[ServerStore] = []

        def reopen(store: PassageStore) -> PassageStore:
            store.close()
            opened.append(new_store())
            return opened[-1]

        yield reopen
        for store in opened:
            store.close()


class TestServerStoreInMemory(ServerContract):
    @pytest.fixture
    def new_store(self) -> Iterator[NewStore]:
        client = QdrantClient(":memory:")
        yield lambda: ServerStore(NOWHERE, "library", client=client, parallel=1)
        client.close()


@pytest.fixture(scope="module")
def http_server() -> Iterator[QdrantServer]:
    with qdrant_server(grpc=False) as server:
        yield server


@pytest.fixture(scope="module")
def grpc_server() -> Iterator[QdrantServer]:
    with qdrant_server() as server:
        yield server


def new_stores(server: QdrantServer, protocol: str) -> Iterator[NewStore]:
    """A new collection's, which must have gone over the protocol alone."""
    collection = uuid4().hex
    server.calls.clear()
    yield lambda: ServerStore(server.url, collection)
    assert {call.protocol for call in server.calls} == {protocol}


class TestServerStoreOverHTTP(ServerContract):
    @pytest.fixture
    def new_store(self, http_server: QdrantServer) -> Iterator[NewStore]:
        yield from new_stores(http_server, "http")


class TestServerStoreOverGRPC(ServerContract):
    @pytest.fixture
    def new_store(self, grpc_server: QdrantServer) -> Iterator[NewStore]:
        yield from new_stores(grpc_server, "grpc")


@pytest.fixture(scope="module")
def real_server() -> Iterator[tuple[str, str | None]]:
    """URL and key of a real Qdrant."""
    url = os.environ.get("QDRANT_TEST_URL")
    if url:
        yield url, os.environ.get("QDRANT_TEST_API_KEY")
        return
    port, key = two_free_ports(), "key-of-the-tests"
    container = started_container(port, key)
    if isinstance(container, str):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the docker client leaves its socket behind
            gc.collect()
        reason = f"no Qdrant server: set QDRANT_TEST_URL, or start Docker ({container})"
        if os.environ.get("REQUIRE_QDRANT") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield f"http://127.0.0.1:{port}", key
    finally:
        container.stop()


def started_container(port: int, key: str) -> Any:
    """The container, or why there is none."""
    from docker.errors import DockerException
    from testcontainers.community.qdrant import QdrantContainer

    try:
        container = QdrantContainer(image=compose_service()["image"], api_key=key)
        return container.with_bind_ports(6333, port).with_bind_ports(6334, port + 1).start()
    except DockerException as error:
        return str(error)


@pytest.mark.parametrize(
    ("prefer_grpc", "quantization"), [(True, False), (False, True)], ids=["grpc-float32", "http-int8"]
)
class TestServerStoreOnARealServer(ServerContract):
    @pytest.fixture
    def new_store(
        self, real_server: tuple[str, str | None], prefer_grpc: bool, quantization: bool
    ) -> Iterator[NewStore]:
        url, key = real_server
        collection = f"test-{uuid4().hex}"
        opened: list[ServerStore] = []

        def new_store() -> ServerStore:
            opened.append(ServerStore(url, collection, api_key=key, quantization=quantization, prefer_grpc=prefer_grpc))
            return opened[-1]

        yield new_store
        opened[-1]._connection.write("delete the collection", lambda client: client.delete_collection(collection))
        for store in opened:
            store.close()


def compose_service() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]["qdrant"]
    return service


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with qdrant_server() as server:
        yield server


@pytest.fixture
def store(server: QdrantServer) -> Iterator[ServerStore]:
    store = ServerStore(server.url, "library", timeout=5)
    store.prepare(INFO)
    yield store
    store.close()


@pytest.fixture
def second(server: QdrantServer, store: ServerStore) -> Iterator[ServerStore]:
    """Another writer to the collection of `store`."""
    second = ServerStore(server.url, "library", timeout=5)
    yield second
    second.close()


# Creating


def test_a_collection_that_was_never_made_says_how_to_make_it(server: QdrantServer) -> None:
    store = ServerStore(server.url, "library")
    for question in (store.info, lambda: everything(store), lambda: list(store.documents())):
        with pytest.raises(IndexMissingError, match="ingest PATH") as refusal:
            question()
        assert "'library'" in str(refusal.value)
        assert server.url in str(refusal.value)
    assert "create" not in server.names()
    store.close()


def test_every_index_is_made_before_the_first_point(server: QdrantServer, store: ServerStore) -> None:
    put(store, make_document("file:///a", "v1", 1, metadata={"team": "ops"}))
    put(store, make_document("file:///b", "v1", 1, metadata={"team": "dev", "year": "2031"}))
    indexed = {call.arguments["field"]: call.arguments["kind"].value for call in server.calls if call.name == "index"}
    assert indexed == {
        **dict.fromkeys(("uri", "version", "state", "language", "text_hash"), "keyword"),
        "ordinal": "integer",
        "staged_at": "float",
        "metadata.team": "keyword",
        "metadata.year": "keyword",
    }
    order = [
        call.arguments.get("field", call.name) for call in server.calls if call.name in ("create", "index", "upsert")
    ]
    first, last = order.index("upsert"), len(order) - 1 - order[::-1].index("upsert")
    assert order[0] == "create"
    assert set(order[1:first]) == set(indexed) - {"metadata.year"}
    assert order[first + 1 : last] == ["metadata.year"]


@pytest.mark.parametrize("with_grpc", [True, False], ids=["grpc", "http"])
def test_the_tenant_s_index_and_those_of_the_settings_are_made_before_any_data(with_grpc: bool) -> None:
    with qdrant_server(grpc=with_grpc) as server:
        store = ServerStore(server.url, "library", metadata_keys=("year", "team"))
        store.prepare(WITH_TENANTS)
        request = next(call for call in server.calls if call.name == "create").arguments["request"]
        assert request.metadata["tenant_key"] == "team"
        indexes = {call.arguments["field"]: call.arguments for call in server.calls if call.name == "index"}
        assert indexes["metadata.team"]["params"] == models.KeywordIndexParams(
            type=models.KeywordIndexType.KEYWORD, is_tenant=True
        )
        assert indexes["metadata.year"]["kind"] == models.PayloadSchemaType.KEYWORD
        assert [field for field, index in indexes.items() if index["params"]] == ["metadata.team"]
        assert "upsert" not in server.names()
        server.calls.clear()
        put(store, make_document("file:///a", "v1", 1, metadata={"team": "ops", "year": "2031"}))
        assert "index" not in server.names()
        store.close()


@pytest.mark.parametrize("with_grpc", [True, False], ids=["grpc", "http"])
def test_the_collections_of_a_server_are_those_of_this_application(with_grpc: bool) -> None:
    with qdrant_server(api_key="k", grpc=with_grpc) as server:
        for name in ("zoo", "alpha"):
            store = ServerStore(server.url, name, api_key="k")
            store.prepare(INFO)
            store.close()
        vectors = models.VectorParams(size=4, distance=models.Distance.DOT)
        server._engine.create_collection("recipes", vectors_config=vectors, metadata={"application": "recipes"})
        assert collections_on(server.url, api_key="k") == ["alpha", "zoo"]
        with pytest.raises(StoreError, match="refuses the API key"):
            collections_on(server.url, api_key="wrong")

        def drop(call: Call) -> None:
            if call.name == "list":
                server._engine.delete_collection("zoo")

        server.before = drop
        assert collections_on(server.url, api_key="k") == ["alpha"]


@pytest.mark.parametrize(("with_grpc", "protocol"), [(True, "gRPC"), (False, "HTTP")])
def test_a_server_says_what_it_is(with_grpc: bool, protocol: str) -> None:
    with qdrant_server(grpc=with_grpc) as server:
        assert server_at(server.url, api_key=None, timeout=5) == f"Qdrant 1.19.1 over {protocol}"


def test_what_a_dead_creator_left_out_is_made_up_for(server: QdrantServer) -> None:
    def die(call: Call) -> None:
        if call.name == "index" and call.arguments["field"] == "state":
            raise Refusal(400, "gone")

    server.before = die
    first = ServerStore(server.url, "library")
    with pytest.raises(StoreError, match="gone"):
        first.prepare(INFO)
    server.before = lambda call: None
    server.calls.clear()
    first.prepare(INFO)
    made = [call.arguments["field"] for call in server.calls if call.name == "index"]
    assert "state" in made
    assert "uri" not in made
    assert "create" not in server.names()
    first.close()


def test_two_programs_may_create_the_collection_at_once(server: QdrantServer) -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(call: Call) -> None:
        if call.name == "create":
            both.wait()

    server.before = meet
    stores = [ServerStore(server.url, "library") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda store: store.prepare(INFO), stores))
    assert server.names().count("create") == 2
    put(stores[0], make_document("file:///a", "v1", 2))
    assert len(everything(stores[1])) == 2
    for store in stores:
        store.close()


@pytest.mark.parametrize("with_grpc", [True, False], ids=["grpc", "http"])
def test_the_collection_is_made_as_the_settings_say(with_grpc: bool) -> None:
    with qdrant_server(grpc=with_grpc) as server:
        for quantization, on_disk in ((True, True), (False, False)):
            store = ServerStore(server.url, uuid4().hex, quantization=quantization, on_disk=on_disk)
            store.prepare(INFO)
            request = next(call for call in reversed(server.calls) if call.name == "create").arguments["request"]
            assert request.vectors["dense"].size == INFO.dimension
            assert request.vectors["dense"].distance == models.Distance.COSINE
            assert request.vectors["dense"].on_disk is on_disk
            assert request.sparse_vectors["sparse"].modifier is None
            assert request.shard_number == 1
            assert request.metadata == {
                "application": "cross-lingual-rag",
                "schema_version": SCHEMA_VERSION,
                "fingerprint": INFO.fingerprint,
                "model": INFO.model,
                "dimension": INFO.dimension,
            }
            if quantization:
                assert request.quantization_config.scalar.type == models.ScalarType.INT8
            else:
                assert request.quantization_config is None
            store.close()


@pytest.mark.parametrize("metadata", [None, {"application": "recipes", "schema_version": 1}, {"fingerprint": "00"}])
def test_a_collection_of_another_application_is_refused_and_left_alone(metadata: dict[str, Any] | None) -> None:
    client = QdrantClient(":memory:")
    client.create_collection(
        "recipes", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT), metadata=metadata
    )
    store = ServerStore(NOWHERE, "recipes", client=client)
    document = make_document("file:///a", "v1", 1)
    for attempt in (store.info, lambda: store.prepare(INFO), lambda: everything(store), lambda: store.stage(*document)):
        with pytest.raises(IndexMismatchError, match=r"'recipes'.* belongs to another application.*--collection"):
            attempt()
    with pytest.raises(IndexMismatchError):
        store.remove("file:///a")
    assert client.count("recipes").count == 0
    client.close()


# Searching


@pytest.mark.parametrize("with_grpc", [True, False], ids=["grpc", "http"])
def test_a_search_is_one_round_trip_with_the_whole_filter_everywhere_and_exact_scores(with_grpc: bool) -> None:
    with qdrant_server(grpc=with_grpc) as server:
        store = ServerStore(server.url, "library")
        store.prepare(INFO)
        put(store, make_document("file:///a", "v1", 3, language="de", metadata={"team": "ops"}))
        server.calls.clear()
        store.candidates(make_embedding(7), 5, Where(languages=("de", "ja"), metadata={"team": "ops"}))
        store.close()
    [search] = server.calls
    assert search.name == "query"
    by_dense, by_sparse = search.arguments["requests"]
    assert (by_dense.using, by_sparse.using) == ("dense", "sparse")
    assert by_dense.params.exact is True
    assert (by_dense.with_payload, by_sparse.with_payload) == (list(CANDIDATE_FIELDS), False)
    assert by_dense.prefetch == by_sparse.prefetch
    filters = [each.filter for request in (by_dense, by_sparse) for each in (request, *request.prefetch)]
    assert len(filters) == 6
    for condition in filters:
        assert {field.key: field.match.any for field in condition.must} == {
            "state": ["live"],
            "language": ["de", "ja"],
            "metadata.team": ["ops"],
        }
    dense = by_dense.prefetch[0]
    assert (dense.limit, dense.params.quantization.rescore) == (5, True)
    assert by_dense.limit == by_sparse.limit == 10


# Writing


def test_a_long_document_goes_in_batches_of_at_most_128_points(server: QdrantServer, store: ServerStore) -> None:
    put(store, make_document("file:///a", "v1", 700))
    sizes = [len(call.arguments["points"]) for call in server.calls if call.name == "upsert"]
    assert sorted(sizes) == [60, 128, 128, 128, 128, 128]


def test_the_streams_of_one_upload_run_at_once(server: QdrantServer, store: ServerStore) -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(call: Call) -> None:
        if call.name == "upsert":
            both.wait()  # breaks, and with it the test, unless two uploads are under way together

    server.before = meet
    put(store, make_document("file:///a", "v1", 256))
    server.before = lambda call: None
    assert len(list(store.chunks("file:///a"))) == 256


def test_what_is_live_is_not_taken_out_of_the_search_by_a_writer_that_stages_it_again(
    store: ServerStore, second: ServerStore
) -> None:
    document = make_document("file:///a", "v1", 3)
    put(store, document)
    second.stage(*document)
    assert len(everything(store)) == 3
    second.close()
    assert len(everything(store)) == 3


def test_staged_points_of_a_dead_writer_go_when_the_lease_is_over_and_not_before() -> None:
    client = QdrantClient(":memory:")
    dead, alive, third = (ServerStore(NOWHERE, "library", client=client) for _ in range(3))
    dead.prepare(INFO)
    dead.stage(*make_document("file:///dead", "v1", 3))
    of_the_dead = models.Filter(must=[models.FieldCondition(key="uri", match=models.MatchValue(value="file:///dead"))])
    client.set_payload("library", {"staged_at": time.time() - LEASE_SECONDS - 5}, of_the_dead)
    alive.stage(*make_document("file:///alive", "v1", 2))
    assert client.count("library").count == 2

    third.stage(*make_document("file:///third", "v1", 1))
    alive.commit("file:///alive", "v1")
    third.commit("file:///third", "v1")
    assert [each.uri for each in alive.documents()] == ["file:///alive", "file:///third"]
    with pytest.raises(StoreError, match="0 of 3"):
        dead.commit("file:///dead", "v1")
    client.close()


def test_of_two_writers_of_one_document_the_later_commit_stays(store: ServerStore, second: ServerStore) -> None:
    put(store, make_document("file:///a", "v1", 2, seed=1))
    store.stage(*make_document("file:///a", "v2", 3, seed=2))
    second.stage(*make_document("file:///a", "v3", 4, seed=3))
    store.commit("file:///a", "v2")
    second.commit("file:///a", "v3")
    assert [chunk.version for chunk in store.chunks("file:///a")] == ["v3"] * 4
    assert len(everything(store)) == 4


@pytest.mark.parametrize("moment", ["set_payload", "delete"])
def test_two_commits_of_one_document_at_once_lose_neither_the_document_nor_the_newer_version(
    moment: str, server: QdrantServer, store: ServerStore, second: ServerStore
) -> None:
    put(store, make_document("file:///a", "v1", 2, seed=1, ingested_at=1.0))
    store.stage(*make_document("file:///a", "v2", 3, seed=2, ingested_at=2.0))
    second.stage(*make_document("file:///a", "v3", 4, seed=3, ingested_at=3.0))

    def commit_the_other(call: Call) -> None:
        if call.name == moment:
            server.before = lambda call: None
            second.commit("file:///a", "v3")

    server.before = commit_the_other
    store.commit("file:///a", "v2")
    assert [chunk.version for chunk in store.chunks("file:///a")] == ["v3"] * 4
    assert {each.chunk.version for each in everything(store)} == {"v3"}
    assert [(each.version, each.chunk_count) for each in store.documents()] == [("v3", 4)]
    put(second, make_document("file:///a", "v4", 1, seed=4, ingested_at=4.0))
    assert len(server._engine.scroll("library", limit=100)[0]) == 1


def test_a_commit_that_was_cut_in_two_shows_the_new_version_alone_and_the_next_one_clears_up(
    server: QdrantServer, store: ServerStore
) -> None:
    put(store, make_document("file:///a", "v1", 5, seed=1, ingested_at=1.0))
    store.stage(*make_document("file:///a", "v2", 3, seed=2, ingested_at=2.0))

    def cut(call: Call) -> None:
        if call.name == "delete":
            raise Refusal(400, "cut")

    server.before = cut
    with pytest.raises(StoreError, match="cut"):
        store.commit("file:///a", "v2")
    server.before = lambda call: None
    assert {each.chunk.version for each in everything(store)} == {"v2"}
    assert [each.version for each in store.documents()] == ["v2"]
    assert [chunk.version for chunk in store.chunks("file:///a")] == ["v2"] * 3
    store.commit("file:///a", "v2")
    assert len(server._engine.scroll("library", limit=100)[0]) == 3


def test_a_writer_whose_clock_is_behind_still_replaces_the_version_before(store: ServerStore) -> None:
    put(store, make_document("file:///a", "v1", 2, seed=1, ingested_at=2_000_000_000.0))
    put(store, make_document("file:///a", "v2", 3, seed=2, ingested_at=1_000_000_000.0))
    assert [chunk.version for chunk in store.chunks("file:///a")] == ["v2"] * 3
    document = store.document("file:///a")
    assert document is not None
    assert document.ingested_at > 2_000_000_000.0


def test_metadata_beyond_the_indexed_keys_can_still_be_filtered_by(server: QdrantServer, store: ServerStore) -> None:
    metadata = {f"key-{number:02}": "x" for number in range(40)}
    put(store, ([make_chunk(metadata=metadata)], [make_embedding(1)]))
    indexed = [call.arguments["field"] for call in server.calls if call.name == "index"]
    assert sum(field.startswith("metadata.") for field in indexed) == 32
    assert len(everything(store, Where(metadata={"key-39": "x"}))) == 1


# Connecting


def test_grpc_is_used_where_it_is_open_and_http_where_it_is_not_or_not_wanted() -> None:
    for with_grpc, prefer_grpc, expected in ((True, True, "grpc"), (True, False, "http"), (False, True, "http")):
        with qdrant_server(grpc=with_grpc, api_key="k") as server:
            store = ServerStore(server.url, "library", api_key="k", prefer_grpc=prefer_grpc)
            store.prepare(INFO)
            assert {call.protocol for call in server.calls} == {expected}
            store.close()


def test_another_server_on_the_next_port_is_left_alone() -> None:
    with qdrant_server() as server:
        server.grpc_version = "1.18.2"
        store = ServerStore(server.url, "library")
        store.prepare(INFO)
        assert {call.protocol for call in server.calls} == {"http"}
        store.close()


def test_a_closed_store_opens_again_on_use(store: ServerStore) -> None:
    put(store, make_document("file:///a", "v1", 2))
    store.close()
    assert len(everything(store)) == 2
    put(store, make_document("file:///b", "v1", 1))
    assert [each.uri for each in store.documents()] == ["file:///a", "file:///b"]


def test_several_threads_share_a_store(store: ServerStore) -> None:
    def ingest(number: int) -> int:
        put(store, make_document(f"file:///{number}", "v1", 5, seed=number))
        return len(everything(store, Where(uris=(f"file:///{number}",))))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ingest, range(8))) == [5] * 8
    assert len(list(store.documents())) == 8


def test_a_store_that_is_given_its_client_does_not_close_it() -> None:
    client = QdrantClient(":memory:")
    store = ServerStore(NOWHERE, "library", client=client)
    store.prepare(dataclasses.replace(INFO))
    store.close()
    assert client.collection_exists("library")
    client.close()


# docker-compose.yml


def test_the_compose_file_pins_its_image_and_listens_to_this_machine_alone() -> None:
    service = compose_service()
    name, _, tag = service["image"].partition(":")
    assert name == "qdrant/qdrant"
    assert tuple(int(part) for part in tag.removeprefix("v").split(".")) >= (1, 17, 0)
    assert service["ports"] == ["127.0.0.1:6333:6333", "127.0.0.1:6334:6334"]
    assert service["environment"]["QDRANT__SERVICE__API_KEY"].startswith("${QDRANT_API_KEY:?")
    assert any(volume.endswith(":/qdrant/storage") for volume in service["volumes"])


def test_the_compose_file_asks_for_health_with_what_is_in_the_image() -> None:
    kind, *command = compose_service()["healthcheck"]["test"]
    assert kind == "CMD"
    assert command[:2] == ["bash", "-c"]
    assert "/dev/tcp/127.0.0.1/6333" in command[2]
    assert "curl" not in command[2]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash, which is in Qdrant's image")
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_of_the_compose_file_tells_ready_from_not_ready(status: int | None, healthy: bool) -> None:
    command = compose_service()["healthcheck"]["test"][1:]
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(status or 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        command[-1] = command[-1].replace("$$", "$").replace("/6333", f"/{http.server_port}")
        if status is None:
            http.server_close()
            run = subprocess.run(command, capture_output=True, timeout=10, check=False)
        else:
            thread = threading.Thread(target=http.handle_request)
            thread.start()
            run = subprocess.run(command, capture_output=True, timeout=10, check=False)
            thread.join()
    assert (run.returncode == 0) is healthy
    assert requested == ([] if status is None else ["/readyz"])
