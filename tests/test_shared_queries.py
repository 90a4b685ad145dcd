"""Questions that share a forward pass: the vectors, the errors and the calls are those that each would have alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Lock
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from rag.bm25 import TermCounts
from rag.checkpoint import Checkpoint, inspect
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.embedders.shared_queries import SharedQueries
from rag.errors import CheckpointError, EmbeddingError
from rag.ports import Embedder
from rag.types import Embedding
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_corpus import sentences

WAIT = 20.0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"), "tiny")


class Gated(BgeM3Embedder):
    """The real model. Each pass says that it has begun and waits until it may go on.

    Attributes:
        passes: the questions of each pass, in order.
        begun: set when a pass has begun.
        go_on: set by default.
        failure: raised by the next pass, once.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint, device="cpu", dtype="float32")
        self.passes: list[list[str]] = []
        self.begun, self.go_on = Event(), Event()
        self.go_on.set()
        self.failure: BaseException | None = None
        self._noting = Lock()

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        with self._noting:
            self.passes.append(list(texts))
            failure, self.failure = self.failure, None
        self.begun.set()
        assert self.go_on.wait(WAIT)
        if failure is not None:
            raise failure
        return super().embed_queries(texts)


@pytest.fixture
def model(tiny: Checkpoint) -> Gated:
    return Gated(tiny)


def while_a_pass_runs(
    model: Gated, shared: SharedQueries, pool: ThreadPoolExecutor, texts: Sequence[str]
) -> list[Future[Embedding]]:
    """Asks for `texts`, all of which come in while the first of them is embedded alone."""
    model.begun.clear()
    model.go_on.clear()
    calls = [pool.submit(shared.embed_query, texts[0])]
    assert model.begun.wait(WAIT)
    calls += [pool.submit(shared.embed_query, text) for text in texts[1:]]
    latest = monotonic() + WAIT
    while len(shared._changed._waiters) < len(texts) - 1:  # type: ignore[attr-defined]  # nothing else tells it
        assert monotonic() < latest
        sleep(0.001)
    return calls


def same(one: Embedding, other: Embedding) -> bool:
    return (
        bool(np.abs(one.dense - other.dense).max() < 1e-5)
        and one.sparse.ids.tolist() == other.sparse.ids.tolist()
        and np.allclose(one.sparse.weights, other.sparse.weights, atol=1e-5)
    )


def test_a_question_alone_is_embedded_at_once_and_as_the_model_does(model: Gated) -> None:
    shared: Embedder = SharedQueries(model, kept=0)
    assert same(shared.embed_query("a lamp"), model.embed_passages(["a lamp"])[0])
    assert model.passes == [["a lamp"]]


def test_questions_that_come_in_during_a_pass_share_the_next_one(model: Gated) -> None:
    shared, texts = SharedQueries(model, kept=0), sentences("en")[:6]
    with ThreadPoolExecutor(6) as pool:
        calls = while_a_pass_runs(model, shared, pool, texts)
        model.go_on.set()
        found = [call.result(WAIT) for call in calls]
    assert [sorted(each) for each in model.passes] == [[texts[0]], sorted(texts[1:])]
    assert all(same(one, other) for one, other in zip(found, model.embed_passages(texts), strict=True))


def test_more_questions_than_fit_into_a_pass_are_all_answered(model: Gated) -> None:
    shared, texts = SharedQueries(model, kept=0), [f"lamp {number}" for number in range(40)]
    with ThreadPoolExecutor(40) as pool:
        calls = while_a_pass_runs(model, shared, pool, texts)
        model.go_on.set()
        found = [call.result(WAIT) for call in calls]
    assert sorted(map(len, model.passes)) == [1, 7, 32]
    assert sorted(text for each in model.passes for text in each) == sorted(texts)
    assert all(same(one, other) for one, other in zip(found, model.embed_passages(texts), strict=True))


def test_a_text_that_cannot_be_embedded_fails_alone(model: Gated) -> None:
    shared, long = SharedQueries(model, kept=10), "lamp " * 9000
    with ThreadPoolExecutor(5) as pool:
        calls = while_a_pass_runs(model, shared, pool, ["first", "one", long, "", "two"])
        model.go_on.set()
        with pytest.raises(EmbeddingError, match="window"):
            calls[2].result(WAIT)
        with pytest.raises(EmbeddingError, match="empty"):
            calls[3].result(WAIT)
        found = [calls[at].result(WAIT) for at in (0, 1, 4)]
    assert all(
        same(one, other) for one, other in zip(found, model.embed_passages(["first", "one", "two"]), strict=True)
    )


@pytest.mark.parametrize("failure", [CheckpointError("damaged"), KeyboardInterrupt()])
def test_whatever_ends_a_pass_ends_it_for_one_asker_and_the_others_go_on(model: Gated, failure: BaseException) -> None:
    shared = SharedQueries(model, kept=10)
    with ThreadPoolExecutor(4) as pool:
        calls = while_a_pass_runs(model, shared, pool, ["first", "one", "two", "three"])
        model.failure = failure
        model.go_on.set()
        ends = [call.exception(WAIT) for call in calls]
    assert ends.count(failure) == 1
    assert ends.count(None) == 3
    assert ends[0] is None
    assert same(shared.embed_query("four"), model.embed_passages(["four"])[0])


def test_askers_of_the_same_question_share_its_embedding(model: Gated) -> None:
    shared = SharedQueries(model, kept=0)
    with ThreadPoolExecutor(4) as pool:
        calls = while_a_pass_runs(model, shared, pool, ["first", "one", "one", "first"])
        model.go_on.set()
        first, one, again, second = (call.result(WAIT) for call in calls)
    assert model.passes == [["first"], ["one"]]
    assert again is one
    assert second is first


def test_repeated_questions_are_not_embedded_again_and_the_oldest_is_forgotten(model: Gated) -> None:
    shared = SharedQueries(model, kept=2)
    for text in ("one", "two", "one", "three", "one", "two"):
        shared.embed_query(text)
    assert model.passes == [["one"], ["two"], ["three"], ["two"]]


def test_nothing_is_kept_where_that_is_turned_off(model: Gated) -> None:
    shared = SharedQueries(model, kept=0)
    for _ in range(2):
        shared.embed_query("one")
    assert model.passes == [["one"], ["one"]]


def test_a_question_that_failed_is_asked_again(model: Gated) -> None:
    shared = SharedQueries(model, kept=2)
    model.failure = CheckpointError("not there yet")
    with pytest.raises(CheckpointError, match="not there yet"):
        shared.embed_query("one")
    assert same(shared.embed_query("one"), model.embed_passages(["one"])[0])


def test_nobody_can_change_what_others_get(model: Gated) -> None:
    embedding = SharedQueries(model, kept=2).embed_query("a lamp")
    for array in (embedding.dense, embedding.sparse.ids, embedding.sparse.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


class Counting(Gated):
    """Gives terms and their counts, as models without lexical weights of their own do."""

    def embed_queries(self, texts: Sequence[str]) -> list[Embedding]:
        found = super().embed_queries(texts)
        return [replace(each, sparse=TermCounts(each.sparse.ids, each.sparse.weights)) for each in found]


def test_the_kind_of_sparse_vector_is_kept(tiny: Checkpoint) -> None:
    shared = SharedQueries(Counting(tiny), kept=2)
    for _ in range(2):
        assert isinstance(shared.embed_query("a lamp").sparse, TermCounts)


def test_threads_that_ask_at_will_get_what_each_would_have_alone(model: Gated) -> None:
    shared, texts = SharedQueries(model, kept=5), sentences("en")[:12]
    expected = dict(zip(texts, model.embed_passages(texts), strict=True))

    def ask(turn: int) -> bool:
        text = texts[turn * 7 % len(texts)]
        return same(shared.embed_query(text), expected[text])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_everything_else_is_the_models_own(model: Gated) -> None:
    shared: Any = SharedQueries(model, kept=2)
    assert (shared.model, shared.fingerprint) == (model.model, model.fingerprint)
    assert (shared.dimension, shared.window) == (model.dimension, model.window)
    assert shared.count_tokens(["a lamp"]) == model.count_tokens(["a lamp"])
    assert shared.terms("a lamp") == model.terms("a lamp")
    assert same(shared.embed_queries(["a lamp"])[0], shared.embed_passages(["a lamp"])[0])
    [with_tokens] = shared.embed_passages(["a lamp"], colbert=True)
    assert with_tokens.colbert.shape[0] == model.count_tokens(["a lamp"])[0] - 1
    scores = shared.late_interaction("a lamp", ["a lamp", "rain"])
    assert scores.tolist() == pytest.approx(model.late_interaction("a lamp", ["a lamp", "rain"]).tolist())
    assert not hasattr(shared, "no_such_thing")
