"""Every way of ranking on data in several languages: what it finds within a language, across, and where all are mixed.

    RAG_DATA=… python -m benchmarks.ranking [--json]
    RAG_DATA=… python -m benchmarks.ranking --max-questions 100 --data xquad

Data are XQuAD ($RAG_DATA/xquad) and OpenTelemetry's documentation, which `benchmarks.otel_gold` makes of
$RAG_DATA/docs. The seven columns, nDCG@10, are those of docs/evaluation.md: `mono`, `en>xx` and `xx>en` are questions
over the documents of one language alone; `all`, `foreign`, `one` and `own` over all languages in one pool. A column is
the mean over its questions. OpenTelemetry's questions are English only: it has no `xx>en`, its `mono` is English alone.

Each column has the 95 % interval of the bootstrap that `rag eval` has: a question and its translations are resampled
together. What the default loses against the best plain fusion (sums of the scores as they are, reciprocal ranks) is the
mean of the differences of single questions; below 0 it gains. The best is chosen anew in each column. What it loses
against the sum with its own weight, coverage and centring, but without levels, can be seen in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from rag import build, build_retrieval
from rag.commands.shared import load_settings
from rag.evaluation import beir, specs
from rag.evaluation.datasets import Dataset
from rag.evaluation.measure import Measured, Values, evaluate, pair
from rag.evaluation.results import Interval
from rag.evaluation.scoring import ExactRanker, Vectors, embed
from rag.fusion import Ranking

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "ranking.json"
OTEL = ROOT / "build" / "otel"
RUNS = (
    "hybrid fusion=normalized",  # as it comes: the others are measured against it
    "dense",
    "sparse",
    "hybrid fusion=weighted",
    *(
        f"hybrid fusion=weighted dense=1.0 sparse={weight} coverage=0 centring=0"
        for weight in (0.3, 0.5, 1.0, 2.0, 5.0)
    ),
    "hybrid fusion=rrf rrf_k=60 centring=0",
    "hybrid fusion=rrf rrf_k=1 centring=0",
    *(f"hybrid fusion=normalized sparse={weight}" for weight in (0.3, 1.0, 2.0)),
    "hybrid fusion=normalized sparse=1 level_k=4 own_places=1",
    "hybrid fusion=normalized own_places=1000",
    "hybrid fusion=normalized centring=0",
    "hybrid fusion=normalized coverage=0.4",
)
COLUMNS = ("mono", "en>xx", "xx>en", "all", "foreign", "one", "own")
LEAST = {"all": 0.42, "foreign": 0.27, "one": 0.20}
"""What the default is to reach on XQuAD with pocket-m3."""
MOST_LOST = {"mono": 0.03, "en>xx": 0.03, "xx>en": 0.03, "own": 0.03}
"""What it may lose there against the best plain fusion."""
_WIDTH = 66  # of a run's name in the table


def rankings(model: str, more: Sequence[str] = ()) -> dict[str, Ranking]:
    """Name → ranking; the first is the default. One that two specifications name comes once."""
    found: dict[str, Ranking] = {}
    for text in (*RUNS, *more):
        settings = load_settings(model=model, more={"retrieval": dict(specs.parse(text).retrieval)})
        ranking = build_retrieval.ranking(settings, build.checkpoint(settings))
        found.setdefault(specs.name(ranking), ranking)
    return found


def columns(measured: Measured, dataset: Dataset) -> dict[str, Values]:
    """Column → values of its questions, groups numbered alike in all; without columns that the data cannot have."""
    asked, held = dataset.question_languages, dataset.document_languages
    english = "en"
    places = {
        "mono": [pair(each, each) for each in asked],
        "en>xx": [pair(english, each) for each in held if each != english],
        "xx>en": [pair(each, english) for each in asked if each != english],
        **{case: [case] for case in ("all", "foreign", "one", "own")},
    }
    numbers: dict[str, int] = {}
    group_of = np.array([numbers.setdefault(question.group, len(numbers)) for question in dataset.questions])
    found = {}
    for column in COLUMNS:
        parts = [measured.places[place] for place in places[column] if place in measured.places]
        if parts:
            questions = np.concatenate([part.questions for part in parts])
            values = np.concatenate([part.values for part in parts])
            found[column] = Values(questions, values, group_of[questions])
    return found


def losses(runs: Mapping[str, Mapping[str, Values]], plain: Sequence[str], default: str) -> dict[str, dict[str, Any]]:
    """Column → the plain fusion with the highest nDCG@10 there, and what the default loses against it."""
    found = {}
    for column, ours in runs[default].items():
        best = max(plain, key=lambda name: float(runs[name][column].values[:, 0].mean()))
        theirs = runs[best][column]
        lost = Values(ours.questions, theirs.values - ours.values, ours.groups)
        found[column] = {"best": best, **_fields(lost.intervals()["nDCG@10"])}
    return found


def measure(folder: Path, model: str, max_questions: int | None, more: Sequence[str]) -> dict[str, Any]:
    """All rankings over one data set."""
    began = perf_counter()
    dataset = beir.read(folder)
    dataset = dataset.sampled(max_questions) if max_questions else dataset
    embedder = build.embedder(load_settings(model=model))
    vectors: Vectors = embed(dataset, embedder)
    runs: dict[str, dict[str, Values]] = {}
    named = rankings(model, more)
    for name, ranking in named.items():
        measured = evaluate(
            dataset,
            ExactRanker(dataset, vectors, ranking),
            name=name,
            model=embedder.model,
            fingerprint=embedder.fingerprint,
        )
        runs[name] = columns(measured, dataset)
        print(f"{folder.name}: {name}, {perf_counter() - began:.0f} s", file=sys.stderr)
    default = next(iter(named))
    plain = [
        name
        for name, each in named.items()
        if each.mode == "hybrid" and not each.normalizes and not each.coverage and not each.centring
    ]
    return {
        "documents": len(dataset.documents),
        "languages": list(dataset.document_languages),
        "questions": len(dataset.questions),
        "asked in": list(dataset.question_languages),
        "fingerprint": embedder.fingerprint,
        "remarks": [*dataset.remarks, *vectors.remarks],
        "default": default,
        "runs": {name: _run_fields(run) for name, run in runs.items()},
        "lost against the best plain fusion": losses(runs, plain, default),
    }


def verdicts(result: Mapping[str, Any]) -> dict[str, bool]:
    """What the default is to show on XQuAD → whether it does."""
    ours, lost = result["runs"][result["default"]], result["lost against the best plain fusion"]
    reached = {f"{name} >= {least}": ours[name]["nDCG@10"]["mean"] >= least for name, least in LEAST.items()}
    return reached | {f"{name} loses <= {most}": lost[name]["mean"] <= most for name, most in MOST_LOST.items()}


def _run_fields(run: Mapping[str, Values]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for column, values in run.items():
        intervals = values.intervals()
        fields[column] = {
            "questions": len(values.questions),
            "nDCG@10": _fields(intervals["nDCG@10"]),
            "R@10": _fields(intervals["R@10"]),
        }
    return fields


def _fields(interval: Interval) -> dict[str, float]:
    return {name: round(getattr(interval, name), 4) for name in ("mean", "low", "high")}


def _text(name: str, result: Mapping[str, Any]) -> str:
    """A table of means and half widths of the intervals, and the losses."""
    lines = [
        f"{name}: {result['questions']} questions, {result['documents']} documents; nDCG@10",
        f"{'':{_WIDTH}}" + "".join(f"{column:>14}" for column in COLUMNS),
    ]
    for run, found in result["runs"].items():
        label = f"{run} (default)" if run == result["default"] else run
        cells = (found[column]["nDCG@10"] if column in found else None for column in COLUMNS)
        lines.append(f"{label:{_WIDTH}}" + "".join(f"{_cell(cell):>14}" for cell in cells))
    lost = result["lost against the best plain fusion"]
    cells = (lost.get(column) for column in COLUMNS)
    lines.append(
        f"{'default loses against the best plain fusion':52}" + "".join(f"{_cell(cell):>14}" for cell in cells)
    )
    return "\n".join([*lines, *(f"  {column}: {each['best']}" for column, each in lost.items())])


def _cell(interval: Mapping[str, Any] | None) -> str:
    if interval is None:
        return "-"
    return f"{interval['mean']:.3f} ±{(interval['high'] - interval['low']) / 2:.3f}"


def main() -> None:
    """Prints the tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket-m3", help="embedding model (default: %(default)s)")
    parser.add_argument("--data", choices=("xquad", "otel"), action="append", help="one alone (default: both)")
    parser.add_argument("--max-questions", type=int, metavar="N", help="ask N questions, each in all its languages")
    parser.add_argument(
        "--compare", action="append", default=[], metavar="SPEC", help="a further run, as `rag eval` has"
    )
    parser.add_argument("--json", action="store_true", help=f"print JSON; whole runs write {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    if given.max_questions is not None and given.max_questions < 1:
        parser.error(f"--max-questions {given.max_questions} leaves nothing to ask: give 1 or more")
    if not os.environ.get("RAG_DATA"):
        parser.error("RAG_DATA is not set: give the folder that holds xquad and docs")
    data = Path(os.environ["RAG_DATA"])
    chosen = given.data or ["xquad", "otel"]
    result: dict[str, Any] = {"model": given.model, "machine": platform.machine(), "data": {}}
    for name in chosen:
        if name == "otel" and not OTEL.exists():
            command = [sys.executable, "-m", "benchmarks.otel_gold", str(data / "docs" / "gold.jsonl"), str(OTEL)]
            subprocess.run([*command, "--tokens", "256"], check=True, cwd=ROOT, stdout=sys.stderr)
        found = measure(OTEL if name == "otel" else data / name, given.model, given.max_questions, given.compare)
        if name == "xquad":
            found["as wanted"] = verdicts(found)
        result["data"][name] = found
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if not given.max_questions and not given.data:
        RESULT.write_text(text + "\n", encoding="utf-8")
    if given.json:
        print(text)
        return
    for name, found in result["data"].items():
        print(_text(name, found))
        for wanted, is_so in found.get("as wanted", {}).items():
            print(f"  {wanted}: {'yes' if is_so else 'NO'}")


if __name__ == "__main__":
    main()
