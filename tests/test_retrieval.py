"""The retriever: which scores rank can be said when it is made, and with each question."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ingest import ingest
from rag import Settings, build
from rag.centring import centred
from rag.diversity import Collapse
from rag.evaluation.datasets import Dataset, DatasetDocument, DatasetQuestion
from rag.evaluation.pools import Pool
from rag.evaluation.scoring import ExactRanker, vectors
from rag.fusion import Ranking
from rag.ports import Embedder, PassageStore
from rag.retrieval import Retriever, Stages
from rag.stores.edge import EdgeStore
from rag.types import IndexInfo, Mode, StoredPassage
from tests.samples import a_chunk

LIBRARY = Path(__file__).parent.parent / "demo" / "library"
QUESTION = "Wie lange muss der Teig gehen?"
MADE = Ranking(dense_weight=1.0, sparse_weight=0.7)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PassageStore]:
    folder = tmp_path_factory.mktemp("retrieval")
    for language in ("de", "en", "fr"):
        shutil.copytree(LIBRARY / language, folder / "library" / language)
    settings = Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3", "dtype": "float32"},  # type: ignore[arg-type]
    )
    assert ingest([folder / "library"], settings=settings).failures == []
    with closing(build.store(settings)) as store:
        yield store


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("made", get_args(Mode))
def test_a_mode_given_with_a_question_ranks_as_if_the_retriever_had_been_made_so(
    pocket: Embedder, store: PassageStore, mode: Mode, made: Mode
) -> None:
    asked = Retriever(pocket, store, replace(MADE, mode=made)).retrieve(QUESTION, k=10, mode=mode)
    assert asked
    assert asked == Retriever(pocket, store, replace(MADE, mode=mode)).retrieve(QUESTION, k=10)


def test_a_mode_holds_for_its_question_alone(pocket: Embedder, store: PassageStore) -> None:
    retriever = Retriever(pocket, store, MADE)
    before = retriever.retrieve(QUESTION, k=10)
    assert retriever.retrieve(QUESTION, k=10, mode="sparse") != before
    assert retriever.retrieve(QUESTION, k=10) == before


@pytest.mark.parametrize(("mode", "score"), [("dense", "dense_score"), ("sparse", "sparse_score")])
def test_dense_and_sparse_rank_by_their_score_alone(
    pocket: Embedder, store: PassageStore, mode: Mode, score: str
) -> None:
    passages = Retriever(pocket, store, MADE).retrieve(QUESTION, k=10, mode=mode)
    scores = [getattr(passage, score) for passage in passages]
    assert [passage.score for passage in passages] == scores
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1


@pytest.mark.parametrize(
    "ranking",
    [
        Ranking(sparse_weight=2.0, coverage=0.5, centring=0.5, level_k=4, level_enough=4),
        Ranking(sparse_weight=2.0, coverage=0.5, centring=0.5, method="weighted"),
        Ranking(sparse_weight=0.5, own_places=1, level_k=4, level_enough=4),
        Ranking(method="rrf", centring=1.0),
    ],
)
def test_what_is_found_is_what_evaluations_measure(pocket: Embedder, store: PassageStore, ranking: Ranking) -> None:
    chunks = sorted((c for document in store.documents() for c in store.chunks(document.uri)), key=lambda c: c.id)
    stored = store.embeddings([chunk.text_hash for chunk in chunks])
    asked = vectors([stored[chunk.text_hash] for chunk in chunks], [store.weighted(pocket.embed_query(QUESTION))])
    documents = tuple(DatasetDocument(chunk.id, chunk.language, chunk.text, chunk.id) for chunk in chunks)
    question = DatasetQuestion("q", "de", QUESTION, "q", {chunks[0].id: 1})
    dataset = Dataset("index", documents, (question,))
    (found,) = ExactRanker(dataset, asked, ranking).ranked(Pool(None, (0,), ({0: 1},), (frozenset(),)))
    ranked = Retriever(pocket, store, ranking, depth=1000, language_depth=1000).retrieve(QUESTION, k=1000)
    assert len(ranked) == len(chunks) <= 100
    assert [passage.chunk.id for passage in ranked] == [documents[at].id for at in found]
    if ranking.normalizes:
        assert any(passage.handicap for passage in ranked), "the question's language is known"


def test_a_change_is_seen_by_the_next_question(pocket: Embedder, tmp_path: Path) -> None:
    texts = ["The oven is cleaned on Mondays.", "The mixer is cleaned on Fridays."]
    held = [each.dense for each in pocket.embed_passages(texts)]
    asked = "When is the oven cleaned?"
    with closing(EdgeStore(tmp_path)) as store:
        store.prepare(IndexInfo(1, pocket.fingerprint, "pocket-m3", pocket.dimension))
        retriever = Retriever(pocket, store, Ranking(centring=0.5))
        for count, text in enumerate(texts, start=1):
            chunk = a_chunk(uri=f"file:///{count}", version="1", text=text, language="en")
            store.stage([chunk], pocket.embed_passages([text]))
            store.commit(chunk.uri, "1")
            scores = {passage.chunk.uri: passage.dense_score for passage in retriever.retrieve(asked, k=2)}
            moved = centred(pocket.embed_query(asked).dense, np.mean(held[:count], axis=0), 0.5)
            assert scores["file:///1"] == pytest.approx(float(moved @ held[0]), abs=1e-5)


class Overtaken(EdgeStore):
    """A store in which something happens between a search and the reading of what it found, a few times."""

    happens: Sequence[Callable[[], None]] = ()

    def passages(self, ids: Sequence[str], *, with_vectors: bool = False) -> Mapping[str, StoredPassage]:
        if self.happens:
            first, *self.happens = self.happens
            first()
        return super().passages(ids, with_vectors=with_vectors)


@pytest.mark.parametrize("collapse", ["translations", "off"])
def test_a_document_that_is_replaced_during_a_search_is_found_in_its_new_version(
    pocket: Embedder, tmp_path: Path, collapse: Collapse
) -> None:
    def put(uri: str, version: str, text: str) -> None:
        chunk = a_chunk(uri=uri, version=version, text=text, language="en", text_hash=text)
        index.stage([chunk], pocket.embed_passages([text]))
        index.commit(uri, version)

    with closing(Overtaken(tmp_path)) as index:
        index.prepare(IndexInfo(1, pocket.fingerprint, "pocket-m3", pocket.dimension))
        put("file:///oven", "1", "The oven is cleaned on Mondays.")
        put("file:///mixer", "1", "The mixer is cleaned on Fridays.")
        retriever = Retriever(pocket, index, Ranking(), stages=Stages(collapse=collapse))
        index.happens = [lambda: put("file:///oven", "2", "The oven is cleaned on Sundays.")]
        found = retriever.retrieve("When is the oven cleaned?", k=2)
        assert [each.rank for each in found] == [1, 2]
        assert {(each.chunk.uri, each.chunk.version) for each in found} == {
            ("file:///oven", "2"),
            ("file:///mixer", "1"),
        }
        # Where there is no end to it, the others are found all the same.
        index.happens = [
            partial(put, "file:///oven", version, f"The oven is cleaned on day {version}.") for version in "3456"
        ]
        found = retriever.retrieve("When is the oven cleaned?", k=2)
        assert [(each.rank, each.chunk.uri) for each in found] == [(1, "file:///mixer")]
