"""Does the language gate stop answers in a wrong language, and let right ones alone?

    RAG_DATA=… python -m benchmarks.language_gate [--json]

Each answer of language_cases.py comes in random small deltas, as from a language model that gives the same twice: if
the gate stops it, it comes once more and is delivered whatever it is. Counted are

    wrong as right    answers in a wrong language that are delivered as being in the right one
    right restarted   answers in the right language that are stopped
    held longer       first texts let out later than the first sentence and the white space and character after it

with 95 % intervals after Wilson (1927). The thresholds were chosen on one half of the answers (`--half 0`); what is
written down are the figures of the other. Close kin, which the gate declares itself unable to tell, are counted apart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from benchmarks.language_cases import Case, cases
from rag.answer_gate import AnswerGate
from rag.segmentation import sentences

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "language_gate.json"
MOST_WRONG_AS_RIGHT, MOST_RESTARTED = 0.005, 0.01
KIN = "close kin"
_LONGEST_DELTA = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an answer.

    Attributes:
        restarted: whether it was stopped and asked for again.
        language_ok: of what was delivered.
        text: what was delivered.
        held: characters that had come when the first text was let out.
    """

    restarted: bool
    language_ok: bool | None
    text: str
    held: int


def replay(case: Case, rng: random.Random) -> Outcome:
    """The answer through the gate, twice if the first attempt is stopped."""
    for deliver in (False, True):
        gate = AnswerGate(case.language, second_language=case.second_language, deliver=deliver)
        shown, held, position = "", None, 0
        while position < len(case.text) and (deliver or not gate.wrong):
            delta = case.text[position : position + rng.randint(1, _LONGEST_DELTA)]
            for character in delta:
                position += 1
                shown += gate.feed(character)
                held = position if held is None and shown.strip() else held
        shown += gate.finish()
        if not gate.wrong:
            break
    return Outcome(deliver, gate.language_ok, shown, len(case.text) if held is None else held)


def wilson(count: int, of: int) -> dict[str, float]:
    """A share with its 95 % interval (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4)."""
    z, share = 1.959964, count / of
    middle, half = share + z * z / (2 * of), z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    low, high = ((middle + sign * half) / (1 + z * z / of) for sign in (-1, 1))
    return {"count": count, "of": of, "share": share, "low": max(0.0, low), "high": high}


def measure(some: Sequence[Case]) -> dict[str, Any]:
    """Replays all, and counts."""
    rng = random.Random(1)
    outcomes = [(case, replay(case, rng)) for case in some]
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for case, outcome in outcomes:
        of = kinds[f"{case.kind}, {'right' if case.right else 'wrong'}"]
        of["answers"] += 1
        of["stopped"] += outcome.restarted
        of[f"language_ok {outcome.language_ok}".lower()] += 1
    right = [outcome for case, outcome in outcomes if case.right]
    wrong = [outcome for case, outcome in outcomes if not case.right and case.kind != KIN]
    late = [outcome for case, outcome in outcomes if outcome.held > _first_sentence(case)]
    return {
        "answers": len(some),
        "of texts not written for it": sum(case.borrowed for case in some),
        "languages": len({case.language for case in some}),
        "wrong as right": wilson(sum(each.language_ok is True for each in wrong), len(wrong)),
        "wrong stopped": wilson(sum(each.restarted for each in wrong), len(wrong)),
        "right restarted": wilson(sum(each.restarted for each in right), len(right)),
        "right as right": wilson(sum(each.language_ok is True for each in right), len(right)),
        "held longer": wilson(len(late), len(outcomes)),
        "text lost": sum(outcome.text != case.text for case, outcome in outcomes),
        "kinds": {kind: dict(sorted(kinds[kind].items())) for kind in sorted(kinds)},
    }


def _first_sentence(case: Case) -> int:
    """Characters up to the one after the first sentence and its white space."""
    end = sentences(case.text, case.language)[0][1]
    return end + len(case.text[end:]) - len(case.text[end:].lstrip()) + 1


def _text(found: dict[str, Any]) -> str:
    lines = [f"{found['answers']} answers ({found['of texts not written for it']} of texts not written for it)"]
    lines[0] += f" in {found['languages']} languages"
    for name in ("wrong as right", "wrong stopped", "right restarted", "right as right", "held longer"):
        each = found[name]
        interval = f"[{each['low']:.2%}, {each['high']:.2%}]"
        lines.append(f"{name:16}{each['count']:5} of {each['of']:5} = {each['share']:7.2%}  {interval}")
    lines.append(f"text lost       {found['text lost']:5}")
    for kind, counts in found["kinds"].items():
        lines.append(f"  {kind:40}" + "  ".join(f"{name} {count}" for name, count in counts.items()))
    return "\n".join(lines)


def main() -> None:
    """Prints the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", type=int, choices=(0, 1), default=1, help="0: the one for tuning (default: 1)")
    parser.add_argument("--json", action="store_true", help=f"print JSON; half 1 writes {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    if not os.environ.get("RAG_DATA"):
        parser.error("RAG_DATA is not set: give the folder that holds xquad and tatoeba")
    found = measure(cases(Path(os.environ["RAG_DATA"]))[given.half :: 2])
    found["as wanted"] = (
        found["wrong as right"]["share"] <= MOST_WRONG_AS_RIGHT and found["right restarted"]["share"] <= MOST_RESTARTED
    )
    if given.half == 1:
        RESULT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1, ensure_ascii=False) if given.json else _text(found))


if __name__ == "__main__":
    main()
