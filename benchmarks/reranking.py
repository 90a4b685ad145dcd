"""What each stage beside the search gains and costs, on XQuAD in one index of all its languages.

    python -m benchmarks.reranking [--max-questions 40] [--reranker-model DIR] [--json]

RAG_DATA names the data folder. Questions go through the pipeline that answers them, over an index in a folder; a
document that a case leaves out is taken out of what was found. Differences to the search alone are over the same
questions, with their 95 % intervals; seconds are the medians of what a search takes with the stage less that of the
search alone. Stages: ColBERT with the embedding model's third head, at several weights, and any cross-encoder given.

A cross-encoder that is worth its time on XQuAD takes a machine with the hub's models. So that the stage is measured
anywhere, the tests' tiny one is trained, in seconds, on sentences of a toy world in English and German, and reranks
what is found for those that it has not seen.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.stored import add
from rag import build, build_retrieval
from rag.commands.shared import load_settings
from rag.evaluation import beir
from rag.evaluation.datasets import Dataset, DatasetDocument, DatasetQuestion
from rag.evaluation.indexed import IndexRanker
from rag.evaluation.measure import Values, of_rankings
from rag.evaluation.pools import cases
from rag.evaluation.results import Measure
from rag.evaluation.windows import within_window
from rag.retrieval import Retriever
from rag.stores.edge import EdgeStore
from rag.types import Passage, Where
from tests import tiny_corpus, tiny_cross_encoder

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "reranking.json"

_FOUND = 100  # passages a search gives
_MEASURE: Measure = "nDCG@10"

Stage = Mapping[str, object]
"""Settings of the group `retrieval`."""
PLAIN: Stage = {"romanised": False, "collapse": "off", "reranker": "off"}


def stages(model: str | None) -> dict[str, Stage]:
    """Name → settings; the first is the search alone."""
    found: dict[str, Stage] = {"search alone": PLAIN}
    for depth, weight in ((30, 0.25), (30, 0.5), (30, 1.0)):
        chosen = {**PLAIN, "reranker": "colbert", "rerank_depth": depth, "rerank_weight": weight}
        found[f"colbert, {depth} passages, weight {weight:g}"] = chosen
    return found | (_cross_encoder(model) if model else {})


def _cross_encoder(model: str, weight: float = 0.5) -> dict[str, Stage]:
    chosen = {**PLAIN, "reranker": "cross-encoder", "reranker_model": model, "rerank_weight": weight}
    return {f"cross-encoder {Path(model).name}, 30 passages, weight {weight:g}": chosen}


def toy() -> Dataset:
    """The sentences that the tiny cross-encoder has not seen: each asks for itself and its translation."""
    subjects = [
        (language, "-".join(map(str, fact)), tiny_corpus.PATTERNS[language], fact)
        for language in tiny_cross_encoder.LANGUAGES
        for fact in tiny_cross_encoder.facts()[1]
    ]
    texts = [
        (language, name, sentence.format(*(words[place] for words, place in zip(parts, fact, strict=True))))
        for language, name, (sentence, *parts), fact in subjects
    ]
    documents = tuple(DatasetDocument(f"{language}/{name}", language, text, name) for language, name, text in texts)
    questions = tuple(
        DatasetQuestion(f"{language}/{name}", language, text, name, {f"{language}/{name}": 1})
        for language, name, text in texts
    )
    return Dataset("toy", documents, questions)


def measure(dataset: Dataset, model: str, wanted: Mapping[str, Stage]) -> dict[str, Any]:
    """All stages over one index; see the module."""
    settings = load_settings(model=model)
    found = build.checkpoint(settings)
    embedder = build.embedder(settings, found)
    texts, remarks = within_window(dataset, embedder)
    result: dict[str, Any] = {"documents": len(texts), "questions": len(dataset.questions), "remarks": list(remarks)}
    result["stages"] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder) / "index")
        try:
            store.prepare(build.index_info(embedder, settings))
            for document, text, embedding in zip(dataset.documents, texts, embedder.embed_passages(texts), strict=True):
                add(store, document.id, [text], [document.language], [embedding])
            alone: dict[str, Values] = {}
            seconds_alone = 0.0
            for name, stage in wanted.items():
                with_stage = load_settings(model=model, more={"retrieval": stage})
                ranking = build_retrieval.ranking(with_stage, found)
                retriever = build_retrieval.retriever(with_stage, embedder, store, ranking, found)
                values, seconds = _values(dataset, retriever)
                alone, seconds_alone = (alone, seconds_alone) if alone else (values, seconds)
                result["stages"][name] = {
                    "seconds": round(seconds - seconds_alone, 4) if values is not alone else round(seconds, 4),
                    "cases": {case: _told(each, alone[case]) for case, each in values.items()},
                }
        finally:
            store.close()
    return result


def _values(dataset: Dataset, retriever: Retriever) -> tuple[dict[str, Values], float]:
    """Each case's values, and the median seconds of a search."""
    took: list[float] = []

    def retrieve(question: str, where: Where) -> Sequence[Passage]:
        began = perf_counter()
        found = retriever.search(question, k=_FOUND, where=where)
        took.append(perf_counter() - began)
        assert not any("left out" in remark for remark in found.remarks), found.remarks
        return found.passages

    retriever.warm_up()
    ranker = IndexRanker(dataset, retrieve)
    values = {}
    for case, pool in cases(dataset):
        groups = np.unique([dataset.questions[at].group for at in pool.questions], return_inverse=True)[1]
        values[str(case)] = Values(
            np.array(pool.questions), of_rankings(list(ranker.ranked(pool)), pool.relevant), groups
        )
    return values, median(took)


def _told(values: Values, alone: Values) -> dict[str, Any]:
    """The mean, and the difference to the search alone."""
    gained = Values(values.questions, values.values - alone.values, values.groups).intervals()[_MEASURE]
    told = {"mean": values.intervals()[_MEASURE].mean, "gain": gained.mean, "low": gained.low, "high": gained.high}
    return {name: round(value, 4) for name, value in told.items()}


def main() -> None:
    """Prints the table, or JSON; writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket-m3", help="embedding model (default: %(default)s)")
    parser.add_argument(
        "--max-questions", type=int, default=40, metavar="N", help="each in all languages (%(default)s)"
    )
    parser.add_argument("--reranker-model", metavar="M", help="a cross-encoder to measure, too: hub id or folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if given.max_questions < 1:
        parser.error(f"--max-questions {given.max_questions} leaves nothing to ask: give 1 or more")
    if not os.environ.get("RAG_DATA"):
        parser.error("RAG_DATA is not set: give the folder that holds xquad")
    dataset = beir.read(Path(os.environ["RAG_DATA"]) / "xquad").sampled(given.max_questions)
    result = {"model": given.model, "machine": platform.machine()}
    result |= measure(dataset, given.model, stages(given.reranker_model))
    with tempfile.TemporaryDirectory() as folder:
        tiny = tiny_cross_encoder.write_trained_cross_encoder(Path(folder) / "tiny")
        wanted = {"search alone": PLAIN, **_cross_encoder(str(tiny)), **_cross_encoder(str(tiny), 1.0)}
        result["toy"] = measure(toy(), given.model, wanted)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(result, indent=1))
        return
    _show(result)
    _show(result["toy"])


def _show(result: Mapping[str, Any]) -> None:
    print(f"{result['questions']} questions, {result['documents']} documents; {_MEASURE}, gain over the search alone")
    for name, each in result["stages"].items():
        told = "  ".join(
            f"{case} {value['mean']:.3f} ({value['gain']:+.3f} [{value['low']:+.3f}, {value['high']:+.3f}])"
            for case, value in each["cases"].items()
        )
        print(f"{name:38} {each['seconds']:7.3f} s  {told}")


if __name__ == "__main__":
    main()
