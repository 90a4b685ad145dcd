"""How near an ingestion comes to embedding its chunks alone: reading, cutting and writing run beside the model.

Each round embeds the chunks of some pages, already cut, and ingests the same pages into a new index: the same model in
the same process, taking turns. What is told is the ratio of their speeds in chunks per second, and the part of an
ingestion's time in which the thread that embeds was not in the model: waiting for readers or the store, and our code.

    python -m benchmarks.ingest_overlap                 # OpenTelemetry's documentation below RAG_DATA
    python -m benchmarks.ingest_overlap --pages 60      # each round with so many other pages of it
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT
from benchmarks.record import aligned, machine, progress, save, spread
from benchmarks.shares import TimedEmbedder, measured
from ingest.ahead import Ahead, Shape
from ingest.discovery import Found, discover
from ingest.pipeline import Ingestion
from ingest.preparing import Limits
from ingest.reading import reading_processes, token_counter
from rag import Settings, build
from rag.ports import Embedder

LEAST_RATIO = 0.8
MOST_OUTSIDE = 0.05
"""Of an ingestion's time may pass outside of the model where the pages are many: what #8.5 asks for."""


def main() -> None:
    """Prints and keeps the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="pocket-m3")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--pages", type=int, help="pages of a round; by default all in each")
    options.add_argument("--quick", action="store_true", help="two rounds of the demo's library")
    given = options.parse_args()
    folder = ROOT / "demo" / "library"
    if not given.quick:
        if "RAG_DATA" not in os.environ:
            sys.exit("ingest_overlap: RAG_DATA is not set: name the folder that holds docs/otel, or take --quick")
        folder = Path(os.environ["RAG_DATA"]) / "docs" / "otel"
    files = list(discover([folder]))
    rounds = 2 if given.quick else given.rounds
    settings = Settings(embedder={"model": given.model})  # type: ignore[arg-type]
    found = build.checkpoint(settings)
    embedder = build.embedder(settings, found)
    embedder.embed_passages(["The weights are loaded, and the best step is measured."] * 200)
    made = []
    for number in range(rounds):
        some = files[number :: max(rounds, len(files) // given.pages)] if given.pages else files
        made.append(_round(some, settings, embedder, token_counter(found), first=number % 2))
        progress(f"{number + 1} of {rounds}: {made[-1]}")
    result = {
        **machine(),
        "model": given.model,
        "files": len(files),
        "rounds": made,
        "ratio": spread([each["ratio"] for each in made]),
        "outside_the_model": spread([each["outside_the_model"] for each in made]),
    }
    rows = [["", "median", "least", "most"]]
    for name in ("ratio", "outside_the_model"):
        told = result[name]
        rows.append([name.replace("_", " "), *(f"{told[what]:.3f}" for what in ("median", "least", "most"))])
    table = aligned(rows)
    print(table)
    save("ingest_overlap", result, table, quick=given.quick)


def _round(
    files: Sequence[Found], settings: Settings, embedder: Embedder, make_counter: Any, *, first: int
) -> dict[str, float]:
    tokens = min(settings.ingest.chunk_tokens, embedder.window)
    with Ahead(files, {}, Shape(tokens, {}, {}, Limits()), embedder.count_tokens, None, 0) as ahead:
        inputs = [text for taken in ahead for some in taken.slices or () for text in some.inputs]
    seconds: dict[str, float] = {}
    for what in ("alone", "ingest")[:: -1 if first else 1]:
        if what == "alone":
            began = time.perf_counter()
            embedder.embed_passages(inputs)
            seconds["alone"] = time.perf_counter() - began
        else:
            seconds |= _ingested(files, settings, embedder, make_counter, tokens, len(inputs))
    return {
        "chunks": len(inputs),
        **{name: round(value, 4) for name, value in seconds.items()},
        "ratio": round(seconds["alone"] / seconds["ingest"], 4),
    }


def _ingested(
    files: Sequence[Found], settings: Settings, embedder: Embedder, make_counter: Any, tokens: int, chunks: int
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        own = settings.model_copy(update={"store": settings.store.model_copy(update={"path": Path(folder)})})
        store = build.store(own)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

        def run() -> None:
            store.prepare(build.index_info(embedder, own))
            report = Ingestion(
                store,
                TimedEmbedder(embedder),
                chunk_tokens=tokens,
                metadata={},
                known={},
                make_counter=make_counter,
                processes=reading_processes(),
            ).run(files)
            assert not report.failed, report.failures
            assert report.chunks == chunks

        try:
            spent = measured(run)
        finally:
            store.close()
        readers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return {
        "ingest": spent.wall,
        "model": spent.parts["model"],
        "outside_the_model": 1 - spent.parts["model"] / spent.wall,
        "own_processor": spent.own_processor / spent.wall,
        "readers_processor": readers / spent.wall,
    }


if __name__ == "__main__":
    main()
