"""Rankings that ColBERT's late interaction has put in order, as evaluations measure them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rag.checkpoint import inspect, locate
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.evaluation import beir, pools
from rag.evaluation.datasets import Dataset
from rag.evaluation.late_interaction import ColbertRanker, TokenVectors
from rag.evaluation.scoring import ExactRanker, embed
from rag.fusion import Ranking
from tests.command_line import Shell, call
from tests.evaluation_data import write_dataset

DENSE = Ranking(mode="dense")


@pytest.fixture(scope="module")
def own() -> BgeM3Embedder:
    return BgeM3Embedder(inspect(locate("pocket-m3"), "pocket-m3"), device="cpu", dtype="float32")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return beir.read(write_dataset(tmp_path / "small"))


def ranker(dataset: Dataset, own: BgeM3Embedder, **given: float) -> ColbertRanker:
    exact = ExactRanker(dataset, embed(dataset, own), DENSE)
    chosen = {"depth": 30, "weight": 0.5, **given}
    return ColbertRanker(dataset, exact, TokenVectors.of(dataset, own), DENSE, **chosen)  # type: ignore[arg-type]


def test_the_scores_are_those_of_the_reranker(dataset: Dataset, own: BgeM3Embedder) -> None:
    tokens = TokenVectors.of(dataset, own)
    every = range(len(dataset.documents))
    tokens.prepare([2], every)
    expected = own.late_interaction(dataset.questions[2].text, [document.text for document in dataset.documents])
    np.testing.assert_allclose(tokens.scores(2, every), expected, atol=2e-3)  # kept in 16 bits
    np.testing.assert_array_equal(tokens.scores(2, [4, 1]), tokens.scores(2, every)[[4, 1]])


def test_a_weight_of_nothing_leaves_the_order(dataset: Dataset, own: BgeM3Embedder) -> None:
    exact = ExactRanker(dataset, embed(dataset, own), DENSE)
    for _, pool in pools.cases(dataset):
        assert list(ranker(dataset, own, weight=0.0).ranked(pool)) == list(exact.ranked(pool))


def test_a_weight_beyond_measure_orders_by_late_interaction_down_to_the_depth(
    dataset: Dataset, own: BgeM3Embedder
) -> None:
    exact = ExactRanker(dataset, embed(dataset, own), DENSE)
    pool = next(pool for case, pool in pools.cases(dataset) if case == "all")
    changed = 0
    for question, before, after in zip(
        pool.questions, exact.ranked(pool), ranker(dataset, own, weight=1e9, depth=5).ranked(pool), strict=True
    ):
        assert after[5:] == before[5:]
        texts = [dataset.documents[position].text for position in after[:5]]
        scores = own.late_interaction(dataset.questions[question].text, texts)
        assert all(a > b - 2e-3 for a, b in pairwise(scores))
        changed += after != before
    assert changed


@pytest.fixture
def shell(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    write_dataset(in_folder / "small")
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "pocket-m3")
    monkeypatch.setenv("RAG_EMBEDDER__DTYPE", "float32")
    return lambda *words: call(("rag", "eval", "retrieval", *words), monkeypatch, capfd)


def test_a_run_with_colbert_is_compared_with_one_without(shell: Shell) -> None:
    done = shell("small", "--compare", "dense", "--compare", "dense rerank=colbert rerank_weight=2", "--json")
    assert (done.code, done.err) == (0, "")
    plain, reranked = done.json["runs"]
    assert (plain["name"], reranked["name"]) == ("dense", "dense rerank=colbert rerank_depth=30 rerank_weight=2")
    assert plain["cases"] != reranked["cases"]


@pytest.mark.parametrize("reranker", ["llm", "cross-encoder"])
def test_other_rerankers_work_over_an_index_alone(shell: Shell, reranker: str) -> None:
    done = shell("small", "--compare", f"dense rerank={reranker}")
    assert done.code == 2
    assert f"the reranker {reranker!r} is measured over an index alone: give --gold FILE" in done.err
