"""Romanised questions: is the passage found that answers them, as asked in its own script, as typed, and rewritten?

    python -m benchmarks.romanised [--json]          # $RAG_DATA set: false alarms on ordinary languages, too

The questions and a passage for each lie in tests/fixtures/romanised; they were written for this, by one person, in the
spellings that people type. The passages lie among those of the demo's two libraries, whose eleven languages ask and
answer about the same matters. Ranking is the default one: exact scores, a language's level taken out; of several forms
of a question a passage counts with its best. Rewriting is measured twice: with the words of the model's vocabulary
only, and with the words of the index beside them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ingest import chunking
from ingest.discovery import discover
from ingest.readers import read
from rag import build, build_retrieval
from rag.centring import centred
from rag.commands.shared import load_settings
from rag.fusion import Ranking, rank
from rag.language import asked_in, detect
from rag.ports import Embedder
from rag.romanisation import detection
from rag.romanisation.rewriter import SPELLINGS, RomanisedQuestions
from rag.types import Candidate, Chunk, Document, SparseVector

ROOT = Path(__file__).parent.parent
FIXTURE = ROOT / "tests" / "fixtures" / "romanised"
LIBRARIES = (ROOT / "demo" / "library", ROOT / "demo" / "workplace" / "library")
RESULT = ROOT / "benchmarks" / "results" / "romanised.json"
ORDINARY = {
    "deu": "German", "fra": "French", "spa": "Spanish", "ita": "Italian", "por": "Portuguese", "tur": "Turkish",
    "pol": "Polish", "nld": "Dutch", "vie": "Vietnamese", "ind": "Indonesian", "swe": "Swedish", "dan": "Danish",
    "ces": "Czech", "ron": "Romanian", "hun": "Hungarian", "fin": "Finnish", "hrv": "Croatian", "swh": "Swahili",
}  # fmt: skip
"""Languages of Tatoeba's sentences that are written in Latin letters."""
FORMS = ("native", "romanised", "rewritten", "rewritten with words of the index")


class Pool:
    """Passages with their embeddings, ranked as a search ranks them."""

    def __init__(self, embedder: Embedder, budget: int, ranking: Ranking) -> None:
        self._embedder = embedder
        self._ranking = ranking
        documents = [document for found in discover(LIBRARIES) for document in read(found.uri, found.path.read_bytes())]
        lines = [json.loads(line) for line in (FIXTURE / "passages.jsonl").read_text(encoding="utf-8").splitlines()]
        documents += [Document(f"memory:{line['id']}", line["text"], "", "txt") for line in lines]
        self.chunks: list[Chunk] = []
        for document in documents:
            self.chunks += chunking.chunk(
                document, version="", ingested_at=0, budget=budget, count_tokens=embedder.count_tokens, detect=detect
            )
        self._embeddings = embedder.embed_passages([chunking.embedding_input(each, budget) for each in self.chunks])

    def texts(self, language: str) -> list[str]:
        """Passages in a language."""
        return [chunk.text for chunk in self.chunks if chunk.language == language]

    def languages(self) -> list[str]:
        """The pool's languages."""
        return sorted({chunk.language for chunk in self.chunks})

    def place(self, forms: Sequence[str], uri: str) -> int:
        """Rank of the document at `uri`, from 1, when a passage counts with its best score of all `forms`."""
        best: dict[str, float] = defaultdict(lambda: float("-inf"))
        centre = np.mean([passage.dense for passage in self._embeddings], axis=0)
        for query in self._embedder.embed_queries(forms):
            moved = centred(query.dense, centre, self._ranking.centring)
            found = [
                Candidate.of(chunk, float(passage.dense @ moved), _dot(passage.sparse, query.sparse))
                for chunk, passage in zip(self.chunks, self._embeddings, strict=True)
            ]
            for each in rank(
                found, self._ranking, len(found), own_sparse=query.sparse.own_score, asked_in=asked_in(forms[0])
            ):
                best[each.candidate.uri] = max(best[each.candidate.uri], each.score)
        return 1 + sum(score > best[uri] for score in best.values())


def _dot(one: SparseVector, other: SparseVector) -> float:
    theirs = dict(zip(other.ids.tolist(), other.weights.tolist(), strict=True))
    pairs = zip(one.ids.tolist(), one.weights.tolist(), strict=True)
    return float(sum(theirs.get(token, 0.0) * weight for token, weight in pairs))


def recall(pool: Pool, questions: Sequence[dict[str, Any]], tokenizer: Path) -> dict[str, dict[str, Any]]:
    """Group of questions → how many, and for each form how many are answered at rank 1 and up to 3."""
    plain, informed = RomanisedQuestions(tokenizer), RomanisedQuestions(tokenizer, pool.texts)
    languages = pool.languages()
    table: dict[str, dict[str, Any]] = defaultdict(lambda: {"questions": 0} | {form: [0, 0] for form in FORMS})
    for question in questions:
        typed = question["romanised"]
        forms = (
            [question["native"]],
            [typed],
            [typed, *plain.rewrite(typed, languages).texts],
            [typed, *informed.rewrite(typed, languages).texts],
        )
        for group in ("mixed" if question.get("mixed") else question["language"], "all"):
            table[group]["questions"] += 1
        for name, texts in zip(FORMS, forms, strict=True):
            place = pool.place(texts, f"memory:{question['passage']}")
            for group in ("mixed" if question.get("mixed") else question["language"], "all"):
                table[group][name][0] += place <= 1
                table[group][name][1] += place <= 3
    return dict(table)


def known(languages: Sequence[str]) -> dict[str, list[int]]:
    """Language → how many questions are known for it of those written after the rules, and how many there are."""
    table: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in (FIXTURE / "unseen.jsonl").read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        found = detection.detect(question["romanised"], languages)
        table[question["language"]][0] += [each.language for each in found[:1]] == [question["language"]]
        table[question["language"]][1] += 1
    return dict(table)


def cost(questions: Sequence[dict[str, Any]], tokenizer: Path, pool: Pool) -> dict[str, float]:
    """Milliseconds: of the first question of each language, which reads the vocabulary, and of the others."""
    rewriter = RomanisedQuestions(tokenizer, pool.texts)
    first: dict[str, float] = {}
    later: list[float] = []
    for question in questions:
        begun = time.perf_counter()
        rewriter.rewrite(question["romanised"], [question["language"]])
        taken = 1000 * (time.perf_counter() - begun)
        if question["language"] in first:
            later.append(taken)
        first.setdefault(question["language"], taken)
    return {
        "slowest first": round(max(first.values()), 1),
        "p50": round(statistics.median(later), 2),
        "slowest later": round(max(later), 2),
    }


def false_alarms(data: Path) -> dict[str, dict[str, int]]:
    """Language → sentences in it and how many are taken for romanised ones, when the index holds all languages."""
    sentences: dict[str, list[str]] = defaultdict(list)
    with gzip.open(data / "tatoeba" / "tatoeba.tsv.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            code, english, text = line.rstrip("\n").split("\t")
            if code in ORDINARY:
                sentences[ORDINARY[code]].append(text)
            if code == "deu":
                sentences["English"].append(english)
    for line in (data / "xquad" / "queries.jsonl").read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        if question["lang"] in ("en", "de", "es", "tr", "vi"):
            sentences[f"XQuAD {question['lang']}"].append(question["text"])
    return {
        name: {"sentences": len(texts), "alarms": sum(bool(detection.detect(text, list(SPELLINGS))) for text in texts)}
        for name, texts in sorted(sentences.items())
    }


def main() -> None:
    """Prints the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket-m3", help="embedding model (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help=f"print JSON and write it to {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    settings = load_settings(model=given.model)
    found = build.checkpoint(settings)
    pool = Pool(build.embedder(settings, found), settings.ingest.chunk_tokens, build_retrieval.ranking(settings, found))
    questions = [json.loads(line) for line in (FIXTURE / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    result: dict[str, Any] = {
        "model": given.model,
        "passages": len(pool.chunks),
        "known of unseen questions": known(list(SPELLINGS)),
        "recall": recall(pool, questions, found.tokenizer),
        "milliseconds": cost(questions, found.tokenizer, pool),
    }
    if "RAG_DATA" in os.environ:
        result["false alarms"] = false_alarms(Path(os.environ["RAG_DATA"]))
    if given.json:
        text = json.dumps(result, indent=1, ensure_ascii=False)
        RESULT.write_text(text + "\n", encoding="utf-8")
        print(text)
        return
    print(f"{len(pool.chunks)} passages, {given.model}; answered at rank 1 / up to 3")
    print(f"{'':8}{'questions':>10}" + "".join(f"{form:>36}" for form in FORMS))
    for group, row in result["recall"].items():
        print(f"{group:8}{row['questions']:>10}" + "".join(f"{row[f][0]:>31} / {row[f][1]:>2}" for f in FORMS))
    print("known of unseen questions:", result["known of unseen questions"])
    print("milliseconds a question:", result["milliseconds"])
    for name, row in result.get("false alarms", {}).items():
        print(f"{name:12} {row['alarms']:>3} false alarms in {row['sentences']}")


if __name__ == "__main__":
    main()
