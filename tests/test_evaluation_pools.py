"""Which documents a question is put to, in what order they come, and what follows for a language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.evaluation import beir, pools, scoring
from rag.evaluation.datasets import Dataset
from rag.evaluation.measure import evaluate
from rag.evaluation.pools import Pool
from rag.evaluation.problems import DatasetError
from rag.evaluation.scoring import ExactRanker, order
from rag.fusion import Ranking, numbered, rank
from rag.ports import Embedder
from rag.types import Candidate, Chunk, Embedding, SparseVector
from tests.evaluation_data import CORPUS, QUERIES, write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return beir.read(write_dataset(tmp_path / "small"))


def names(dataset: Dataset, positions: Mapping[int, int] | frozenset[int]) -> set[str]:
    return {dataset.documents[position].id for position in positions}


def rows(dataset: Dataset, pool: Pool) -> dict[str, list[tuple[set[str], set[str]]]]:
    found: dict[str, list[tuple[set[str], set[str]]]] = {}
    for at, relevant, left_out in zip(pool.questions, pool.relevant, pool.left_out, strict=True):
        found.setdefault(dataset.questions[at].id, []).append((names(dataset, relevant), names(dataset, left_out)))
    return found


def test_a_pair_has_the_documents_of_one_language(dataset: Dataset) -> None:
    found = {(asked, held): pool for asked, held, pool in pools.matrix(dataset)}
    assert set(found) == {(asked, held) for asked in ("de", "en") for held in ("de", "en", "fr")}
    pool = found["en", "fr"]
    assert pool.language == "fr"
    assert rows(dataset, pool)["en:q-rail"] == [({"fr:rail"}, set())]


def test_a_question_without_an_answer_in_a_language_is_not_asked_there(tmp_path: Path) -> None:
    corpus = [record for record in CORPUS if record["id"] not in ("fr:bees", "fr:rail")]
    dataset = beir.read(write_dataset(tmp_path, corpus))
    asked = {(asked, held): len(pool.questions) for asked, held, pool in pools.matrix(dataset)}
    assert asked["en", "fr"] == 1
    assert asked["en", "de"] == 3


def test_the_cases_leave_out_the_answer_where_they_say_so(dataset: Dataset) -> None:
    found = {case: rows(dataset, pool)["en:q-bees"] for case, pool in pools.cases(dataset)}
    assert found == {
        "all": [({"de:bees", "en:bees", "fr:bees"}, set())],
        "foreign": [({"de:bees", "fr:bees"}, {"en:bees"})],
        "one": [({"de:bees"}, {"en:bees", "fr:bees"}), ({"fr:bees"}, {"de:bees", "en:bees"})],
        "own": [({"en:bees"}, {"de:bees", "fr:bees"})],
    }


def test_documents_in_one_language_make_no_case(tmp_path: Path) -> None:
    corpus = [record for record in CORPUS if record["lang"] == "en"]
    queries = [{**record, "gold": record["gold"].replace("de:", "en:")} for record in QUERIES]
    dataset = beir.read(write_dataset(tmp_path, corpus, queries))
    assert list(pools.cases(dataset)) == []
    assert {asked for asked, _, _ in pools.matrix(dataset)} == {"de", "en"}


# Order


def candidate(name: str, dense: float, sparse: float, language: str) -> Candidate:
    chunk = Chunk(name, "u", "v", 0, 1, "t", 0, 1, "t", (), None, language, language, "txt", "h", 0.0)
    return Candidate.of(chunk, dense, sparse)


rankings = st.one_of(
    st.just(Ranking(mode="dense")),
    st.just(Ranking(mode="sparse")),
    st.builds(
        Ranking,
        method=st.sampled_from(["normalized", "weighted"]),
        dense_weight=st.sampled_from([0.0, 1.0]),
        sparse_weight=st.sampled_from([0.0, 0.3, 1.0]),
        level_k=st.sampled_from([1, 2, 5]),
        level_enough=st.sampled_from([1, 3, 19]),
        own_places=st.sampled_from([1, 2, 5]),
        coverage=st.sampled_from([0.0, 0.5]),
    ),
    st.builds(Ranking, method=st.just("rrf"), rrf_k=st.sampled_from([1, 60])),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        # Few values, so that many are equal.
        st.tuples(
            st.sampled_from([-0.5, 0.0, 0.25, 0.5]),
            st.sampled_from([0.0, 0.25, 0.5]),
            st.booleans(),
            st.sampled_from(["de", "en", "ja"]),
        ),
        min_size=1,
        max_size=12,
    ),
    rankings,
    st.sampled_from(["de", "en", "fr", None]),
)
def test_documents_come_in_the_order_of_fusion_ties_and_documents_left_out_included(
    scores: list[tuple[float, float, bool, str]], ranking: Ranking, asked_in: str | None
) -> None:
    dense, sparse, left_out, languages = zip(*scores, strict=True)
    own = np.array([[language == asked_in for language in languages]])
    given = np.array([dense]), np.array([sparse]), np.array([0.5]), np.array([left_out]), numbered(languages), own
    found = [f"{at:02}" for at in next(order(*given, ranking))[0]]
    there = [candidate(f"{at:02}", d, s, language) for at, (d, s, out, language) in enumerate(scores) if not out]
    assert found == [each.candidate.id for each in rank(there, ranking, len(scores), own_sparse=0.5, asked_in=asked_in)]


def embedding(dense: list[float], sparse: dict[int, float]) -> Embedding:
    vector = np.array(dense, dtype=np.float32)
    ids = np.array(sorted(sparse), dtype=np.uint32)
    weights = np.array([sparse[token] for token in sorted(sparse)], dtype=np.float32)
    return Embedding(vector / np.linalg.norm(vector), SparseVector(ids, weights))


def test_scores_are_dot_products_of_what_is_embedded(dataset: Dataset) -> None:
    documents = [embedding([1, at], {3: 0.5, 10 + at: 2.0}) for at in range(9)]
    questions = [embedding([0, 1], {10 + at: 1.0}) for at in range(6)]
    vectors = scoring.vectors(documents, questions)
    pool = Pool(None, tuple(range(6)), ({0: 1},) * 6, (frozenset({8, 1}),) * 6)
    # The second component grows with the position, and what is left out is not there.
    assert list(ExactRanker(dataset, vectors, Ranking(mode="dense")).ranked(pool)) == [[7, 6, 5, 4, 3, 2, 0]] * 6
    # Each question shares a token with one document alone, which for the second is left out.
    sparse = list(ExactRanker(dataset, vectors, Ranking(mode="sparse")).ranked(pool))
    assert sparse == [[0], [], [2], [3], [4], [5]]


def test_vectors_that_are_cut_are_normalised_again(dataset: Dataset) -> None:
    vectors = scoring.vectors([embedding([3, 4, 12], {1: 1.0}), embedding([0, 0, 1], {})], [embedding([1, 1, 1], {})])
    cut = vectors.truncated(2)
    assert cut.documents.tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0]]
    assert cut.documents.dtype == np.float32


# Figures


class _Fixed:
    """Puts the same documents first for every question."""

    def __init__(self, dataset: Dataset, first: list[str]) -> None:
        ids = [document.id for document in dataset.documents]
        self._dataset = dataset
        self._order = [ids.index(name) for name in [*first, *(each for each in ids if each not in first)]]

    def ranked(self, pool: Pool) -> Iterator[list[int]]:
        for left_out in pool.left_out:
            yield [
                at
                for at in self._order
                if at not in left_out and pool.language in (None, self._dataset.documents[at].language)
            ]


def test_an_evaluation_holds_every_pair_case_and_preference(dataset: Dataset) -> None:
    ranker = _Fixed(dataset, ["en:bees", "en:rail", "en:bread"])
    evaluation = evaluate(dataset, ranker, name="n", model="m", fingerprint="f", seconds=5.0).evaluation
    assert (evaluation.documents, evaluation.questions, evaluation.dataset) == (9, 6, "small")
    assert evaluation.seconds >= 5.0
    cells = {(cell.question_language, cell.document_language): cell for cell in evaluation.matrix}
    assert len(cells) == 6
    assert cells["de", "en"].questions == 3
    assert cells["de", "en"].values["RR@10"].mean == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    cases = {(row.case, row.question_language): row for row in evaluation.cases}
    assert set(cases) == {(case, tag) for case in ("all", "foreign", "one", "own") for tag in (None, "de", "en")}
    assert cases["one", None].questions == 12
    assert cases["one", "de"].questions == 6
    assert cases["own", "en"].values["RR@10"].mean == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    shares = {(each.question_language, each.document_language): each for each in evaluation.preferences}
    assert shares["de", "fr"].gold_share == pytest.approx(1 / 3)
    assert shares["de", "fr"].top_share == pytest.approx(3 / 9)
    assert sum(each.top_share for each in evaluation.preferences if each.question_language == "en") == pytest.approx(1)


def test_the_bundled_model_finds_a_paragraph_in_its_own_language_first(dataset: Dataset, pocket: Embedder) -> None:
    done: list[tuple[int, int]] = []
    vectors = scoring.embed(dataset, pocket, lambda *state: done.append(state))
    assert done[-1] == (15, 15)
    assert vectors.remarks == ()
    assert vectors.dimension == pocket.dimension
    ranker = ExactRanker(dataset, vectors, Ranking(sparse_weight=1.0))
    measured = evaluate(dataset, ranker, name="n", model="m", fingerprint="f")
    assert measured.evaluation.matrix[0].values["R@1"].mean == 1.0  # de → de
    assert measured.places["own"].values.shape == (6, 5)


def test_of_a_document_beyond_the_window_the_beginning_is_embedded_and_told(tmp_path: Path, pocket: Embedder) -> None:
    long = " ".join(f"wort{number}" for number in range(2000))
    corpus = [*CORPUS, {"id": "long", "lang": "de", "text": long}]
    dataset = beir.read(write_dataset(tmp_path / "long", corpus))
    vectors = scoring.embed(dataset, pocket)
    (remark,) = vectors.remarks
    assert remark.startswith("1 of 10 documents are longer than the window of pocket-m3, 1024 tokens: ")
    whole = next(at for at, each in enumerate(dataset.documents) if each.id == "long")
    head = pocket.embed_passages([" ".join(f"wort{number}" for number in range(100))])[0]
    assert float(vectors.documents[whole] @ head.dense) > 0.8


def test_a_question_beyond_the_window_is_refused_with_its_line(tmp_path: Path, pocket: Embedder) -> None:
    queries = [*QUERIES, {"id": "long", "lang": "de", "text": "warum " * 1100, "gold": "de:bees"}]
    with pytest.raises(DatasetError, match=r"queries.jsonl:7: the question has \d+ tokens and the window"):
        scoring.embed(beir.read(write_dataset(tmp_path, CORPUS, queries)), pocket)
