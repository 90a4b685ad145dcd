"""From files to an index that can be searched, side by side with the frameworks that people use for it.

    python -m benchmarks.ingest_peers
    RAG_DATA=… python -m benchmarks.ingest_peers --checkpoint full --documents 12

Ours reads a folder of Markdown, cuts it, and writes dense and lexical vectors into Qdrant Edge, each document whole or
not at all and on disk when it is told so. LangChain, LlamaIndex and Haystack get the passages that ours has cut, the
very texts that it embeds, and write the dense vectors of the same model (through sentence-transformers) into Qdrant's
client on a folder, its local mode, which is the nearest that their integrations offer to an engine in the process: so
they are spared reading, cutting and the lexical vectors. Each is in a process of its own with the model loaded, and all
take turns, round after round.

Told are documents a second, and whose time it was: the model's, the engine's, and the framework's own. With ours the
model's time has two parts: embedding, and counting tokens, which is how long a passage may be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.bars import Bar, bars
from benchmarks.checkpoints import NAMES, checkpoint, memory_mib
from benchmarks.made_library import write_library
from benchmarks.processes import PEERS, Done, Program, WorkError, make_room
from ingest import chunking, readers
from ingest.discovery import discover
from rag import build
from rag.checkpoint import Checkpoint
from rag.commands.shared import load_settings
from rag.language import detect

_VARIANTS: Mapping[str, tuple[str, ...]] = {
    "ours": ("ours", "auto"),
    "ours float32": ("ours", "float32"),
    "LangChain": ("langchain",),
    "LlamaIndex": ("llamaindex",),
    "Haystack": ("haystack",),
}
"""Name → kind of `frameworks`, and for ours the precision; the peers compute in float32."""
_PARTS = ("model", "counting", "engine")
_DOCUMENTS = {"full": 4, "medium": 12, "pocket-m3": 48}


def cut(library: Path, model: str) -> list[dict[str, Any]]:
    """Documents with their passages, as ingestion would embed them."""
    settings = load_settings(model=model)
    embedder = build.embedder(settings)
    budget = min(settings.ingest.chunk_tokens, embedder.window)
    found = []
    for file in discover([library], ()):
        for document in readers.read(file.uri, file.path.read_bytes()):
            chunks = chunking.chunk(
                document,
                version="1",
                ingested_at=time.time(),
                budget=budget,
                count_tokens=embedder.count_tokens,
                detect=detect,
            )
            passages = [chunking.embedding_input(chunk, budget) for chunk in chunks]
            found.append({"source": document.uri, "passages": passages})
    return found


def rounds(
    found: Checkpoint, library: Path, documents: Sequence[Mapping[str, Any]], count: int
) -> Iterator[dict[str, Any]]:
    """Everyone ingests the library `count` times, in turns; all that is known, after each round."""
    programs = [
        Program(name, "benchmarks.frameworks", [kind, str(found.folder), *more], _python(kind))
        for name, (kind, *more) in _VARIANTS.items()
    ]
    done: dict[str, list[Done]] = {program.name: [] for program in programs}
    failed: dict[str, str] = {}
    passages = sum(len(document["passages"]) for document in documents)
    with tempfile.TemporaryDirectory() as folder:
        file, small = Path(folder) / "passages.json", Path(folder) / "first.json"
        file.write_text(json.dumps(documents), encoding="utf-8")
        small.write_text(json.dumps(documents[:1]), encoding="utf-8")
        first = write_library(Path(folder) / "first", 1, seed=4)
        try:
            for number in range(count):
                for place, program in enumerate(programs):
                    if program.name in failed:
                        continue
                    try:
                        if not program.running:
                            others = programs[place + 1 :] + programs[:place]
                            make_room(others, program.peak_mib * 1.2 or memory_mib(found))
                            program.do("ingest", library=str(first), passages=str(small))
                        run = program.do("ingest", library=str(library), passages=str(file))
                        if run.answer["passages"] != passages:
                            raise WorkError(f"wrote {run.answer['passages']} of {passages} passages")
                        done[program.name].append(run)
                        record.progress(f"round {number + 1}, {program.name}: {run.answer['seconds']:.1f} s")
                    except WorkError as error:
                        failed[program.name] = str(error)
                        record.progress(f"{program.name}: {error}")
                told = {name: _told(runs, done["ours"]) for name, runs in done.items() if runs}
                yield {"passages": passages, "frameworks": told, "failed": dict(failed)}
        finally:
            for program in programs:
                program.close()


def _python(kind: str) -> Path:
    return Path(sys.executable) if kind == "ours" else PEERS


def _told(runs: Sequence[Done], beside: Sequence[Done]) -> dict[str, Any]:
    speeds = [run.answer["documents"] / run.answer["seconds"] for run in runs]
    others = [run.answer["documents"] / run.answer["seconds"] for run in beside]
    shares = [[run.answer[part] / run.answer["seconds"] for part in _PARTS] for run in runs]
    means = [statistics.median(each) for each in zip(*shares, strict=True)]
    return {
        "documents_per_second": record.spread(speeds),
        "ours_times_faster": record.spread([b / a for a, b in zip(speeds, others, strict=False)]),
        "shares": {
            **{part: round(share, 3) for part, share in zip(_PARTS, means, strict=True)},
            "own": round(statistics.median(1 - sum(each) for each in shares), 3),
        },
        "peak_mib": round(max(run.peak_mib for run in runs)),
    }


def table(result: Mapping[str, Any]) -> str:
    """The result for people."""
    rows = [["", "documents/s", "ours is × faster", *_PARTS, "own", "peak MiB", "runs"]]
    for name, told in result["frameworks"].items():
        speed, slower = told["documents_per_second"], told["ours_times_faster"]
        rows.append(
            [
                name,
                f"{speed['median']:.2f} ({speed['least']:.2f} to {speed['most']:.2f})",
                f"{slower['median']:.1f} ({slower['least']:.1f} to {slower['most']:.1f})",
                *(f"{told['shares'][part]:.1%}" for part in (*_PARTS, "own")),
                f"{told['peak_mib']:,}",
                str(speed["runs"]),
            ]
        )
    head = f"{result['checkpoint']}: {result['documents']} documents, {result['passages']} passages"
    return "\n".join([head, record.aligned(rows), *(f"{name}: {why}" for name, why in result["failed"].items())])


def picture(result: Mapping[str, Any]) -> str:
    """Documents a second."""
    some = [
        Bar(name, speed["median"], speed["least"], speed["most"], own=name.startswith("ours"))
        for name, speed in ((name, told["documents_per_second"]) for name, told in result["frameworks"].items())
    ]
    return bars({"Ingestion, documents a second": some}, title=f"Ingestion, {result['checkpoint']}")


def main() -> None:
    """Prints the table; writes it with the JSON and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", choices=NAMES, default="pocket-m3", help="(default: %(default)s)")
    parser.add_argument("--documents", type=int, metavar="N", help=f"(default: {_DOCUMENTS})")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two rounds over six documents")
    given = parser.parse_args()
    documents = given.documents or (6 if given.quick else _DOCUMENTS[given.checkpoint])
    if documents < 1 or given.runs < 1:
        parser.error("--documents and --runs: give 1 or more")
    found = checkpoint(given.checkpoint)
    result: dict[str, Any] = {"checkpoint": given.checkpoint, **record.machine(), "peers": record.peer_versions(PEERS)}
    name = f"ingest_peers_{given.checkpoint.replace('-', '_')}"
    with tempfile.TemporaryDirectory() as folder:
        library = write_library(Path(folder) / "library", documents)
        cut_ones = cut(library, str(found.folder))
        for told in rounds(found, library, cut_ones, 2 if given.quick else given.runs):
            result |= {"documents": documents, **told}
            record.save(name, result, table(result), {name: picture(result)}, quick=given.quick)
    print(table(result))


if __name__ == "__main__":
    main()
