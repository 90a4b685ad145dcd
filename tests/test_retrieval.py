"""The retriever: which scores rank can be said when it is made, and with each question."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from ingest import ingest
from rag import Settings, build
from rag.fusion import Ranking
from rag.ports import Embedder, PassageStore
from rag.retrieval import Retriever
from rag.types import Mode

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
