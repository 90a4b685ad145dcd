"""Settings to adapters: the only place that imports an adapter, and only when it is asked for."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from rag.errors import IndexMismatchError
from rag.fusion import PAPER_DENSE_WEIGHT, PAPER_SPARSE_WEIGHT, Ranking
from rag.ports import ChatModel, Embedder, PassageReader, PassageStore
from rag.types import IndexInfo

if TYPE_CHECKING:
    from rag_config.settings import Settings

    from rag.checkpoint import Checkpoint

_embedders: WeakValueDictionary[object, Embedder] = WeakValueDictionary()
"""Models in use: who opens a second index with the same one shares its weights."""
_lock = Lock()


def checkpoint(settings: Settings, index: IndexInfo | None = None) -> Checkpoint:
    """The embedding model's files, fetched if they are not on this machine yet.

    Args:
        index: what it is wanted for; for an index of a model of another name nothing is fetched.

    Raises:
        IndexMismatchError: the index has another model, and this one would have to be fetched to say so.
        ModelUnavailableError: they cannot be had.
        CheckpointError: they are not a usable BGE-M3 checkpoint.
    """
    from rag.checkpoint import inspect, locate, must_be_fetched

    name, revision = settings.embedder.model, settings.embedder.revision
    if index is not None and index.model != name and must_be_fetched(name, revision):
        raise IndexMismatchError(
            f"the index was made with {index.model!r}, and {name!r} is not on this machine: "
            f"pass --model {index.model} (RAG_EMBEDDER__MODEL), or use another --collection"
        )
    return inspect(locate(name, revision), name)


def embedder(settings: Settings, found: Checkpoint | None = None) -> Embedder:
    """The embedding model; its weights are loaded on first use, once for all that use it with equal settings.

    Args:
        found: its files, where `checkpoint` has been called already.

    Raises:
        ModelUnavailableError: its files cannot be had.
        CheckpointError: they are not a usable BGE-M3 checkpoint.
    """
    from rag.embedders.bge_m3 import BgeM3Embedder

    found = found or checkpoint(settings)
    wanted = (found, settings.embedder)
    with _lock:
        shared = _embedders.get(wanted)
        if shared is None:
            shared = _embedders[wanted] = BgeM3Embedder(
                found,
                device=settings.embedder.device,
                dtype=settings.embedder.dtype,
                batch_tokens=settings.embedder.batch_tokens,
            )
    return shared


def store(settings: Settings) -> PassageStore:
    """The store of the collection, a folder or on a server; nothing is opened or created yet.

    Raises:
        InputError: the server's address or key cannot be used.
    """
    if settings.store.url:
        from rag.stores.server import ServerStore

        key = settings.store.api_key
        return ServerStore(
            settings.store.url,
            settings.store.collection,
            api_key=key.get_secret_value() if key else None,
            timeout=settings.store.timeout,
            quantization=settings.store.quantization,
            on_disk=settings.store.on_disk,
        )
    from rag.stores.edge import EdgeStore

    return EdgeStore(settings.store.path / settings.store.collection)


def index_info(embedder: Embedder) -> IndexInfo:
    """What an index made with `embedder` carries."""
    from rag.stores.schema import SCHEMA_VERSION

    return IndexInfo(SCHEMA_VERSION, embedder.fingerprint, embedder.model, embedder.dimension)


def require_fit(store: PassageReader, embedder: Embedder) -> None:
    """Refuses an index that was not made with `embedder` and this version's schema.

    Raises:
        IndexMissingError: there is no index yet.
        IndexMismatchError: it does not fit.
    """
    from rag.stores.schema import require_match

    require_match(store.info(), index_info(embedder))


def chat_model(settings: Settings, embedder: Embedder) -> ChatModel:
    """The configured language model, or the one that quotes the passages when none is configured.

    Args:
        embedder: finds the sentences to quote.
    """
    if not settings.llm.model:
        from rag.chat_models.extractive import ExtractiveChatModel

        return ExtractiveChatModel(embedder)
    return language_model(settings)


def language_model(settings: Settings) -> ChatModel:
    """The configured language model, `settings.llm.model`, which must be set."""
    from rag.chat_models.openai_chat import OpenAIChatModel

    assert settings.llm.model is not None, "no language model is configured"
    base_url, key = settings.llm.endpoint()
    return OpenAIChatModel(
        settings.llm.model,
        base_url=base_url,
        api_key=key.get_secret_value() if key else None,
        temperature=settings.llm.temperature,
        max_tokens=settings.llm.max_tokens,
        timeout=settings.llm.timeout,
        retries=settings.llm.retries,
    )


def ranking(settings: Settings, found: Checkpoint) -> Ranking:
    """How passages are ranked: weights from the settings, else from the model's card, else the BGE-M3 paper's."""

    def first(*values: float | None) -> float:
        return next(value for value in values if value is not None)

    return Ranking(
        mode=settings.retrieval.mode,
        method=settings.retrieval.fusion,
        dense_weight=first(settings.retrieval.dense_weight, found.dense_weight, PAPER_DENSE_WEIGHT),
        sparse_weight=first(settings.retrieval.sparse_weight, found.sparse_weight, PAPER_SPARSE_WEIGHT),
        rrf_k=settings.retrieval.rrf_k,
    )
