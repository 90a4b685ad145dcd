"""The moment in which a rebuilt index takes over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import filelock
import pytest
from rag_config.settings import Settings

from ingest import ingest, rebuilding
from ingest.preparing import Limits, Read, Slice, Task
from ingest.rebuilding import rebuild
from ingest.workers import Workers
from rag import build
from rag.checkpoint import inspect, locate
from rag.errors import StoreError
from rag.stores.edge_generations import EdgeGenerations
from rag.types import StoredDocument


@pytest.fixture
def first(settings: Settings, in_folder: Path) -> Settings:
    (in_folder / "a.md").write_text("# Pumps\n\nThe pump of the hall is oiled on Monday.\n")
    ingest(in_folder / "a.md", settings=settings)
    return settings


def smaller(settings: Settings) -> Settings:
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"chunk_tokens": 40})})


def names(settings: Settings) -> set[str]:
    with closing(build.store(settings)) as store:
        return {Path(each.uri).name for each in store.documents()}


def test_nobody_writes_to_the_old_index_between_the_last_look_and_the_switch(
    first: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = first.store.path / first.store.collection
    real, refused = EdgeGenerations.point_to, []

    def point_to(self: EdgeGenerations, name: str) -> None:
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(folder / "lock").acquire(blocking=False)
        refused.append(name)
        real(self, name)

    monkeypatch.setattr(EdgeGenerations, "point_to", point_to)
    assert rebuild(settings=smaller(first)).switched
    assert len(refused) == 1
    filelock.FileLock(folder / "lock").acquire(blocking=False).lock.release()


def test_an_old_index_that_was_not_looked_at_once_more_stays(first: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rebuilding._Rebuild._changed

    def changed(self: rebuilding._Rebuild) -> list[StoredDocument]:
        if self.report.switched:
            raise StoreError("the disk is gone")
        return real(self)

    with monkeypatch.context() as during:
        during.setattr(rebuilding._Rebuild, "_changed", changed)
        with pytest.raises(StoreError):
            rebuild(settings=smaller(first))
    generations = EdgeGenerations(first.store.path / first.store.collection)
    assert generations.current(fresh=True) != "first"
    assert generations.others() == ["first"]
    assert names(smaller(first)) == {"a.md"}


def warned_counter() -> Callable[[Sequence[str]], list[int]]:
    """A tokenizer whose library warns while it is loaded."""
    logging.getLogger("a.library").warning("something is deprecated")
    return build.token_counter(inspect(locate("pocket-m3"), "pocket-m3"))


def test_what_a_reading_process_logs_at_its_start_is_no_file(
    first: Settings, in_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = in_folder / "a.md"
    task = Task(path.as_uri(), path, "md", {}, 64, Limits())
    workers = Workers(1, Limits(), partial(warned_counter))
    try:
        for _ in range(2):
            parts: Sequence[Read | Slice] = list(workers.submit(task))
            assert [type(each) for each in parts] == [Slice]
    finally:
        workers.close()
    assert "something is deprecated" in caplog.text
