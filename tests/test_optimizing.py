"""An index is optimized by a process of its own, from a copy, and nothing is ever lost by it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest import ingest
from rag import Settings
from rag.errors import IndexBusyError, StoreError
from rag.stores.edge import EdgeStore
from rag.stores.edge_shard import EdgeShard
from rag.stores.optimizing import optimize, optimize_elsewhere
from rag.stores.schema import DENSE, INTEGER_FIELDS, KEYWORD_FIELDS, SPARSE
from rag.stores.shard_lock import ShardLock
from rag.stores.shard_switch import ENTRIES, ShardSwitch
from rag.types import Candidate, Where
from tests.store_contract import INFO, Stored, everything, identifiers, make_chunk, make_document, make_embedding, put

ROOT = Path(__file__).parent.parent
DIMENSION, POINTS = 256, 1200  # a segment of less than a megabyte gets no graph
LANGUAGES = ("en", "de", "ja")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[EdgeStore]:
    """A store with one small document."""
    store = EdgeStore(folder)
    store.prepare(INFO)
    put(store, make_document("file:///a", "v1", 3))
    store.close()
    yield store
    store.close()


@pytest.fixture
def large(folder: Path) -> Iterator[EdgeStore]:
    """A store with enough points for a graph, in three languages."""
    store = EdgeStore(folder)
    store.prepare(replace(INFO, dimension=DIMENSION))
    _fill(store)
    store.close()
    yield store
    store.close()


def _fill(store: EdgeStore) -> None:
    for number, language in enumerate(LANGUAGES):
        size = POINTS // len(LANGUAGES)
        uri = f"file:///{language}"
        chunks = [make_chunk(uri, "v1", at, size, text=f"{uri} {at}", language=language) for at in range(size)]
        store.stage(chunks, [make_embedding(1000 * number + at, dimension=DIMENSION) for at in range(size)])
        store.commit(uri, "v1")


def _answers(store: EdgeStore) -> list[list[Candidate]]:
    questions = [make_embedding(10_000 + seed, dimension=DIMENSION) for seed in range(10)]
    return [store.candidates(each, 50, language_depth=12) for each in questions]


def _unoptimized(folder: Path) -> int:
    shard = EdgeShard.load(folder / "shard")
    try:
        return shard.unoptimized()
    finally:
        shard.close()


def _in_graphs(folder: Path) -> int:
    """Vectors that the engine says are indexed; the sparse ones always are."""
    import qdrant_edge as edge

    shard = edge.EdgeShard.load(str(folder / "shard"))
    try:
        return int(shard.info().indexed_vectors_count - POINTS)
    finally:
        shard.close()


def _left_behind(folder: Path) -> list[str]:
    return [
        name for name in ENTRIES if name not in ("optimizing.lock", "unoptimized.json") and (folder / name).exists()
    ]


def test_an_optimized_index_answers_as_before_from_its_graphs(large: EdgeStore, folder: Path) -> None:
    before = _answers(large)
    large.close()
    assert _unoptimized(folder) == POINTS
    seconds = optimize_elsewhere(folder)
    assert seconds is not None
    assert _unoptimized(folder) == 0
    assert _in_graphs(folder) == POINTS
    assert _left_behind(folder) == []
    after = _answers(large)
    shares = []
    for then, now in zip(before, after, strict=True):
        exact = {each.id: each for each in then}
        shares.append(np.mean([each in exact for each in identifiers(now)]))
        for each in now:
            if each.id in exact:
                assert each.dense_score == pytest.approx(exact[each.id].dense_score, abs=1e-5)
                assert each.sparse_score == pytest.approx(exact[each.id].sparse_score, abs=1e-5)
        assert len(now) > 0.9 * len(then)
    assert np.mean(shares) > 0.95


def test_a_condition_on_an_optimized_index_leaves_out_nothing_that_meets_it(large: EdgeStore, folder: Path) -> None:
    for number in range(5):
        put(large, _few(number))
    before = large.candidates(make_embedding(42, dimension=DIMENSION), 100, where := Where(uris=("file:///few/3",)))
    large.close()
    optimize(folder)
    found = large.candidates(make_embedding(42, dimension=DIMENSION), 100, where)
    assert len(found) == 40
    assert identifiers(found) == identifiers(before)


def _few(number: int) -> Stored:
    uri = f"file:///few/{number}"
    chunks = [make_chunk(uri, "v1", at, 40, text=f"{uri} {at}", language="de") for at in range(40)]
    return chunks, [make_embedding(9000 + 40 * number + at, dimension=DIMENSION) for at in range(40)]


def test_an_optimized_index_is_written_and_optimized_again(large: EdgeStore, folder: Path) -> None:
    optimize(folder)
    size = POINTS // len(LANGUAGES)
    chunks = [make_chunk("file:///en", "v2", at, 40, text=f"new {at}") for at in range(40)]
    large.stage(chunks, [make_embedding(5000 + at, dimension=DIMENSION) for at in range(40)])
    large.commit("file:///en", "v2")
    large.remove("file:///de")
    large.close()
    assert _unoptimized(folder) == 40
    optimize(folder)
    assert {each.uri: (each.version, each.chunk_count) for each in large.documents()} == {
        "file:///en": ("v2", 40),
        "file:///ja": ("v1", size),
    }
    found = large.candidates(make_embedding(5007, dimension=DIMENSION), 5)
    assert max(found, key=lambda each: each.dense_score).id == chunks[7].id


def test_an_index_laid_out_by_an_older_version_is_searched_and_optimized(folder: Path) -> None:
    import qdrant_edge as edge

    store = EdgeStore(folder)
    info = replace(INFO, dimension=DIMENSION)
    store.prepare(info)
    store.close()
    shutil.rmtree(folder / "shard")
    (folder / "shard").mkdir()
    old = edge.EdgeShard.create(
        str(folder / "shard"),
        edge.EdgeConfig(
            vectors={DENSE: edge.EdgeVectorParams(size=DIMENSION, distance=edge.Distance.Cosine)},
            sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(full_scan_threshold=1)},
        ),
    )
    for field in KEYWORD_FIELDS:
        old.update(edge.UpdateOperation.create_field_index(field, edge.PayloadSchemaType.Keyword))
    for field in INTEGER_FIELDS:
        old.update(edge.UpdateOperation.create_field_index(field, edge.PayloadSchemaType.Integer))
    old.close()
    _fill(store)
    before = _answers(store)
    store.close()
    (folder / "unoptimized.json").unlink()
    assert _unoptimized(folder) == POINTS
    optimize(folder)
    assert (_unoptimized(folder), _in_graphs(folder)) == (0, POINTS)
    after = _answers(store)
    store.close()
    assert (
        np.mean([len({*identifiers(a)} & {*identifiers(b)}) / len(a) for a, b in zip(before, after, strict=True)])
        > 0.95
    )


def test_a_store_is_optimized_only_when_much_is_new(large: EdgeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[int] = []
    assert large.optimize(announced.append) is None
    assert announced == []
    monkeypatch.setattr("rag.stores.edge.WORTHWHILE", POINTS - 1)
    assert large.optimize(announced.append) is not None
    assert large.optimize(announced.append) is None
    assert announced == [POINTS]


def test_who_reads_meanwhile_is_answered_and_changes_nothing(store: EdgeStore, folder: Path) -> None:
    switch, lock = ShardSwitch(folder), ShardLock(folder, 1)
    lock.acquire()
    switch.begin()
    lock.release()
    assert len(everything(store)) == 3
    store.close()
    lock.acquire()
    assert switch.finish()
    lock.release()
    assert len(everything(store)) == 3
    assert _left_behind(folder) == []


@pytest.mark.parametrize("change", ["put", "remove"])
def test_what_is_written_meanwhile_is_kept_and_the_copy_thrown_away(
    store: EdgeStore, folder: Path, change: str
) -> None:
    switch, lock = ShardSwitch(folder), ShardLock(folder, 1)
    lock.acquire()
    switch.begin()
    lock.release()
    if change == "put":
        put(store, make_document("file:///b", "v1", 2, seed=1))
    else:
        store.remove("file:///a")
    store.close()
    lock.acquire()
    assert not switch.finish()
    lock.release()
    switch.discard()
    assert len(everything(store)) == {"put": 5, "remove": 0}[change]
    assert _left_behind(folder) == []


def test_two_processes_do_not_optimize_one_index(store: EdgeStore, folder: Path) -> None:
    import filelock

    with filelock.FileLock(folder / "optimizing.lock"):
        with pytest.raises(IndexBusyError, match="being optimized by another process"):
            optimize(folder)
        with pytest.raises(StoreError, match=r"is as before: .* being optimized by another process"):
            optimize_elsewhere(folder)
    assert len(everything(store)) == 3


def test_a_disk_without_room_leaves_the_index_as_it_was(
    store: EdgeStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StoreError, match="RAG_STORE__OPTIMIZE=false"):
        optimize(folder)
    monkeypatch.undo()
    assert _left_behind(folder) == []
    assert len(everything(store)) == 3


def test_a_torn_copy_leaves_the_index_as_it_was(
    store: EdgeStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(source: Path, target: Path, **how: object) -> None:
        Path(target).mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", torn)
    with pytest.raises(StoreError, match="No space left on device"):
        optimize(folder)
    monkeypatch.undo()
    assert _left_behind(folder) == []
    assert len(everything(store)) == 3


def test_an_optimization_that_is_stopped_ends_and_leaves_the_index_as_it_was(store: EdgeStore, folder: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert optimize_elsewhere(folder, stop) is None
    assert _left_behind(folder) == []
    assert len(everything(store)) == 3


def test_the_copy_is_on_the_disk_before_the_old_files_go_and_nobody_waits_for_that(
    store: EdgeStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (folder / "shard").stat().st_ino
    synced: list[bool] = []

    def sync() -> None:
        assert len(everything(store)) == 3
        store.close()
        synced.append((folder / "shard").stat().st_ino == old and (folder / "shard.optimizing").exists())

    monkeypatch.setattr(os, "sync", sync)
    optimize(folder)
    assert synced == [True]
    assert (folder / "shard").stat().st_ino != old


DYING = """
import os, shutil, signal, sys
from pathlib import Path
from rag.stores.edge_shard import EdgeShard
from rag.stores.optimizing import optimize
def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
def die_at(where, name, occurrence):
    real, left = getattr(where, name), [occurrence]
    def deadly(*arguments, **named):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    setattr(where, name, deadly)
die_at({step})
optimize(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("step", "finished"),
    [
        ("shutil, 'copytree', 1", False),
        ("Path, 'write_text', 2", False),  # the first is the lock's
        ("EdgeShard, 'optimize', 1", False),
        ("Path, 'rename', 1", False),
        ("Path, 'rename', 2", False),
        ("shutil, 'rmtree', 1", True),
    ],
    ids=str,
)
def test_an_optimization_killed_at_any_step_leaves_one_whole_index(
    store: EdgeStore, folder: Path, step: str, finished: bool
) -> None:
    before = everything(store)
    store.close()
    old = (folder / "shard").stat().st_ino
    done = subprocess.run([sys.executable, "-c", DYING.format(step=step), str(folder)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert everything(store) == before
    store.close()
    assert ((folder / "shard").stat().st_ino != old) is finished
    put(store, make_document("file:///b", "v1", 2, seed=1))
    store.close()
    optimize(folder)
    assert len(everything(store)) == 5
    assert _left_behind(folder) == []


def test_a_parent_that_is_killed_costs_nothing(store: EdgeStore, folder: Path) -> None:
    before = everything(store)
    store.close()
    program = "import sys; from pathlib import Path; from rag.stores.optimizing import optimize_elsewhere as o\n"
    parent = subprocess.Popen([sys.executable, "-c", program + "o(Path(sys.argv[1]))", str(folder)], cwd=ROOT)
    deadline = time.monotonic() + 20
    while not (folder / "optimizing.lock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    assert everything(store) == before
    store.close()
    while time.monotonic() < deadline:  # the child goes on
        try:
            optimize(folder)
            break
        except IndexBusyError:
            time.sleep(0.05)
    assert everything(store) == before
    assert _left_behind(folder) == []


def test_the_child_loads_no_model_library(store: EdgeStore, folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from rag.stores.optimizing import optimize; optimize(Path(sys.argv[1]))\n"
        "assert not {'torch', 'transformers', 'openai', 'qdrant_client'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(folder)], cwd=ROOT).returncode == 0


def test_an_ingestion_of_much_optimizes_the_index_unless_the_settings_forbid_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.stores.edge.WORTHWHILE", 0)
    (tmp_path / "a.md").write_text("# Tides\n\nThe tide table hangs by the door.")
    announced: list[int] = []
    for optimizes in (False, True):
        settings = Settings(
            store={"path": tmp_path / "store", "optimize": optimizes},  # type: ignore[arg-type]
            embedder={"model": "pocket-m3"},  # type: ignore[arg-type]
        )
        report = ingest(tmp_path / "a.md", settings=settings, on_optimizing=announced.append)
        assert (report.optimized is not None) is optimizes
    assert report.unchanged == 1  # what earlier runs wrote counts
    assert announced == [1]


def test_an_optimization_that_fails_does_not_fail_the_ingestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rag.stores.edge.WORTHWHILE", 0)
    (tmp_path / "a.md").write_text("# Tides\n\nThe tide table hangs by the door.")
    (tmp_path / "store" / "default" / "optimizing.lock").mkdir(parents=True)
    settings = Settings(store={"path": tmp_path / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]
    report = ingest(tmp_path / "a.md", settings=settings)
    assert (report.added, report.failed, report.optimized) == (1, 0, None)
    assert "the index was not optimized and is as before" in caplog.text


def test_an_optimization_that_cannot_begin_does_not_fail_the_ingestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("rag.stores.edge.WORTHWHILE", 0)
    (tmp_path / "a.md").write_text("# Tides\n\nThe tide table hangs by the door.")
    settings = Settings(store={"path": tmp_path / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]

    def no_more_processes(new: int) -> None:
        monkeypatch.setattr("rag.stores.optimizing.subprocess.Popen", full)

    report = ingest(tmp_path / "a.md", settings=settings, on_optimizing=no_more_processes)
    assert (report.added, report.failed, report.optimized) == (1, 0, None)
    assert "is as before: no process can be started (Resource temporarily unavailable)" in caplog.text


def test_an_index_that_is_removed_before_it_is_optimized_does_not_fail_the_ingestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimize_now = EdgeStore.optimize

    def too_late(store: EdgeStore, *arguments: Any) -> float | None:
        shutil.rmtree(tmp_path / "store")
        return optimize_now(store, *arguments)

    monkeypatch.setattr(EdgeStore, "optimize", too_late)
    (tmp_path / "a.md").write_text("# Tides\n\nThe tide table hangs by the door.")
    settings = Settings(store={"path": tmp_path / "store"}, embedder={"model": "pocket-m3"})  # type: ignore[arg-type]
    report = ingest(tmp_path / "a.md", settings=settings)
    assert (report.added, report.optimized) == (1, None)
