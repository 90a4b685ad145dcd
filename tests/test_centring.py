from __future__ import annotations

import numpy as np
import pytest

from rag.centring import centred


def test_a_share_of_the_centre_is_taken_out_and_what_is_left_is_a_unit_vector() -> None:
    question = np.array([0.6, 0.8], np.float32)
    moved = centred(question, np.array([0.4, 0.0], np.float32), 0.5)
    assert moved == pytest.approx(np.array([0.4, 0.8]) / np.sqrt(0.8))
    assert (moved.dtype, moved.shape) == (np.dtype(np.float32), (2,))


def test_several_questions_are_moved_each_by_itself() -> None:
    questions = np.array([[0.6, 0.8], [0.0, 1.0]], np.float32)
    centre = np.array([0.4, 0.2], np.float32)
    assert centred(questions, centre, 0.7) == pytest.approx(
        np.stack([centred(each, centre, 0.7) for each in questions])
    )
    assert centred(questions, centre, 0.0) == pytest.approx(questions)


def test_of_which_nothing_would_be_left_stays() -> None:
    question = np.array([0.0, 1.0], np.float32)
    assert centred(question, question, 1.0).tolist() == question.tolist()


def test_what_all_passages_share_decides_no_more() -> None:
    # All passages lie along the first axis, and so does the question; one alone says what else the question is about.
    passages = np.full((8, 9), 0.0, np.float32)
    passages[:, 0] = 0.95
    passages[np.arange(8), np.arange(1, 9)] = np.sqrt(1 - 0.95**2)
    passages[3, [0, 4]] = 0.5, np.sqrt(0.75)
    question = np.eye(9, dtype=np.float32)[0] * 0.95 + np.eye(9, dtype=np.float32)[4] * np.sqrt(1 - 0.95**2)
    assert (passages @ question).argmin() == 3
    assert (passages @ centred(question, passages.mean(axis=0), 0.9)).argmax() == 3
