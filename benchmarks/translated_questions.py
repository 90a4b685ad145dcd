"""What translating the question would gain: XQuAD's own human translations in the place of a language model's.

    RAG_DATA=… python -m benchmarks.translated_questions [--max-questions 300] [--json]

No language model can be reached where this is made, so this is what `retrieval.translate` = N could reach at best: each
question is searched as it is and in its human translations into the next N languages of the data, all documents in one
pool, and a document counts with the best of its scores, as `rag.fusion.best_of` has it. nDCG@10 of the four cases with
95 % intervals; the first line is the question alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag import build, build_retrieval
from rag.commands.shared import load_settings
from rag.evaluation import beir
from rag.evaluation.datasets import Dataset
from rag.evaluation.measure import evaluate
from rag.evaluation.pools import Pool
from rag.evaluation.scoring import DEPTH, Vectors, centred_questions, embed
from rag.fusion import Ranking, fused, levelled, numbered

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "translated_questions.json"
TRANSLATIONS = (0, 1, 3)
_ROWS = 256


class TranslatedRanker:
    """Ranks all documents by the best score of a question and of its translations into some languages."""

    def __init__(self, dataset: Dataset, vectors: Vectors, ranking: Ranking, translations: int) -> None:
        self._vectors, self._ranking = vectors, ranking
        self._dense = centred_questions(vectors, ranking)
        self._held = np.array([document.language for document in dataset.documents])
        self._asked = np.array([question.language for question in dataset.questions])
        languages = dataset.question_languages
        at = {(each.group, each.language): position for position, each in enumerate(dataset.questions)}
        self._wordings = []
        for question in dataset.questions:
            first = languages.index(question.language)
            others = [languages[(first + step) % len(languages)] for step in range(1, translations + 1)]
            self._wordings.append([at[question.group, language] for language in (question.language, *others)])

    def ranked(self, pool: Pool) -> Iterator[list[int]]:
        """As `rag.evaluation.scoring.Ranker` has it; pools of all languages alone."""
        if pool.language is not None:
            yield from ([] for _ in pool.questions)
            return
        for start in range(0, len(pool.questions), _ROWS):
            asked = pool.questions[start : start + _ROWS]
            out = np.zeros((len(asked), len(self._held)), dtype=bool)
            for row, positions in enumerate(pool.left_out[start : start + _ROWS]):
                out[row, sorted(positions)] = True
            best = np.full(out.shape, -np.inf)
            for wording in range(len(self._wordings[0])):
                rows = np.array([self._wordings[question][wording] for question in asked])
                best = np.maximum(best, self._scores(rows, np.array(asked), out))
            for row in np.argsort(-best, axis=1, kind="stable")[:, :DEPTH]:
                yield row.tolist()

    def _scores(self, rows: NDArray[np.intp], asked: NDArray[np.intp], out: NDArray[np.bool_]) -> NDArray[np.float64]:
        dense = (self._dense[rows] @ self._vectors.documents.T).astype(np.float64)
        sparse = (self._vectors.sparse_questions[rows] @ self._vectors.sparse_documents.T).toarray().astype(np.float64)
        own = self._asked[asked][:, None] == self._held
        joined = fused(np.where(out, -np.inf, dense), sparse, self._vectors.own_sparse(rows), self._ranking)
        levels, more = levelled(joined, numbered(self._held.tolist()), own, self._ranking)
        return joined - levels - more


def measure(folder: Path, model: str, max_questions: int | None) -> dict[str, Any]:
    """All numbers of translations over one data set."""
    dataset = beir.read(folder)
    dataset = dataset.sampled(max_questions) if max_questions else dataset
    settings = load_settings(model=model)
    found = build.checkpoint(settings)
    embedder = build.embedder(settings, found)
    vectors, ranking = embed(dataset, embedder), build_retrieval.ranking(settings, found)
    runs: dict[str, Any] = {}
    for translations in TRANSLATIONS:
        ranker = TranslatedRanker(dataset, vectors, ranking, translations)
        name = f"{translations} translations"
        measured = evaluate(dataset, ranker, name=name, model=model, fingerprint=embedder.fingerprint)
        cases = ((case, measured.places[case].intervals()["nDCG@10"]) for case in ("all", "foreign", "one", "own"))
        runs[name] = {
            case: {"mean": round(value.mean, 4), "low": round(value.low, 4), "high": round(value.high, 4)}
            for case, value in cases
        }
    return {"questions": len(dataset.questions), "documents": len(dataset.documents), "nDCG@10": runs}


def main() -> None:
    """Prints the table, or JSON; writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket-m3", help="embedding model (default: %(default)s)")
    parser.add_argument("--max-questions", type=int, metavar="N", help="each in all languages; by default all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if not os.environ.get("RAG_DATA"):
        parser.error("RAG_DATA is not set: give the folder that holds xquad")
    found = {"model": given.model, "machine": platform.machine()}
    found |= measure(Path(os.environ["RAG_DATA"]) / "xquad", given.model, given.max_questions)
    text = json.dumps(found, indent=1)
    RESULT.write_text(text + "\n", encoding="utf-8")
    if given.json:
        print(text)
        return
    for name, cases in found["nDCG@10"].items():
        print(f"{name:18}", "  ".join(f"{case} {value['mean']:.3f}" for case, value in cases.items()))


if __name__ == "__main__":
    main()
