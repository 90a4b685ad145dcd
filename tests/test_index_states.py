"""Whatever is done to files and in whatever order they are ingested, the index holds what a simple model says it holds.

The model is a dictionary: text of each document by name, as it was when it was last taken. What the index has is read
from its points: texts, versions, states, and a vector for each that is the one of its text.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from benchmarks.kill_stores import KINDS
from benchmarks.kills import die_at, folder_in_memory, in_a_process
from ingest import ingest
from ingest.chunking import embedding_input
from ingest.failures import Failures
from rag import Settings, build
from rag.locations import path_of
from rag.ports import Embedder
from rag.stores.edge import EdgeStore
from rag.stores.index_folder import current_folder
from rag.stores.points import StoredPoint
from rag.types import Chunk, Embedding

pytestmark = pytest.mark.slow

STEPS, RUNS = 50, 10
CHUNK_TOKENS = 32
NAMES = ("a.md", "b.md", "c.txt", "sub/d.md", "sub/e.md")
WORDS = ("valve", "pump", "belt", "motor", "filter", "gauge")
LEAST_COSINE = 0.9999

names = st.sampled_from(NAMES)
texts = st.lists(st.sampled_from(WORDS), min_size=0, max_size=3).map(
    lambda words: "\n\n".join(f"# {word}\n\nCheck the {word} twice a week, the manual says." for word in words)
)


@cache
def embedder() -> Embedder:
    return build.embedder(Settings(embedder={"model": "pocket-m3", "dtype": "float32"}))  # type: ignore[arg-type]


@cache
def vector(text: str) -> Embedding:
    return embedder().embed_passages([text])[0]


class IndexStates(RuleBasedStateMachine):
    """Files on the disk, the index, and what it must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="states", dir=folder_in_memory()))
        self.docs = self.root / "docs"
        self.docs.mkdir()
        self.settings = Settings(
            store={"path": self.root / "store"},  # type: ignore[arg-type]
            embedder={"model": "pocket-m3", "dtype": "float32"},  # type: ignore[arg-type]
            ingest={"chunk_tokens": CHUNK_TOKENS},  # type: ignore[arg-type]
        )
        self.disk: dict[str, str] = {}
        self.index: dict[str, str] = {}
        self.failed: set[str] = set()
        self.there = False  # whether there is an index
        self.changed = False  # whether it was written since it was compared

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    # What happens to files

    @rule(name=names, text=texts)
    def write(self, name: str, text: str) -> None:
        path = self.docs / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.disk[name] = text

    @precondition(lambda self: self.disk)
    @rule(name=names, data=st.data())
    def rename(self, name: str, data: st.DataObject) -> None:
        old = data.draw(st.sampled_from(sorted(self.disk)))
        (self.docs / name).parent.mkdir(exist_ok=True)
        (self.docs / old).rename(self.docs / name)
        self.disk[name] = self.disk.pop(old)

    @precondition(lambda self: self.disk)
    @rule(name=names, data=st.data())
    def copy(self, name: str, data: st.DataObject) -> None:
        self.write(name, self.disk[data.draw(st.sampled_from(sorted(self.disk)))])

    @precondition(lambda self: self.disk)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.disk)))
        (self.docs / name).unlink()
        del self.disk[name]

    # What happens to the index

    @rule(prune=st.booleans())
    def ingest(self, prune: bool) -> None:
        before = dict(self.index)
        report = ingest(self.docs, settings=self.settings, prune=prune)
        self._took_all()
        kept = self._prune() if prune else False
        assert report.failed == len(self.failed & self.disk.keys()) + kept
        assert report.added == len(self.index.keys() - before.keys())
        assert report.removed == len(before.keys() - self.index.keys())

    @rule(name=names)
    def ingest_one(self, name: str) -> None:
        ingest(self.docs / name, settings=self.settings)
        if name in self.disk:
            self._took(name)
        else:
            self.failed.add(name)
        self.there = self.changed = True

    @rule(prune=st.booleans())
    def dry_run(self, prune: bool) -> None:
        ingest(self.docs, settings=self.settings, prune=prune, dry_run=True)
        self._compare_documents(self._seen())

    @rule()
    def retry_failed(self) -> None:
        report = ingest(retry_failed=True, settings=self.settings)
        self.failed = {name for name in self.failed if name in self.disk or not (self.docs / name).parent.is_dir()}
        if self.failed:
            self.there = self.changed = True
        for name in sorted(self.failed & self.disk.keys()):
            self._took(name)
        assert report.failed == len(self.failed)

    @rule(
        step=st.sampled_from(KINDS["edge"].steps),
        occurrence=st.integers(1, 2),
        after=st.booleans(),
        prune=st.booleans(),
        changes=st.lists(st.tuples(names, texts), min_size=1, max_size=3),
    )
    def ingest_and_be_killed(
        self, step: tuple[type, str], occurrence: int, after: bool, prune: bool, changes: list[tuple[str, str]]
    ) -> None:
        """Each document is as it was or as it is on the disk; which of both is seen, and then held to."""
        for name, text in changes:
            self.write(name, text)

        def dying() -> None:
            import torch

            torch.set_num_threads(1)  # a pool of several does not live on in a fork
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            die_at(*step, occurrence, after)
            ingest(self.docs, settings=self.settings, prune=prune)

        status, _ = in_a_process(dying)
        assert status in (0, -signal.SIGKILL)
        before = dict(self.index)
        self._took_all()
        if prune:
            self._prune()
        if status:
            seen = self._seen()
            for name in before.keys() | self.index.keys():
                allowed = [each.get(name) for each in (before, self.index)]
                assert self._holds(seen, name) in [self._cut(text) for text in allowed], (name, allowed)
                old_or_new = [text for text in allowed if self._cut(text) == self._holds(seen, name)]
                before.pop(name, None)
                if old_or_new[0] is not None:
                    before[name] = old_or_new[0]
            self.index = before
            memory = Failures(self.settings.store.path, self.settings.store.collection, None).load()
            self.failed = {str(Path(each.path).relative_to(self.docs.resolve())) for each in memory}
            self.there = self._is_there()
            self.changed = False  # what was staged may still be there

    @precondition(lambda self: bool(self.there and importlib.util.find_spec("ingest.rebuilding")))
    @rule()
    def rebuild(self) -> None:
        importlib.import_module("ingest.rebuilding").rebuild(settings=self.settings, keep_missing=True)
        for name in self.index.keys() & self.disk.keys():
            if self.disk[name]:
                self.index[name] = self.disk[name]
        self.changed = True

    # What must be so

    @invariant()
    def index_is_as_the_model_says(self) -> None:
        if not self.changed:
            return
        self.changed = False
        self._compare_documents(self._seen(with_points=True))

    def _compare_documents(self, seen: Mapping[str, list[Chunk]]) -> None:
        assert {name: self._holds(seen, name) for name in seen} == {
            name: self._cut(text) for name, text in self.index.items()
        }

    def _took(self, name: str) -> None:
        """An ingestion has looked at a file."""
        if self.disk[name]:
            self.index[name] = self.disk[name]
            self.failed.discard(name)
        else:
            self.failed.add(name)  # it holds no text; what the index had of it stays

    def _took_all(self) -> None:
        self.there = self.changed = True
        for name in self.disk:
            self._took(name)

    def _prune(self) -> bool:
        """Takes out what is not there, but nothing below a folder in which nothing is left; whether there is such."""
        missing = self.index.keys() - self.disk.keys()
        kept = {name for name in missing if not self.disk or self._in_empty_folder(name)}
        for name in missing - kept:
            del self.index[name]
        return bool(kept)

    def _in_empty_folder(self, name: str) -> bool:
        folder = (self.docs / name).parent
        return folder.is_dir() and not any(folder.iterdir())

    def _cut(self, text: str | None) -> tuple[str, ...] | None:
        """The texts of a document's passages, joined; None for no document."""
        return None if text is None else tuple(text.split())

    def _holds(self, seen: Mapping[str, list[Chunk]], name: str) -> tuple[str, ...] | None:
        chunks = seen.get(name)
        return None if chunks is None else tuple(" ".join(chunk.text for chunk in chunks).split())

    def _is_there(self) -> bool:
        return (current_folder(self.settings.store.path / "default") / "index.json").exists()  # a rebuild moves it

    def _seen(self, *, with_points: bool = False) -> dict[str, list[Chunk]]:
        """The documents as readers see them; every way to look at them must say the same."""
        if not self._is_there():
            return {}  # the first ingestion was killed before there was an index
        with closing(EdgeStore(current_folder(self.settings.store.path / "default"))) as store:
            documents = {document.uri: document for document in store.documents()}
            chunks = {uri: list(store.chunks(uri)) for uri in documents}
            found = defaultdict(list)
            ids = [candidate.id for candidate in store.candidates(vector("pump"), 1000)]
            for passage in store.passages(ids).values():
                found[passage.chunk.uri].append(passage.chunk)
            if with_points:
                with store._use() as shard:  # all of it, whatever its state
                    points = list(shard.scroll({}, with_embedding=True))
        for uri, document in documents.items():
            assert [chunk.ordinal for chunk in chunks[uri]] == list(range(document.chunk_count))
            assert {chunk.version for chunk in chunks[uri]} == {document.version}
            assert sorted(found.pop(uri), key=lambda chunk: chunk.ordinal) == chunks[uri]
        assert not found
        if with_points:
            self._compare(points, chunks)
        root = self.docs.resolve()
        return {str(Path(path_of(uri)).relative_to(root)): each for uri, each in chunks.items()}

    def _compare(self, points: Sequence[StoredPoint], chunks: Mapping[str, list[Chunk]]) -> None:
        live = {chunk.id: chunk for each in chunks.values() for chunk in each}
        assert {point.id for point in points} == live.keys()
        for point in points:
            assert point.payload["state"] == "live"
            assert point.embedding is not None
            wanted = vector(embedding_input(live[point.id], CHUNK_TOKENS))
            assert float(point.embedding.dense @ wanted.dense) >= LEAST_COSINE
            assert point.embedding.sparse.ids.tolist() == wanted.sparse.ids.tolist()
            np.testing.assert_allclose(point.embedding.sparse.weights, wanted.sparse.weights, atol=0.02)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_index_holds_what_was_taken_whatever_happens_in_between() -> None:
    steps = examples(
        stateful_step_count=STEPS,
        max_examples=RUNS,
        deadline=None,
        phases=[Phase.generate],  # to shrink 50 steps takes many minutes; the steps that failed are printed as they are
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(IndexStates, settings=steps)
