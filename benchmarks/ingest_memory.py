"""Time and memory of an ingestion by how much text there is: both must not grow beyond it.

Made texts of several languages, in files of which the largest holds a tenth of all, are ingested into a new index by a
process of its own. The resident memory of that process and of those it starts is looked at twenty times a second; what
the model alone takes, embedding some of the same text, is taken off it. A model that costs nothing may stand in for the
real one, for what is looked at is everything else.

    python -m benchmarks.ingest_memory                  # 20 MB and 200 MB
    python -m benchmarks.ingest_memory --megabytes 2 20
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import ROOT
from benchmarks.record import aligned, machine, progress, save
from rag import Settings, build
from rag.ports import Embedder
from rag.types import Embedding, SparseVector

MOST_BESIDE_MODEL_MIB = 400.0
MOST_GROWTH = 0.1
_FILE_BYTES = 200_000
_LARGEST = 0.1
_LOOKS = 20  # a second
_TERMS = 60


class Instant:
    """The embedder given, but for vectors that cost nothing: made of a text's digest."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        for name in ("model", "fingerprint", "dimension", "window", "count_tokens"):
            setattr(self, name, getattr(embedder, name))

    def embed_passages(self, texts: Sequence[str]) -> list[Embedding]:
        """A unit vector and some weights for each."""
        return [self._made(text) for text in texts]

    def _made(self, text: str) -> Embedding:
        draw = np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))
        dense = draw.standard_normal(self._embedder.dimension).astype(np.float32)
        ids = np.unique(draw.integers(5, 50_000, _TERMS)).astype(np.uint32)
        return Embedding(dense / np.linalg.norm(dense), SparseVector(ids, np.ones(len(ids), dtype=np.float32)))


def make_library(folder: Path, megabytes: float, seed: int = 0) -> None:
    """Files of so many megabytes of text together: sentences of the demo's library, put together anew."""
    draw = random.Random(seed)
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "demo" / "library").rglob("*.md"))]
    sentences = [line for text in sources for line in text.splitlines() if len(line) > 40]
    wanted = int(megabytes * 1e6)
    sizes = [int(wanted * _LARGEST)]
    while sum(sizes) < wanted:
        sizes.append(min(_FILE_BYTES, wanted - sum(sizes)))
    for number, size in enumerate(sizes):
        written = 0
        with (folder / f"{number:05}.{'txt' if number % 2 else 'md'}").open("w", encoding="utf-8") as file:
            while written < size:
                paragraph = f"{number}.{written}: " + " ".join(draw.choices(sentences, k=draw.randint(1, 6))) + "\n\n"
                file.write(paragraph)
                written += len(paragraph.encode())


def work(folder: str, store: str, model: str, *, instant: bool) -> None:
    """What a process of its own does: with a folder ingests it, without only embeds; says when the model is loaded."""
    from ingest import ingest

    settings = Settings(store={"path": store}, embedder={"model": model})  # type: ignore[arg-type]
    embedder = build.embedder(settings)
    embedder.embed_passages(["The weights are loaded, and the best step is measured."] * 200)
    if folder:
        if instant:
            build.embedder = lambda *given: Instant(embedder)  # type: ignore[assignment]
        began = time.perf_counter()
        report = ingest(folder, settings=settings)
        assert not report.failed, report.failures
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "chunks": report.chunks, "documents": report.added}))
    else:
        embedder.embed_passages([" ".join(["The conveyor belt is cleaned every Monday."] * 30)] * 64)
        print(json.dumps({"seconds": 0.0}))


def watched(folder: Path | None, model: str, *, instant: bool) -> dict[str, Any]:
    """What `work` tells, and the largest resident memory of its process and all below, in MiB."""
    with tempfile.TemporaryDirectory() as store:
        given = json.dumps([str(folder or ""), store, model])
        code = f"from benchmarks.ingest_memory import work; work(*{given}, instant={instant})"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        peak, over = 0.0, threading.Event()

        def look() -> None:
            nonlocal peak
            while not over.wait(1 / _LOOKS):
                peak = max(peak, sum(map(_anonymous_mib, _tree(process.pid))))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            out, _ = process.communicate()
        finally:
            over.set()
            watcher.join()
        assert process.returncode == 0, f"the ingestion ended with {process.returncode}"
        return {**json.loads(out.splitlines()[-1]), "peak_mib": round(peak, 1)}


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def _anonymous_mib(pid: int) -> float:
    """Resident memory that is no page of a file: the engine maps its segments, and the system takes those back."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), 0.0)


def main() -> None:
    """Prints and keeps the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="pocket-m3")
    options.add_argument("--megabytes", type=float, nargs=2, default=(20.0, 200.0))
    options.add_argument("--instant", action="store_true", help="vectors that cost nothing instead of the model's")
    options.add_argument("--quick", action="store_true", help="0.5 and 2 MB, with such vectors")
    given = options.parse_args()
    sizes, instant = ((0.5, 2.0), True) if given.quick else (given.megabytes, given.instant)
    alone = watched(None, given.model, instant=False)["peak_mib"]
    runs = []
    for megabytes in sizes:
        with tempfile.TemporaryDirectory() as folder:
            make_library(Path(folder), megabytes)
            made = watched(Path(folder), given.model, instant=instant)
        made["megabytes"] = megabytes
        made["seconds_per_megabyte"] = round(made["seconds"] / megabytes, 3)
        made["beside_the_model_mib"] = round(made["peak_mib"] - alone, 1)
        runs.append(made)
        progress(str(made))
    result = {**machine(), "model": given.model, "instant_vectors": instant, "model_alone_mib": alone, "runs": runs}
    names = ("documents", "chunks", "seconds", "seconds_per_megabyte", "peak_mib", "beside_the_model_mib")
    rows = [["MB", *(name.replace("_", " ") for name in names)]]
    rows += [[f"{made['megabytes']:g}", *(f"{made[name]:.5g}" for name in names)] for made in runs]
    table = aligned(rows)
    print(table)
    save("ingest_memory", result, table, quick=given.quick)


if __name__ == "__main__":
    main()
