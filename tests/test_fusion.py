from __future__ import annotations

import pytest

from rag.fusion import Ranking, rank
from rag.types import Candidate
from tests.samples import a_chunk


def candidates(*scores: tuple[float, float]) -> list[Candidate]:
    return [Candidate(a_chunk(ordinal=n), dense, sparse) for n, (dense, sparse) in enumerate(scores)]


def order(found: list[Candidate], ranking: Ranking) -> list[int]:
    return [passage.chunk.ordinal for passage in rank(found, ranking, 10)]


def test_the_default_adds_a_third_of_the_sparse_score_as_the_paper_does() -> None:
    best = rank(candidates((0.5, 0.2), (0.55, 0.0)), Ranking(), 10)
    assert [passage.chunk.ordinal for passage in best] == [0, 1]
    assert best[0].score == pytest.approx(0.56)
    assert (best[0].rank, best[1].rank) == (1, 2)


def test_dense_mode_ignores_sparse_scores() -> None:
    assert order(candidates((0.5, 9.0), (0.6, 0.0)), Ranking(mode="dense")) == [1, 0]


def test_sparse_mode_leaves_out_what_shares_no_token() -> None:
    assert order(candidates((0.9, 0.0), (0.1, 0.2), (0.1, 0.3)), Ranking(mode="sparse")) == [2, 1]


def test_reciprocal_ranks_follow_cormack_with_k_sixty() -> None:
    # dense ranks 1, 2, 3; sparse ranks 2, 1, none: 1/61+1/62, 1/62+1/61, 1/63
    found = rank(candidates((0.9, 0.1), (0.8, 0.2), (0.7, 0.0)), Ranking(method="rrf"), 10)
    assert found[0].score == pytest.approx(1 / 61 + 1 / 62)
    assert found[1].score == pytest.approx(1 / 61 + 1 / 62)
    assert found[2].score == pytest.approx(1 / 63)


def test_weighted_keeps_how_much_better_the_best_is_where_ranks_do_not() -> None:
    clear = candidates((0.95, 0.0), (0.40, 0.01), (0.39, 0.02))
    assert order(clear, Ranking())[0] == 0
    assert order(clear, Ranking(method="rrf"))[0] != 0


@pytest.mark.parametrize("method", ["weighted", "rrf"])
def test_ties_are_broken_by_chunk_id_whatever_the_order_of_arrival(method: str) -> None:
    tied = candidates((0.5, 0.1), (0.5, 0.1), (0.5, 0.1))
    ranking = Ranking(method=method)  # type: ignore[arg-type]
    assert order(tied, ranking) == order(tied[::-1], ranking)
    ids = [passage.chunk.id for passage in rank(tied, ranking, 10)]
    assert ids == sorted(ids)


def test_the_limit_cuts_after_ranking() -> None:
    assert [p.chunk.ordinal for p in rank(candidates((0.1, 0), (0.3, 0), (0.2, 0)), Ranking(), 2)] == [1, 2]


def test_no_candidates_give_no_passages() -> None:
    assert rank([], Ranking(), 5) == []
