"""A sentence-transformers model from ingestion to answers: dense vectors of its own, lexical weights by BM25."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rag_config.settings import Settings

from ingest.api import ingest
from rag import build, open_rag
from rag.bm25 import TermCounts
from rag.embedders.shared_queries import SharedQueries
from rag.errors import IndexMismatchError, InputError
from rag.evaluation import beir
from rag.evaluation.scoring import embed
from rag.sentence_model import SentenceModel
from tests.tiny_checkpoint import write_tiny_checkpoint
from tests.tiny_sentence_models import write_e5

DOCUMENTS = {
    "lamp.txt": "The baker cleans the lamp every evening. The lamp hangs above the old counter.",
    "boat.txt": "A pilot photographs the wooden boat. The boat lies in the harbour of the island.",
    "brief.txt": "Unser Nachbar verkauft drei Briefe. Die Briefe sind alt und teuer.",
    "mantel.txt": "Die Bücherei behält den Wintermantel. Der Wintermantel hängt neben der Tür.",
    "图书馆.txt": "老图书馆保管冬天的大衣。大衣挂在门边。",
    "信.txt": "面包师出售三封信。信很旧。",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_e5(tmp_path_factory.mktemp("models") / "multilingual-e5-small")


@pytest.fixture
def library(model: Path, tmp_path: Path) -> Settings:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = with_model(tmp_path, model)
    assert ingest([folder], settings=settings).added == len(DOCUMENTS)
    return settings


def with_model(folder: Path, model: Path, **more: object) -> Settings:
    return Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]
        embedder={"model": str(model), "dtype": "float32", **more},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("question", "source"),
    [
        ("Where does the lamp hang?", "lamp.txt"),
        ("harbours", "boat.txt"),
        ("Wo hängen die Wintermäntel?", "mantel.txt"),
        ("Was kosten Briefe?", "brief.txt"),
        ("大衣在哪里？", "图书馆.txt"),
    ],
)
@pytest.mark.parametrize("mode", ["sparse", "hybrid"])
def test_the_passage_with_the_questions_words_is_found_whatever_the_dense_vectors_say(
    library: Settings, question: str, source: str, mode: str
) -> None:
    with open_rag(library) as rag:
        found = rag.retrieve(question, k=3, mode=mode)  # type: ignore[arg-type]
    assert Path(found[0].chunk.source).name == source
    assert found[0].sparse_score > 0


def test_the_words_that_brought_a_passage_up_sum_to_its_sparse_score(library: Settings) -> None:
    question = "Where does the old lamp hang?"
    with open_rag(library) as rag:
        passages = rag.retrieve(question, k=6)
        terms = rag.matched_terms(question, passages)
    assert {"lamp", "old"} <= {each.term for each in terms[0]}
    assert terms[0][0].term in {"lamp", "hang", "old"}
    for passage, matched in zip(passages, terms, strict=True):
        assert sum(each.weight for each in matched) == pytest.approx(passage.sparse_score, abs=1e-5)


def test_another_prompt_or_dimension_is_another_model(library: Settings, model: Path, tmp_path: Path) -> None:
    for more in ({"query_prompt": "Q: "}, {"truncate_dim": 16}):
        with pytest.raises(IndexMismatchError), open_rag(with_model(tmp_path, model, **more)) as rag:
            rag.retrieve("lamp", k=1)


def test_documents_that_are_ingested_again_are_not_embedded_again(library: Settings, tmp_path: Path) -> None:
    report = ingest([tmp_path / "documents"], settings=library)
    assert (report.unchanged, report.failed) == (len(DOCUMENTS), 0)


def test_equal_settings_share_a_model_and_the_weights_are_e5s(library: Settings) -> None:
    assert build.embedder(library) is build.embedder(library)
    found = build.checkpoint(library)
    assert found.recommended.sparse_weight == 0.15


@pytest.mark.parametrize("backend", ["openvino", "flagembedding"])
def test_backends_of_bge_m3_are_refused(model: Path, tmp_path: Path, backend: str) -> None:
    with pytest.raises(InputError, match=f"RAG_EMBEDDER__BACKEND is '{backend}'"):
        build.embedder(with_model(tmp_path, model, backend=backend))


def test_the_reranker_that_needs_vectors_of_tokens_is_refused(library: Settings) -> None:
    settings = library.model_copy(update={"retrieval": library.retrieval.model_copy(update={"reranker": "colbert"})})
    with pytest.raises(InputError, match="makes no vectors of tokens"), open_rag(settings):
        pass


def test_kept_questions_are_still_counts_of_terms(library: Settings) -> None:
    kept = SharedQueries(build.embedder(library), kept=4)
    for _ in range(2):
        assert isinstance(kept.embed_query("the lamp").sparse, TermCounts)


def test_a_data_set_is_scored_with_the_weights_that_an_index_would_give(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    documents = [{"id": name, "lang": "en", "text": text} for name, text in DOCUMENTS.items()]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    question = {"id": "q", "lang": "en", "text": "the lamp", "gold": "lamp.txt"}
    (folder / "queries.jsonl").write_text(json.dumps(question))
    dataset = beir.read(folder)
    vectors = embed(dataset, build.embedder(with_model(tmp_path, model)))
    scores = (vectors.sparse_questions @ vectors.sparse_documents.T).toarray()[0]
    assert dataset.documents[int(scores.argmax())].id == "lamp.txt"
    assert vectors.sparse_questions.sum() == pytest.approx(1, abs=1e-5)
    assert vectors.sparse_documents.shape[1] < 200  # a column for each term that occurs, not for each of 32 bits


def test_a_folder_whose_heads_were_lost_is_another_model(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "bge")
    whole = build.checkpoint(with_model(tmp_path, folder))
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for head in ("sparse_linear.pt", "colbert_linear.pt"):
        (copy / head).unlink()
    settings = with_model(tmp_path, copy)
    assert isinstance(build.checkpoint(settings), SentenceModel)
    assert build.checkpoint(settings).fingerprint != whole.fingerprint
