"""Which documents a question is put to: one language alone, or all of them, with or without the answer in some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from rag.evaluation.datasets import Dataset
from rag.evaluation.results import Case


@dataclass(frozen=True, slots=True)
class Pool:
    """Questions, and for each the documents among which it is to find its answer.

    Attributes:
        language: the documents' own; None for all languages together.
        questions: positions in the data set; one may come several times.
        relevant: of each question, position of each relevant document → grade; at least one.
        left_out: of each question, positions of documents that are not in its pool.
        name: that the documents carry.
    """

    language: str | None
    questions: tuple[int, ...]
    relevant: tuple[Mapping[int, int], ...]
    left_out: tuple[frozenset[int], ...]
    name: str = ""


def matrix(dataset: Dataset) -> Iterator[tuple[str, str, Pool]]:
    """Question language, document language and pool of every pair that has questions."""
    held: dict[str, set[str]] = {}
    for document in dataset.documents:
        held.setdefault(document.pool, set()).add(document.language)
    asked: dict[tuple[str, str], list[int]] = {}
    for at, question in enumerate(dataset.questions):
        asked.setdefault((question.language, question.pool), []).append(at)
    for (question_language, name), positions in sorted(asked.items()):
        for document_language in sorted(held[name]):
            rows = [(at, _held_in(dataset, at, {document_language})) for at in positions]
            found = [(at, relevant) for at, relevant in rows if relevant]
            if found:
                questions, relevant = zip(*found, strict=True)
                yield (
                    question_language,
                    document_language,
                    Pool(document_language, questions, relevant, (frozenset(),) * len(questions), name),
                )


def cases(dataset: Dataset) -> Iterator[tuple[Case, Pool]]:
    """The cases of a pool that mixes all languages; none where all documents are in one, and none of a bitext.

    A question is in a case only where its answer can be held as the case has it.
    """
    if dataset.is_bitext or len(dataset.document_languages) < 2:
        return
    rows: dict[Case, list[tuple[int, Mapping[int, int]]]] = {"all": [], "foreign": [], "one": [], "own": []}
    for at, question in enumerate(dataset.questions):
        relevant = dataset.relevant[at]
        own = question.language
        held = {dataset.documents[position].language for position in relevant}
        if len(held) > 1:
            rows["all"].append((at, relevant))
        if held - {own}:
            rows["foreign"].append((at, _held_in(dataset, at, held - {own})))
        for only in sorted(held - {own}):
            rows["one"].append((at, _held_in(dataset, at, {only})))
        if own in held:
            rows["own"].append((at, _held_in(dataset, at, {own})))
    for case, found in rows.items():
        if found:
            questions, kept = zip(*found, strict=True)
            left_out = tuple(frozenset(dataset.relevant[at].keys() - relevant.keys()) for at, relevant in found)
            yield case, Pool(None, questions, kept, left_out)


def _held_in(dataset: Dataset, question: int, languages: Set[str]) -> Mapping[int, int]:
    """The relevant documents in these languages."""
    return {
        position: grade
        for position, grade in dataset.relevant[question].items()
        if dataset.documents[position].language in languages
    }
