"""Documents in the asker's language pour into an index: is the foreign one that has the answer still found?

    RAG_DATA=… python -m benchmarks.flooding [--json]
    RAG_DATA=… python -m benchmarks.flooding --pair en-de --paragraphs 10 --most 10      # a small one

Of XQuAD's articles one paragraph each, 40 in all, is held in one foreign language alone, and all questions that these
answer are asked. Then passages in the asker's language that do not hold the answers are added to the same index, up to
100 times as many as the foreign ones: first the other paragraphs of the same and of other articles, two sentences at a
time, which are the hardest rivals; then the pages of OpenTelemetry's documentation as `ingest` cuts them; then, where
pages are too few, sentences of the parallel texts, four at a time. After each step the questions go through the search
of `rag search` (index in a folder, candidates, ranking, translations folded), ten results each; only romanised
spellings are not looked for, since none is asked in. Recall@10 is the share of questions whose paragraph is there;
questions of one paragraph are resampled together for the intervals. Before anything is added all rankings are those
within one language.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curves import Curve, curves
from benchmarks.stored import add
from ingest import chunking
from ingest.readers import read
from rag import Settings, build, build_retrieval
from rag.commands.shared import load_settings
from rag.embedding_model import EmbeddingModel
from rag.errors import ReadError
from rag.evaluation import specs
from rag.evaluation.measure import Values, of_rankings
from rag.language import detect, primary
from rag.locations import uri_of
from rag.ports import Embedder, PassageStore
from rag.retrieval import Retriever
from rag.segmentation import sentences
from rag.stores.edge import EdgeStore

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "flooding.json"
PICTURE = RESULT.with_suffix(".svg")
PAIRS = ("en-de", "es-zh")
STEPS = (0, 1, 2, 5, 10, 20, 50, 100)
"""Passages in the asker's language for each foreign one."""
METHODS = {"normalized": "normalized (default)", "weighted": "weighted sum", "rrf": "reciprocal ranks"}
MOST_LOST = 0.05
"""What the default may lose of the recall that it starts with."""
_RESULTS = 10
_SENTENCES_OF_A_RIVAL, _SENTENCES_OF_BITEXT = 2, 4


@dataclass(frozen=True, slots=True)
class Task:
    """What is held in the foreign language, and what is asked.

    Attributes:
        held: text of each paragraph.
        questions: in the asker's language.
        answers: of each question, position in `held`.
        rivals: the other paragraphs, in the asker's language.
    """

    held: Sequence[str]
    questions: Sequence[str]
    answers: Sequence[int]
    rivals: Sequence[str]


def task(data: Path, asked: str, held: str, paragraphs: int) -> Task:
    """The first paragraph of each of the first articles, and its questions."""
    corpus = [json.loads(line) for line in (data / "xquad" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    queries = [json.loads(line) for line in (data / "xquad" / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    first: dict[int, str] = {}
    for each in sorted(corpus, key=lambda each: each["par"]):
        first.setdefault(each["article"], each["par"])
    kept = {par: at for at, (_, par) in enumerate(sorted(first.items())[:paragraphs])}
    texts = {each["par"]: each["text"] for each in corpus if each["lang"] == held}
    put = [each for each in queries if each["lang"] == asked and each["gold_par"] in kept]
    return Task(
        held=[texts[par] for par in kept],
        questions=[each["text"] for each in put],
        answers=[kept[each["gold_par"]] for each in put],
        rivals=[each["text"] for each in corpus if each["lang"] == asked and each["par"] not in kept],
    )


def filler(data: Path, rivals: Sequence[str], language: str, embedder: Embedder, budget: int) -> Iterator[str]:
    """Passages in `language`, the nearest to the questions first; each text once."""
    seen: set[str] = set()
    for text in _passages(data, rivals, language, embedder, budget):
        if text not in seen:
            seen.add(text)
            yield text


def _passages(data: Path, rivals: Sequence[str], language: str, embedder: Embedder, budget: int) -> Iterator[str]:
    for text in rivals:
        spans = sentences(text, language)
        for start in range(0, len(spans), _SENTENCES_OF_A_RIVAL):
            some = spans[start : start + _SENTENCES_OF_A_RIVAL]
            yield text[some[0][0] : some[-1][1]]
    for path in sorted((data / "docs" / "otel" / language).rglob("*.md")):
        try:
            documents = read(uri_of(path), path.read_bytes())
        except ReadError as error:
            print(f"{path}: {error}", file=sys.stderr)
            continue
        for document in documents:
            for chunk in chunking.chunk(
                document, version="", ingested_at=0, budget=budget, count_tokens=embedder.count_tokens, detect=detect
            ):
                if primary(chunk.language) == language:
                    yield chunking.embedding_input(chunk, budget)
    bitext = data / "parallel" / ("en-de.tsv.gz" if language == "en" else f"en-{language}.tsv.gz")
    with gzip.open(bitext, "rt", encoding="utf-8") as lines:
        column = 0 if language == "en" else 1
        own = (line.split("\t")[column] for line in lines)
        while group := list(islice(own, _SENTENCES_OF_BITEXT)):
            yield " ".join(group)


def flood(data: Path, asked: str, held: str, paragraphs: int, steps: Sequence[int], model: str) -> dict[str, Any]:
    """One pair of languages, all rankings over the same index at each step."""
    settings = load_settings(model=model)
    found = build.checkpoint(settings)
    embedder = build.embedder(settings, found)
    given = task(data, asked, held, paragraphs)
    passages = filler(data, given.rivals, asked, embedder, settings.ingest.chunk_tokens)
    recall: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder) / "index")
        try:
            store.prepare(build.index_info(embedder, settings))
            retrievers = {method: _retriever(method, model, embedder, store, found) for method in METHODS}
            gold = [
                chunk.id
                for chunk in add(
                    store,
                    f"file:///library/{held}.txt",
                    given.held,
                    [held] * len(given.held),
                    embedder.embed_passages(given.held),
                )
            ]
            added = 0
            for step in steps:
                texts = list(islice(passages, step * len(gold) - added))
                if texts:
                    uri = f"file:///library/{asked}-{step}.txt"
                    add(store, uri, texts, [asked] * len(texts), embedder.embed_passages(texts))
                added += len(texts)
                assert added == step * len(gold), "there are as many passages as are wanted"
                for method, retriever in retrievers.items():
                    recall[method].append(_recall(retriever, given, gold))
                print(
                    f"{asked}-{held}: {added} beside {len(gold)}, "
                    + ", ".join(f"{method} {values[-1]['mean']:.3f}" for method, values in recall.items()),
                    file=sys.stderr,
                )
        finally:
            store.close()
    return {
        "asked in": asked,
        "held in": held,
        "foreign passages": len(gold),
        "questions": len(given.questions),
        "own passages for each foreign one": list(steps),
        "rankings": {
            method: specs.name(build_retrieval.ranking(_settings(method, model), found)) for method in METHODS
        },
        "recall@10": recall,
        "most lost": {
            method: round(values[0]["mean"] - min(each["mean"] for each in values), 4)
            for method, values in recall.items()
        },
    }


def _retriever(method: str, model: str, embedder: Embedder, store: PassageStore, found: EmbeddingModel) -> Retriever:
    settings = _settings(method, model)
    return build_retrieval.retriever(settings, embedder, store, build_retrieval.ranking(settings, found), found)


def _settings(method: str, model: str) -> Settings:
    more: dict[str, Any] = {"mode": "hybrid", "fusion": method, "romanised": False}
    if method != "normalized":
        # Plain, with the weights that find most in foreign languages (benchmarks.ranking).
        more |= {"dense_weight": 1.0, "sparse_weight": 0.3, "coverage": 0.0, "centring": 0.0}
    return load_settings(model=model, more={"retrieval": more})


def _recall(retriever: Retriever, given: Task, gold: Sequence[str]) -> dict[str, float]:
    """Recall@10 with its interval. A paragraph that is folded into another one's result is there, too."""
    ranked = []
    for question, answer in zip(given.questions, given.answers, strict=True):
        results = retriever.retrieve(question, k=_RESULTS)
        found = [{result.chunk.id, *(copy.id for copy in result.copies)} for result in results]
        ranked.append([0 if gold[answer] in ids else place for place, ids in enumerate(found, start=1)])
    values = of_rankings(ranked, [{0: 1}] * len(ranked))
    interval = Values(np.arange(len(ranked)), values, np.array(given.answers)).intervals()["R@10"]
    return {name: round(getattr(interval, name), 4) for name in ("mean", "low", "high")}


def picture(results: Sequence[Mapping[str, Any]]) -> str:
    """All pairs side by side, as SVG."""
    panels = {}
    for result in results:
        title = f"asked in {result['asked in']}, {result['foreign passages']} passages in {result['held in']}"
        panels[title] = [
            Curve(name, [each["mean"] for each in result["recall@10"][method]]) for method, name in METHODS.items()
        ]
    steps = results[0]["own passages for each foreign one"]
    return curves(panels, steps, across="passages in the asker's language for each foreign one", up="recall@10")


def _text(result: Mapping[str, Any]) -> str:
    lines = [
        f"asked in {result['asked in']}, held in {result['held in']}: {result['questions']} questions, "
        f"{result['foreign passages']} foreign passages; recall@10",
        f"{'own for each foreign one':28}"
        + "".join(f"{step:>8}" for step in result["own passages for each foreign one"])
        + f"{'most lost':>12}",
    ]
    for method, values in result["recall@10"].items():
        means = "".join(f"{each['mean']:>8.3f}" for each in values)
        lines.append(f"{METHODS[method]:28}{means}{result['most lost'][method]:>12.3f}")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket-m3", help="embedding model (default: %(default)s)")
    parser.add_argument("--pair", action="append", metavar="A-H", help=f"asked in A, held in H (default: {PAIRS})")
    parser.add_argument("--paragraphs", type=int, default=40, metavar="N", help="foreign ones (default: %(default)s)")
    parser.add_argument("--most", type=int, default=STEPS[-1], metavar="N", help="times as many (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help=f"print JSON; whole runs write {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    if not os.environ.get("RAG_DATA"):
        parser.error("RAG_DATA is not set: give the folder that holds xquad, docs and parallel")
    if not 1 <= given.paragraphs <= 48 or given.most < 0:
        parser.error(f"--paragraphs {given.paragraphs} --most {given.most}: give 1 to 48, and 0 or more")
    languages = ("ar", "de", "en", "es", "ru", "zh")
    pairs = [tuple(pair.split("-")) for pair in given.pair or PAIRS]
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(languages):
            parser.error(f"--pair {'-'.join(pair)}: give two different ones of {', '.join(languages)}, as en-de")
    data, steps = Path(os.environ["RAG_DATA"]), [step for step in STEPS if step <= given.most]
    results = [flood(data, asked, held, given.paragraphs, steps, given.model) for asked, held in pairs]
    text = json.dumps(
        {
            "model": given.model,
            "machine": platform.machine(),
            "pairs": results,
            "as wanted": all(result["most lost"]["normalized"] <= MOST_LOST for result in results),
        },
        indent=1,
        ensure_ascii=False,
    )
    if not given.pair and given.paragraphs == 40 and given.most == STEPS[-1]:
        RESULT.write_text(text + "\n", encoding="utf-8")
        PICTURE.write_text(picture(results), encoding="utf-8")
    print(text if given.json else "\n\n".join(map(_text, results)))


if __name__ == "__main__":
    main()
