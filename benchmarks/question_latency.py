"""From a question to its passages: how long it takes, how many can ask at once, and whose time it is.

    python -m benchmarks.question_latency
    python -m benchmarks.question_latency --passages 1000 --askers 1 --askers 4 --quick

Over an index in a folder (Qdrant Edge) of made-up passages, see `search_speed`: their vectors stand in for those that
the model makes of the questions, after it has made them. Settings are the defaults. Askers are threads that each ask
one question after the other, no question twice. The numbers of askers take turns, round after round. `beyond` is what
a question takes without the embedding; our code's time is told on the wall and as its thread's share of a processor,
because on the wall it holds whatever the thread waits for: the others' turns at the index, and at the interpreter.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.bars import Bar, bars
from benchmarks.checkpoints import NAMES, checkpoint
from benchmarks.search_speed import PASSAGES_OF_A_DOCUMENT, Passages, search
from benchmarks.shares import Spent, TimedEmbedder, engine_timed, measured
from benchmarks.stored import add
from rag import build, build_retrieval
from rag.checkpoint import Checkpoint
from rag.commands.shared import load_settings
from rag.retrieval import Retriever
from rag.stores.edge import EdgeStore
from rag.types import Embedding

SIZES, ASKERS, LANGUAGES = (1000, 10_000, 100_000), (1, 2, 4, 8, 16), 6
_WARM_UP = 5


class Questions:
    """Questions that nobody has asked yet, with their vectors."""

    def __init__(self, made: Passages) -> None:
        self._made = made
        self.vectors: dict[str, Embedding] = {}

    def some(self, count: int) -> list[str]:
        """The next ones, of about 16 tokens."""
        first = len(self.vectors)
        texts = [f"How often is machine {first + at} cleaned, and who checks that it was?" for at in range(count)]
        self.vectors.update((text, self._made.question()) for text in texts)
        return texts


@contextmanager
def opened(passages: int, languages: int, found: Checkpoint) -> Iterator[tuple[Retriever, Questions, float]]:
    """An index of made-up passages, ready for questions; and the seconds that writing it took."""
    settings = load_settings(model=str(found.folder), more={"embedder": {"query_cache": 0}})
    plain = build.embedder(settings, found)
    made = Passages(languages, plain.dimension)
    questions = Questions(made)
    with tempfile.TemporaryDirectory() as folder, engine_timed():
        store = EdgeStore(Path(folder) / "index")
        try:
            store.prepare(build.index_info(plain, settings))
            began = perf_counter()
            for number in range(passages // PASSAGES_OF_A_DOCUMENT):
                add(store, f"file:///made/up/{number}.txt", *made.document(number))
            built = perf_counter() - began
            ranking = build_retrieval.ranking(settings, found)
            embedder = TimedEmbedder(plain, questions.vectors)
            yield build_retrieval.retriever(settings, embedder, store, ranking, found), questions, built
        finally:
            store.close()


def asked(retriever: Retriever, questions: Sequence[str], askers: int) -> tuple[list[Spent], float]:
    """What each question took, and the seconds until all had been answered."""
    begin = Barrier(askers + 1)

    def ask(some: Sequence[str]) -> list[Spent]:
        begin.wait()
        return [measured(partial(search, retriever, question)) for question in some]

    with ThreadPoolExecutor(askers) as pool:
        parts = [pool.submit(ask, questions[first::askers]) for first in range(askers)]
        begin.wait()
        began = perf_counter()
        spent = [each for future in parts for each in future.result()]
        return spent, perf_counter() - began


def measure(
    passages: int, askers: Sequence[int], rounds: int, of_each: int, *, name: str, languages: int = LANGUAGES
) -> dict[str, Any]:
    """One index, asked by so many at once.

    Args:
        of_each: questions of an asker in a round.
    """
    runs: dict[int, list[tuple[list[Spent], float]]] = {count: [] for count in askers}
    with opened(passages, languages, checkpoint(name)) as (retriever, questions, built):
        asked(retriever, questions.some(_WARM_UP), 1)
        for number in range(rounds):
            for count in (askers[(number + at) % len(askers)] for at in range(len(askers))):
                runs[count].append(asked(retriever, questions.some(count * of_each), count))
    return {
        "passages": passages,
        "languages": languages,
        "seconds_to_build": round(built, 1),
        "askers": {str(count): _told(some) for count, some in runs.items()},
    }


def _told(runs: Sequence[tuple[list[Spent], float]]) -> dict[str, Any]:
    every = [each for some, _ in runs for each in some]
    columns = {
        "whole": [each.wall for each in every],
        "model": [each.parts["model"] for each in every],
        "engine": [each.parts["engine"] for each in every],
        "own": [each.own for each in every],
        "own_processor": [each.own_processor for each in every],
        "beyond": [each.wall - each.parts["model"] for each in every],
    }
    whole = sum(columns["whole"])
    return {
        "questions": len(every),
        "milliseconds": {
            what: {f"p{percent}": round(1000 * float(np.percentile(times, percent)), 2) for percent in (50, 95)}
            for what, times in columns.items()
        },
        "shares": {what: round(sum(columns[what]) / whole, 3) for what in ("model", "engine", "own")},
        "p50_of_rounds": record.spread([1000 * float(np.median([each.wall for each in some])) for some, _ in runs]),
        "questions_per_second": record.spread([len(some) / seconds for some, seconds in runs]),
    }


def table(result: Mapping[str, Any]) -> str:
    """The result for people; milliseconds are p50 and p95."""
    head = [
        "passages",
        "askers",
        "whole",
        "model",
        "engine",
        "our code",
        "its CPU",
        "beyond",
        "questions/s",
        "our share",
    ]
    rows = []
    for index in result["index"]:
        for count, told in index["askers"].items():
            times = told["milliseconds"]
            columns = ("whole", "model", "engine", "own", "own_processor", "beyond")
            rows.append(
                [
                    f"{index['passages']:,}",
                    count,
                    *(f"{times[what]['p50']:.1f} / {times[what]['p95']:.1f}" for what in columns),
                    f"{told['questions_per_second']['median']:.0f}",
                    f"{told['shares']['own']:.0%}",
                ]
            )
    return f"{result['checkpoint']}, milliseconds p50 / p95\n{record.aligned([head, *rows])}"


def picture(result: Mapping[str, Any]) -> str:
    """The p50 of each index and number of askers, with the p95 at the whisker's end."""
    panels = {}
    for index in result["index"]:
        panels[f"{index['passages']:,} passages, milliseconds p50 to p95"] = [
            Bar(f"{count} asker{'s' * (count != '1')}", whole["p50"], whole["p50"], whole["p95"], own=True)
            for count, whole in ((count, told["milliseconds"]["whole"]) for count, told in index["askers"].items())
        ]
    return bars(panels, title=f"From a question to its passages, {result['checkpoint']}")


def main() -> None:
    """Prints the table; writes it with the JSON and the picture after each index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", choices=NAMES, default="pocket-m3", help="(default: %(default)s)")
    parser.add_argument("--passages", type=int, action="append", metavar="N", help=f"thousands (default: {SIZES})")
    parser.add_argument("--askers", type=int, action="append", metavar="N", help=f"(default: {ASKERS})")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--questions", type=int, metavar="N", help="of an asker in a round (default: 10, quick 3)")
    parser.add_argument("--quick", action="store_true", help="two rounds over one small index")
    given = parser.parse_args()
    sizes = given.passages or (SIZES[:1] if given.quick else SIZES)
    askers = given.askers or (ASKERS[:3:2] if given.quick else ASKERS)
    of_each = given.questions or (3 if given.quick else 10)
    if min(*askers, of_each, given.rounds) < 1:
        parser.error("--askers, --questions and --rounds: give 1 or more")
    for passages in sizes:
        if passages < 1 or passages % PASSAGES_OF_A_DOCUMENT:
            parser.error(f"--passages {passages}: give a multiple of {PASSAGES_OF_A_DOCUMENT}")
    quick = given.quick or bool(given.passages or given.askers)
    result: dict[str, Any] = {"checkpoint": given.checkpoint, **record.machine(), "index": []}
    name = f"question_latency_{given.checkpoint.replace('-', '_')}"
    for passages in sizes:
        result["index"].append(
            measure(passages, askers, 2 if given.quick else given.rounds, of_each, name=given.checkpoint)
        )
        record.progress(f"{passages:,} passages are done")
        record.save(name, result, table(result), {name: picture(result)}, quick=quick)
    print(table(result))


if __name__ == "__main__":
    main()
