"""One framework that fills an index, in a process of its own: `python -m benchmarks.frameworks KIND MODEL [DTYPE]`.

The others are used as their documentation shows: sentence-transformers as the model, Qdrant's client on a folder as the
store, and passages that have been cut already. Ours reads and cuts the files itself. This file is also run by the
peers' environment, so whatever it needs is imported by the kind that needs it.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import serve

Ingest = Callable[[str, str], Mapping[str, Any]]
"""Folder of files, and file of the passages cut from them → what was written, and seconds of model and engine."""


def ours(model: str, dtype: str) -> Ingest:
    """`ingest`, with a clock around the model and the engine."""
    from benchmarks.shares import TimedEmbedder, engine_timed, measured
    from ingest.discovery import discover
    from ingest.pipeline import Ingestion
    from rag import build
    from rag.commands.shared import load_settings

    embedder = build.embedder(load_settings(model=model, more={"embedder": {"dtype": dtype}}))
    embedder.embed_query("loads the weights")

    def ingest(library: str, passages: str) -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory() as folder, engine_timed():
            settings = load_settings(model=model, store=folder)
            store = build.store(settings)
            made: dict[str, int] = {}

            def run() -> None:
                store.prepare(build.index_info(embedder, settings))
                report = Ingestion(
                    store,
                    TimedEmbedder(embedder),
                    chunk_tokens=min(settings.ingest.chunk_tokens, embedder.window),
                    metadata={},
                    known={},
                ).run(list(discover([Path(library)], ())))
                assert not report.failed, report.failures
                made.update(documents=report.added, passages=report.chunks)

            try:
                spent = measured(run)
            finally:
                store.close()
        return {**made, "seconds": spent.wall, **spent.parts}

    return ingest


def langchain(model: str) -> Ingest:
    """LangChain with langchain-qdrant."""
    from langchain_huggingface import HuggingFaceEmbeddings  # type: ignore[import-not-found]  # of the peers
    from langchain_qdrant import QdrantVectorStore  # type: ignore[import-not-found]  # of the peers

    embeddings = HuggingFaceEmbeddings(model_name=model)

    def write(documents: Sequence[Mapping[str, Any]], folder: str) -> Callable[[], None]:
        texts = [text for document in documents for text in document["passages"]]
        sources = [{"source": document["source"]} for document in documents for _ in document["passages"]]
        store = QdrantVectorStore.from_texts(
            texts, embeddings, metadatas=sources, path=folder, collection_name="documents"
        )
        close: Callable[[], None] = store.client.close
        return close

    return _of_passages(write)


def llamaindex(model: str) -> Ingest:
    """LlamaIndex with llama-index-vector-stores-qdrant."""
    from llama_index.core import StorageContext, VectorStoreIndex  # type: ignore[import-not-found]  # of the peers
    from llama_index.core.schema import TextNode  # type: ignore[import-not-found]  # of the peers
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding  # type: ignore[import-not-found]
    from llama_index.vector_stores.qdrant import QdrantVectorStore  # type: ignore[import-not-found]
    from qdrant_client import QdrantClient

    embeddings = HuggingFaceEmbedding(model_name=model)

    def write(documents: Sequence[Mapping[str, Any]], folder: str) -> Callable[[], None]:
        client = QdrantClient(path=folder)
        store = QdrantVectorStore(collection_name="documents", client=client)
        nodes = [
            TextNode(text=text, metadata={"source": document["source"]}, excluded_embed_metadata_keys=["source"])
            for document in documents
            for text in document["passages"]
        ]
        context = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex(nodes, storage_context=context, embed_model=embeddings)
        return client.close

    return _of_passages(write)


def haystack(model: str) -> Ingest:
    """Haystack with qdrant-haystack and sentence-transformers-haystack."""
    from haystack import Document  # type: ignore[import-not-found]  # of the peers
    from haystack_integrations.components.embedders.sentence_transformers import (  # type: ignore[import-not-found]
        SentenceTransformersDocumentEmbedder,
    )
    from haystack_integrations.document_stores.qdrant import QdrantDocumentStore  # type: ignore[import-not-found]

    embedder = SentenceTransformersDocumentEmbedder(model=model, progress_bar=False)
    embedder.warm_up()
    [sample] = embedder.run([Document(content="how long a vector is")])["documents"]

    def write(documents: Sequence[Mapping[str, Any]], folder: str) -> Callable[[], None]:
        store = QdrantDocumentStore(path=folder, index="documents", embedding_dim=len(sample.embedding))
        some = [
            Document(content=text, meta={"source": document["source"]})
            for document in documents
            for text in document["passages"]
        ]
        store.write_documents(embedder.run(some)["documents"])
        close: Callable[[], None] = store.close
        return close

    return _of_passages(write)


def _of_passages(
    write: Callable[[Sequence[Mapping[str, Any]], str], Callable[[], None]],
) -> Ingest:
    """Args:
    write: puts passages into a new index in a folder, and gives what closes it.
    """
    clocks = {"model": 0.0, "engine": 0.0}
    _watch("sentence_transformers", "SentenceTransformer", ["encode", "encode_document"], clocks, "model")
    _watch("qdrant_client", "QdrantClient", ["upsert", "upload_points", "upload_collection"], clocks, "engine")

    def ingest(library: str, passages: str) -> Mapping[str, Any]:
        clocks.update(model=0.0, engine=0.0)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            documents = json.loads(Path(passages).read_text(encoding="utf-8"))
            close = write(documents, folder)
            seconds = time.perf_counter() - began
            close()
            written = _points(folder)
        return {"documents": len(documents), "passages": written, "seconds": seconds, "counting": 0.0, **clocks}

    return ingest


def _points(folder: str) -> int:
    """How many the index holds, opened anew."""
    from qdrant_client import QdrantClient

    client = QdrantClient(path=folder)
    try:
        return client.count("documents").count
    finally:
        client.close()


def _watch(module: str, kind: str, methods: Sequence[str], clocks: dict[str, float], name: str) -> None:
    """Puts a clock around methods of a class; a watched one that another calls counts once."""
    import importlib

    watched = getattr(importlib.import_module(module), kind)
    inside = False

    def clocked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*given: Any, **named: Any) -> Any:
            nonlocal inside
            if inside:
                return method(*given, **named)
            inside = True
            began = time.perf_counter()
            try:
                return method(*given, **named)
            finally:
                clocks[name] += time.perf_counter() - began
                inside = False

        return call

    for method in methods:
        if hasattr(watched, method):
            setattr(watched, method, clocked(getattr(watched, method)))


KINDS: Mapping[str, Callable[..., Ingest]] = {each.__name__: each for each in (ours, langchain, llamaindex, haystack)}


def main(arguments: Sequence[str]) -> None:
    """Loads one kind and works."""
    serve(lambda: {"ingest": KINDS[arguments[0]](*arguments[1:])})


if __name__ == "__main__":
    main(sys.argv[1:])
