"""The embedded store: the port's contract, and what lies in its folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.errors import IndexMismatchError, IndexMissingError, RagError, StoreError
from rag.ports import PassageStore
from rag.stores.edge import EdgeStore
from rag.stores.index_folder import collections_in
from tests.store_contract import (
    INFO,
    Reopen,
    StoreContract,
    Stored,
    everything,
    make_chunk,
    make_document,
    make_embedding,
    put,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "default"


@pytest.fixture
def store(folder: Path) -> Iterator[EdgeStore]:
    store = EdgeStore(folder)
    store.prepare(INFO)
    yield store
    store.close()


class TestEdgeStore(StoreContract):
    @pytest.fixture
    def empty(self, folder: Path) -> Iterator[PassageStore]:
        store = EdgeStore(folder)
        yield store
        store.close()

    @pytest.fixture
    def reopen(self, folder: Path) -> Iterator[Reopen]:
        opened: list[PassageStore] = []

        def reopen(store: PassageStore) -> PassageStore:
            store.close()
            opened.append(EdgeStore(folder))
            return opened[-1]

        yield reopen
        for store in opened:
            store.close()


def test_a_collection_that_was_never_made_says_how_to_make_it(folder: Path) -> None:
    store = EdgeStore(folder)
    for question in (store.info, lambda: everything(store), lambda: list(store.documents())):
        with pytest.raises(IndexMissingError, match="ingest PATH") as refusal:
            question()
        assert str(folder) in str(refusal.value)
    assert not folder.exists()


def test_what_the_index_was_made_with_is_read_without_opening_it(store: EdgeStore, folder: Path) -> None:
    store.stage(*make_document("file:///a", "v1", 2))  # keeps the shard
    assert EdgeStore(folder, wait_seconds=0.1).info() == INFO


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}', '{"model": 3, "schema_version": "1"}'])
def test_a_damaged_description_of_the_index_is_one_line(store: EdgeStore, folder: Path, content: str) -> None:
    store.close()
    (folder / "index.json").write_text(content)
    with pytest.raises(StoreError, match=r"index\.json is damaged") as refusal:
        EdgeStore(folder).info()
    assert "\n" not in str(refusal.value)


def test_a_folder_with_other_files_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.docx").write_text("years of work")
    with pytest.raises(StoreError, match=r"thesis\.docx"):
        EdgeStore(folder).prepare(INFO)
    assert [entry.name for entry in folder.iterdir()] == ["thesis.docx"]


def test_points_without_a_description_are_never_deleted(store: EdgeStore, folder: Path) -> None:
    put(store, make_document("file:///a", "v1", 2))
    store.close()
    described = (folder / "index.json").read_text()
    (folder / "index.json").unlink()
    with pytest.raises(StoreError, match=r"holds 2 points but no index\.json"):
        EdgeStore(folder).prepare(INFO)
    (folder / "index.json").write_text(described)
    assert len(everything(store)) == 2


def test_a_creation_that_was_killed_is_begun_again(store: EdgeStore, folder: Path) -> None:
    store.close()
    (folder / "index.json").unlink()
    (folder / "shard.creating").mkdir()
    (folder / "shard.creating" / "edge_config.json").write_text("{")
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 2))
    assert not (folder / "shard.creating").exists()
    assert len(everything(store)) == 2


@pytest.mark.parametrize("torn", ["edge_config.json", "segments", "wal"])
def test_a_torn_shard_is_one_line_that_names_the_folder(store: EdgeStore, folder: Path, torn: str) -> None:
    put(store, make_document("file:///a", "v1", 2))
    store.close()
    damaged = [path for path in (folder / "shard" / torn).rglob("*") if path.is_file()] or [folder / "shard" / torn]
    for path in damaged:
        path.write_bytes(b"\x00torn")
    with pytest.raises(StoreError) as refusal:
        everything(store)
    assert "\n" not in str(refusal.value)
    assert str(folder) in str(refusal.value)


def test_an_index_of_another_schema_is_not_read(store: EdgeStore, folder: Path) -> None:
    store.close()
    described = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(described | {"schema_version": 99}))
    assert store.info().schema_version == 99
    with pytest.raises(IndexMismatchError, match="schema version 99, this program version 1"):
        everything(store)


def test_an_idle_store_lets_go_by_itself(folder: Path) -> None:
    store = EdgeStore(folder, idle_seconds=0.1)
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 2))
    deadline = time.monotonic() + 10
    while (folder / "holder.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (folder / "holder.json").exists()
    assert len(everything(store)) == 2
    store.close()


def test_two_stores_of_one_process_share_the_open_index(store: EdgeStore, folder: Path, tmp_path: Path) -> None:
    put(store, make_document("file:///a", "v1", 2))
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    other = EdgeStore(tmp_path / "link", wait_seconds=5.0)
    held = (folder / "holder.json").stat().st_mtime_ns  # written anew whenever the index is opened
    for _ in range(3):
        assert len(everything(other)) == 2
        assert len(everything(store)) == 2
    assert (folder / "holder.json").stat().st_mtime_ns == held
    other.close()
    assert not (folder / "holder.json").exists()
    assert len(everything(store)) == 2


def test_a_store_searches_while_another_of_its_process_is_between_stage_and_commit(
    store: EdgeStore, folder: Path
) -> None:
    put(store, make_document("file:///a", "v1", 2))
    store.stage(*make_document("file:///b", "v1", 3))
    other = EdgeStore(folder)
    assert len(everything(other)) == 2
    with pytest.raises(StoreError, match="nothing is staged"):
        other.commit("file:///b", "v1")
    other.stage(*make_document("file:///c", "v1", 4))
    other.close()
    store.commit("file:///b", "v1")
    assert [each.uri for each in store.documents()] == ["file:///a", "file:///b"]
    store.close()
    assert sum(chunk.chunk.uri == "file:///c" for chunk in everything(store)) == 0


def test_two_stores_of_one_process_that_stage_one_document_at_once_both_commit(store: EdgeStore, folder: Path) -> None:
    put(store, make_document("file:///a", "v1", 2))
    other = EdgeStore(folder)
    store.stage(*make_document("file:///a", "v2", 3, ingested_at=1.0))
    other.stage(*make_document("file:///a", "v3", 4, ingested_at=2.0))
    store.commit("file:///a", "v2")
    assert [each.version for each in other.documents()] == ["v2"]
    other.commit("file:///a", "v3")
    assert [(each.version, each.chunk_count) for each in store.documents()] == [("v3", 4)]
    assert len(everything(store)) == 4
    other.close()


def test_an_index_that_was_deleted_from_the_disk_while_it_was_open_is_made_anew(store: EdgeStore, folder: Path) -> None:
    put(store, make_document("file:///a", "v1", 2))
    shutil.rmtree(folder)
    again = EdgeStore(folder)
    again.prepare(INFO)
    put(again, make_document("file:///b", "v1", 1))
    assert [each.uri for each in again.documents()] == ["file:///b"]
    again.close()


def test_an_index_made_before_there_were_tenants_is_read(store: EdgeStore, folder: Path) -> None:
    assert set(json.loads((folder / "index.json").read_text())) == {
        *("schema_version", "fingerprint", "model", "dimension")
    }
    assert store.info().tenant_key is None


def test_the_collections_of_a_folder_are_those_with_an_index(store: EdgeStore, folder: Path) -> None:
    assert collections_in(folder.parent / "nowhere") == []
    EdgeStore(folder.with_name("alpha")).prepare(INFO)
    folder.with_name("photos").mkdir()
    (folder.parent / "readme.txt").write_text("no collection")
    assert collections_in(folder.parent) == ["alpha", "default"]
    with pytest.raises(StoreError, match="cannot read"):
        collections_in(Path("/" + "x" * 300))


def test_threads_that_search_see_one_version_whole_while_another_commits(store: EdgeStore) -> None:
    def version(number: int) -> Stored:
        return make_document("file:///a", f"v{number:02}", 3 + number % 4, seed=number, ingested_at=float(number))

    put(store, version(0))
    done = threading.Event()
    wrong: list[object] = []
    searches = [0, 0, 0]

    def search(which: int) -> None:
        try:
            while not done.is_set():
                found = [candidate.chunk for candidate in everything(store)]
                searches[which] += 1
                if len({chunk.version for chunk in found}) != 1 or len(found) != found[0].chunk_count:
                    wrong.append([(chunk.version, chunk.ordinal) for chunk in found])
        except RagError as error:
            wrong.append(error)

    threads = [threading.Thread(target=search, args=(which,)) for which in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 31):
        put(store, version(number))
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(searches) > 0
    assert [document.version for document in store.documents()] == ["v30"]


def test_a_program_that_forgets_to_close_ends_in_silence_and_loses_nothing(folder: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tests.store_contract import *\n"
        "from rag.stores.edge import EdgeStore\n"
        "store = EdgeStore(Path(sys.argv[1]))\n"
        "store.prepare(INFO)\n"
        "put(store, make_document('file:///a', 'v1', 4))\n"
        "store.stage(*make_document('file:///b', 'v1', 4))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(folder), str(Path(__file__).parent.parent)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert not (folder / "holder.json").exists()
    store = EdgeStore(folder)
    assert [document.uri for document in store.documents()] == ["file:///a"]
    store.close()


def test_importing_the_store_loads_no_engine() -> None:
    program = "import sys, rag.stores.edge; sys.exit('qdrant_edge' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_a_chunk_whose_id_is_not_its_own_is_refused(store: EdgeStore) -> None:
    chunk = dataclasses.replace(make_chunk(), id=make_chunk(version="v2").id)
    with pytest.raises(StoreError, match="its id is"):
        store.stage([chunk], [make_embedding(1)])
