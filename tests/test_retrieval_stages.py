"""What happens to a question and to what was found beside the search: each stage by itself, and what becomes of a
search when one cannot do its work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ingest import ingest
from rag import Settings, Where, ask, build, open_rag
from rag.commands.search_explanation import advantage, explanation
from rag.errors import InputError, UnavailableError
from rag.fusion import Ranking
from rag.ports import Embedder, PassageStore
from rag.quotas import parse
from rag.retrieval import Retriever, Stages
from rag.types import Chunk, RerankScores, Rewritten, Usage

QUESTION = "How often is the conveyor belt cleaned?"
DOCUMENTS = {
    "en/belt.md": "# Conveyor belt\n\nThe conveyor belt is cleaned every Monday before the early shift begins.",
    "en/canteen.md": "# Canteen\n\nThe canteen is open from 11 to 14 on working days.",
    "en/parking.md": "# Parking\n\nVisitors leave their cars in the second row behind the gate.",
    "de/band.md": "# Förderband\n\nDas Förderband wird jeden Montag vor der Frühschicht gereinigt.",
    "de/kantine.md": "# Kantine\n\nDie Kantine hat an Werktagen von 11 bis 14 Uhr geöffnet.",
    "ru/parol.md": "# Пароль\n\nЧтобы сменить пароль, откройте настройки и нажмите «Изменить пароль».",
    "ru/printer.md": "# Принтер\n\nПринтер стоит на втором этаже рядом с лестницей.",
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("stages")
    for name, text in DOCUMENTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    settings = Settings(
        store={"path": folder / "store"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3", "dtype": "float32"},  # type: ignore[arg-type]
    )
    assert ingest([folder / "en", folder / "de", folder / "ru"], settings=settings).failures == []
    return settings


@pytest.fixture(scope="module")
def store(settings: Settings) -> Iterator[PassageStore]:
    with closing(build.store(settings)) as store:
        yield store


class Backwards:
    """A reranker that likes best what came last."""

    name = "backwards"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def scores(self, question: str, chunks: Sequence[Chunk]) -> RerankScores:
        self.asked.append([chunk.id for chunk in chunks])
        return RerankScores(tuple(float(place) for place in range(len(chunks))), Usage(10, 2, 1))


class Says:
    """A rewriter that knows one other wording, whatever is asked."""

    name = "says"

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.languages: list[list[str]] = []

    def rewrite(self, question: str, languages: Sequence[str]) -> Rewritten:
        self.languages.append(list(languages))
        return Rewritten(self.texts, Usage(7, 3, 1))


class Broken:
    """Neither rewrites nor reranks."""

    name = "broken"

    def rewrite(self, question: str, languages: Sequence[str]) -> Rewritten:
        raise UnavailableError("the endpoint is away: start it")

    def scores(self, question: str, chunks: Sequence[Chunk]) -> RerankScores:
        raise UnavailableError("the model is away: fetch it")


def test_a_reranker_reads_the_best_alone_and_the_others_stay_behind(pocket: Embedder, store: PassageStore) -> None:
    before = Retriever(pocket, store, Ranking()).retrieve(QUESTION, k=9)
    reranker = Backwards()
    stages = Stages(reranker=reranker, rerank_depth=3, rerank_weight=100)
    found = Retriever(pocket, store, Ranking(), stages=stages).search(QUESTION, k=9)
    assert reranker.asked == [[passage.chunk.id for passage in before[:3]]]
    assert {p.chunk.id for p in found.passages[:3]} == {p.chunk.id for p in before[:3]}
    assert [p.chunk.id for p in found.passages[3:]] == [p.chunk.id for p in before[3:]]
    assert [p.rank for p in found.passages] == list(range(1, len(before) + 1))
    assert {p.rerank_score for p in found.passages[:3]} == {0.0, 1.0, 2.0}
    assert [p.rerank_score for p in found.passages[3:]] == [None] * (len(before) - 3)
    assert found.usage == Usage(10, 2, 1)
    (remark,) = found.remarks
    assert remark.startswith("reranked 3 passages with backwards (")
    assert "12 tokens" in remark


def test_a_reranker_without_weight_changes_nothing(pocket: Embedder, store: PassageStore) -> None:
    before = Retriever(pocket, store, Ranking()).retrieve(QUESTION, k=5)
    stages = Stages(reranker=Backwards(), rerank_weight=0)
    after = Retriever(pocket, store, Ranking(), stages=stages).retrieve(QUESTION, k=5)
    assert [p.chunk.id for p in after] == [p.chunk.id for p in before]


def test_what_cannot_do_its_work_is_left_out_and_told(pocket: Embedder, store: PassageStore) -> None:
    before = Retriever(pocket, store, Ranking()).retrieve(QUESTION, k=5)
    stages = Stages(rewriters=(Broken(),), reranker=Broken())
    found = Retriever(pocket, store, Ranking(), stages=stages).search(QUESTION, k=5)
    assert found.passages == before
    assert found.remarks == (
        "broken was left out: the endpoint is away: start it",
        "the reranker broken was left out: the model is away: fetch it",
    )


def test_other_wordings_are_searched_too_and_a_passage_counts_with_its_best(
    pocket: Embedder, store: PassageStore
) -> None:
    wording = "Как сменить пароль?"
    rewriter = Says(wording, QUESTION, "", "x " * 5000)
    retriever = Retriever(pocket, store, Ranking(), stages=Stages(rewriters=(rewriter,)))
    found = retriever.search(QUESTION, k=9)
    by_source = {Path(passage.chunk.source).name: passage for passage in found.passages}
    assert by_source["parol.md"].wording == wording
    assert by_source["belt.md"].wording is None
    alone = {
        p.chunk.id: p.score
        for asked in (QUESTION, wording)
        for p in Retriever(pocket, store, Ranking()).retrieve(asked, k=9)
    }
    assert all(p.score >= alone[p.chunk.id] - 1e-9 for p in found.passages)
    scores = [p.score for p in found.passages]
    assert scores == sorted(scores, reverse=True)
    assert found.usage == Usage(7, 3, 1)
    assert rewriter.languages == [["en", "de", "ru"]]
    retriever.search(QUESTION, k=1, where=Where(languages=("ru", "de")))
    retriever.search(QUESTION, k=1, where=Where(not_languages=("de",)))
    assert rewriter.languages[1:] == [["de", "ru"], ["en", "ru"]]


def test_quotas_keep_places(pocket: Embedder, store: PassageStore) -> None:
    stages = Stages(quotas=parse(["en=1", "ru=1"]))
    found = Retriever(pocket, store, Ranking(method="weighted"), stages=stages).retrieve(QUESTION, k=3)
    assert sorted(passage.chunk.language for passage in found) == ["de", "en", "ru"]
    assert [passage.rank for passage in found] == [1, 2, 3]


def test_the_explanation_s_parts_are_the_lead(pocket: Embedder, store: PassageStore) -> None:
    for ranking in (Ranking(), Ranking(method="weighted"), Ranking(mode="dense"), Ranking(mode="sparse")):
        found = Retriever(pocket, store, ranking).search(QUESTION, k=9)
        for passage, following in zip(found.passages, found.passages[1:], strict=False):
            parts = advantage(passage, following, found.ranking)
            assert math.isclose(parts.pop("total"), passage.score - following.score)
            assert math.isclose(sum(parts.values()), passage.score - following.score, abs_tol=1e-6)
            assert f"before the next by {passage.score - following.score:.3f}" in explanation(
                passage, following, (), found.ranking
            )


def test_a_question_in_latin_letters_finds_what_is_written_in_others(settings: Settings) -> None:
    with open_rag(settings) as rag:
        found = rag.search("kak smenit parol", k=2)
        assert Path(found.passages[0].chunk.source).name == "parol.md"
        assert found.passages[0].wording == "как сменить пароль"
        (remark,) = found.remarks
        assert "'как сменить пароль'" in remark
        assert rag.search(QUESTION, k=2).remarks == ()
        (terms, *_) = rag.matched_terms("kak smenit parol", found.passages)
        assert "пароль" in {term.term for term in terms}
    off = settings.model_copy(update={"retrieval": settings.retrieval.model_copy(update={"romanised": False})})
    with open_rag(off) as rag:
        assert rag.search("kak smenit parol", k=2).remarks == ()


def test_an_answer_tells_what_was_done_to_find_its_passages(settings: Settings) -> None:
    answer = ask("kak smenit parol", settings=settings)
    assert any("как сменить пароль" in remark for remark in answer.remarks)


def test_colbert_reranks_and_a_cross_encoder_that_is_not_there_costs_no_answer(settings: Settings) -> None:
    def with_reranker(**retrieval: object) -> Settings:
        return settings.model_copy(update={"retrieval": settings.retrieval.model_copy(update=retrieval)})

    with open_rag(with_reranker(reranker="colbert")) as rag:
        found = rag.search(QUESTION, k=3)
    assert all(passage.rerank_score is not None for passage in found.passages)
    assert "with colbert" in found.remarks[0]
    with open_rag(with_reranker(reranker="cross-encoder", reranker_model="/not/there")) as rag:
        found = rag.search(QUESTION, k=3)
    assert len(found.passages) == 3
    assert "left out" in found.remarks[0]
    assert "/not/there" in found.remarks[0]


@pytest.mark.parametrize("retrieval", [{"reranker": "llm"}, {"translate": 2}])
def test_stages_that_need_a_language_model_say_so(settings: Settings, retrieval: dict[str, object]) -> None:
    wanting = settings.model_copy(update={"retrieval": settings.retrieval.model_copy(update=retrieval)})
    with pytest.raises(InputError, match="needs a language model and none is configured"):
        open_rag(wanting)
