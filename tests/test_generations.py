"""Stores over whichever generation answers: the contract, moving on when one is replaced, and what is removed."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from rag.errors import IndexBusyError, IndexMismatchError, StoreError
from rag.ports import PassageStore
from rag.stores import generations as generations_module
from rag.stores.edge_generations import EdgeGenerations
from rag.stores.generations import CurrentStore
from rag.stores.index_folder import FIRST_GENERATION, collections_in, current_folder
from rag.stores.server_generations import generations_on
from rag.stores.server_metadata import collections_on
from rag.stores.successor import Replaceable, successor
from rag.types import IndexInfo
from tests.qdrant_server import qdrant_server
from tests.store_contract import INFO, WITH_TENANTS, Reopen, StoreContract, everything, make_document, put

OTHER_MODEL = dataclasses.replace(INFO, fingerprint="fedcba9876543210", model="other-model", dimension=16)

Open = Callable[[], Replaceable]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "default"


@pytest.fixture(params=["edge", "client"])
def open_generations(request: pytest.FixtureRequest, folder: Path) -> Open:
    """Opens the generations of one collection, each time as another program would."""
    if request.param == "edge":
        return lambda: EdgeGenerations(folder)
    client = QdrantClient(":memory:")
    return lambda: generations_on("http://localhost:6333", "default", client=client, parallel=1)


@pytest.fixture
def store(open_generations: Open) -> Iterator[CurrentStore]:
    """With two documents."""
    store = CurrentStore(open_generations())
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 2))
    put(store, make_document("file:///b", "v1", 1, seed=1))
    yield store
    store.close()


class TestCurrentStore(StoreContract):
    """Of an index that was rebuilt once, so that nothing lies where it was made first."""

    @pytest.fixture
    def client(self) -> QdrantClient:
        return QdrantClient(":memory:")

    @pytest.fixture
    def empty(self, client: QdrantClient) -> Iterator[PassageStore]:
        store = CurrentStore(generations_on("http://localhost:6333", "default", client=client, parallel=1))
        yield store
        store.close()

    @pytest.fixture
    def store(self, empty: PassageStore, client: QdrantClient) -> PassageStore:
        empty.prepare(INFO)
        replace(generations_on("http://localhost:6333", "default", client=client, parallel=1), uri=None)
        return empty

    @pytest.fixture
    def reopen(self, client: QdrantClient) -> Iterator[Reopen]:
        opened: list[PassageStore] = []

        def reopen(store: PassageStore) -> PassageStore:
            store.close()
            opened.append(CurrentStore(generations_on("http://localhost:6333", "default", client=client, parallel=1)))
            return opened[-1]

        yield reopen
        for store in opened:
            store.close()


def replace(generations: Replaceable, info: IndexInfo = INFO, uri: str | None = "file:///new") -> None:
    """Puts an index with one document, or none, in the place of the one that answers."""
    with successor(generations, info, "test") as both:
        if uri is not None:
            put(both.new, make_document(uri, "v2", 3, seed=5))
        both.take_over()
        both.caught_up = True


def uris(store: PassageStore) -> list[str]:
    return [document.uri for document in store.documents()]


def test_a_store_that_is_open_goes_on_with_the_new_index_at_its_next_call(
    store: CurrentStore, open_generations: Open
) -> None:
    assert uris(store) == ["file:///a", "file:///b"]
    replace(open_generations())
    assert uris(store) == ["file:///new"]
    assert {candidate.chunk.uri for candidate in everything(store)} == {"file:///new"}
    replace(open_generations(), uri="file:///newer")
    assert {candidate.chunk.uri for candidate in everything(store)} == {"file:///newer"}


def test_what_is_written_after_the_change_is_in_the_new_index(store: CurrentStore, open_generations: Open) -> None:
    replace(open_generations())
    put(store, make_document("file:///c", "v1", 2, seed=8))
    store.remove("file:///new")
    other = CurrentStore(open_generations())
    assert uris(other) == ["file:///c"]
    other.close()


def test_a_document_that_is_committed_while_the_index_is_replaced_is_in_the_new_one(
    store: CurrentStore, open_generations: Open
) -> None:
    chunks, embeddings = make_document("file:///late", "v1", 3, seed=9)
    store.stage(chunks, embeddings)
    with successor(open_generations(), INFO, "test") as both:
        both.take_over()
        both.caught_up = True
        everything(store)  # reading goes on meanwhile
        store.commit("file:///late", "v1")
    assert uris(store) == ["file:///late"]
    assert [chunk.text for chunk in store.chunks("file:///late")] == [chunk.text for chunk in chunks]


def test_with_another_model_questions_go_on_with_the_old_index_and_writing_is_refused(
    store: CurrentStore, open_generations: Open
) -> None:
    uris(store)
    replace(open_generations(), OTHER_MODEL, uri=None)
    for _ in range(3):
        assert len(everything(store)) == 3
    with pytest.raises(IndexMismatchError, match="start it again with --model other-model"):
        put(store, make_document("file:///c", "v1", 1))
    with pytest.raises(IndexMismatchError, match="start it again with --model other-model"):
        store.remove("file:///a")
    with pytest.raises(IndexMismatchError, match="'tiny-model'"):
        store.prepare(INFO)
    store.close()
    assert store.info() == OTHER_MODEL  # opened again


def test_the_new_index_separates_the_same_tenants_and_no_others(open_generations: Open) -> None:
    store = CurrentStore(open_generations())
    store.prepare(WITH_TENANTS)
    replace(open_generations(), uri=None)
    assert store.info().tenant_key == "team"
    with pytest.raises(IndexMismatchError, match="'squad'"):
        replace(open_generations(), dataclasses.replace(INFO, tenant_key="squad"), uri=None)
    store.close()


def test_what_failed_rebuilds_left_does_not_grow(store: CurrentStore, open_generations: Open) -> None:
    for attempt in range(3):
        with successor(open_generations(), INFO, attempt) as both:  # and never takes over
            put(both.new, make_document("file:///half", "v1", 1))
    generations = open_generations()
    assert len(generations.others()) == 1
    assert uris(store) == ["file:///a", "file:///b"]
    replace(open_generations())
    assert uris(store) == ["file:///new"]
    store.close()
    assert generations.others() == []


def test_a_rebuild_of_the_same_goes_on_with_what_was_written(store: CurrentStore, open_generations: Open) -> None:
    for attempt in range(2):
        with successor(open_generations(), INFO, "same") as both:
            assert len(uris(both.new)) == attempt
            put(both.new, make_document(f"file:///{attempt}", "v1", 1))


def searched_while_replaced(open_generations: Open) -> None:
    store = CurrentStore(open_generations())
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 3))
    found: set[tuple[str, ...]] = set()
    errors: list[Exception] = []
    stop = threading.Event()

    def search() -> None:
        try:
            while not stop.is_set():
                found.add(tuple(sorted({candidate.chunk.uri for candidate in everything(store)})))
        except Exception as error:  # noqa: BLE001  told below
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(3):
        replace(open_generations(), uri=f"file:///{number}")
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert found <= {("file:///a",), *((f"file:///{number}",) for number in range(3))}
    assert len(everything(store)) == 3
    store.close()


def test_threads_that_search_all_along_see_either_index_whole(folder: Path) -> None:
    searched_while_replaced(lambda: EdgeGenerations(folder))


def test_threads_that_search_a_server_all_along_see_either_index_whole() -> None:
    with qdrant_server(grpc=False) as server:
        searched_while_replaced(lambda: generations_on(server.url, "default", prefer_grpc=False))


# What is particular to a folder


def test_that_another_model_s_index_is_there_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CurrentStore(EdgeGenerations(folder))
    store.prepare(INFO)
    replace(EdgeGenerations(folder), OTHER_MODEL, uri=None)
    with caplog.at_level(logging.WARNING, generations_module.__name__):
        for _ in range(3):
            assert everything(store) == []
    assert [record.getMessage() for record in caplog.records] == [
        "the index has been rebuilt with model 'other-model', and this program has opened it with 'tiny-model': "
        "it goes on with the index as it was; start it again with the new model"
    ]
    store.close()


def test_an_index_that_a_living_process_uses_is_not_removed(folder: Path) -> None:
    store = CurrentStore(EdgeGenerations(folder))
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 2))
    store.close()
    program = (
        "import sys; from pathlib import Path; from rag.stores.generations import CurrentStore\n"
        "from rag.stores.edge_generations import EdgeGenerations\n"
        "from tests.store_contract import everything\n"
        "store = CurrentStore(EdgeGenerations(Path(sys.argv[1])))\n"
        "for line in sys.stdin:\n"
        "    print(len(everything(store)), flush=True)\n"
        "    if line == 'close\\n': store.close()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(word: str) -> str:
        print(word, file=process.stdin, flush=True)
        return str(process.stdout.readline()).strip()  # type: ignore[union-attr]  # asserted above

    assert ask("search") == "2"
    generations = EdgeGenerations(folder)
    replace(generations, OTHER_MODEL, uri=None)
    assert ask("search") == "2"
    assert generations.others() == [FIRST_GENERATION]
    assert ask("close") == "2"
    assert ask("search") == ""  # with the new index: the vector does not fit
    process.communicate()
    assert generations.others() == []


def test_what_a_killed_process_used_is_removed_by_the_next_rebuild(folder: Path) -> None:
    store = CurrentStore(EdgeGenerations(folder))
    store.prepare(INFO)
    store.close()
    program = (
        "import os, sys; from pathlib import Path; from rag.stores.generations import CurrentStore\n"
        "from rag.stores.edge_generations import EdgeGenerations\n"
        "store = CurrentStore(EdgeGenerations(Path(sys.argv[1])))\nstore.info()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], cwd=Path(__file__).parent.parent, check=False)
    assert len(list((folder / "readers").iterdir())) == 1
    replace(EdgeGenerations(folder))
    assert EdgeGenerations(folder).others() == []
    assert list((folder / "readers").iterdir()) == []


def test_a_second_rebuild_is_refused_while_one_is_at_work(folder: Path) -> None:
    store = CurrentStore(EdgeGenerations(folder))
    store.prepare(INFO)
    with (
        successor(EdgeGenerations(folder), INFO, 1),
        pytest.raises(IndexBusyError, match="another `ingest rebuild` is at work"),
        successor(EdgeGenerations(folder), INFO, 2),
    ):
        pass
    store.close()


def test_a_rebuilt_index_is_listed_and_its_folder_is_known(folder: Path) -> None:
    store = CurrentStore(EdgeGenerations(folder))
    store.prepare(INFO)
    store.close()
    assert current_folder(folder) == folder
    replace(EdgeGenerations(folder))
    assert not (folder / "index.json").exists()
    assert collections_in(folder.parent) == ["default"]
    assert (current_folder(folder) / "index.json").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"generation": 3}', '{"generation": "../../elsewhere"}'])
def test_a_damaged_pointer_is_one_line_and_leads_nowhere(folder: Path, content: str) -> None:
    store = CurrentStore(EdgeGenerations(folder))
    store.prepare(INFO)
    store.close()
    (folder / "generation.json").write_text(content)
    with pytest.raises(StoreError, match=r"generation\.json is damaged") as refusal:
        store.info()
    assert "\n" not in str(refusal.value)


# What is particular to a server


@pytest.mark.parametrize("grpc", [True, False])
def test_a_server_replaces_the_alias_in_one_request_and_open_stores_go_on(grpc: bool) -> None:
    with qdrant_server(grpc=grpc) as server:
        store = CurrentStore(generations_on(server.url, "library"))
        store.prepare(INFO)
        put(store, make_document("file:///a", "v1", 2))
        for number in range(2):
            replace(generations_on(server.url, "library"), uri=f"file:///{number}")
            assert server.names().count("point_aliases") == number + 1
            assert {candidate.chunk.uri for candidate in everything(store)} == {f"file:///{number}"}
        before = len(server.calls)
        everything(store)
        assert "aliases" not in server.names()[before:]  # questions pay nothing for it
        assert collections_on(server.url) == ["library"]
        store.close()
