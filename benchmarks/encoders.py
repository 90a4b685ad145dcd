"""One library with one model, in a process of its own: `python -m benchmarks.encoders KIND FOLDER [BACKEND DTYPE]`.

Each is used as its documentation shows, with its defaults. FlagEmbedding is asked for dense and sparse vectors, which
ours makes always; the others make dense ones only. This file is also run by the peers' environment, which has none of
this project's packages, so whatever it needs is imported by the kind that needs it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import serve

Work = Mapping[str, Callable[..., Any]]


def _work(passages: Callable[[list[str]], object], question: Callable[[str], object]) -> Work:
    def questions(texts: list[str]) -> list[float]:
        """Seconds of each, one after the other."""
        times = []
        for text in texts:
            began = time.perf_counter()
            question(text)
            times.append(time.perf_counter() - began)
        return times

    def encode(texts: list[str]) -> None:
        passages(texts)

    return {"passages": encode, "questions": questions}


def ours(folder: str, backend: str, dtype: str) -> Work:
    """This project's embedder; the vectors are those that ingestion and questions get."""
    from rag.checkpoint import inspect
    from rag.embedders.bge_m3 import BgeM3Embedder

    embedder = BgeM3Embedder(inspect(Path(folder), folder), backend=backend, dtype=dtype)
    embedder.embed_query("loads the weights")
    return _work(embedder.embed_passages, embedder.embed_query)


def flagembedding(folder: str) -> Work:
    """BGE-M3's own library."""
    from FlagEmbedding import BGEM3FlagModel

    model = BGEM3FlagModel(folder)
    return _work(
        # Only the length differs from the default, 512: documents are to be whole.
        lambda texts: model.encode_corpus(texts, return_sparse=True, max_length=8192),
        lambda text: model.encode_queries([text], return_sparse=True),
    )


def sentence_transformers(folder: str) -> Work:
    """SentenceTransformer."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder)
    return _work(model.encode_document, model.encode_query)


def langchain(folder: str) -> Work:
    """LangChain's wrapper of SentenceTransformer."""
    from langchain_huggingface import HuggingFaceEmbeddings  # type: ignore[import-not-found]  # of the peers

    model = HuggingFaceEmbeddings(model_name=folder)
    return _work(model.embed_documents, model.embed_query)


def llamaindex(folder: str) -> Work:
    """LlamaIndex's wrapper of SentenceTransformer."""
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding  # type: ignore[import-not-found]  # of the peers

    model = HuggingFaceEmbedding(model_name=folder)
    return _work(model.get_text_embedding_batch, model.get_query_embedding)


def ceiling(hidden: str, intermediate: str, layers: str, dtype: str) -> Work:
    """What torch's linears reach at the model's shapes: nothing but matrix products, as often as a layer has each."""
    import torch
    from torch.nn.functional import linear

    wide, inner, several = int(hidden), int(intermediate), min(4, int(layers))
    kind = getattr(torch, dtype)
    shapes = [(wide, wide)] * 4 + [(inner, wide), (wide, inner)]
    weights = [[torch.randn(shape).to(kind) for shape in shapes] for _ in range(several)]

    @torch.inference_mode()
    def flops_per_second(seconds: float) -> float:
        """The best of several numbers of rows."""
        best = 0.0
        for rows in (512, 2048, 4096):
            inputs = {width: torch.randn(rows, width).to(kind) for width in (wide, inner)}
            done, began = 0, time.perf_counter()
            while not done or time.perf_counter() - began < seconds / 3:
                for layer in weights:
                    for weight in layer:
                        linear(inputs[weight.shape[1]], weight)
                done += several
            flops = 2.0 * rows * sum(out * into for out, into in shapes)
            best = max(best, flops * done / (time.perf_counter() - began))
        return best

    flops_per_second(0.1)
    return {"ceiling": flops_per_second}


KINDS: Mapping[str, Callable[..., Work]] = {
    each.__name__: each for each in (ours, flagembedding, sentence_transformers, langchain, llamaindex, ceiling)
}


def main(arguments: Sequence[str]) -> None:
    """Loads one kind and works."""
    serve(lambda: KINDS[arguments[0]](*arguments[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
