"""What a model card adds to a checkpoint's vectors."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ingest import ingest
from rag import Settings, build, open_rag
from rag.bm25 import TermCounts
from rag.checkpoint import inspect
from rag.embedders.as_recommended import AsRecommended
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.errors import EmbeddingError
from rag.lexical_terms import passage_vector, question_vector
from rag.model_card import Representation
from tests.tiny_checkpoint import write_tiny_checkpoint

LONG = "the lamp of the pilot is repaired on monday by the keeper of the northern light house near the old harbour"
TEXTS = ["a lamp", LONG, "die lampe des leuchtturms", LONG.upper()]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def own(tiny: Path) -> BgeM3Embedder:
    return BgeM3Embedder(inspect(tiny, "tiny"), device="cpu", dtype="float32")


def test_a_passages_beginning_is_added_to_its_dense_vector(own: BgeM3Embedder) -> None:
    tokens = own.count_tokens(TEXTS)
    first = 8
    assert min(tokens) <= first < max(tokens), "one is shorter, one is longer"
    plain = own.embed_passages(TEXTS)
    beginnings = own.beginnings(TEXTS, first)
    made = AsRecommended(own, Representation("own", first, 0.5)).embed_passages(TEXTS)
    assert set(beginnings) == {index for index, count in enumerate(tokens) if count > first}
    for index, (before, after) in enumerate(zip(plain, made, strict=True)):
        expected = before.dense + 0.5 * beginnings.get(index, before.dense)
        np.testing.assert_allclose(after.dense, expected / np.linalg.norm(expected), atol=1e-6)
        assert after.dense.dtype == np.float32
        np.testing.assert_array_equal(after.sparse.ids, before.sparse.ids)
        np.testing.assert_array_equal(after.sparse.weights, before.sparse.weights)
    assert not np.allclose(made[1].dense, plain[1].dense, atol=1e-3)


def test_a_beginning_is_what_a_text_of_these_tokens_alone_would_be(own: BgeM3Embedder) -> None:
    # The tiny tokenizer cuts at spaces, so the first words are the first tokens.
    words = LONG.split()
    counts = own.count_tokens([" ".join(words[:count]) for count in range(1, len(words))])
    cut = counts[4]
    [alone] = own.embed_passages([" ".join(words[:5])])
    np.testing.assert_allclose(own.beginnings([LONG], cut)[0], alone.dense, atol=1e-5)


def test_words_take_the_place_of_the_models_own_weights(own: BgeM3Embedder) -> None:
    made = AsRecommended(own, Representation("bm25"))
    for text, passage, question in zip(TEXTS, made.embed_passages(TEXTS), made.embed_queries(TEXTS), strict=True):
        np.testing.assert_array_equal(passage.sparse.ids, passage_vector(text).ids)
        np.testing.assert_array_equal(passage.sparse.weights, passage_vector(text).weights)
        assert isinstance(question.sparse, TermCounts)
        np.testing.assert_array_equal(question.sparse.weights, question_vector(text).weights)
        assert set(made.terms(text)) >= set(question.sparse.ids.tolist())
    plain = own.embed_queries(TEXTS)
    for before, after in zip(plain, made.embed_queries(TEXTS), strict=True):
        np.testing.assert_array_equal(before.dense, after.dense)


def test_vectors_of_tokens_stay_the_models_own(own: BgeM3Embedder) -> None:
    made = AsRecommended(own, Representation("bm25", 8, 0.5))
    for before, after in zip(
        own.embed_passages(TEXTS, colbert=True), made.embed_passages(TEXTS, colbert=True), strict=True
    ):
        assert before.colbert is not None
        assert after.colbert is not None
        np.testing.assert_array_equal(before.colbert, after.colbert)
    np.testing.assert_array_equal(own.late_interaction("a lamp", TEXTS), made.late_interaction("a lamp", TEXTS))


@pytest.mark.parametrize("text", ["", "lamp " * 9000, "\udc80"], ids=["empty", "too long", "a lone surrogate"])
def test_what_cannot_be_embedded_is_refused_as_before(own: BgeM3Embedder, text: str) -> None:
    with pytest.raises(EmbeddingError):
        AsRecommended(own, Representation("bm25", 8, 0.5)).embed_passages(["a lamp", text])


def test_an_index_is_made_and_searched_as_the_card_of_its_model_says(tiny: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    card = "---\nretrieval:\n  lexical: bm25\n  beginning_tokens: 8\n  beginning_weight: 0.5\n  sparse_weight: 9\n---\n"
    (model / "README.md").write_text(card)
    library = tmp_path / "library"
    library.mkdir()
    for name, text in (("harbour", LONG), ("kitchen", "the oven is cleaned on fridays"), ("pump", "a pump needs oil")):
        (library / f"{name}.txt").write_text(text)
    settings = Settings(
        store={"path": tmp_path / "store"},  # type: ignore[arg-type]
        embedder={"model": str(model), "device": "cpu", "dtype": "float32"},  # type: ignore[arg-type]
    )
    assert ingest([library], settings=settings).added == 3
    with closing(build.store(settings)) as store:
        [chunk] = store.chunks((library / "pump.txt").as_uri())
        stored = store.embeddings([chunk.text_hash])[chunk.text_hash]
        np.testing.assert_array_equal(stored.sparse.ids, passage_vector("a pump needs oil").ids)
    with open_rag(settings) as rag:
        best, *_ = rag.retrieve("who cleaned the oven", k=3)
        assert best.chunk.source.endswith("kitchen.txt")
        assert [term.term for term in rag.matched_terms("who cleaned the oven", [best])[0]][-1] == "the"
