"""The answers of language_cases.py through the whole pipeline: over HTTP from a scripted server, to an `Answer`.

    RAG_DATA=… python -m benchmarks.answers_over_http [--answers 1500] [--json]

An index of three documents, a language model that gives the same text however often it is asked, in deltas of a few
characters. A third of the markers name a passage that is not there, a third bring words of the documents, and a third
words that nobody wrote. Counted are answers in a wrong language that are delivered as `language_ok = true` and right
ones that are asked for twice, with 95 % intervals after Wilson (1927); markers of passages that were not there, quotes
that are invented and shown all the same, and citations whose quote is not verbatim in the stored text.
`benchmarks.language_gate` has more answers, without HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.language_cases import Case, cases
from benchmarks.language_gate import KIN, MOST_RESTARTED, MOST_WRONG_AS_RIGHT, wilson
from ingest import ingest
from rag import Answer, CrossLingualRAG, Settings, build, build_retrieval
from rag.commands.shared import load_settings
from rag.language_policy import LanguagePolicy
from tests.openai_server import answering, scripted_server

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "answers_over_http.json"
QUESTION = "How often is the conveyor belt cleaned?"
_DOCUMENTS = {
    "wartung.md": "# Wartung\n\nDas Förderband wird jeden Montag gereinigt. Die Schichtleitung prüft die Spannung.\n",
    "pause.md": "# Pausen\n\nNach vier Stunden Arbeit steht jedem eine Pause von dreißig Minuten zu.\n",
    "repas.md": "# Repas\n\nLa cantine ouvre à midi et ferme à quatorze heures.\n",
}
_SENTENCES = [line for text in _DOCUMENTS.values() for line in re.split(r"(?<=\.) ", text.split("\n\n")[1].strip())]
_INVENTED = ["Das Förderband wurde im Mai gekauft.", "ベルトは毎日清掃します。", "السير جديد", "nothing of the kind"]
_MARKER = re.compile(r"\[\d{1,2}\]")
_LONGEST_DELTA = 12


def chosen(data: Path, count: int) -> list[Case]:
    """Two fifths of what was written for it, the rest of texts that were not; of both halves, in random order."""
    made = cases(data)
    written = [case for case in made if not case.borrowed][: 2 * count // 5]
    return written + [case for case in made if case.borrowed][: count - len(written)]


def replay(some: list[Case], settings: Settings) -> Iterator[tuple[Case, Answer]]:
    """Each case with what the pipeline made of it."""
    saying: list[str] = [""]
    rng = random.Random(2)

    def deltas(body: Any) -> Iterator[str]:
        text, at = saying[0], 0
        while at < len(text):
            step = rng.randint(1, _LONGEST_DELTA)
            yield text[at : at + step]
            at += step

    with scripted_server(answering(deltas)) as server:
        llm = settings.llm.model_copy(update={"model": "scripted", "base_url": server.base_url})
        settings = settings.model_copy(update={"llm": llm})
        store = build.store(settings)
        found = build.checkpoint(settings, store.info())
        embedder = build.embedder(settings, found)
        ranking = build_retrieval.ranking(settings, found)
        retriever = build_retrieval.retriever(settings, embedder, store, ranking, found)
        model = build.language_model(settings)
        try:
            for case in some:
                saying[0] = _MARKER.sub(lambda found: _marker(rng), case.text)
                policy = LanguagePolicy("bilingual" if case.second_language else "match", second=case.second_language)
                rag = CrossLingualRAG(retriever, store, model, policy=policy)
                yield case, rag.ask(QUESTION, language=case.language, k=3)
        finally:
            store.close()


def _marker(rng: random.Random) -> str:
    """One that a model could have written."""
    kind = rng.randrange(3)
    if kind == 0:
        return f"[{rng.randint(4, 99)}]"
    if kind == 1:
        return f'[{rng.randint(1, 3)}: "{rng.choice(_SENTENCES)}"]'
    return f"[{rng.randint(1, 5)}: „{rng.choice(_INVENTED)}“]"


def measure(data: Path, count: int) -> dict[str, Any]:
    """Replays and counts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _DOCUMENTS.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        more: dict[str, dict[str, object]] = {
            "store": {"path": Path(folder) / "store"},
            "retrieval": {"romanised": False},
        }
        settings = load_settings(model="pocket-m3", more=more)
        ingest([Path(folder) / name for name in _DOCUMENTS], settings=settings)
        done = list(replay(chosen(data, count), settings))
    right = [answer for case, answer in done if case.right]
    wrong = [answer for case, answer in done if not case.right and case.kind != KIN]
    found: dict[str, Any] = {
        "answers": len(done),
        "of texts not written for it": sum(case.borrowed for case, _ in done),
        "languages": len({case.language for case, _ in done}),
        "wrong as right": wilson(sum(answer.language_ok is True for answer in wrong), len(wrong)),
        "right restarted": wilson(sum(answer.attempts > 1 for answer in right), len(right)),
        "wrong restarted": wilson(sum(answer.attempts > 1 for answer in wrong), len(wrong)),
        "markers without a passage": sum(_markers(answer) for _, answer in done),
        "citations": sum(len(answer.citations) for _, answer in done),
        "of them with words that the answer offered": sum(
            citation.checked for _, answer in done for citation in answer.citations
        ),
        "invented quotes told": sum(answer.invented for _, answer in done),
        "invented quotes shown": sum(words in answer.text for _, answer in done for words in _INVENTED),
        "quotes that are not verbatim": sum(_not_verbatim(answer) for _, answer in done),
    }
    found["as wanted"] = (
        found["wrong as right"]["share"] <= MOST_WRONG_AS_RIGHT
        and found["right restarted"]["share"] <= MOST_RESTARTED
        and not found["markers without a passage"]
        and not found["quotes that are not verbatim"]
        and not found["invented quotes shown"]
    )
    return found


def _markers(answer: Answer) -> int:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", answer.text, flags=re.DOTALL)
    return sum(not 1 <= int(number) <= len(answer.passages) for number in re.findall(r"\[(\d{1,3})\]", prose))


def _not_verbatim(answer: Answer) -> int:
    bad = 0
    for citation in answer.citations:
        chunk = answer.passages[citation.marker - 1].chunk
        start, end = (place - chunk.start for place in citation.span)
        bad += chunk.text[start:end] != citation.quote
    return bad


def main() -> None:
    """Prints the figures, or JSON; writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=1500, metavar="N", help="in all (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if given.answers < 1:
        parser.error(f"--answers {given.answers} leaves nothing to replay: give 1 or more")
    if not os.environ.get("RAG_DATA"):
        parser.error("RAG_DATA is not set: give the folder that holds xquad and tatoeba")
    found = measure(Path(os.environ["RAG_DATA"]), given.answers)
    text = json.dumps(found, indent=1)
    RESULT.write_text(text + "\n", encoding="utf-8")
    if given.json:
        print(text)
        return
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name:30}{value['count']} of {value['of']} = {value['share']:.2%} ", end="")
            print(f"[{value['low']:.2%}, {value['high']:.2%}]")
        else:
            print(f"{name:30}{value}")


if __name__ == "__main__":
    main()
