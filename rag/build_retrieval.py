"""Settings to what finds passages: how they are ranked, and the stages beside the search."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from rag.build import language_model
from rag.errors import InputError
from rag.fusion import LEVEL_K, PAPER_DENSE_WEIGHT, PAPER_SPARSE_WEIGHT, Ranking
from rag.ports import Embedder, PassageReader, QueryRewriter, Reranker
from rag.retrieval import Retriever, Stages
from rag.tuned import Tuned
from rag.tuned import read as read_tuned

if TYPE_CHECKING:
    from rag_config.settings import Settings

    from rag.embedding_model import EmbeddingModel

DEPTH = 100
"""Candidates of each vector."""

_PASSAGES_FOR_WORDS = 2000
_DOCUMENTS_FOR_WORDS = 200
"""Passages of a language whose words help to read romanised questions, and documents that are read for them."""


def retriever(
    settings: Settings, embedder: Embedder, reader: PassageReader, ranking: Ranking, found: EmbeddingModel
) -> Retriever:
    """Question to passages, as the settings say.

    Args:
        embedder: of the model that the index was made with.
        ranking: as `ranking` gives it.
        found: the model's files.

    Raises:
        InputError: a quota is none, or a stage wants a language model and there is none.
    """
    from rag import quotas

    chosen = settings.retrieval
    stages = Stages(
        rewriters=tuple(_rewriters(settings, reader, found)),
        reranker=_reranker(settings, embedder),
        rerank_depth=chosen.rerank_depth,
        rerank_weight=chosen.rerank_weight,
        collapse=chosen.collapse,
        collapse_similarity=chosen.collapse_similarity,
        quotas=quotas.parse(chosen.quotas),
    )
    return Retriever(
        embedder,
        reader,
        ranking,
        depth=depth(settings, found),
        language_depth=chosen.language_depth,
        stages=stages,
    )


def _rewriters(settings: Settings, reader: PassageReader, found: EmbeddingModel) -> Iterator[QueryRewriter]:
    if settings.retrieval.romanised:
        from rag.language import primary
        from rag.romanisation.rewriter import RomanisedQuestions

        def texts(language: str) -> Iterator[str]:
            if reader.info().tenant_key is not None:  # one tenant's words are not to show in another's question
                return iter(())
            held = (document for document in reader.documents() if primary(document.language) == language)
            chunks = (chunk for document in islice(held, _DOCUMENTS_FOR_WORDS) for chunk in reader.chunks(document.uri))
            return islice((chunk.text for chunk in chunks), _PASSAGES_FOR_WORDS)

        yield RomanisedQuestions(found.tokenizer, texts)
    if settings.retrieval.translate:
        from rag.query_translation import QueryTranslator

        _require_language_model(settings, "retrieval.translate")
        yield QueryTranslator(language_model(settings), str(settings.llm.model), most=settings.retrieval.translate)


def _reranker(settings: Settings, embedder: Embedder) -> Reranker | None:
    kind = settings.retrieval.reranker
    if kind == "colbert":
        from rag.rerankers.colbert import ColbertReranker

        late_interaction = getattr(embedder, "late_interaction", None)
        if late_interaction is None:
            raise InputError(
                f"retrieval.reranker is 'colbert' and {embedder.model!r} makes no vectors of tokens: "
                "use a model in BGE-M3's layout, or another reranker"
            )
        return ColbertReranker(late_interaction)
    if kind == "cross-encoder":
        from rag.rerankers.cross_encoder import CrossEncoderReranker

        return CrossEncoderReranker(
            settings.retrieval.reranker_model,
            revision=settings.retrieval.reranker_revision,
            device=settings.embedder.device,
            dtype=settings.embedder.dtype,
            batch_tokens=settings.embedder.batch_tokens or 2048,
        )
    if kind == "llm":
        from rag.rerankers.listwise import ListwiseReranker

        _require_language_model(settings, "retrieval.reranker = llm")
        return ListwiseReranker(language_model(settings), str(settings.llm.model))
    return None


def _require_language_model(settings: Settings, what: str) -> None:
    if not settings.llm.model:
        raise InputError(f"{what} needs a language model and none is configured: set RAG_LLM__MODEL, or turn it off")


def ranking(settings: Settings, found: EmbeddingModel) -> Ranking:
    """How passages are ranked: the settings, else what `rag tune` keeps with the index, the model's card, the paper.

    Raises:
        StoreError: what `rag tune` kept is damaged.
    """
    given, tuned = settings.retrieval, _tuned(settings, found)

    def first(name: str, otherwise: float) -> float:
        said = (getattr(source, name) for source in (given, tuned, found.recommended) if source is not None)
        return next((float(value) for value in said if value is not None), otherwise)

    return Ranking(
        mode=given.mode,
        method=given.fusion or (tuned.fusion if tuned else "normalized"),
        dense_weight=first("dense_weight", PAPER_DENSE_WEIGHT),
        sparse_weight=first("sparse_weight", PAPER_SPARSE_WEIGHT),
        level_k=given.level_k or (tuned.level_k if tuned else LEVEL_K),
        own_places=given.own_places,
        rrf_k=given.rrf_k,
        coverage=first("coverage", 0.0),
        centring=first("centring", 0.0),
    )


def depth(settings: Settings, found: EmbeddingModel) -> int:
    """Candidates taken from each vector: the settings, else what `rag tune` keeps with the index.

    Raises:
        StoreError: what `rag tune` kept is damaged.
    """
    tuned = _tuned(settings, found)
    return settings.retrieval.depth or (tuned.depth if tuned else None) or DEPTH


def _tuned(settings: Settings, found: EmbeddingModel) -> Tuned | None:
    """A collection on a server keeps none."""
    if settings.store.url:
        return None
    return read_tuned(settings.store.path / settings.store.collection, found.fingerprint)
