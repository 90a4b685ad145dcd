"""How fast texts become vectors, side by side with the libraries that people use for it.

    RAG_DATA=… python -m benchmarks.embedding_speed --checkpoint full
    python -m benchmarks.embedding_speed --checkpoint medium --quick --only "ours torch"

Passages of 20 to 512 tokens, a document of 2,048 and one of 8,192 tokens (or as long as the model's window), and
questions of about 16 tokens, one at a time: this project with each backend and precision, BGE-M3's own library
FlagEmbedding, SentenceTransformer, and LangChain's and LlamaIndex's wrappers of that. Each is in a process of its own,
and all take turns, round after round, so that whatever else the machine does hits all of them. All get the same texts;
what would take one longer than --longest seconds it gets fewer passages of (the first ones, at least 8) or, of a
document, in the first round only: the table says how much.

A share of the ceiling is useful work (no padding) over what torch's linears alone reach in the same precision, measured
in the same rounds; another runtime can reach more than all of that. Padding is what a library computes over what is
useful, from its batch size; that FlagEmbedding computes its longest batch twice comes on top. Memory is the largest
resident set while the passages are embedded; mapped files count with what was touched of them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from benchmarks import record
from benchmarks.bars import Bar, bars
from benchmarks.checkpoints import NAMES, checkpoint, useful_flops
from benchmarks.embedding_rounds import BESIDE, VARIANTS, Comparison, Row
from benchmarks.processes import PEERS
from rag.checkpoint import Checkpoint

_PASSAGES = {"full": 64, "medium": 96, "pocket-m3": 512}


def results(comparison: Comparison, found: Checkpoint) -> dict[str, Any]:
    """All figures so far."""
    beside = next((row for row in comparison.rows if row.variant.name == BESIDE), None)
    return {
        "ceiling_tflops": {
            dtype: record.spread([value / 1e12 for value in values])
            for dtype, values in comparison.ceilings.items()
            if values
        },
        "variants": {row.variant.name: _told(row, comparison, found, beside) for row in comparison.rows},
    }


def _told(row: Row, comparison: Comparison, found: Checkpoint, beside: Row | None) -> dict[str, Any]:
    told: dict[str, Any] = {"dtype": row.variant.dtype}
    if row.failed:
        told["failed"] = row.failed
    ceilings = comparison.ceilings[row.variant.dtype]
    for task, runs in row.done.items():
        if task == "questions":
            times = [1000 * statistics.median(run.answer) for run in runs]
            told[task] = {"milliseconds": record.spread(times)}
            if beside and beside.done.get(task):
                others = [1000 * statistics.median(run.answer) for run in beside.done[task]]
                told[task]["times_faster"] = record.spread([b / a for a, b in zip(times, others, strict=False)])
            continue
        lengths = comparison.lengths(row.texts[task])
        speeds = [sum(lengths) / run.seconds for run in runs]
        work = useful_flops(found, lengths)
        told[task] = {
            "texts": len(lengths),
            "tokens": sum(lengths),
            "padding": round(row.variant.padding(lengths), 2),
            "tokens_per_second": record.spread(speeds),
            "share_of_ceiling": record.spread(
                [work / run.seconds / ceiling for run, ceiling in zip(runs, ceilings, strict=False)]
            ),
            "peak_mib": round(max(run.peak_mib for run in runs)),
        }
        if beside and beside.done.get(task):
            total = sum(comparison.lengths(beside.texts[task]))
            others = [total / run.seconds for run in beside.done[task]]
            told[task]["times_faster"] = record.spread([a / b for a, b in zip(speeds, others, strict=False)])
    return told


def table(result: Mapping[str, Any]) -> str:
    """The result for people."""
    variants: Mapping[str, Any] = result["variants"]
    ceilings = "; ".join(f"{dtype} {each['median']:.3f} TF/s" for dtype, each in result["ceiling_tflops"].items())
    lines = [f"{result['checkpoint']}: medians (least to most); ceilings: {ceilings}"]
    for task in dict.fromkeys(task for told in variants.values() for task in told if isinstance(told[task], dict)):
        rows = [(name, told[task]) for name, told in variants.items() if task in told]
        if task == "questions":
            head = ["questions", "ms", f"× {BESIDE}", "runs"]
            cells = [
                [name, _span(row["milliseconds"]), _ratio(row), str(row["milliseconds"]["runs"])] for name, row in rows
            ]
        else:
            head = [task, "tokens/s", f"× {BESIDE}", "of ceiling", "padding", "peak MiB", "texts", "tokens", "runs"]
            cells = [
                [
                    name,
                    _span(row["tokens_per_second"]),
                    _ratio(row),
                    f"{row['share_of_ceiling']['median']:.0%}",
                    f"{row['padding']:.2f}",
                    f"{row['peak_mib']:,}",
                    str(row["texts"]),
                    f"{row['tokens']:,}",
                    str(row["tokens_per_second"]["runs"]),
                ]
                for name, row in rows
            ]
        lines += ["", record.aligned([head, *cells])]
    failed = [f"{name}: {told['failed']}" for name, told in variants.items() if "failed" in told]
    return "\n".join([*lines, *([""] if failed else []), *failed])


def _span(of: Mapping[str, float]) -> str:
    digits = 0 if of["median"] >= 100 else 1
    return f"{of['median']:,.{digits}f} ({of['least']:,.{digits}f} to {of['most']:,.{digits}f})"


def _ratio(row: Mapping[str, Any]) -> str:
    ratio = row.get("times_faster")
    return f"{ratio['median']:.1f} ({ratio['least']:.1f} to {ratio['most']:.1f})" if ratio else "–"


def picture(result: Mapping[str, Any]) -> str:
    """Speeds of passages and documents, and the time of a question."""
    panels: dict[str, list[Bar]] = {}
    for name, told in result["variants"].items():
        for task, row in told.items():
            if isinstance(row, dict):
                asked = task == "questions"
                values = row["milliseconds" if asked else "tokens_per_second"]
                title = "questions, milliseconds" if asked else f"{task}, tokens a second"
                bar = Bar(name, values["median"], values["least"], values["most"], own=name.startswith("ours"))
                panels.setdefault(title, []).append(bar)
    return bars(panels, title=f"Embedding speed, {result['checkpoint']}")


def main() -> None:
    """Prints the table; writes it with the JSON and the picture after each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", choices=NAMES, default="pocket-m3", help="(default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--passages", type=int, metavar="N", help=f"(default: {_PASSAGES})")
    parser.add_argument("--longest", type=float, default=45.0, metavar="S", help="of a run (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="WORDS", help="variants whose names begin so")
    parser.add_argument("--quick", action="store_true", help="two rounds over little, to see that it runs")
    given = parser.parse_args()
    if given.runs < 1 or (given.passages or 1) < 1:
        parser.error("--runs and --passages: give 1 or more")
    chosen = [each for each in VARIANTS if not given.only or any(each.name.startswith(words) for words in given.only)]
    if not chosen:
        parser.error(f"--only {given.only} names none of {', '.join(each.name for each in VARIANTS)}")
    found = checkpoint(given.checkpoint)
    passages = given.passages or (16 if given.quick else _PASSAGES[given.checkpoint])
    document = min(512 if given.quick else 8192, found.window)
    comparison = Comparison(found, chosen, passages, document, 5.0 if given.quick else given.longest)
    quick = given.quick or bool(given.only)
    result: dict[str, Any] = {"checkpoint": given.checkpoint, **record.machine(), "peers": record.peer_versions(PEERS)}
    rounds = 2 if given.quick else given.runs
    name = f"embedding_speed_{given.checkpoint.replace('-', '_')}"
    began = perf_counter()
    try:
        comparison.warm_up()
        for number in range(rounds):
            comparison.round(number)
            result |= {"rounds": f"{number + 1} of {rounds}", "minutes": round((perf_counter() - began) / 60, 1)}
            result |= results(comparison, found)
            record.save(name, result, table(result), {name: picture(result)}, quick=quick)
    finally:
        comparison.close()
    print(table(result))


if __name__ == "__main__":
    main()
