"""Steps: what a batch holds, what happens where memory has no room for it, and how the best size is found and kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from rag.checkpoint import Checkpoint, inspect
from rag.embedders import step_budget as measurement
from rag.embedders import tokenization
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.embedders.encoder import PackedEncoder, step_setup, step_sizes
from rag.embedders.encoding import Encoded, Encoder, MeasuredEncoder
from rag.embedders.step_budget import known_step_budget, step_budget
from rag.embedders.steps import Steps
from rag.errors import EmbeddingError
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_corpus import mixed_lengths, sentences


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder is one of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"), "tiny")


class SmallMemory(Encoder):
    """Has room for `room` tokens; the vector of a text is its first token."""

    description = "a small device"

    def __init__(self, room: int) -> None:
        self.room = room
        self.passes: list[int] = []

    def __call__(self, texts: Sequence[Sequence[int]], *, colbert: bool = False) -> Encoded:
        tokens = sum(map(len, texts))
        self.passes.append(tokens)
        if tokens > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        dense = np.array([text[:1] for text in texts], dtype=np.float32)
        return Encoded(dense, np.zeros(tokens, dtype=np.float32))


class Rehearsed(MeasuredEncoder):
    """A pass takes the seconds that `seconds` says, by the clock that the measurement looks at; counts rehearsals."""

    description = "a stage"
    step_sizes = (8, 16, 32)
    setup: Mapping[str, str | int] = {}
    now = 0.0

    def __init__(self, seconds: Mapping[int, float], name: str = "one") -> None:
        self.seconds, self.setup, self.rehearsed = seconds, {"hardware": name}, 0

    def rehearse(self, tokens: int) -> None:
        self.rehearsed += 1
        Rehearsed.now += self.seconds[tokens]

    def __call__(self, texts: Sequence[Sequence[int]], *, colbert: bool = False) -> Encoded:
        return Encoded(np.zeros((len(texts), 2), np.float32), np.zeros(sum(map(len, texts)), np.float32))


SECONDS = {8: 0.02, 16: 0.005, 32: 0.04}


def numbered(*lengths: int) -> list[list[int]]:
    return [[number] * length for number, length in enumerate(lengths)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on by what rehearsals take, however busy the machine is."""
    monkeypatch.setattr(measurement, "perf_counter", lambda: Rehearsed.now)


# Batches


def test_a_batch_holds_what_a_step_has_room_for_or_a_single_text():
    batches = [batch for batch, _ in Steps(SmallMemory(100), 10)(numbered(4, 3, 12, 3, 6, 1))]
    assert batches == [[2], [4, 0], [1, 3, 5]]


def test_no_texts_are_no_steps():
    assert list(Steps(SmallMemory(100), 10)([])) == []


# Memory


def test_a_batch_without_room_is_halved_with_a_warning_and_no_text_is_lost(caplog):
    encoder = SmallMemory(12)
    texts = numbered(5, 5, 5, 5, 4, 4, 4, 4, 2)
    with caplog.at_level(logging.WARNING):
        passes = list(Steps(encoder, 20)(texts))
    made = [pair for batch, found in passes for pair in zip(batch, found.dense[:, 0], strict=True)]
    assert sorted(made) == [(index, index) for index in range(len(texts))]
    assert [record.message for record in caplog.records] == [
        "20 tokens do not fit into the memory of a small device: going on with 10 at a time"
    ]
    assert max(encoder.passes[1:]) <= 10


def test_what_did_not_fit_once_is_not_tried_again():
    encoder = SmallMemory(12)
    steps = Steps(encoder, 20)
    list(steps(numbered(5, 5, 5, 5)))
    list(steps(numbered(5, 5, 5, 5)))
    assert encoder.passes == [20, 10, 10, 10, 10]


def test_a_text_that_alone_has_no_room_is_refused_with_its_tokens_and_the_way_out():
    with pytest.raises(EmbeddingError, match=r"a text of 30 tokens does not fit .* RAG_EMBEDDER__DEVICE=cpu"):
        list(Steps(SmallMemory(12), 40)(numbered(5, 30)))


def test_another_fault_of_the_encoder_is_no_lack_of_memory():
    class Broken(SmallMemory):
        def __call__(self, texts: Sequence[Sequence[int]], *, colbert: bool = False) -> Encoded:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(Steps(Broken(0), 40)(numbered(5, 30)))


# The size of a step


@pytest.mark.usefixtures("clock")
def test_the_fewest_tokens_that_are_next_to_fastest_are_taken(cache):
    assert step_budget(Rehearsed(SECONDS)).tokens == 16
    assert step_budget(Rehearsed({8: 0.01, 16: 0.02, 32: 0.01}, "two")).tokens == 32


@pytest.mark.usefixtures("clock")
def test_what_was_measured_is_kept_for_the_same_setup_alone(cache):
    first, again, other = Rehearsed(SECONDS), Rehearsed(SECONDS), Rehearsed(SECONDS, "two")
    assert known_step_budget(first.setup, first.step_sizes) is None
    measured = step_budget(first)
    assert list(measured.speeds) == [8, 16, 32]
    assert step_budget(again).tokens == measured.tokens
    assert again.rehearsed == 0
    assert known_step_budget(other.setup, other.step_sizes) is None
    [kept] = cache.rglob("*.json")
    assert json.loads(kept.read_text())["setup"] == {"hardware": "one"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"speeds": {"8": 1}}', '{"speeds": {"8": 1, "16": 0, "32": 1}}'])
@pytest.mark.usefixtures("clock")
def test_a_kept_measurement_that_cannot_be_used_is_made_anew(cache, content):
    step_budget(Rehearsed(SECONDS))
    [kept] = cache.rglob("*.json")
    kept.write_text(content)
    anew = Rehearsed(SECONDS)
    assert step_budget(anew).tokens == 16
    assert anew.rehearsed > 3
    assert known_step_budget(anew.setup, anew.step_sizes) is not None


@pytest.mark.usefixtures("clock")
def test_a_cache_that_cannot_be_written_costs_nothing_but_the_next_measurement(tmp_path):
    (tmp_path / "file").write_text("")
    assert step_budget(Rehearsed(SECONDS), tmp_path / "file" / "steps").tokens == 16


@pytest.mark.usefixtures("clock")
def test_little_is_embedded_without_a_measurement_and_much_after_one():
    encoder = Rehearsed(SECONDS)
    steps = Steps(encoder, None)
    assert [batch for batch, _ in steps(numbered(16, 16))] == [[0, 1]]
    assert encoder.rehearsed == 0
    assert [batch for batch, _ in steps(numbered(8, 8, 8, 8, 8))] == [[0, 1], [2, 3], [4]]
    rehearsed = encoder.rehearsed
    list(steps(numbered(8, 8, 8, 8, 8)))
    assert encoder.rehearsed == rehearsed > 0


@pytest.mark.usefixtures("clock")
def test_a_given_size_wins():
    encoder = Rehearsed(SECONDS)
    assert [batch for batch, _ in Steps(encoder, 24)(numbered(8, 8, 8, 8, 8))] == [[0, 1, 2], [3, 4]]
    assert encoder.rehearsed == 0


def test_the_encoder_itself_can_be_measured(tiny):
    encoder = PackedEncoder(tiny, torch.device("cpu"), torch.float32)
    budget = step_budget(encoder)
    assert list(budget.speeds) == list(encoder.step_sizes)
    assert budget.tokens in encoder.step_sizes
    assert encoder.setup["threads"] == torch.get_num_threads()
    assert encoder.setup["hardware"]


def test_a_measurement_changes_no_vector(tiny):
    texts = sentences("en") * 12
    measured = BgeM3Embedder(tiny, device="cpu", dtype="float32")
    setup, sizes = step_setup(tiny, torch.device("cpu"), torch.float32), step_sizes(torch.device("cpu"))
    assert known_step_budget(setup, sizes) is None
    found = measured.embed_passages(texts)
    assert known_step_budget(setup, sizes) is not None
    given = BgeM3Embedder(tiny, device="cpu", dtype="float32", batch_tokens=300).embed_passages(texts)
    assert sum(measured.count_tokens(texts)) > 4096
    for one, other in zip(found, given, strict=True):
        assert np.abs(one.dense - other.dense).max() < 1e-5
        assert one.sparse.ids.tolist() == other.sparse.ids.tolist()


# Tokenising ahead


def test_texts_in_several_sections_come_in_their_order(tiny, monkeypatch):
    embedder = BgeM3Embedder(tiny, device="cpu", dtype="float32")
    expected = [embedder.embed_query(text) for text in mixed_lengths()]
    monkeypatch.setattr(tokenization, "_SECTION_CHARACTERS", 100)
    for one, other in zip(embedder.embed_passages(mixed_lengths()), expected, strict=True):
        assert np.abs(one.dense - other.dense).max() < 1e-5
        assert one.sparse.ids.tolist() == other.sparse.ids.tolist()


@pytest.mark.parametrize(
    ("text", "complaint"), [(" ", "is empty"), ("lamp " * 9000, "tokens and the window"), ("\ud83d", "lone surrogate")]
)
def test_a_text_of_a_later_section_is_refused_by_its_place_among_all(tiny, monkeypatch, text, complaint):
    monkeypatch.setattr(tokenization, "_SECTION_CHARACTERS", 10)
    embedder = BgeM3Embedder(tiny, device="cpu", dtype="float32")
    with pytest.raises(EmbeddingError, match=f"text 4 of 5 .*{complaint}"):
        embedder.embed_passages(["a lamp stands there", "a boat", "a winter coat", text, "a letter"])
    assert len(embedder.embed_passages(["a lamp stands there", "a boat", "a winter coat"])) == 3


def test_sections_are_checked_as_they_come(tiny, monkeypatch):
    monkeypatch.setattr(tokenization, "_SECTION_CHARACTERS", 10)
    sections = tokenization.Tokenization(tiny).embeddable(["a lamp stands", "a boat and", "", "a letter for"])
    assert len(next(sections)) == 1
    assert len(next(sections)) == 1
    with pytest.raises(EmbeddingError, match="text 3 of 4 is empty"):
        next(sections)
