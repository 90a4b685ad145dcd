"""kill -9 at any moment of an ingestion, then the same command again: is the index as if nothing had happened?

Each round changes some documents of a small library (changes, additions, renamings, removals), ingests it in a process
that is killed (at a random time, or before or after one of the steps between stage and commit), ingests it again to the
end, and compares every point with those of an index that was made in one piece: ids, payloads but for the time of
ingestion, vectors. All rounds work on one index, so what a kill leaves behind meets all that follow.

    python -m benchmarks.kills --kills 200
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ingest import ingest
from rag import Settings
from rag.stores.edge_shard import EdgeShard
from rag.stores.index_folder import IndexFolder

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "kills.json"
STEPS: Sequence[tuple[type, str]] = (
    (EdgeShard, "upsert"),
    (EdgeShard, "set_state"),
    (EdgeShard, "delete"),
    (EdgeShard, "flush"),
    (EdgeShard, "close"),
    (IndexFolder, "begin_commit"),
    (IndexFolder, "end_commit"),
)
LEAST_COSINE = 0.9999
_DOCUMENTS, _PARAGRAPHS = 12, 6
_WORDS = ("valve", "pump", "belt", "motor", "filter", "gauge", "switch", "cable", "roller", "sensor", "check", "clean")


@dataclass(frozen=True, slots=True)
class Point:
    """A point of an index, whatever its state."""

    payload: dict[str, Any]
    dense: np.ndarray[Any, np.dtype[np.float32]]
    sparse: tuple[tuple[int, float], ...]


def points(index: Path) -> dict[str, Point]:
    """All points of the index in a folder, by id."""
    shard = EdgeShard.load(index / "shard")
    try:
        found = {}
        for point in shard.scroll({}, with_embedding=True):
            assert point.embedding is not None
            weights = zip(point.embedding.sparse.ids.tolist(), point.embedding.sparse.weights.tolist(), strict=True)
            payload = {name: value for name, value in point.payload.items() if name != "ingested_at"}
            found[point.id] = Point(payload, point.embedding.dense, tuple(weights))
        return found
    finally:
        shard.close()


def differences(found: dict[str, Point], wanted: dict[str, Point]) -> list[str]:
    """What is wrong with `found`, a line each."""
    lines = [f"point {id} is missing" for id in wanted.keys() - found.keys()]
    lines += [f"point {id} is left over: {found[id].payload}" for id in found.keys() - wanted.keys()]
    for id in found.keys() & wanted.keys():
        here, there = found[id], wanted[id]
        lines += [
            f"point {id}: {name} is {here.payload.get(name)!r} instead of {there.payload.get(name)!r}"
            for name in here.payload.keys() | there.payload.keys()
            if here.payload.get(name) != there.payload.get(name)
        ]
        if float(here.dense @ there.dense) < LEAST_COSINE:
            lines.append(f"point {id}: the vectors differ")
        if {id for id, _ in here.sparse} != {id for id, _ in there.sparse}:
            lines.append(f"point {id}: the sparse vectors differ")
    return lines


def change(library: Path, draw: random.Random) -> None:
    """Some documents of the library are changed, added, renamed or removed; the first call makes it."""
    library.mkdir(exist_ok=True)
    files = sorted(library.iterdir())
    while len(files) < _DOCUMENTS:
        path = library / f"{draw.randrange(10**9)}.md"
        path.write_text("\n\n".join(_paragraph(draw) for _ in range(draw.randint(1, _PARAGRAPHS))))
        files.append(path)
    for path in draw.sample(files, 3):
        text = path.read_text().split("\n\n")
        text[draw.randrange(len(text))] = _paragraph(draw)
        path.write_text("\n\n".join(text))
    renamed, removed, copied = draw.sample(files, 3)
    shutil.copy(copied, library / f"{draw.randrange(10**9)}.md")
    renamed.rename(library / f"{draw.randrange(10**9)}.md")
    removed.unlink()


def _paragraph(draw: random.Random) -> str:
    return "# " + draw.choice(_WORDS) + "\n" + " ".join(draw.choice(_WORDS) for _ in range(60)) + "."


def in_a_process(work: Callable[[], None], killed_after: float | None = None) -> tuple[int, float]:
    """Runs `work` in a process of its own, with this one's modules but not its model; killed after so many seconds.

    Returns:
        Its exit status, negative where a signal ended it, and how many seconds it took.
    """
    started = time.monotonic()
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on as its parent does
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - started


def die_at(where: type, step: str, occurrence: int, after: bool) -> None:
    """From now on this process kills itself at that occurrence of the step."""
    real = getattr(where, step)
    left = occurrence

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if not left and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(where, step, deadly)


def run(kills: int, seed: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """The rounds; see the module."""
    draw = random.Random(seed)
    injected = [(where, step, after) for where, step in STEPS for after in (False, True)]
    result: dict[str, Any] = {"kills": 0, "random": 0, "injected": {}, "differences": []}
    with tempfile.TemporaryDirectory() as folder:
        library, store, fresh = (Path(folder) / name for name in ("library", "store", "fresh"))

        def ingested(into: Path) -> None:
            report = ingest(library, settings=_settings(into), prune=True)
            assert not report.failed, report.failures

        change(library, draw)
        status, seconds = in_a_process(lambda: ingested(store))
        assert status == 0, "the first ingestion failed"
        for number in range(kills):
            change(library, draw)
            if number % 2 == 0:
                where, step, after = injected[number // 2 % len(injected)]
                occurrence = draw.randint(1, 3)

                def dying(where: type = where, step: str = step, after: bool = after, at: int = occurrence) -> None:
                    die_at(where, step, at, after)
                    ingested(store)

                status, _ = in_a_process(dying)
                name = f"{'after' if after else 'before'} {step}"
            else:
                status, _ = in_a_process(lambda: ingested(store), killed_after=draw.uniform(0, seconds))
                name = "random"
            if status == -signal.SIGKILL:
                result["kills"] += 1
                if name == "random":
                    result["random"] += 1
                else:
                    result["injected"][name] = result["injected"].get(name, 0) + 1
            for attempt in (store, fresh):
                status, seconds = in_a_process(lambda into=attempt: ingested(into))  # type: ignore[misc]
                assert status == 0, f"after a kill {name} the same command fails"
            found = differences(points(store / "default"), points(fresh / "default"))
            result["differences"] += [f"round {number}, {name}: {line}" for line in found]
            shutil.rmtree(fresh)
            say(f"{number + 1} of {kills}: {name}, {len(found)} differences")
    return result


def _settings(store: Path) -> Settings:
    return Settings(store={"path": store}, embedder={"model": "pocket-m3"}, ingest={"chunk_tokens": 128})  # type: ignore[arg-type]


def main() -> None:
    """Prints and keeps the result; exit code 1 where an index differs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true", help="only print the result, as JSON")
    given = options.parse_args()
    import torch  # once, for all processes; no model may be used here, or they would hang

    assert torch.__version__
    result = run(given.kills, given.seed, (lambda line: None) if given.json else print)
    text = json.dumps({"seed": given.seed, **result}, indent=1)
    print(text)
    if not given.json:
        RESULT.write_text(text + "\n")
    sys.exit(1 if result["differences"] else 0)


if __name__ == "__main__":
    main()
