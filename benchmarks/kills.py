"""kill -9 at any moment of an ingestion, then the same command again: is the index as if nothing had happened?

Each round changes some documents of a small library (changes, additions, renamings, removals), ingests it in a process
that is killed (at a random time, or before or after one of the steps between stage and commit), ingests it again to the
end, and compares every point with those of an index that was made in one piece: ids, payloads but for the time of
ingestion, vectors. All rounds work on one index, so what a kill leaves behind meets all that follow. On the embedded
store, on the client's local mode, and on the server at QDRANT_TEST_URL where that is set.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.kill_stores import KINDS, SERVER_VARIABLE, Kind, differences, every_store_is, settings_of
from ingest import ingest
from rag import build

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "kills.json"
LEAST_COSINE = 0.9999
_DOCUMENTS, _PARAGRAPHS = 12, 4
_ROOM_BYTES = 2**30
_MOST_REQUESTS = 24  # writes of one ingestion, about
_WORDS = ("valve", "pump", "belt", "motor", "filter", "gauge", "switch", "cable", "roller", "sensor", "check", "clean")


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
    return "# " + draw.choice(_WORDS) + "\n" + " ".join(draw.choice(_WORDS) for _ in range(16)) + "."


def in_a_process(work: Callable[[], None], killed_after: float | None = None) -> tuple[int, float]:
    """Runs `work` in a process of its own, with this one's modules and model; killed after so many seconds.

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


def load_for_forks() -> object:
    """Loads the model for all processes that are forked from this one; keep what is returned.

    One thread: a pool of several does not live on in a fork, which would wait for it forever.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import torch

    from rag.language import detect

    torch.set_num_threads(1)
    embedder = build.embedder(settings_of(Path("nowhere")))
    embedder.embed_passages(["A valve."])
    detect("A valve.")
    return embedder


def run(kind: Kind, kills: int, seed: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Rounds on one kind of store until so many ingestions were killed; in some the step never comes."""
    draw = random.Random(seed)
    injected = [(where, step, after) for where, step in kind.steps for after in (False, True)]
    result: dict[str, Any] = {"seed": seed, "kills": 0, "random": 0, "injected": {}, "differences": []}
    with tempfile.TemporaryDirectory(prefix="kills", dir=folder_in_memory()) as folder:
        library, store, fresh = (Path(folder) / name for name in ("library", "store", "fresh"))

        def ingested(into: Path) -> None:
            with every_store_is(kind):
                report = ingest(library, settings=settings_of(into), prune=True)
            assert not report.failed, report.failures

        def dying(at: tuple[type, str], occurrence: int, after: bool) -> None:
            die_at(*at, occurrence, after)
            ingested(store)

        change(library, draw)
        status, seconds = in_a_process(lambda: ingested(store))
        assert status == 0, "the first ingestion failed"
        number = -1  # of the round
        while result["kills"] < kills:
            number += 1
            change(library, draw)
            if number % 2 == 0:
                where, step, after = injected[number // 2 % len(injected)]
                at, occurrence = (where, step), draw.randint(1, 3)
                name = f"{'after' if after else 'before'} {step}"
            else:
                at, occurrence, after = kind.requests or ("", ""), draw.randint(1, _MOST_REQUESTS), draw.random() < 0.5  # type: ignore[assignment]
                name = "random"
            if name == "random" and kind.requests is None:
                status, _ = in_a_process(lambda: ingested(store), killed_after=draw.uniform(0, seconds))
            else:
                status, _ = in_a_process(lambda a=at, o=occurrence, f=after: dying(a, o, f))  # type: ignore[misc]
            if status == -signal.SIGKILL:
                result["kills"] += 1
                if name == "random":
                    result["random"] += 1
                else:
                    result["injected"][name] = result["injected"].get(name, 0) + 1
            for attempt in (store, fresh):
                status, took = in_a_process(lambda into=attempt: ingested(into))  # type: ignore[misc]
                assert status == 0, f"after a kill {name} the same command fails"
                seconds = took if attempt == store else seconds
            found = differences(kind.points(store), kind.points(fresh), LEAST_COSINE)
            result["differences"] += [f"round {number}, {name}: {line}" for line in found]
            kind.remove(fresh)
            shutil.rmtree(fresh, ignore_errors=True)
            say(f"{result['kills']} of {kills}: {name}, {len(found)} differences")
        kind.remove(store)
    return result


def folder_in_memory() -> str | None:
    """A folder in memory, if there is room: a process that is killed leaves there what it leaves on a disk, sooner."""
    folder = Path("/dev/shm")
    roomy = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= _ROOM_BYTES
    return str(folder) if roomy else None


def main() -> None:
    """Prints and keeps the results; exit code 1 where an index differs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=200, help="on each store")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--store", choices=list(KINDS), action="append", help="by default all that are here")
    options.add_argument("--json", action="store_true", help="only print the result, as JSON")
    given = options.parse_args()
    stores = given.store or [name for name in KINDS if name != "server" or os.environ.get(SERVER_VARIABLE)]
    embedder = load_for_forks()
    say = (lambda line: None) if given.json else print
    results = {name: run(KINDS[name], given.kills, given.seed, say) for name in stores}
    del embedder
    print(json.dumps(results, indent=1))
    if not given.json:  # a store that was left out keeps its result
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        RESULT.write_text(json.dumps(kept | results, indent=1) + "\n")
    sys.exit(1 if any(result["differences"] for result in results.values()) else 0)


if __name__ == "__main__":
    main()
