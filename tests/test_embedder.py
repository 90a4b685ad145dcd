"""BGE-M3's adapter: what it returns, what it refuses, and that neither batching nor threads change a vector."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rag.checkpoint import Checkpoint, inspect, locate
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.embedders.sparse import lexical_weights
from rag.errors import CheckpointError, EmbeddingError, InputError, ModelUnavailableError
from rag.ports import Embedder
from rag.types import Embedding
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_corpus import mixed_lengths, sentences


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"), "tiny")


@pytest.fixture(scope="module")
def embedder(tiny: Checkpoint) -> Embedder:
    return BgeM3Embedder(tiny, device="cpu", dtype="float32")


@pytest.fixture
def copy(tiny: Checkpoint, tmp_path: Path) -> Path:
    """A copy of the checkpoint's folder to damage."""
    return Path(shutil.copytree(tiny.folder, tmp_path / "copy"))


def dense(embeddings: list[Embedding]) -> np.ndarray:
    return np.stack([embedding.dense for embedding in embeddings])


def assert_same(some: list[Embedding], others: list[Embedding], tolerance: float = 1e-5) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert np.abs(one.dense - other.dense).max() <= tolerance
        assert one.sparse.ids.tolist() == other.sparse.ids.tolist()
        assert np.allclose(one.sparse.weights, other.sparse.weights, atol=tolerance)


# What it returns


def test_an_embedding_is_a_unit_vector_and_ascending_positive_lexical_weights(embedder):
    embeddings = embedder.embed_passages(mixed_lengths())
    assert dense(embeddings).dtype == np.float32
    assert dense(embeddings).shape == (len(mixed_lengths()), embedder.dimension)
    assert np.linalg.norm(dense(embeddings), axis=1) == pytest.approx(1, abs=1e-5)
    assert sum(len(embedding.sparse.ids) for embedding in embeddings) > 100
    for sparse in (embedding.sparse for embedding in embeddings):
        assert sparse.ids.dtype == np.dtype(np.uint32)
        assert sparse.weights.dtype == np.dtype(np.float32)
        assert (np.diff(sparse.ids.astype(np.int64)) > 0).all()
        assert (sparse.weights > 0).all()


def test_embeddings_come_in_the_order_of_their_texts(embedder):
    texts = mixed_lengths()
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = embedder.embed_passages([texts[place] for place in order])
    assert_same([shuffled[place] for place in np.argsort(order)], embedder.embed_passages(texts))


@pytest.mark.parametrize("batch_tokens", [1, 64, 100_000])
def test_the_company_of_a_text_does_not_change_its_vectors(tiny, batch_tokens):
    embedder = BgeM3Embedder(tiny, device="cpu", dtype="float32", batch_tokens=batch_tokens)
    alone = [embedder.embed_query(text) for text in mixed_lengths()]
    assert_same(embedder.embed_passages(mixed_lengths()), alone)


def test_texts_of_equal_length_attend_to_themselves_alone(embedder):
    by_length: dict[int, list[str]] = {}
    for text in sentences("en") + sentences("tr"):
        by_length.setdefault(embedder.count_tokens([text])[0], []).append(text)
    texts = max(by_length.values(), key=len)[:12]
    assert len(texts) == 12
    assert_same(embedder.embed_passages(texts), [embedder.embed_query(text) for text in texts])


def test_questions_and_passages_are_embedded_alike(embedder):
    assert_same([embedder.embed_query("A pilot sells the lamp.")], embedder.embed_passages(["A pilot sells the lamp."]))


def test_no_texts_make_no_embeddings(embedder):
    assert embedder.embed_passages([]) == []
    assert embedder.count_tokens([]) == []


def test_several_threads_get_what_one_gets(tiny):
    texts = mixed_lengths()[:24]
    expected = BgeM3Embedder(tiny, device="cpu", dtype="float32").embed_passages(texts)
    fresh = BgeM3Embedder(tiny, device="cpu", dtype="float32")  # so that the threads also race for the loading
    with ThreadPoolExecutor(6) as threads:
        for embeddings in threads.map(fresh.embed_passages, [texts] * 12):
            assert_same(embeddings, expected)


@pytest.mark.parametrize(("model", "least"), [("pocket", 0.9995), ("tiny", 0.998)])
def test_bfloat16_moves_a_vector_by_next_to_nothing(request, model, least):
    """Least in the tiny model: its attention is stronger than any trained one's."""
    texts = mixed_lengths()
    checkpoint = inspect(locate("pocket-m3"), "pocket-m3") if model == "pocket" else request.getfixturevalue("tiny")
    exact = BgeM3Embedder(checkpoint, device="cpu", dtype="float32")
    halved = BgeM3Embedder(checkpoint, device="cpu", dtype="bfloat16").embed_passages(texts)
    assert dense(halved).dtype == np.float32
    assert (dense(halved) * dense(exact.embed_passages(texts))).sum(axis=1).min() > least


def test_both_weight_formats_give_the_same_vectors(embedder, tmp_path):
    archive = inspect(write_tiny_checkpoint(tmp_path, weights="bin"), "bin")
    other = BgeM3Embedder(archive, device="cpu", dtype="float32")
    assert_same(other.embed_passages(mixed_lengths()), embedder.embed_passages(mixed_lengths()), tolerance=0)


@pytest.mark.parametrize("weights", ["safetensors", "bin"])
def test_tensor_names_may_carry_the_prefix_of_a_larger_model(embedder, copy, weights):
    state = {f"roberta.{name}": tensor for name, tensor in load_file(copy / "model.safetensors").items()}
    state["lm_head.bias"] = torch.zeros(3)
    if weights == "safetensors":
        save_file(state, copy / "model.safetensors")
    else:
        (copy / "model.safetensors").unlink()
        torch.save(state, copy / "pytorch_model.bin")
    other = BgeM3Embedder(inspect(copy, "copy"), device="cpu", dtype="float32")
    assert_same([other.embed_query("A pilot.")], [embedder.embed_query("A pilot.")])


def test_tokens_are_counted_with_the_two_special_ones(embedder):
    counts = embedder.count_tokens(["", "lamp lamp", "lamp lamp lamp"])
    assert counts[0] == 2
    assert counts[2] - counts[1] == (counts[1] - 2) / 2 > 0


def test_what_is_known_of_the_model_is_known_before_it_is_loaded(tiny):
    nowhere = replace(tiny, folder=Path("/nowhere"), weights=Path("/nowhere/model.safetensors"))
    embedder = BgeM3Embedder(nowhere)
    assert (embedder.model, embedder.dimension, embedder.window) == ("tiny", 64, 8192)
    assert embedder.fingerprint == tiny.fingerprint


def test_counting_loads_no_torch_and_embedding_no_transformers():
    program = (
        "import sys; from rag.checkpoint import inspect, locate; from rag.embedders.bge_m3 import BgeM3Embedder; "
        "embedder = BgeM3Embedder(inspect(locate('pocket-m3'), 'pocket-m3')); "
        "embedder.count_tokens(['hello']); print('torch' in sys.modules); "
        "embedder.embed_query('hello'); print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]


# What it refuses


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b", "</s>", "<s> <pad>", "\ufeff\u200b "])
def test_a_text_without_content_is_refused(embedder, text):
    with pytest.raises(EmbeddingError, match="the text is empty"):
        embedder.embed_query(text)


def test_the_refused_text_among_many_is_named_by_its_place(embedder):
    with pytest.raises(EmbeddingError, match="text 2 of 3 is empty"):
        embedder.embed_passages(["a lamp", " ", "a boat"])


def test_a_character_the_vocabulary_lacks_is_content(embedder):
    assert np.linalg.norm(embedder.embed_query("𓀀").dense) == pytest.approx(1, abs=1e-5)


def test_a_text_that_just_fills_the_window_is_embedded_and_a_longer_one_refused_with_its_length(tiny):
    embedder = BgeM3Embedder(replace(tiny, window=40), device="cpu", dtype="float32")
    word = next(word for word in ("lamp", "a", ".") if embedder.count_tokens([f"{word} {word}"]) == [4])
    assert embedder.count_tokens([" ".join([word] * 38)]) == [40]
    with pytest.raises(EmbeddingError, match=r"text 2 of 2 has 41 tokens and the window of tiny is 40"):
        embedder.embed_passages(["fine", " ".join([word] * 39)])


def test_the_whole_window_of_positions_can_be_used(tiny, copy):
    state = load_file(copy / "model.safetensors")
    state["embeddings.position_embeddings.weight"] = state["embeddings.position_embeddings.weight"][:42].clone()
    save_file(state, copy / "model.safetensors")
    config = json.loads((copy / "config.json").read_text()) | {"max_position_embeddings": 42}
    (copy / "config.json").write_text(json.dumps(config))
    embedder = BgeM3Embedder(inspect(copy, "copy"), device="cpu", dtype="float32")
    text = " ".join(sentences("en"))
    longest = next(text[:end] for end in range(len(text), 0, -1) if embedder.count_tokens([text[:end]])[0] == 40)
    whole = BgeM3Embedder(tiny, device="cpu", dtype="float32")
    assert_same([embedder.embed_query(longest)], [whole.embed_query(longest)])


@pytest.mark.parametrize("ask", ["embed_query", "count_tokens"])
def test_half_a_surrogate_pair_is_refused_with_its_place(embedder, ask):
    text = "fine\ud83d"
    with pytest.raises(EmbeddingError, match="lone surrogate at code point 4"):
        getattr(embedder, ask)(text if ask == "embed_query" else [text])


def test_vectors_that_are_not_finite_are_refused(copy):
    state = load_file(copy / "model.safetensors")
    state["encoder.layer.1.output.dense.bias"][0] = float("nan")
    save_file(state, copy / "model.safetensors")
    embedder = BgeM3Embedder(inspect(copy, "copy"), device="cpu", dtype="float32")
    with pytest.raises(EmbeddingError, match="copy on cpu in float32 gave vectors that are not finite"):
        embedder.embed_query("a lamp")


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("gpu", InputError),
        ("", InputError),
        ("cuda:one", InputError),
        ("meta", InputError),
        ("cuda:99", ModelUnavailableError),
        ("cpu:1", ModelUnavailableError),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_its_name(tiny, device, error):
    with pytest.raises(error) as refused:
        BgeM3Embedder(tiny, device=device).embed_query("a lamp")
    assert repr(device) in str(refused.value)


def test_an_unknown_precision_is_refused_with_its_name(tiny):
    with pytest.raises(InputError, match="dtype 'int8' is unknown"):
        BgeM3Embedder(tiny, device="cpu", dtype="int8").embed_query("a lamp")


def test_a_refusal_does_not_keep_the_next_call_from_working(embedder):
    with pytest.raises(EmbeddingError):
        embedder.embed_passages(["a lamp", ""])
    assert len(embedder.embed_passages(["a lamp", "a boat"])) == 2


# Files that are there and cannot be used


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"{}"),
        ("sparse_linear.pt", b""),
        ("sparse_linear.pt", b"not a pickle"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(copy, name, content):
    (copy / name).write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        BgeM3Embedder(inspect(copy, "copy"), device="cpu").embed_query("a lamp")
    assert str(copy / name) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_tensor_is_named(copy):
    state = load_file(copy / "model.safetensors")
    del state["encoder.layer.1.output.LayerNorm.bias"]
    save_file(state, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"encoder\.layer\.1\.output\.LayerNorm\.bias"):
        BgeM3Embedder(inspect(copy, "copy"), device="cpu").embed_query("a lamp")


def test_a_head_of_another_size_is_refused_with_both_shapes(copy):
    torch.save({"weight": torch.zeros(1, 32), "bias": torch.zeros(1)}, copy / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=r"\(1, 32\).*\(1, 64\)"):
        BgeM3Embedder(inspect(copy, "copy"), device="cpu").embed_query("a lamp")


def test_a_head_that_holds_more_than_tensors_is_refused(copy):
    torch.save({"weight": "much"}, copy / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match="no plain state dict"):
        BgeM3Embedder(inspect(copy, "copy"), device="cpu").embed_query("a lamp")


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tiny):
    with pytest.raises(CheckpointError, match="take both files from one model"):
        BgeM3Embedder(replace(tiny, vocabulary_size=100)).count_tokens(["a lamp"])


def test_a_tokenizer_without_its_special_tokens_around_a_text_is_refused(copy):
    tokenizer = json.loads((copy / "tokenizer.json").read_text()) | {"post_processor": None}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="not XLM-R's tokenizer"):
        BgeM3Embedder(inspect(copy, "copy")).count_tokens(["a lamp"])


def test_truncation_and_padding_stored_with_a_tokenizer_are_ignored(embedder, copy):
    tokenizer = json.loads((copy / "tokenizer.json").read_text()) | {
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 99},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 1,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        },
    }
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    other = BgeM3Embedder(inspect(copy, "copy"))
    assert other.count_tokens(mixed_lengths()) == embedder.count_tokens(mixed_lengths())


# Lexical weights


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.one_of(st.integers(0, 6), st.sampled_from([250_001, 2**32 - 1])),
                st.floats(-1, 4, width=32).map(lambda weight: max(weight, 0.0)),
            ),
            min_size=1,
            max_size=9,
        ),
        max_size=6,
    )
)
def test_lexical_weights_are_what_a_plain_loop_finds(texts):
    excluded = [0, 1, 2, 3]
    tokens = [token for text in texts for token in text]
    found = lexical_weights(
        np.array([token_id for token_id, _ in tokens], dtype=np.int64),
        np.array([weight for _, weight in tokens], dtype=np.float32),
        [len(text) for text in texts],
        excluded,
    )
    assert len(found) == len(texts)
    for text, sparse in zip(texts, found, strict=True):
        highest: dict[int, float] = {}
        for token_id, weight in text:
            if token_id not in excluded and weight > 0:
                highest[token_id] = max(weight, highest.get(token_id, 0.0))
        assert sparse.ids.tolist() == sorted(highest)
        assert sparse.weights.tolist() == [highest[token_id] for token_id in sorted(highest)]
        assert sparse.ids.dtype == np.dtype(np.uint32)
        assert sparse.weights.dtype == np.dtype(np.float32)
