"""Whether the fast vectors are the right ones: each backend and precision against FlagEmbedding in float32.

    RAG_DATA=… python -m benchmarks.embedding_parity --checkpoint pocket-m3
    RAG_DATA=… python -m benchmarks.embedding_parity --checkpoint full --passages 32 --questions 8

Passages and questions are XQuAD's, in six languages. Told are the lowest and the mean cosine of dense vectors, how
many texts have the very same lexical tokens, the largest difference of a lexical weight, and how much of the ten best
passages of a question stays, ranked by the dense vectors and by dense plus lexical scores.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.checkpoints import NAMES, checkpoint
from benchmarks.embedding_rounds import VARIANTS
from rag.checkpoint import Checkpoint
from rag.embedders.bge_m3 import BgeM3Embedder
from rag.errors import RagError
from rag.evaluation import beir
from rag.evaluation.windows import within_window

_PASSAGES = {"full": 32, "medium": 64, "pocket-m3": 1000}
_QUESTIONS = {"full": 8, "medium": 16, "pocket-m3": 100}
_BEST = 10


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of some texts: dense vectors (texts, d), and lexical weights by token id."""

    dense: NDArray[np.float32]
    lexical: Sequence[Mapping[int, float]]


def texts(passages: int, questions: int, data: Path, embedder: BgeM3Embedder) -> tuple[list[str], list[str]]:
    """So many of XQuAD's, the languages mixed; what is longer than the model's window is cut."""
    dataset = beir.read(data / "xquad")
    random = np.random.default_rng(0)
    paragraphs, _ = within_window(dataset, embedder)
    some = random.permutation(len(paragraphs))[:passages]
    asked = random.permutation(len(dataset.questions))[:questions]
    return [paragraphs[at] for at in some], [dataset.questions[at].text for at in asked]


def reference(found: Checkpoint, some: Sequence[str]) -> Vectors:
    """FlagEmbedding's, in float32."""
    from FlagEmbedding import BGEM3FlagModel

    model = BGEM3FlagModel(str(found.folder), use_fp16=False, devices="cpu")
    made = model.encode(list(some), batch_size=16, max_length=found.window, return_sparse=True)
    lexical = [{int(token): float(weight) for token, weight in each.items()} for each in made["lexical_weights"]]
    return Vectors(np.asarray(made["dense_vecs"], np.float32), lexical)


def ours(embedder: BgeM3Embedder, some: Sequence[str]) -> Vectors:
    """The embedder's."""
    made = embedder.embed_passages(some)
    lexical = [dict(zip(each.sparse.ids.tolist(), each.sparse.weights.tolist(), strict=True)) for each in made]
    return Vectors(np.stack([each.dense for each in made]), lexical)


def compared(made: Vectors, expected: Vectors, passages: int) -> dict[str, Any]:
    """The differences; the first `passages` texts are passages, the others questions."""
    cosines = (made.dense * expected.dense).sum(axis=1) / np.linalg.norm(expected.dense, axis=1)
    pairs = list(zip(made.lexical, expected.lexical, strict=True))
    weights = [abs(a.get(token, 0.0) - b.get(token, 0.0)) for a, b in pairs for token in a.keys() | b.keys()]
    return {
        "cosine_least": round(float(cosines.min()), 7),
        "cosine_mean": round(float(cosines.mean()), 7),
        "same_tokens": round(sum(a.keys() == b.keys() for a, b in pairs) / len(pairs), 4),
        "weight_difference_most": round(max(weights, default=0.0), 5),
        "best_ten_dense": _overlap(made, expected, passages, sparse=0.0),
        "best_ten_hybrid": _overlap(made, expected, passages, sparse=1.0),
    }


def _overlap(made: Vectors, expected: Vectors, passages: int, *, sparse: float) -> float:
    """The mean share of the ten best passages of a question that both have."""
    a, b = (_best(each, passages, sparse) for each in (made, expected))
    shares = [len(set(one) & set(other)) / len(one) for one, other in zip(a.tolist(), b.tolist(), strict=True)]
    return round(float(np.mean(shares)), 4)


def _best(vectors: Vectors, passages: int, sparse: float) -> NDArray[np.intp]:
    scores = vectors.dense[passages:] @ vectors.dense[:passages].T
    if sparse:
        for row, asked in zip(scores, vectors.lexical[passages:], strict=True):
            row += sparse * np.array(
                [
                    sum(weight * passage.get(token, 0.0) for token, weight in asked.items())
                    for passage in vectors.lexical[:passages]
                ],
                np.float32,
            )
    return np.argsort(-scores, axis=1, kind="stable")[:, :_BEST]


def table(result: Mapping[str, Any]) -> str:
    """The result for people."""
    told = {name: row for name, row in result["variants"].items() if "failed" not in row}
    columns = list(dict.fromkeys(column for row in told.values() for column in row))
    rows = [["", *columns], *([name, *(str(row[column]) for column in columns)] for name, row in told.items())]
    head = f"{result['checkpoint']}: {result['passages']:,} passages, {result['questions']} questions of XQuAD"
    failed = [f"{name}: {row['failed']}" for name, row in result["variants"].items() if "failed" in row]
    return "\n".join([head, record.aligned(rows), *failed])


def main() -> None:
    """Prints the table; writes it with the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", choices=NAMES, default="pocket-m3", help="(default: %(default)s)")
    parser.add_argument("--passages", type=int, metavar="N", help=f"(default: {_PASSAGES})")
    parser.add_argument("--questions", type=int, metavar="N", help=f"(default: {_QUESTIONS})")
    parser.add_argument("--quick", action="store_true", help="20 passages and 5 questions, to see that it runs")
    given = parser.parse_args()
    data = os.environ.get("RAG_DATA")
    if not data:
        parser.error("RAG_DATA is not set: give the folder that holds xquad")
    passages = given.passages or (20 if given.quick else _PASSAGES[given.checkpoint])
    questions = given.questions or (5 if given.quick else _QUESTIONS[given.checkpoint])
    if passages < _BEST or questions < 1:
        parser.error(f"give at least {_BEST} passages and 1 question")
    found = checkpoint(given.checkpoint)
    some, asked = texts(passages, questions, Path(data), BgeM3Embedder(found))
    expected = reference(found, [*some, *asked])
    result: dict[str, Any] = {"checkpoint": given.checkpoint, "passages": len(some), "questions": len(asked)}
    result |= {**record.machine(), "variants": {}}
    for variant in (each for each in VARIANTS if each.kind == "ours"):
        backend, dtype = variant.arguments
        try:
            made = ours(BgeM3Embedder(found, backend=backend, dtype=dtype), [*some, *asked])
            result["variants"][variant.name] = compared(made, expected, len(some))
        except (RagError, ImportError) as error:
            result["variants"][variant.name] = {"failed": " ".join(str(error).split())}
        record.progress(f"{variant.name}: {result['variants'][variant.name]}")
        name = f"embedding_parity_{given.checkpoint.replace('-', '_')}"
        record.save(name, result, table(result), quick=given.quick)
    print(table(result))


if __name__ == "__main__":
    main()
