"""What a benchmark leaves behind: its figures with the machine and the versions that they were measured with.

Whole runs write benchmarks/results/NAME.json, NAME.txt (the table) and pictures; quick ones, which only show that a
benchmark runs, write the same below build/bench.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT

_RESULTS = ROOT / "benchmarks" / "results"
_QUICK = ROOT / "build" / "bench" / "quick"
_LIBRARIES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "FlagEmbedding",
    "openvino",
    "tokenizers",
    "numpy",
    "qdrant-edge-py",
    "qdrant-client",
)
_PEERS = (
    "langchain-huggingface",
    "langchain-qdrant",
    "llama-index-core",
    "llama-index-embeddings-huggingface",
    "llama-index-vector-stores-qdrant",
    "haystack-ai",
    "qdrant-haystack",
    "sentence-transformers-haystack",
)
_FEATURES = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")


def machine() -> dict[str, Any]:
    """What was measured on."""
    processor, features = _processor()
    return {
        "machine": platform.machine(),
        "processor": processor,
        "features": features,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average": [round(each, 2) for each in os.getloadavg()],
        "versions": {name: version for name in _LIBRARIES if (version := _version(name))},
    }


def peer_versions(python: Path) -> dict[str, str]:
    """Versions in the peers' environment; none where it is not there."""
    if not python.exists():
        return {}
    names = [*_LIBRARIES, *_PEERS, "huggingface_hub"]
    script = (
        "import json, sys\nfrom importlib import metadata\nfound = {}\nfor name in sys.argv[1:]:\n"
        "    try:\n        found[name] = metadata.version(name)\n    except metadata.PackageNotFoundError:\n"
        "        pass\nprint(json.dumps(found))"
    )
    done = subprocess.run([str(python), "-c", script, *names], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def save(
    name: str, result: Mapping[str, Any], table: str, pictures: Mapping[str, str] | None = None, *, quick: bool
) -> Path:
    """Writes what there is so far over what was there; returns the JSON file.

    Args:
        pictures: name of the file without the suffix → SVG.
    """
    folder = _QUICK if quick else _RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(table + "\n", encoding="utf-8")
    for picture, drawn in (pictures or {}).items():
        (folder / f"{picture}.svg").write_text(drawn, encoding="utf-8")
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float | int]:
    """Median, least and most of some runs, to so many significant digits."""
    told = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {**{what: float(f"{value:.{digits}g}") for what, value in told.items()}, "runs": len(values)}


def progress(line: str) -> None:
    """A line on how far it is."""
    print(line, file=sys.stderr, flush=True)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table, the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _processor() -> tuple[str, list[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor(), []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = told.get("flags", "").split()
    return told.get("model name", platform.processor()), [feature for feature in _FEATURES if feature in flags]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
