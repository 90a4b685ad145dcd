"""The parts of training that can be worked out by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rag.training import heads, objective, prepare, teacher
from rag.training.recipe import load
from rag.training.sampling import Sampler
from rag.training.static import Bag, StaticStage
from rag.training.student import Student, configuration, start_from_bag
from rag.training.tokens import Pairs, Texts, chances


def texts(*each: list[int]) -> Texts:
    flat = np.array(list(itertools.chain(*each)), np.uint16)
    return Texts(flat, np.cumsum([0, *map(len, each)]))


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """120 pairs of two languages and 20 made ones; every text has eight tokens; every tenth pair is held out."""
    draw = np.random.default_rng(3)
    count, made = 120, 20
    targets = draw.normal(size=(count + made, 16)).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    language = np.repeat([0, 1, 2], [80, 40, made]).astype(np.int32)
    held_out = np.arange(0, count, 10, dtype=np.int32)
    weight = np.ones(count + made)
    weight[held_out] = 0
    sides = [texts(*draw.integers(4, 60, (count + made, 8)).tolist()) for _ in range(2)]
    return Pairs(
        english=sides[0],
        other=sides[1],
        pair_english=np.arange(count + made, dtype=np.int32),
        pair_language=language,
        targets=targets.astype(np.float16),
        chance=chances(language, weight, exponent=0.5, vocabulary=0.2, languages=2),
        topics=draw.integers(0, 4, count + made).astype(np.int32),
        held_out=held_out,
        languages=("de", "fr"),
    )


def test_languages_are_drawn_by_the_root_of_their_size_and_made_texts_by_their_share():
    language = np.repeat([0, 1, 2], [90, 10, 50]).astype(np.int32)
    chance = chances(language, np.ones(150), exponent=0.5, vocabulary=0.2, languages=2)
    shares = [chance[language == each].sum() for each in range(3)]
    assert shares == pytest.approx([0.8 * 3 / 4, 0.8 * 1 / 4, 0.2])


def test_no_held_out_pair_is_ever_drawn(pairs: Pairs):
    sampler = Sampler(pairs, 0)
    draw = np.random.default_rng(0)
    drawn = set(sampler.draw(draw, 20_000).tolist())
    assert drawn == set(range(140)) - set(pairs.held_out.tolist())
    passages = [sampler.passages(draw, 50, 6) for _ in range(20)]
    assert not set(np.concatenate([each.pairs for each in passages]).tolist()) & set(pairs.held_out.tolist())


def test_a_passage_is_of_one_language_and_lies_where_its_sentences_point(pairs: Pairs):
    passages = Sampler(pairs, 0).passages(np.random.default_rng(1), 60, 5)
    assert len(passages.counts) > 20
    for first, count, target in zip(passages.first, passages.counts, passages.target, strict=True):
        inside = passages.pairs[first : first + count]
        assert len({int(language) for language in pairs.pair_language[inside]}) == 1
        assert pairs.pair_language[inside[0]] != 2
        summed = pairs.target(inside).sum(0)
        np.testing.assert_allclose(target, summed / np.linalg.norm(summed), atol=1e-5)


def test_pairs_too_short_for_passages_stand_by_themselves(pairs: Pairs):
    short = replace(pairs, other=texts(*([[5, 6]] * 140)))
    sampler = Sampler(short, 0)
    assert not len(sampler.passages(np.random.default_rng(0), 8, 4).counts)
    alone = sampler.passages_or_pairs(np.random.default_rng(0), 8, 4)
    assert alone.counts.tolist() == [1] * 8
    np.testing.assert_allclose(alone.target, short.target(alone.pairs))
    sizes = load("pocket-m3").student.model_copy(update={"hidden": 16, "heads": 2, "layers": 1, "intermediate": 16})
    stage = heads.HeadsStage(sampler, Student(configuration(sizes, 61), 0), rate=1e-3, batch=8, seed=0)
    stage.fit_sparse()
    assert all(torch.isfinite(stage.loss(step)) for step in range(4))


class Counting:
    """Stands for a loaded teacher: remembers which texts it was asked for."""

    dimension = 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, some: Sequence[str]) -> np.ndarray:
        self.asked += some
        return np.array([[len(text), 1] for text in some], np.float32)


@pytest.mark.parametrize("noted", ["", "no number", None])
def test_vectors_whose_note_was_cut_off_are_made_again(tmp_path: Path, noted: str | None):
    path, some = tmp_path / "english.npy", ["one", "three", "fifteen"]
    first, second, third = Counting(), Counting(), Counting()
    made = teacher.encode_to(path, first, some, lambda done, of: None).tolist()
    assert made == [[3, 1], [5, 1], [7, 1]]
    teacher.encode_to(path, second, some, lambda done, of: None)
    assert second.asked == []
    path.with_suffix(".done").unlink()
    if noted is not None:
        path.with_suffix(".done").write_text(noted)
    assert teacher.encode_to(path, third, some, lambda done, of: None).tolist() == made
    assert sorted(third.asked) == sorted(some)


def test_texts_are_taken_joined_and_padded():
    three = texts([5, 6], [7], [8, 9, 10])
    taken = three.take(np.array([2, 0, 2]))
    assert taken.ids.tolist() == [8, 9, 10, 5, 6, 8, 9, 10]
    assert taken.joined(np.array([2, 1])).offsets.tolist() == [0, 5, 8]
    padded = taken.joined(np.array([2, 1])).padded(6, 0, 1, 2)
    assert padded.tolist() == [[0, 8, 9, 10, 5, 2, 1, 1], [0, 8, 9, 10, 2, 1, 1, 1]]


def test_a_step_sees_the_same_batch_whenever_it_comes(pairs: Pairs):
    first, second = (StaticStage(Sampler(pairs, 0), 60, rate=0.1, batch=32, seed=4) for _ in range(2))
    first.loss(0)
    assert [first.loss(step).item() for step in (7, 8)] == [second.loss(step).item() for step in (7, 8)]
    assert first.loss(7).item() != first.loss(9).item()


def test_near_duplicates_are_no_negatives():
    target = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=1)
    apart = torch.eye(2)[[0, 0, 1]]
    # Rows 0 and 1 mean the same: each is measured against row 2 alone.
    expected = torch.log1p(torch.exp(torch.tensor(-1 / objective.TEMPERATURE)))
    loss = objective._contrast(apart, apart, objective._near_duplicates(target))
    assert loss.item() == pytest.approx(
        (2 * expected + torch.log1p(2 * torch.exp(torch.tensor(-20.0)))).item() / 3, abs=1e-7
    )


def test_lexical_scores_multiply_the_highest_weights_of_shared_tokens():
    question_ids, passage_ids = torch.tensor([[0, 7, 8, 7, 2]]), torch.tensor([[0, 8, 7, 9, 2], [0, 9, 9, 9, 2]])
    question, passage = torch.tensor([[9.0, 1, 2, 3, 9]]), torch.tensor([[9.0, 5, 4, 1, 9], [9.0, 1, 1, 1, 9]])
    scores = heads.lexical_scores(question_ids, question, passage_ids, passage)
    assert scores.tolist() == [[3 * 4 + 2 * 5, 0]]


def test_a_token_is_as_common_as_where_it_is_most_common(pairs: Pairs):
    common = texts(*([[10, 11]] * 79), [10, 12], *([[20, 21]] * 39), [20, 22], *([[30, 31]] * 20))
    counted = replace(pairs, english=texts(*([[40, 41]] * 140)), other=common)
    weight = heads.rarity(counted, 61)
    assert weight[10] == weight[20] == 0  # in every text of their language, though 20 is in a third of all
    assert weight[12] == pytest.approx((np.log(80) - 1) / 8 * 0.35, abs=1e-6)
    assert weight[22] == pytest.approx((np.log(40) - 1) / 8 * 0.35, abs=1e-6)
    assert not weight[:4].any()


def test_a_student_begins_as_its_bag_of_tokens():
    torch.manual_seed(1)
    bag = Bag(torch.randn(60, 64))
    with torch.no_grad():
        bag.direction.normal_(std=0.05)
    sizes = load("pocket-m3").student.model_copy(update={"hidden": 64, "heads": 2, "layers": 1, "intermediate": 64})
    student = Student(configuration(sizes, 60), 0)
    start_from_bag(student, bag)
    some = texts([5, 6, 7, 7], [30, 40, 50, 20, 10, 9], [44])
    tokens, counts = bag.tokens()
    for ids, vector in zip(np.split(some.ids, some.offsets[1:-1]), student.vectors(some), strict=True):
        chosen = torch.from_numpy(ids.astype(np.int64))
        expected = (counts[chosen, None] * tokens[chosen]).sum(0).detach().numpy()
        assert vector @ expected / np.linalg.norm(expected) > 0.95


def test_the_projection_keeps_angles(pairs: Pairs):
    draw = np.random.default_rng(5)
    flat = (draw.normal(size=(500, 12)) @ draw.normal(size=(12, 40))).astype(np.float32)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    for hidden in (16, 64):  # fewer and more coordinates than the teacher has; its vectors fill twelve
        placed = flat @ prepare._projection(flat, hidden, 0)
        np.testing.assert_allclose(placed @ placed.T, flat @ flat.T, atol=1e-4)


def test_the_teacher_is_asked_about_its_own_words():
    words = ["lamp", "river", "stone", "cloud"]
    near = teacher.nearest(np.eye(4, dtype=np.float32))
    assert near.shape == (4, 3)
    made = teacher.vocabulary_texts(words, ["They lost the little house."], near, 60, 0)
    assert made[:2] == [("lamp", "Lamp"), ("river", "River")]
    assert len(made) == 64
    assert any(told.startswith("They lost") for told, _ in made)
    known = {*words, "they", "lost", "the", "little", "house"}
    for told, again in made:
        said = {word.strip(".").lower() for word in told.split()}
        assert said <= known
        assert said == {word.strip(".").lower() for word in again.split()}
    assert made == teacher.vocabulary_texts(words, ["They lost the little house."], near, 60, 0)
