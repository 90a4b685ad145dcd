"""What a search costs that takes out the levels of languages, against the plain weighted sum, over the same index.

    python -m benchmarks.search_speed [--json]
    python -m benchmarks.search_speed --passages 10000 --languages 6 --searches 20      # one cell of the table

The index is a folder (Qdrant Edge, no server). Its passages are made up, as many in each language: 1,200 characters,
dense vectors with a direction that all passages of a language share beside topics that all languages share, and sparse
ones of about 200 tokens, most of them frequent ones (Zipf), some shared between languages: pocket-m3 gives a paragraph
of 725 characters 138 and a question 18. All ways of searching answer the same questions in turn, one after the other in
changing order, so that whatever else the machine does hits all of them. The question is embedded by the real model, and
its vectors are then put in place of those: `search` is without that time, `whole` with it, and `cpu` is what a search
takes of the processor without it, which other work on the machine lengthens least. Milliseconds, in one thread where
OMP_NUM_THREADS is 1. A ratio is that of two medians, to the plain sum with the same folding of translations. Then the
index is optimized, as `ingest` does after 20,000 new passages, and asked the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.shares import TimedEmbedder, measured
from benchmarks.stored import add
from rag import Settings, build, build_retrieval
from rag.commands.shared import load_settings
from rag.diversity import Collapse
from rag.fusion import Ranking
from rag.ports import Embedder, PassageStore
from rag.retrieval import Retriever, Stages
from rag.stores.edge import EdgeStore
from rag.stores.optimizing import optimize_elsewhere
from rag.types import Embedding, FusionMethod, SparseVector

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "search_speed.json"
SIZES, LANGUAGES, SEARCHES = (10_000, 100_000), (6, 30), 40
WAYS: Mapping[str, tuple[FusionMethod, Collapse]] = {
    "plain": ("weighted", "off"),
    "normalized": ("normalized", "off"),
    "plain, collapsed": ("weighted", "translations"),
    "normalized, collapsed": ("normalized", "translations"),
}
BESIDE = {"normalized": "plain", "normalized, collapsed": "plain, collapsed"}
"""Way → what it is measured against."""
_TAGS = (
    "en", "de", "es", "ru", "zh", "ar", "fr", "it", "pt", "pl", "nl", "sv", "da", "fi", "cs",
    "hu", "ro", "bg", "el", "tr", "uk", "he", "fa", "hi", "bn", "ta", "th", "vi", "id", "ko",
)  # fmt: skip
PASSAGES_OF_A_DOCUMENT = 1000
_CHARACTERS, _TOKENS, _QUESTION_TOKENS, _RESULTS = 1200, 200, 18, 10
_TOPICS, _OWN_WORDS, _SHARED_WORDS = 500, 7000, 2000
_WARM_UP = 3
_COMMON = f"best {_RESULTS} in common"


class Passages:
    """Made-up passages and questions; the same for the same numbers."""

    def __init__(self, languages: int, dimension: int) -> None:
        self.languages = _TAGS[:languages]
        self._random = np.random.default_rng(languages)
        self._directions = _unit(self._random.normal(size=(languages, dimension)))
        self._topics = _unit(self._random.normal(size=(_TOPICS, dimension)))
        ranks = np.arange(1, _OWN_WORDS + 1)
        self._frequency = np.cumsum(1 / ranks) / (1 / ranks).sum()

    def document(self, number: int) -> tuple[list[str], list[str], list[Embedding]]:
        """Texts, languages and vectors of some passages, the languages in turn."""
        which = np.arange(PASSAGES_OF_A_DOCUMENT) % len(self.languages)
        topics = self._random.integers(_TOPICS, size=PASSAGES_OF_A_DOCUMENT)
        texts = [
            "".join(f"Passage {number}.{at} on {topic}, word {at * 31 % 977}. " for _ in range(40))[:_CHARACTERS]
            for at, topic in enumerate(topics)
        ]
        dense = self._dense(which, topics)
        embeddings = [
            Embedding(row, self._sparse(int(each), _TOKENS)) for row, each in zip(dense, which.tolist(), strict=True)
        ]
        return texts, [self.languages[each] for each in which], embeddings

    def question(self) -> Embedding:
        """In the first language, on one of the topics."""
        dense = self._dense(np.zeros(1, np.intp), self._random.integers(_TOPICS, size=1))
        return Embedding(dense[0], self._sparse(0, _QUESTION_TOKENS))

    def _dense(self, languages: NDArray[np.intp], topics: NDArray[np.intp]) -> NDArray[np.float32]:
        noise = _unit(self._random.normal(size=(len(languages), self._directions.shape[1])))
        return _unit(0.5 * self._directions[languages] + 0.6 * self._topics[topics] + 0.6 * noise).astype(np.float32)

    def _sparse(self, language: int, tokens: int) -> SparseVector:
        # A fifth of the words drawn are of all languages: names, numbers, punctuation.
        ranks = np.searchsorted(self._frequency, self._random.random(round(1.6 * tokens)))
        shared = self._random.random(len(ranks)) < 0.2
        own = _SHARED_WORDS + language * _OWN_WORDS + ranks
        ids = np.unique(np.where(shared, ranks % _SHARED_WORDS, own)).astype(np.uint32)
        weights = (0.02 + 0.26 * self._random.random(len(ids))).astype(np.float32)
        return SparseVector(ids, weights)


def measure(passages: int, languages: int, searches: int, model: str) -> dict[str, Any]:
    """One index, searched in all ways."""
    settings = load_settings(model=model, more={"embedder": {"query_cache": 0}})
    found = build.checkpoint(settings)
    plain = build.embedder(settings, found)
    made = Passages(languages, plain.dimension)
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder) / "index")
        try:
            store.prepare(build.index_info(plain, settings))
            began = perf_counter()
            for number in range(passages // PASSAGES_OF_A_DOCUMENT):
                add(store, f"file:///made/up/{number}.txt", *made.document(number))
            built = perf_counter() - began
            questions = {
                f"How often is machine {number} cleaned, and who checks that it was?": made.question()
                for number in range(searches + _WARM_UP)
            }
            embedder = TimedEmbedder(plain, questions)
            ranking = build_retrieval.ranking(settings, found)
            retrievers = dict(_retrievers(embedder, store, ranking, settings))
            times = _timed(retrievers, questions)
            counts = _candidates(store, list(questions.values())[:5], ranking, settings)
            optimized = _optimized(store, Path(folder) / "index", embedder, ranking, settings, questions)
        finally:
            store.close()
    return {
        "passages": passages,
        "languages": languages,
        "seconds to build": round(built, 1),
        "searches": searches,
        "candidates": counts,
        "milliseconds": {way: _percentiles(each) for way, each in times.items()},
        "optimized": optimized,
        "ratio to plain": {
            normalized: {
                what: round(float(np.median(times[normalized][what]) / np.median(times[beside][what])), 2)
                for what in ("search", "whole", "cpu")
            }
            for normalized, beside in BESIDE.items()
        },
    }


def _optimized(
    store: EdgeStore,
    folder: Path,
    embedder: Embedder,
    ranking: Ranking,
    settings: Settings,
    questions: Mapping[str, Embedding],
) -> dict[str, Any]:
    """The same searches once the index is optimized, and how many of the best they have in common with before."""

    def best() -> dict[str, list[set[str]]]:
        retrievers = dict(_retrievers(embedder, store, ranking, settings))
        return {
            way: [{each.chunk.id for each in retrievers[way].retrieve(question, k=_RESULTS)} for question in questions]
            for way in ("plain", "normalized")
        }

    before = best()
    store.close()
    seconds = optimize_elsewhere(folder)
    after = best()
    times = _timed(dict(_retrievers(embedder, store, ranking, settings)), questions)
    return {
        "seconds to optimize": round(seconds or 0.0, 1),
        _COMMON: {
            way: round(float(np.mean([len(then & now) / len(then) for then, now in zip(*pair, strict=True)])), 4)
            for way, pair in {way: (before[way], after[way]) for way in before}.items()
        },
        "milliseconds": {way: _percentiles(each) for way, each in times.items()},
    }


def _retrievers(
    embedder: Embedder, store: PassageStore, ranking: Ranking, settings: Settings
) -> Iterator[tuple[str, Retriever]]:
    for way, (method, collapse) in WAYS.items():
        centring = ranking.centring if method == "normalized" else 0.0
        yield (
            way,
            Retriever(
                embedder,
                store,
                replace(ranking, mode="hybrid", method=method, centring=centring),
                depth=build_retrieval.DEPTH,
                language_depth=settings.retrieval.language_depth,
                stages=Stages(collapse=collapse, collapse_similarity=settings.retrieval.collapse_similarity),
            ),
        )


def _timed(
    retrievers: Mapping[str, Retriever], questions: Mapping[str, Embedding]
) -> dict[str, dict[str, list[float]]]:
    """Way → milliseconds of each search, without and with the embedding of the question."""
    times: dict[str, dict[str, list[float]]] = {way: {"search": [], "whole": [], "cpu": []} for way in retrievers}
    for number, question in enumerate(questions):
        ways = list(retrievers)
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            spent = measured(partial(search, retrievers[way], question))
            if number >= _WARM_UP:
                times[way]["whole"].append(1000 * spent.wall)
                times[way]["search"].append(1000 * (spent.wall - spent.parts["model"]))
                times[way]["cpu"].append(1000 * (spent.processor - spent.parts_processor["model"]))
    return times


def search(retriever: Retriever, question: str) -> None:
    """Asks; an index that does not answer is none to measure with."""
    found = retriever.search(question, k=_RESULTS).passages
    assert len(found) == _RESULTS, "an index of this size has ten passages for every question"


def _candidates(
    store: PassageStore, questions: list[Embedding], ranking: Ranking, settings: Settings
) -> dict[str, float]:
    """How many passages come back from the index for a question, mean."""
    depth, of_each = build_retrieval.DEPTH, max(settings.retrieval.language_depth, ranking.level_k + 1)
    return {
        "plain": float(np.mean([len(store.candidates(each, depth)) for each in questions])),
        "normalized": float(
            np.mean([len(store.candidates(each, depth, language_depth=of_each)) for each in questions])
        ),
    }


def _percentiles(times: Mapping[str, list[float]]) -> dict[str, float]:
    return {
        f"{what} p{percent}": round(float(np.percentile(values, percent)), 1)
        for what, values in times.items()
        for percent in (50, 95)
    }


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _text(cell: Mapping[str, Any]) -> str:
    head = f"{cell['passages']:,} passages in {cell['languages']} languages, candidates {cell['candidates']}"
    lines = [head, f"{'':24}" + "".join(f"{name:>12}" for name in cell["milliseconds"]["plain"])]
    for way, times in cell["milliseconds"].items():
        lines.append(f"{way:24}" + "".join(f"{value:>12.1f}" for value in times.values()))
    lines.append(
        f"optimized in {cell['optimized']['seconds to optimize']:.1f} s, {cell['optimized'][_COMMON]} as before"
    )
    for way, times in cell["optimized"]["milliseconds"].items():
        lines.append(f"{way:24}" + "".join(f"{value:>12.1f}" for value in times.values()))
    for way, ratios in cell["ratio to plain"].items():
        told = ", ".join(f"{what} {ratio:.2f}" for what, ratio in ratios.items())
        lines.append(f"{way}, times what {BESIDE[way]} takes: {told}")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket-m3", help="embeds the questions (default: %(default)s)")
    parser.add_argument("--passages", type=int, action="append", metavar="N", help=f"thousands (default: {SIZES})")
    parser.add_argument("--languages", type=int, action="append", metavar="N", help=f"(default: {LANGUAGES})")
    parser.add_argument(
        "--searches", type=int, default=SEARCHES, metavar="N", help="of each way (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help=f"print JSON; whole runs write {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    if given.searches < 1:
        parser.error(f"--searches {given.searches} measures nothing: give 1 or more")
    for passages in given.passages or ():
        if passages < 1 or passages % PASSAGES_OF_A_DOCUMENT:
            parser.error(f"--passages {passages}: give a multiple of {PASSAGES_OF_A_DOCUMENT}")
    for languages in given.languages or ():
        if not 1 <= languages <= len(_TAGS):
            parser.error(f"--languages {languages}: give 1 to {len(_TAGS)}")
    result: dict[str, Any] = {
        **record.machine(),
        "model": given.model,
        "index": [],
    }
    for passages in given.passages or SIZES:
        for languages in given.languages or LANGUAGES:
            cell = measure(passages, languages, given.searches, given.model)
            result["index"].append(cell)
            print(_text(cell), file=sys.stderr if given.json else sys.stdout, flush=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if not given.passages and not given.languages:
        RESULT.write_text(text + "\n", encoding="utf-8")
    if given.json:
        print(text)


if __name__ == "__main__":
    main()
