"""Settings to adapters: the only place that imports an adapter, and only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from threading import Event, Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from rag.errors import IndexMismatchError, InputError
from rag.ports import ChatModel, Embedder, PassageReader, PassageStore
from rag.types import IndexInfo

if TYPE_CHECKING:
    from rag_config.settings import Settings

    from rag.budget import Budget
    from rag.checkpoint import Checkpoint
    from rag.embedding_model import EmbeddingModel
    from rag.language_policy import LanguagePolicy
    from rag.quote_translation import QuoteTranslator
    from rag.stores.successor import Replaceable, Successor

_embedders: WeakValueDictionary[object, Embedder] = WeakValueDictionary()
"""Models in use: who opens a second index with the same one shares its weights."""
_lock = Lock()


def checkpoint(settings: Settings, index: IndexInfo | None = None) -> EmbeddingModel:
    """The embedding model's files, fetched if they are not on this machine yet.

    Args:
        index: what it is wanted for; for an index of a model of another name nothing is fetched.

    Raises:
        IndexMismatchError: the index has another model, and this one would have to be fetched to say so.
        ModelUnavailableError: they cannot be had.
        CheckpointError: they are not a usable model.
        InputError: prompts or a dimension are set that the model cannot have.
    """
    from rag.checkpoint import locate, must_be_fetched
    from rag.embedding_model import inspect

    name, revision = settings.embedder.model, settings.embedder.revision
    if index is not None and index.model != name and must_be_fetched(name, revision):
        raise IndexMismatchError(
            f"the index was made with {index.model!r}, and {name!r} is not on this machine: "
            f"pass --model {index.model} (RAG_EMBEDDER__MODEL), or use another --collection"
        )
    return inspect(
        locate(name, revision),
        name,
        query_prompt=settings.embedder.query_prompt,
        passage_prompt=settings.embedder.passage_prompt,
        truncate_dim=settings.embedder.truncate_dim,
    )


def embedder(settings: Settings, found: EmbeddingModel | None = None) -> Embedder:
    """The embedding model; its weights are loaded on first use, once for all that use it with equal settings.

    Args:
        found: its files, where `checkpoint` has been called already.

    Raises:
        ModelUnavailableError: its files cannot be had.
        CheckpointError: they are not a usable model.
        InputError: prompts, a dimension or a backend are set that the model cannot have.
    """
    from rag.embedders.shared_queries import SharedQueries

    found = found or checkpoint(settings)
    wanted = (found, settings.embedder)
    with _lock:
        shared = _embedders.get(wanted)
        if shared is None:
            shared = _embedders[wanted] = SharedQueries(_embedder(settings, found), kept=settings.embedder.query_cache)
    return shared


def token_counter(found: Checkpoint) -> Callable[[Sequence[str]], list[int]]:
    """What counts tokens as the model's embedder does; for processes that embed nothing, and load no weights.

    Raises:
        CheckpointError: as the first call may.
    """
    from rag.embedders.bge_m3 import BgeM3Embedder

    return BgeM3Embedder(found).count_tokens


def _embedder(settings: Settings, found: EmbeddingModel) -> Embedder:
    from rag.sentence_model import SentenceModel

    chosen = settings.embedder
    if isinstance(found, SentenceModel):
        from rag.embedders.sentence_transformer import SentenceTransformerEmbedder

        if chosen.backend != "torch":
            raise InputError(
                f"RAG_EMBEDDER__BACKEND is {chosen.backend!r} and {found.name!r} is a sentence-transformers model, "
                "which torch computes: unset it"
            )
        return SentenceTransformerEmbedder(
            found, device=chosen.device, dtype=chosen.dtype, batch_tokens=chosen.batch_tokens
        )
    from rag.embedders.bge_m3 import BgeM3Embedder
    from rag.model_card import Representation

    embedder = BgeM3Embedder(
        found,
        device=chosen.device,
        dtype=chosen.dtype,
        backend=chosen.backend,
        batch_tokens=chosen.batch_tokens,
        keep_copy=chosen.keep_copy,
    )
    if found.representation == Representation():
        return embedder
    from rag.embedders.as_recommended import AsRecommended

    return AsRecommended(embedder, found.representation)


def store(settings: Settings) -> PassageStore:
    """The store of the collection, a folder or on a server; nothing is opened or created yet.

    Raises:
        InputError: the server's address or key cannot be used.
    """
    from rag.stores.generations import CurrentStore

    return CurrentStore(_generations(settings))


def successor(settings: Settings, embedder: Embedder, made_of: object) -> AbstractContextManager[Successor]:
    """The index, and beside it a new one of `embedder` that can take its place; raises what that says."""
    from rag.stores.successor import successor

    return successor(_generations(settings), index_info(embedder, settings), made_of)


def _generations(settings: Settings) -> Replaceable:
    """All that a collection has been and is."""
    if settings.store.url:
        from rag.stores.server_generations import generations_on

        return generations_on(
            settings.store.url,
            settings.store.collection,
            api_key=_store_key(settings),
            timeout=settings.store.timeout,
            quantization=settings.store.quantization,
            on_disk=settings.store.on_disk,
            metadata_keys=settings.store.metadata_keys,
        )
    from rag.stores.edge_generations import EdgeGenerations

    return EdgeGenerations(settings.store.path / settings.store.collection)


def optimize(
    store: PassageStore, settings: Settings, announce: Callable[[int], None], stop: Event | None = None
) -> float | None:
    """Makes searches of an index in a folder fast again, where much is new and the settings allow it.

    Args:
        announce: called before it begins, with the number of new passages.
        stop: when set, it is given up.
        store: is closed meanwhile; a later call opens it again.

    Returns:
        Seconds, or None where nothing was done.

    Raises:
        StoreError: it failed, and the index is as before.
        IndexBusyError: another process holds it.
    """
    from rag.stores.edge import EdgeStore
    from rag.stores.edge_generations import EdgeGenerations
    from rag.stores.generations import CurrentStore
    from rag.stores.index_folder import current_folder

    generations = store.generations if isinstance(store, CurrentStore) else None
    if not settings.store.optimize or not isinstance(generations, EdgeGenerations):
        return None
    store.close()
    with closing(EdgeStore(current_folder(generations.folder))) as index:
        return index.optimize(announce, stop)


def server(settings: Settings, *, timeout: float) -> str:
    """What answers at `settings.store.url`, which must be set: version and protocol, as `Qdrant 1.19.1 over gRPC`.

    Args:
        timeout: seconds for a request.

    Raises:
        InputError: the server's address or key cannot be used.
        StoreError: the server cannot be reached, or is too old.
    """
    from rag.stores.server_connection import server_at

    assert settings.store.url is not None, "the store is no server"
    return server_at(settings.store.url, api_key=_store_key(settings), timeout=timeout)


def collections(settings: Settings) -> list[str]:
    """Names of this application's collections in the store, sorted; no index is opened.

    Raises:
        InputError: the server's address or key cannot be used.
        StoreError: the server does not answer, or the folder cannot be read.
    """
    if settings.store.url:
        from rag.stores.server_metadata import collections_on

        return collections_on(settings.store.url, api_key=_store_key(settings), timeout=settings.store.timeout)
    from rag.stores.index_folder import collections_in

    return collections_in(settings.store.path)


def _store_key(settings: Settings) -> str | None:
    key = settings.store.api_key
    return key.get_secret_value() if key else None


def index_info(embedder: Embedder, settings: Settings) -> IndexInfo:
    """What an index made with `embedder` carries."""
    from rag.stores.schema import SCHEMA_VERSION

    return IndexInfo(
        SCHEMA_VERSION, embedder.fingerprint, embedder.model, embedder.dimension, settings.store.tenant_key
    )


def require_fit(store: PassageReader, embedder: Embedder, settings: Settings) -> None:
    """Refuses an index that was not made with `embedder`, this version's schema and the tenant key of the settings.

    Raises:
        IndexMissingError: there is no index yet.
        IndexMismatchError: it does not fit.
    """
    from rag.stores.schema import require_match

    require_match(store.info(), index_info(embedder, settings))


def require_tenant(metadata: Mapping[str, str], index: IndexInfo | None, settings: Settings) -> None:
    """Refuses documents that would be nobody's in an index that separates tenants.

    Args:
        metadata: what is given to all of them.
        index: what they are for; None where it is still to be made, as the settings say.

    Raises:
        InputError: the metadata name no tenant.
    """
    from rag.stores.tenants import require_given

    require_given(metadata, index.tenant_key if index else settings.store.tenant_key)


def chat_model(settings: Settings, embedder: Embedder) -> ChatModel:
    """The configured language model, or the one that quotes the passages when none is configured.

    Args:
        embedder: finds the sentences to quote.
    """
    if not settings.llm.model:
        from rag.chat_models.extractive import ExtractiveChatModel

        return ExtractiveChatModel(embedder, templates=settings.answer.templates)
    return language_model(settings, structured=settings.llm.structured)


def language_policy(settings: Settings) -> LanguagePolicy:
    """Which language answers are in.

    Raises:
        InputError: a tag is not one.
    """
    from rag.language_policy import LanguagePolicy

    given = settings.answer
    if given.policy == "bilingual" and not settings.llm.model:
        return LanguagePolicy(fallback=settings.language)  # quotes cannot be said once more
    return LanguagePolicy(given.policy, pinned=given.language, second=given.language, fallback=settings.language)


def budget(settings: Settings) -> Budget | None:
    """The room that the language model has; None where nobody has told.

    Raises:
        InputError: the longest answer leaves no room for a question.
    """
    from rag.budget import Budget

    llm = settings.llm
    if llm.context_tokens is None:
        return None
    if llm.max_tokens >= llm.context_tokens:
        raise InputError(
            f"RAG_LLM__CONTEXT_TOKENS is {llm.context_tokens} and RAG_LLM__MAX_TOKENS {llm.max_tokens}: the longest "
            "answer leaves no room for the question; set it lower"
        )
    return Budget(llm.context_tokens, llm.max_tokens)


def quote_translator(settings: Settings) -> QuoteTranslator | None:
    """What translates the quotes of answers; None without a language model, or where it is turned off."""
    if not settings.llm.model or not settings.answer.translate_quotes:
        return None
    from rag.quote_translation import QuoteTranslator

    return QuoteTranslator(language_model(settings), settings.llm.model)


def language_model(
    settings: Settings,
    *,
    max_tokens: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    structured: bool = False,
) -> ChatModel:
    """The configured language model, `settings.llm.model`, which must be set.

    Args:
        max_tokens, timeout, retries: instead of the settings' values.
        structured: whether answers are asked for as JSON; never of other requests.
    """
    from rag.chat_models.openai_chat import OpenAIChatModel

    llm = settings.llm
    assert llm.model is not None, "no language model is configured"
    base_url, key = llm.endpoint()
    return OpenAIChatModel(
        llm.model,
        base_url=base_url,
        api_key=key.get_secret_value() if key else None,
        temperature=llm.temperature,
        max_tokens=llm.max_tokens if max_tokens is None else max_tokens,
        timeout=llm.timeout if timeout is None else timeout,
        retries=llm.retries if retries is None else retries,
        deadline=llm.deadline,
        prompt_price=llm.prompt_price,
        completion_price=llm.completion_price,
        structured=structured,
    )
