"""The adapter's vectors are those of the libraries that BGE-M3's authors and its users compute them with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rag.checkpoint import inspect, locate
from rag.embedders.bge_m3 import BgeM3Embedder
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_corpus import PATTERNS, mixed_lengths

LONGEST = 1024
SPECIAL_CASES = ["lamp lamp lamp", "a <mask> b", "a <pad> b <pad> c", "𓀀 lamp", "Ａ ﬁne ｌａｍｐ", "tab\tand\nline"]


@pytest.fixture(scope="module", params=["safetensors", "bin", "pocket-m3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "pocket-m3":
        return locate("pocket-m3")
    return write_tiny_checkpoint(tmp_path_factory.mktemp("parity"), weights=request.param)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*mixed_lengths(), *SPECIAL_CASES]


@pytest.fixture(scope="module")
def ours(folder: Path, texts: list[str]) -> tuple[np.ndarray, list[dict[int, float]]]:
    embeddings = BgeM3Embedder(inspect(folder, "ours"), device="cpu", dtype="float32").embed_passages(texts)
    lexical = [
        dict(zip(embedding.sparse.ids.tolist(), embedding.sparse.weights.tolist(), strict=True))
        for embedding in embeddings
    ]
    return np.stack([embedding.dense for embedding in embeddings]), lexical


def test_the_texts_cover_ten_languages_and_lengths_from_three_to_hundreds_of_tokens(folder):
    lengths = BgeM3Embedder(inspect(folder, "ours")).count_tokens(mixed_lengths())
    assert len(PATTERNS) >= 10
    assert min(lengths) == 3
    assert 350 < max(lengths) < LONGEST


def test_dense_and_sparse_vectors_are_those_of_flagembedding(folder, texts, ours):
    from FlagEmbedding import BGEM3FlagModel

    model = BGEM3FlagModel(str(folder), use_fp16=False, devices="cpu")
    theirs = model.encode(texts, batch_size=6, max_length=LONGEST, return_dense=True, return_sparse=True)
    dense, lexical = ours
    assert (dense * theirs["dense_vecs"]).sum(axis=1).min() >= 0.9999
    assert np.abs(dense - theirs["dense_vecs"]).max() < 1e-5
    assert sum(map(len, lexical)) > 100
    for our_weights, their_weights in zip(lexical, theirs["lexical_weights"], strict=True):
        expected = {int(token_id): float(weight) for token_id, weight in their_weights.items()}
        assert our_weights.keys() == expected.keys()
        assert our_weights == pytest.approx(expected, abs=1e-4)


def test_dense_vectors_are_those_of_sentence_transformers(folder, texts, ours):
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(folder), device="cpu").float().encode(texts, batch_size=6)
    assert (ours[0] * theirs).sum(axis=1).min() >= 0.9999
    assert np.abs(ours[0] - theirs).max() < 1e-5
