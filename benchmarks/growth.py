"""How time and memory grow with the documents: at 1, 10 and 100 times of a corpus.

    python -m benchmarks.growth
    python -m benchmarks.growth --quick

Each size is ingested into a new index in a process of its own, and then asked in another one, so that each has its own
peak memory; the model is loaded before. All is done several times, the sizes in turns. Told is the power of the number
of passages with which each grows, fitted to the medians on scales of logarithms: 1 is in proportion, 0 not at all. What
every process needs for itself, the model above all, makes memory grow slower than in proportion.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.checkpoints import NAMES, checkpoint
from benchmarks.growth_lines import Growth, growth_lines
from benchmarks.made_library import write_library
from benchmarks.processes import Program, serve

SIZES = (1, 10, 100)
_DOCUMENTS = {"full": 1, "medium": 2, "pocket-m3": 5}
_QUESTIONS, _WARM_UP, _RESULTS = 30, 3, 8
_KINDS: Mapping[str, tuple[str, str]] = {
    "ingest_seconds": ("Ingestion", "s"),
    "ingest_mib": ("Peak memory of ingestion", "MiB"),
    "index_mib": ("Index on disk", "MiB"),
    "open_milliseconds": ("First question of a process", "ms"),
    "question_milliseconds": ("Question, p50", "ms"),
    "question_mib": ("Peak memory of questions", "MiB"),
}
"""What is measured → title, unit."""


def worker(model: str) -> dict[str, Any]:
    """The pieces of work of a size."""
    from ingest import ingest
    from rag import build, open_rag
    from rag.commands.shared import load_settings

    embedder = build.embedder(load_settings(model=model))
    embedder.embed_query("loads the weights")

    def fill(library: str, store: str) -> dict[str, int]:
        settings = load_settings(model=model, store=store)
        assert build.embedder(settings) is embedder, "the weights would be loaded once more"
        report = ingest(library, settings=settings)
        assert not report.failed, report.failures
        return {"documents": report.added, "passages": report.chunks, "tokens": report.tokens}

    def ask(store: str) -> dict[str, float]:
        times = []
        with open_rag(load_settings(model=model, store=store)) as rag:
            for at in range(1 + _WARM_UP + _QUESTIONS):
                began = perf_counter()
                rag.retrieve(f"Where is number {at} kept?", k=_RESULTS)
                times.append(perf_counter() - began)
        return {"first": times[0], "question": statistics.median(times[1 + _WARM_UP :])}

    return {"fill": fill, "ask": ask}


def measure(model: str, documents: int, runs: int, sizes: Sequence[int] = SIZES) -> Iterator[dict[str, Any]]:
    """All sizes of a corpus of so many documents; all that is known, after each run over all of them."""
    found: dict[int, dict[str, list[float]]] = {size: {kind: [] for kind in _KINDS} for size in sizes}
    counts: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        libraries = {size: write_library(Path(folder) / f"library{size}", size * documents) for size in sizes}
        for number in range(runs):
            for size in sizes:
                counts[size] = _run(model, libraries[size], Path(folder) / "store", found[size])
                record.progress(f"run {number + 1} of {runs}, {size} times: {_last(found[size])}")
            passages = [counts[size]["passages"] for size in sizes]
            yield {
                "documents": documents,
                "runs": number + 1,
                "sizes": {
                    str(size): {**counts[size], **{kind: record.spread(values) for kind, values in found[size].items()}}
                    for size in sizes
                },
                "powers": {kind: fit(passages, [found[size][kind] for size in sizes]) for kind in _KINDS},
            }


def _run(model: str, library: Path, store: Path, found: dict[str, list[float]]) -> Any:
    shutil.rmtree(store, ignore_errors=True)
    writer, asker = (Program(f"growth {what}", "benchmarks.growth", ["worker", model]) for what in ("ingest", "ask"))
    try:
        filled = writer.do("fill", library=str(library), store=str(store))
    finally:
        writer.close()
    try:
        asked = asker.do("ask", store=str(store))
    finally:
        asker.close()
    found["ingest_seconds"].append(filled.seconds)
    found["ingest_mib"].append(filled.peak_mib)
    found["index_mib"].append(_disk_mib(store))
    found["open_milliseconds"].append(1000 * asked.answer["first"])
    found["question_milliseconds"].append(1000 * asked.answer["question"])
    found["question_mib"].append(asked.peak_mib)
    return filled.answer


def _disk_mib(folder: Path) -> float:
    """What its files occupy; the engine's are larger than that by their names."""
    return sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file()) * 512 / (1 << 20)


def _last(found: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{kind} {values[-1]:.4g}" for kind, values in found.items())


def fit(sizes: Sequence[float], runs: Sequence[Sequence[float]]) -> dict[str, float]:
    """The power law through the medians, by least squares on logarithms.

    Returns:
        `power`, and `at_one`: the law's value at a size of 1.
    """
    power, at_one = np.polyfit(np.log(sizes), np.log([statistics.median(each) for each in runs]), 1)
    return {"power": round(float(power), 3), "at_one": float(f"{np.exp(at_one):.4g}")}


def table(result: Mapping[str, Any]) -> str:
    """The result for people."""
    sizes = result["sizes"]
    head = ["", *(f"{size} ×: {told['passages']:,} passages" for size, told in sizes.items()), "power"]
    rows = [
        [
            f"{title}, {unit}",
            *(_span(told[kind]) for told in sizes.values()),
            f"{result['powers'][kind]['power']:.2f}",
        ]
        for kind, (title, unit) in _KINDS.items()
    ]
    lines = f"{result['checkpoint']}: {result['documents']} documents and more, medians of {result['runs']} runs"
    return f"{lines}\n{record.aligned([head, *rows])}"


def _span(of: Mapping[str, float]) -> str:
    return f"{of['median']:,.4g} ({of['least']:,.4g} to {of['most']:,.4g})"


def picture(result: Mapping[str, Any]) -> str:
    """Every kind over the passages, with the law through it."""
    passages = [told["passages"] for told in result["sizes"].values()]
    some = [
        Growth(
            f"{title}, {unit}",
            [told[kind]["median"] for told in result["sizes"].values()],
            result["powers"][kind]["power"],
            result["powers"][kind]["at_one"],
        )
        for kind, (title, unit) in _KINDS.items()
    ]
    return growth_lines(some, passages, across="passages")


def main() -> None:
    """Prints the table; writes it with the JSON and the picture."""
    if sys.argv[1:2] == ["worker"]:
        serve(lambda: worker(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", choices=NAMES, default="pocket-m3", help="(default: %(default)s)")
    parser.add_argument("--documents", type=int, metavar="N", help=f"of the corpus at 1 × (default: {_DOCUMENTS})")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two runs over 1, 2 and 4 times of two documents")
    given = parser.parse_args()
    documents = given.documents or (2 if given.quick else _DOCUMENTS[given.checkpoint])
    if documents < 1 or given.runs < 1:
        parser.error("--documents and --runs: give 1 or more")
    model = str(checkpoint(given.checkpoint).folder)
    result: dict[str, Any] = {"checkpoint": given.checkpoint, **record.machine()}
    name = f"growth_{given.checkpoint.replace('-', '_')}"
    for told in measure(model, documents, 2 if given.quick else given.runs, (1, 2, 4) if given.quick else SIZES):
        result |= told
        record.save(name, result, table(result), {name: picture(result)}, quick=given.quick)
    print(table(result))


if __name__ == "__main__":
    main()
