"""The work of `rag tune retrieval`: candidates are fetched and scored once, whatever is tried on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag import build, build_retrieval
from rag.centring import centred
from rag.commands.progress import progress
from rag.commands.stored_documents import KnownSources
from rag.errors import InputError
from rag.evaluation import beir, bitext, gold
from rag.evaluation.scoring import embed
from rag.evaluation.tuning import Outcome, Tried, choose, grid
from rag.evaluation.tuning_candidates import Candidates, of_dataset, of_index
from rag.evaluation.tuning_scores import Objective, try_all
from rag.evaluation.windows import refuse_long_questions
from rag.tuned import Tuned, write
from rag.types import IndexInfo, Where

if TYPE_CHECKING:
    from rag_config.settings import Settings

    from rag.evaluation.datasets import Dataset
    from rag.fusion import Ranking
    from rag.ports import Embedder

_DEPTH = 200
"""Candidates of each vector; rankings are told apart by the first ten."""
_LANGUAGE_DEPTH = 101
"""Of each language: one more than the highest level that may be tried is made of."""
_DEPTHS = (10, 25, 50, 100, 200)
_QUESTIONS_AT_ONCE = 256
_EQUAL = 0.001
"""nDCG@10 that is worth no further candidates."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for.

    Attributes:
        data: folder of a data set; None to tune on an index.
        gold: questions over the index; None to tune on a data set.
        languages: primary tags; empty for all that there are.
        save: whether what is found is put beside the index.
    """

    data: Path | None
    gold: Path | None
    objective: Objective
    folds: int
    sparse_weights: tuple[float, ...]
    level_ks: tuple[int, ...]
    languages: tuple[str, ...]
    max_questions: int | None
    save: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What came out.

    Attributes:
        depths: of an index, candidates taken from each vector, and what the best ranking is worth with so many.
        saved: the file that was written; None where none was.
        remarks: what a reader of the figures must know; one line each.
    """

    dataset: Dataset
    model: str
    fingerprint: str
    objective: Objective
    tried: Tried
    outcome: Outcome
    depths: tuple[tuple[int, float], ...]
    saved: Path | None
    remarks: tuple[str, ...]


def tune(settings: Settings, choice: Choice) -> Found:
    """Tries all rankings and keeps the best, where it is better beyond doubt.

    Raises:
        InputError: questions, grid or settings cannot be used.
        NotConfiguredError: there is no index, or the model does not fit it.
        DiskError: what was found cannot be saved.
    """
    if choice.save:
        _require_folder(settings)
    index = _index(settings) if choice.gold or choice.save else None
    found = build.checkpoint(settings, index)
    embedder, present = build.embedder(settings, found), build_retrieval.ranking(settings, found)
    if index:
        _require_fit(settings, embedder)
    if present.mode != "hybrid":
        # Of the vectors alone, as it is: what is tried beside it is compared with the same candidates.
        present = replace(present, centring=0.0)
    rankings = grid(present, choice.sparse_weights, choice.level_ks)
    if choice.gold:
        dataset, candidates, remarks = _over_index(choice.gold, settings, embedder, choice, rankings[0])
    else:
        assert choice.data is not None, "neither a data set nor questions"
        dataset, candidates, remarks = _over_dataset(choice.data, embedder, choice, rankings[0])
    with progress("trying") as show:
        tried = try_all(dataset, candidates, rankings, choice.objective, show)
    outcome = choose(tried, choice.folds)
    depths = _depths(dataset, candidates, outcome.chosen, settings, choice) if choice.gold else ()
    saved = None
    if choice.save and outcome.certain:
        tuned = _tuned(outcome, dataset, embedder.fingerprint, choice.objective)
        tuned = replace(tuned, depth=enough(depths, build_retrieval.depth(settings, found)) if depths else None)
        saved = write(settings.store.path / settings.store.collection, tuned)
        remarks = [*remarks, *_in_the_way(settings, tuned, present)]
    model, fingerprint = embedder.model, embedder.fingerprint
    return Found(dataset, model, fingerprint, choice.objective, tried, outcome, depths, saved, tuple(remarks))


def _over_dataset(
    path: Path, embedder: Embedder, choice: Choice, present: Ranking
) -> tuple[Dataset, Candidates, list[str]]:
    if bitext.is_bitext(path):
        raise InputError(f"{str(path)!r} is bitext, which no index holds: give a folder with corpus.jsonl")
    dataset = _chosen(beir.read(path), choice)
    with progress(f"embedding with {embedder.model}") as show:
        vectors = embed(dataset, embedder, show)
    return dataset, of_dataset(dataset, vectors, present), [*dataset.remarks, *vectors.remarks]


def _over_index(
    path: Path, settings: Settings, embedder: Embedder, choice: Choice, present: Ranking
) -> tuple[Dataset, Candidates, list[str]]:
    with closing(build.store(settings)) as store:
        documents = list(store.documents())
        dataset = _chosen(gold.read(path, documents, KnownSources(documents).one), choice)
        refuse_long_questions(dataset, embedder)
        texts = [question.text for question in dataset.questions]
        where = Where(languages=choice.languages)
        queries = [
            store.weighted(query, where)
            for first in range(0, len(texts), _QUESTIONS_AT_ONCE)
            for query in embedder.embed_queries(texts[first : first + _QUESTIONS_AT_ONCE])
        ]
        own = [query.sparse.own_score for query in queries]
        centre = store.centre(where) if present.centring else None
        if centre is not None:
            queries = [replace(each, dense=centred(each.dense, centre, present.centring)) for each in queries]
        with progress("searching") as show:
            candidates = of_index(
                dataset,
                lambda at: store.candidates(queries[at], _DEPTH, where, language_depth=_LANGUAGE_DEPTH),
                own,
                show,
            )
    return dataset, candidates, list(dataset.remarks)


def _depths(
    dataset: Dataset, candidates: Candidates, ranking: Ranking, settings: Settings, choice: Choice
) -> tuple[tuple[int, float], ...]:
    of_each = max(settings.retrieval.language_depth, ranking.level_k + 1) if ranking.normalizes else 0
    return tuple(
        (depth, float(try_all(dataset, candidates.nearest(depth, of_each), [ranking], choice.objective).values()[0]))
        for depth in _DEPTHS
    )


def enough(depths: Sequence[tuple[int, float]], present: int) -> int:
    """The smallest depth that is worth as much as any, never below the present one.

    Questions whose answers are found easily are no reason to look less far for others.
    """
    best = max(value for _, value in depths)
    enough = [depth for depth, value in depths if depth > present and value >= best - _EQUAL]
    at_present = max((value for depth, value in depths if depth <= present), default=best)
    return present if at_present >= best - _EQUAL or not enough else min(enough)


def _chosen(dataset: Dataset, choice: Choice) -> Dataset:
    """Raises InputError where there are too few questions, before anything is embedded."""
    dataset = dataset.narrowed(choice.languages) if choice.languages else dataset
    dataset = dataset.sampled(choice.max_questions) if choice.max_questions else dataset
    count = len({question.group for question in dataset.questions})
    if count < choice.folds:
        raise InputError(
            f"{dataset.name} has {count} question{'' if count == 1 else 's'} (translations count as one), too few for "
            f"{choice.folds} folds: add some, as with `rag eval generate`"
        )
    return dataset


def _require_folder(settings: Settings) -> None:
    """Raises InputError where the index is in none."""
    if settings.store.url:
        raise InputError(
            f"--save: the collection {settings.store.collection!r} is on a server, which keeps no such values: leave "
            "--save out, and put the lines that are shown into rag.toml"
        )


def _index(settings: Settings) -> IndexInfo:
    """Raises IndexMissingError where there is none."""
    with closing(build.store(settings)) as store:
        return store.info()


def _require_fit(settings: Settings, embedder: Embedder) -> None:
    """Refuses what would only fail after minutes."""
    with closing(build.store(settings)) as store:
        build.require_fit(store, embedder, settings)


def _tuned(outcome: Outcome, dataset: Dataset, fingerprint: str, objective: Objective) -> Tuned:
    chosen, gain = outcome.chosen, outcome.gain
    return Tuned(
        chosen.method,
        chosen.dense_weight,
        chosen.sparse_weight,
        chosen.level_k,
        chosen.coverage,
        chosen.centring,
        fingerprint,
        dataset.name,
        outcome.questions,
        objective,
        gain.mean,
        gain.low,
        gain.high,
    )


def _in_the_way(settings: Settings, tuned: Tuned, present: Ranking) -> Sequence[str]:
    """Settings that go before what was saved and say something else."""
    if present.mode != "hybrid":
        return [f"setting retrieval.mode is {present.mode!r}, which uses none of what was saved: take it out"]
    given = settings.retrieval
    return [
        f"setting retrieval.{name} is {value!r} and goes before what was saved: take it out"
        for name in ("fusion", "dense_weight", "sparse_weight", "level_k", "coverage", "centring", "depth")
        if (value := getattr(given, name)) is not None and value != getattr(tuned, name)
    ]
