"""The packed forward pass in its parts: each faster way gives what torch's plain one gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from rag.checkpoint import Checkpoint, inspect
from rag.embedders import attention, encoder
from rag.embedders.attention import attention_over
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.embedders.encoder import PackedEncoder
from rag.embedders.linear import Linear, PrepackedLinear, prepacked
from rag.errors import InputError
from rag.types import Embedding
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_corpus import mixed_lengths

CPU = torch.device("cpu")
MIXED = [[70, 70, 70, 5, 5, 1], [1], [3, 300], [17] * 40, [1500]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"), "tiny")


def token_ids(*lengths: int) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [[0, *random.integers(4, 200, length - 2).tolist(), 2] for length in lengths]


def colbert(embedding: Embedding) -> np.ndarray:
    assert embedding.colbert is not None
    return embedding.colbert


# Attention


def by_hand(query_key_value: torch.Tensor, lengths: list[int], heads: int) -> torch.Tensor:
    """The paper's equation 1, text by text and head by head, in float64."""
    attended = []
    for text in query_key_value.double().split(lengths):
        query, key, value = text.view(len(text), 3, heads, -1).permute(1, 2, 0, 3)
        weights = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(-1)
        attended.append((weights @ value).transpose(0, 1).reshape(len(text), -1))
    return torch.cat(attended)


@pytest.mark.parametrize("lengths", MIXED, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@torch.inference_mode()
def test_each_text_attends_to_its_own_tokens(lengths, dtype, tolerance):
    states = torch.randn(sum(lengths), 3 * 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = attention_over(lengths, 4, CPU, dtype)(states)
    assert found.dtype == dtype
    assert (found.double() - by_hand(states, lengths, 4)).abs().max() < tolerance


@pytest.mark.parametrize("tile", [1, 1000, 40_000])
@torch.inference_mode()
def test_the_size_of_a_tile_changes_nothing(monkeypatch, tile):
    lengths = [70, 70, 70, 33, 5]
    states = torch.randn(sum(lengths), 3 * 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    whole = attention_over(lengths, 4, CPU, torch.bfloat16)(states)
    monkeypatch.setattr(attention, "_TILE", tile)
    assert (attention_over(lengths, 4, CPU, torch.bfloat16)(states) - whole).abs().max() < 2e-2


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("lengths", MIXED, ids=str)
@torch.inference_mode()
def test_nested_tensors_give_the_same(lengths):
    """The way that a GPU goes, on the CPU."""
    states = torch.randn(sum(lengths), 3 * 64, generator=torch.Generator().manual_seed(0))
    found = attention._nested(lengths, 4, CPU)(states)
    assert (found.double() - by_hand(states, lengths, 4)).abs().max() < 1e-5


# Linear layers


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("tokens", [1, 7, 300])
@torch.inference_mode()
def test_a_prepacked_layer_gives_what_a_plain_one_gives(dtype, tolerance, tokens):
    generator = torch.Generator().manual_seed(0)
    weight, bias, hidden = (torch.randn(*shape, generator=generator) for shape in ((96, 64), (96,), (tokens, 64)))
    packed = prepacked(Linear((weight / 8).to(dtype), bias.to(dtype)))
    exact = functional.linear(hidden.to(dtype).double(), (weight / 8).to(dtype).double(), bias.to(dtype).double())
    for found, expected in ((packed(hidden.to(dtype)), exact), (packed.gelu(hidden.to(dtype)), functional.gelu(exact))):
        assert found.dtype == dtype
        assert ((found.double() - expected).abs() / (1 + expected.abs())).max() < tolerance


def test_layers_are_prepacked_where_torch_can(tiny):
    """Where it cannot, this says so: nothing but speed is lost."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    loaded = PackedEncoder(tiny, CPU, torch.float32)
    layer = loaded._weights.layers[0]
    assert isinstance(layer.query_key_value, PrepackedLinear)
    assert isinstance(layer.output, PrepackedLinear)


def test_a_precision_that_has_no_such_kernels_keeps_its_layers():
    plain = Linear(torch.zeros(4, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))
    assert prepacked(plain) is plain


# The whole pass


def test_a_long_text_in_pieces_is_the_same(tiny, monkeypatch):
    texts = token_ids(3000, 40)
    model = PackedEncoder(tiny, CPU, torch.float32)
    pieces = model(texts)
    monkeypatch.setattr(encoder, "_FEED_FORWARD_TOKENS", 10_000)
    whole = model(texts)
    assert np.abs(pieces.dense - whole.dense).max() < 1e-5
    assert np.abs(pieces.token_weights - whole.token_weights).max() < 1e-4


def test_the_whole_window_is_embedded_in_both_precisions(tiny):
    [text] = token_ids(8192)
    exact, rounded = (PackedEncoder(tiny, CPU, dtype)([text]) for dtype in (torch.float32, torch.bfloat16))
    assert exact.token_weights.shape == (8192,)
    assert (exact.dense * rounded.dense).sum() > 0.998


def test_colbert_vectors_come_from_the_same_pass_and_change_nothing(tiny):
    embedder = BgeM3Embedder(tiny, device="cpu", dtype="float32", batch_tokens=64)
    texts = mixed_lengths()
    for text, plain, embedding in zip(
        texts, embedder.embed_passages(texts), embedder.embed_passages(texts, colbert=True), strict=True
    ):
        assert plain.colbert is None
        assert (plain.dense == embedding.dense).all()
        vectors = colbert(embedding)
        assert vectors.shape == (embedder.count_tokens([text])[0] - 1, 64)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_late_interaction_is_that_of_the_colbert_vectors(tiny):
    embedder = BgeM3Embedder(tiny, device="cpu", dtype="float32")
    asked, *told = embedder.embed_passages(mixed_lengths()[:9], colbert=True)
    expected = [(colbert(asked) @ colbert(text).T).max(axis=1).mean() for text in told]
    scores = embedder.late_interaction(mixed_lengths()[0], mixed_lengths()[1:9])
    assert scores == pytest.approx(expected, abs=1e-5)


def test_an_unknown_backend_is_refused_with_its_name(tiny):
    with pytest.raises(InputError, match="backend 'jax' is unknown: use torch, openvino or flagembedding"):
        BgeM3Embedder(tiny, device="cpu", backend="jax").embed_query("a lamp")


def test_the_checkpoint_is_taken_as_it_is(tmp_path: Path):
    """Prepacking keeps its own copy: the same folder gives the same vectors again."""
    found = inspect(write_tiny_checkpoint(tmp_path / "model"), "tiny")
    first, second = (PackedEncoder(found, CPU, torch.float32)(token_ids(20)) for _ in range(2))
    assert (first.dense == second.dense).all()
