"""The calls a service makes: `ask`, `aask`, `open_rag`."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Sequence

from rag_config.settings import Settings

from rag import build, build_retrieval
from rag.pipeline import CrossLingualRAG
from rag.types import ANYWHERE, Answer, Message, Mode, Where

_lock = threading.Lock()
_opened: tuple[Settings, CrossLingualRAG] | None = None


def open_rag(settings: Settings | None = None) -> CrossLingualRAG:
    """Opens an index for questions; use it in a `with`, or call its `close`.

    Args:
        settings: by default from environment, .env and rag.toml.

    Raises:
        NotConfiguredError: there is no index, it was made with another model, or the model cannot be had.
        UnavailableError: the store cannot be opened.
    """
    settings = settings or Settings()
    store = build.store(settings)
    found = build.checkpoint(settings, store.info())
    embedder = build.embedder(settings, found)
    build.require_fit(store, embedder, settings)
    return CrossLingualRAG(
        build_retrieval.retriever(settings, embedder, store, build_retrieval.ranking(settings, found), found),
        store,
        build.chat_model(settings, embedder),
        policy=build.language_policy(settings),
        # Without a language model an answer comes out the same however often it is asked for.
        attempts=2 if settings.llm.model else 1,
        budget=build.budget(settings),
        answer_tokens=settings.llm.max_tokens,
        templates=settings.answer.templates,
        translator=build.quote_translator(settings),
        seconds=settings.llm.deadline if settings.llm.model else None,
    )


def ask(
    question: str,
    *,
    language: str | None = None,
    k: int = 8,
    where: Where = ANYWHERE,
    history: Sequence[Message] = (),
    mode: Mode | None = None,
    settings: Settings | None = None,
) -> Answer:
    """Answers `question` from the index in the question's language, or in `language`.

    The index and the model stay loaded for the next call with equal settings.

    Args:
        language: BCP-47 tag to answer in.
        k: passages the answer may draw on.
        where: filter on passages.
        history: earlier turns, oldest first.
        mode: which scores rank the passages; by default the settings' choice.
        settings: by default from environment, .env and rag.toml.

    Raises:
        InputError: the question is empty, or `language` is not a tag.
        NotConfiguredError: there is no index, it was made with another model, or the model cannot be had.
        UnavailableError: the store or the language model does not answer.
    """
    rag = _shared(settings or Settings())
    return rag.ask(question, language=language, k=k, where=where, history=history, mode=mode)


async def aask(
    question: str,
    *,
    language: str | None = None,
    k: int = 8,
    where: Where = ANYWHERE,
    history: Sequence[Message] = (),
    mode: Mode | None = None,
    settings: Settings | None = None,
) -> Answer:
    """`ask` for asynchronous code: runs in a thread; cancelling the task ends the request to the language model."""
    stop = threading.Event()

    def run() -> Answer:
        rag = _shared(settings or Settings())
        return rag.ask(question, language=language, k=k, where=where, history=history, mode=mode, stop=stop)

    try:
        return await asyncio.to_thread(run)
    finally:
        stop.set()


def _shared(settings: Settings) -> CrossLingualRAG:
    """The pipeline of the last settings asked with, opened anew when they differ."""
    global _opened
    with _lock:
        if _opened is None or _opened[0] != settings:
            fresh = open_rag(settings)
            _close_shared()
            _opened = (settings, fresh)
        return _opened[1]


def _close_shared() -> None:
    global _opened
    if _opened:
        _opened[1].close()
        _opened = None


atexit.register(_close_shared)
