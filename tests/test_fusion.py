from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rag.fusion import Ranking, rank
from rag.types import Candidate
from tests.samples import a_chunk

WEIGHTED = Ranking(method="weighted")


def candidates(*scores: tuple[float, float], languages: str = "") -> list[Candidate]:
    """Candidates with these scores; in languages a, b, … where letters are given, else in one."""
    return [
        Candidate.of(a_chunk(ordinal=n, language=languages[n] if languages else "en"), dense, sparse)
        for n, (dense, sparse) in enumerate(scores)
    ]


ORDINALS = {a_chunk(ordinal=n).id: n for n in range(100)}


def ordinal(candidate: Candidate) -> int:
    """Its place among `candidates`."""
    return ORDINALS[candidate.id]


def order(found: list[Candidate], ranking: Ranking) -> list[int]:
    return [ordinal(passage.candidate) for passage in rank(found, ranking, 10, own_sparse=1.0)]


def test_weighted_adds_a_third_of_the_sparse_score_as_the_paper_does() -> None:
    best = rank(candidates((0.5, 0.2), (0.55, 0.0)), WEIGHTED, 10, own_sparse=1.0)
    assert [ordinal(passage.candidate) for passage in best] == [0, 1]
    assert best[0].score == best[0].fused_score == pytest.approx(0.56)
    assert best[0].level == 0.0


def test_a_passage_that_stands_out_of_its_language_goes_before_nearer_ones_that_do_not() -> None:
    # All of language a are nearer to the question; none of them stands out as the second of b does.
    found = candidates((0.8, 0), (0.3, 0), (0.6, 0), (0.79, 0), (0.29, 0), (0.78, 0), languages="abbaba")
    assert order(found, WEIGHTED) == [0, 3, 5, 2, 1, 4]
    best = rank(found, Ranking(level_k=2, level_enough=2), 10, own_sparse=1.0)
    assert ordinal(best[0].candidate) == 2
    # Ranks 2 and 3 of each: a (.79 + .78) / 2, b (.30 + .29) / 2.
    assert (best[0].level, best[0].score) == pytest.approx((0.295, 0.305))
    assert (best[1].level, best[1].score) == pytest.approx((0.785, 0.015))
    assert all(p.score == pytest.approx(p.fused_score - p.level) for p in best)


def test_normalization_changes_nothing_within_a_language() -> None:
    found = candidates((0.5, 0.2), (0.55, 0.0), (0.1, 0.9), (0.2, 0.2), (0.3, 0.1), (0.9, 0.0), (0.4, 0.3))
    assert order(found, Ranking()) == order(found, WEIGHTED)


def test_normalization_leaves_the_order_of_each_language_alone() -> None:
    generator = np.random.default_rng(0)
    found = candidates(*zip(generator.random(60), generator.random(60), strict=True), languages="abbcccabca" * 6)
    by_language = {ordinal(c): c.language for c in found}
    for language in "abc":
        ranked = [
            [ordinal(p.candidate) for p in rank(found, ranking, 60, own_sparse=1.0, asked_in="a")]
            for ranking in (Ranking(), WEIGHTED)
        ]
        of_language = [[n for n in places if by_language[n] == language] for places in ranked]
        assert of_language[0] == of_language[1]


def test_a_single_passage_of_a_language_must_be_as_good_as_those_of_the_nearest_language() -> None:
    scores = [(0.9, 0), (0.8, 0), (0.7, 0), (0.5, 0), (0.4, 0), (0.3, 0)]
    for alone, place in ((0.95, 0), (0.85, 2), (0.1, 6)):
        found = candidates(*scores, (alone, 0), languages="aaabbbc")
        # Levels with k = 2: a .75, b .35; so .15, .05, -.05, .15, .05, -.05, and c is measured against a's.
        assert order(found, Ranking(level_k=2, level_enough=2)).index(6) == place


def test_the_fewer_passages_a_language_has_the_nearer_its_level_is_to_the_highest() -> None:
    found = candidates(
        *[(0.9 - n / 100, 0) for n in range(9)], (0.3, 0), (0.2, 0), (0.2, 0), languages="a" * 9 + "b" * 3
    )
    for enough, level in ((2, 0.2), (4, (0.2 + 0.885) / 2), (8, 0.25 * 0.2 + 0.75 * 0.885)):
        # Ranks 2 and 3: a (.89 + .88) / 2, b .2; b has two beside its best.
        ranked = rank(found, Ranking(level_k=2, level_enough=enough), 12, own_sparse=1.0)
        assert [p.level for p in ranked if p.candidate.language == "b"] == pytest.approx([level] * 3)
        assert [p.level for p in ranked if p.candidate.language == "a"] == pytest.approx([0.885] * 9)


def test_languages_with_too_few_passages_for_a_level_are_measured_against_all() -> None:
    found = candidates((0.9, 0), (0.8, 0), (0.5, 0), (0.7, 0), languages="aabb")
    levels = {
        p.candidate.language: p.level for p in rank(found, Ranking(level_k=3, level_enough=3), 10, own_sparse=1.0)
    }
    # All together: ranks 2 to 4, mean 2/3. a: (.8 + 2 · 2/3) / 3, b: (.5 + 2 · 2/3) / 3.
    assert levels == {"a": pytest.approx(6.4 / 9), "b": pytest.approx(5.5 / 9)}
    assert rank(candidates((0.4, 0.1)), Ranking(), 3, own_sparse=1.0)[0].score == pytest.approx(0.43)


def test_a_hundred_languages_are_levelled_each_by_itself() -> None:
    names = [chr(0x4E00 + n) for n in range(100)]
    found = candidates(
        *[(n / 200 + step, 0.0) for n in range(100) for step in (0.3, 0.1, 0.1)],
        languages="".join(c * 3 for c in names),
    )
    best = rank(found, Ranking(level_k=2, level_enough=2), 100, own_sparse=1.0)
    assert {p.candidate.language for p in best} == set(names)
    assert all(p.score == pytest.approx(0.2) for p in best)


def test_dense_mode_ignores_sparse_scores() -> None:
    assert order(candidates((0.5, 9.0), (0.6, 0.0)), Ranking(mode="dense")) == [1, 0]


def test_sparse_mode_leaves_out_what_shares_no_token() -> None:
    assert order(candidates((0.9, 0.0), (0.1, 0.2), (0.1, 0.3)), Ranking(mode="sparse")) == [2, 1]


def test_reciprocal_ranks_follow_cormack_with_k_sixty() -> None:
    # dense ranks 1, 2, 3; sparse ranks 2, 1, none: 1/61+1/62, 1/62+1/61, 1/63
    found = rank(candidates((0.9, 0.1), (0.8, 0.2), (0.7, 0.0)), Ranking(method="rrf"), 10, own_sparse=1.0)
    assert found[0].score == pytest.approx(1 / 61 + 1 / 62)
    assert found[1].score == pytest.approx(1 / 61 + 1 / 62)
    assert found[2].score == pytest.approx(1 / 63)


def test_weighted_keeps_how_much_better_the_best_is_where_ranks_do_not() -> None:
    clear = candidates((0.95, 0.0), (0.40, 0.01), (0.39, 0.02))
    assert order(clear, WEIGHTED)[0] == 0
    assert order(clear, Ranking(method="rrf"))[0] != 0


@pytest.mark.parametrize("method", ["normalized", "weighted", "rrf"])
def test_ties_are_broken_by_chunk_id_whatever_the_order_of_arrival(method: str) -> None:
    tied = candidates((0.5, 0.1), (0.5, 0.1), (0.5, 0.1))
    ranking = Ranking(method=method)  # type: ignore[arg-type]
    assert order(tied, ranking) == order(tied[::-1], ranking)
    ids = [passage.candidate.id for passage in rank(tied, ranking, 10, own_sparse=1.0)]
    assert ids == sorted(ids)


def test_the_limit_cuts_after_ranking() -> None:
    assert [
        ordinal(p.candidate) for p in rank(candidates((0.1, 0), (0.3, 0), (0.2, 0)), Ranking(), 2, own_sparse=1.0)
    ] == [
        1,
        2,
    ]


def test_no_candidates_give_no_passages() -> None:
    assert rank([], Ranking(), 5, own_sparse=1.0) == []


def test_a_third_passage_in_the_asker_s_language_must_stand_out_more() -> None:
    # Levels, of ranks 2 and 3: a .77, b .345. The best stand out by .13 and by .075, in the mean by .1025.
    found = candidates((0.9, 0), (0.8, 0), (0.74, 0), (0.73, 0), (0.42, 0), (0.39, 0), (0.3, 0), languages="aaaabbb")
    ranking = Ranking(level_k=2, level_enough=2)
    best = rank(found, ranking, 10, own_sparse=1.0, asked_in="a")
    assert {ordinal(p.candidate): p.handicap for p in best} == pytest.approx(
        {n: 0.1025 if n in (2, 3) else 0.0 for n in range(7)}
    )
    assert all(p.score == pytest.approx(p.fused_score - p.level - p.handicap) for p in best)
    assert [ordinal(p.candidate) for p in best] == [0, 4, 5, 1, 6, 2, 3]
    without = [rank(found, ranking, 10, own_sparse=1.0, asked_in=language) for language in (None, "c")]
    for each in without:
        assert [ordinal(p.candidate) for p in each] == [0, 4, 5, 1, 2, 3, 6]
        assert not any(p.handicap for p in each)
    # Tags below a language are the language; with as many places as passages nothing changes.
    regional = [replace(c, language=c.language * 2 + "-CH") for c in found]
    assert [p.handicap for p in rank(regional, ranking, 10, own_sparse=1.0, asked_in="aa")] == [
        p.handicap for p in best
    ]
    many = rank(found, replace(ranking, own_places=4), 10, own_sparse=1.0, asked_in="a")
    assert [p.score for p in many] == [p.score for p in without[0]]


def test_in_one_language_no_passage_has_to_stand_out_more() -> None:
    found = candidates((0.9, 0), (0.8, 0), (0.7, 0), (0.6, 0))
    assert not any(p.handicap for p in rank(found, Ranking(), 4, own_sparse=1.0, asked_in="en"))


def test_less_is_made_of_a_passage_that_shares_little_of_the_question() -> None:
    ranking = Ranking(method="weighted", sparse_weight=2.0, coverage=0.5)
    # A text with all of the question's words has its score with itself: it counts in full.
    best = rank(candidates((0.1, 0.64), (0.1, 0.16), (0.1, 0.0)), ranking, 3, own_sparse=0.64)
    assert [p.score for p in best] == pytest.approx([0.1 + 2 * 0.64, 0.1 + 2 * 0.16 * 0.5, 0.1])
    # A question of unknown tokens alone has no weight at all.
    assert rank(candidates((0.1, 0.0)), ranking, 3, own_sparse=0.0)[0].score == pytest.approx(0.1)
