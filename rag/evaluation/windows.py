"""Texts that are longer than a model's window.

A document is not a passage: what is cut into passages is measured over an index. Here the beginning of a long one is
embedded, as published evaluations do, and how many are is told with the figures.
"""

from __future__ import annotations

from rag.evaluation.datasets import Dataset
from rag.evaluation.problems import Problems
from rag.ports import Embedder
from rag.segmentation import cluster_starts


def within_window(dataset: Dataset, embedder: Embedder) -> tuple[list[str], tuple[str, ...]]:
    """The documents' texts, long ones cut, and what is to be said of that."""
    texts = [document.text for document in dataset.documents]
    counts = embedder.count_tokens(texts)
    long = [at for at, tokens in enumerate(counts) if tokens > embedder.window]
    if not long:
        return texts, ()
    kept = total = 0
    for at in long:
        total += len(texts[at])
        texts[at] = beginning(texts[at], embedder, embedder.window)
        kept += len(texts[at])
    return texts, (
        f"{len(long)} of {len(texts)} documents are longer than the window of {embedder.model}, "
        f"{embedder.window} tokens: {1 - kept / total:.0%} of their text, the end, was not embedded",
    )


def refuse_long_questions(dataset: Dataset, embedder: Embedder) -> None:
    """A question of which a part is ignored is another question.

    Raises:
        DatasetError: questions are longer than the window; all are told.
    """
    problems = Problems()
    counts = embedder.count_tokens([question.text for question in dataset.questions])
    for question, tokens in zip(dataset.questions, counts, strict=True):
        if tokens > embedder.window:
            problems.add(
                question.place,
                f"the question has {tokens} tokens and the window of {embedder.model} is {embedder.window}: shorten it",
            )
    problems.raise_if_any()


def beginning(text: str, embedder: Embedder, tokens: int) -> str:
    """As many grapheme clusters as make `tokens` tokens at most, special ones included."""
    ends = [*cluster_starts(text)[1:], len(text)]
    if embedder.count_tokens([text])[0] <= tokens:
        return text
    fits, too_many = 0, len(ends)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if embedder.count_tokens([text[: ends[middle]]])[0] <= tokens:
            fits = middle
        else:
            too_many = middle
    return text[: ends[fits]]
