"""Settings to adapters: who uses the same model shares its weights."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from time import sleep
from typing import Any

import pytest

from rag import Settings, build, build_retrieval, tuned
from rag.checkpoint import Checkpoint, inspect
from rag.embedders import bge_m3
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.errors import CheckpointError
from rag.fusion import Ranking
from rag.ports import Embedder
from tests.tiny_checkpoint import write_tiny_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("build") / "tiny")


@pytest.fixture
def found(folder: Path) -> Checkpoint:
    return inspect(folder, str(folder))


def of(folder: Path, **embedder: object) -> Settings:
    return Settings(embedder={"model": str(folder), "device": "cpu", "dtype": "float32"} | embedder)  # type: ignore[arg-type]


def test_equal_settings_share_one_embedder_whatever_else_differs(folder: Path, found: Checkpoint) -> None:
    first = build.embedder(of(folder))
    assert build.embedder(of(folder)) is first
    assert build.embedder(of(folder), found) is first
    elsewhere = of(folder).model_copy(update={"store": Settings(store={"collection": "other"}).store})  # type: ignore[arg-type]
    assert build.embedder(elsewhere) is first


@pytest.mark.parametrize("other", [{"dtype": "bfloat16"}, {"batch_tokens": 64}, {"device": "auto"}], ids=str)
def test_other_settings_of_the_embedder_have_another(folder: Path, other: dict[str, object]) -> None:
    first = build.embedder(of(folder))
    assert build.embedder(of(folder, **other)) is not first
    assert build.embedder(of(folder)) is first


def test_a_model_that_changed_on_disk_has_another_embedder(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "model", seed=1)
    before = build.embedder(of(folder))
    write_tiny_checkpoint(folder, seed=2)
    after = build.embedder(of(folder))
    assert after is not before
    assert after.fingerprint != before.fingerprint


def test_an_embedder_that_nobody_holds_is_freed_and_made_anew(folder: Path) -> None:
    first = build.embedder(of(folder))
    first.embed_query("a lamp")
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert build.embedder(of(folder)).embed_query("a lamp").dense.size == 64


class _SlowlyMade(BgeM3Embedder):
    """Long enough in the making for other threads to come by."""

    made = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        sleep(0.05)
        _SlowlyMade.made += 1
        super().__init__(*arguments, **options)


def test_threads_that_ask_at_once_get_the_same_embedder(
    folder: Path, found: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bge_m3, "BgeM3Embedder", _SlowlyMade)
    together = Barrier(8)

    def ask() -> Embedder:
        together.wait()
        return build.embedder(of(folder), found)

    with ThreadPoolExecutor(8) as pool:
        embedders = [call.result() for call in [pool.submit(ask) for _ in range(8)]]
    assert _SlowlyMade.made == 1
    assert len(set(map(id, embedders))) == 1


def test_a_folder_without_a_model_is_refused_each_time(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(CheckpointError):
            build.embedder(of(tmp_path))


def test_what_was_tuned_goes_before_the_model_and_after_the_settings(
    folder: Path, found: Checkpoint, tmp_path: Path
) -> None:
    def ranking(**retrieval: object) -> Ranking:
        given = Settings(store={"path": tmp_path}, embedder={"model": str(folder)}, retrieval=retrieval)  # type: ignore[arg-type]
        return build_retrieval.ranking(given, found)

    (tmp_path / "default").mkdir()
    before = ranking()
    kept = tuned.Tuned("weighted", 1.0, 2.5, 4, 0.2, 0.4, found.fingerprint, "gold.jsonl", 80, "mean", 0.03, 0.01, 0.05)
    tuned.write(tmp_path / "default", kept)
    after = ranking()
    assert (after.method, after.sparse_weight, after.level_k) == ("weighted", 2.5, 4)
    assert (after.coverage, after.centring) == (0.2, 0.4)
    own = ranking(fusion="rrf", sparse_weight=0.0, level_k=2, coverage=0, centring=1)
    assert (own.coverage, own.centring) == (0.0, 1.0)
    assert (own.method, own.dense_weight, own.sparse_weight, own.level_k) == ("rrf", 1.0, 0.0, 2)
    tuned.write(tmp_path / "default", replace(kept, fingerprint="0" * 64))
    assert ranking() == before
