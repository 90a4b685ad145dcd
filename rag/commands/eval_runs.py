"""The runs of `rag eval retrieval`: each embedding model is loaded and asked once, whatever runs use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rag.commands.progress import progress
from rag.commands.shared import load_settings
from rag.errors import InputError
from rag.evaluation import beir, bitext, gold, specs
from rag.evaluation.gates import Gate, require_known
from rag.evaluation.late_interaction import ColbertRanker, TokenEmbedder, TokenVectors
from rag.evaluation.measure import Measured, evaluate, truncations
from rag.evaluation.results import Comparison
from rag.evaluation.scoring import ExactRanker, Ranker, Vectors, embed
from rag.evaluation.significance import compare
from rag.evaluation.specs import Reranking, RunSpec
from rag.fusion import Ranking
from rag.types import Passage, Where

if TYPE_CHECKING:
    from rag_config.settings import Settings

    from rag.evaluation.datasets import Dataset
    from rag.ports import Embedder

_AS_SET = RunSpec(None, {})


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for.

    Attributes:
        retrieval: settings of the group `retrieval` for all runs.
        runs: what each has of its own; empty for one run as the settings say.
        languages: primary tags; empty for all that there are.
    """

    store: str | None
    collection: str | None
    model: str | None
    retrieval: Mapping[str, str]
    runs: tuple[RunSpec, ...]
    languages: tuple[str, ...]
    max_questions: int | None
    gates: tuple[Gate, ...]

    def settings(self) -> list[Settings]:
        """Of each run."""
        return [
            load_settings(
                store=self.store,
                collection=self.collection,
                model=run.model or self.model,
                more={"retrieval": {**self.retrieval, **run.retrieval}},
            )
            for run in self.runs or (_AS_SET,)
        ]


@dataclass(frozen=True, slots=True)
class Results:
    """What came out.

    Attributes:
        comparisons: of the first run with each other one.
        remarks: what a reader of the figures must know; one line each.
    """

    measured: tuple[Measured, ...]
    comparisons: tuple[Comparison, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    settings: Settings
    embedder: Embedder
    ranking: Ranking
    reranking: Reranking | None
    name: str


def over_dataset(paths: Sequence[Path], choice: Choice) -> Results:
    """Measures over a folder of documents and questions, or over files and folders of bitext.

    Raises:
        InputError: the data set, a gate or a setting cannot be used.
    """
    dataset = _sampled(_read(paths, choice), choice)
    runs = _runs(choice)
    vectors: dict[str, Vectors] = {}
    for run in runs:
        if run.embedder.model not in vectors:
            with progress(f"embedding with {run.embedder.model}") as show:
                vectors[run.embedder.model] = embed(dataset, run.embedder, show)
    tokens = {run.embedder.model: TokenVectors.of(dataset, _token_embedder(run)) for run in runs if run.reranking}
    cut = {model: truncations(dataset, found) for model, found in vectors.items() if _uses_dense(runs, model)}
    measured = []
    for run in runs:
        found = vectors[run.embedder.model]
        measured.append(
            evaluate(
                dataset,
                _ranker(dataset, found, run, tokens.get(run.embedder.model)),
                name=run.name,
                model=run.embedder.model,
                fingerprint=run.embedder.fingerprint,
                truncations=() if run.ranking.mode == "sparse" else cut[run.embedder.model],
                seconds=found.seconds,
            )
        )
    remarks = [*dataset.remarks, *(remark for found in vectors.values() for remark in found.remarks)]
    return _compared(measured, remarks)


def _ranker(dataset: Dataset, found: Vectors, run: _Run, tokens: TokenVectors | None) -> Ranker:
    exact = ExactRanker(dataset, found, run.ranking)
    after = run.reranking
    if after is None or tokens is None:
        return exact
    return ColbertRanker(dataset, exact, tokens, run.ranking, depth=after.depth, weight=after.weight)


def _token_embedder(run: _Run) -> TokenEmbedder:
    """Raises InputError where the run's reranker works over an index alone, or the model has no vectors of tokens."""
    assert run.reranking is not None
    if run.reranking.reranker != "colbert":
        raise InputError(
            f"the reranker {run.reranking.reranker!r} is measured over an index alone: give --gold FILE, or "
            "rerank=colbert"
        )
    if not hasattr(run.embedder, "late_interaction"):
        raise InputError(
            f"rerank=colbert: {run.embedder.model!r} makes no vectors of tokens: use a model in BGE-M3's layout"
        )
    return cast("TokenEmbedder", run.embedder)


def over_index(path: Path, choice: Choice) -> Results:
    """Measures the index as it is, through the pipeline that answers questions.

    Raises:
        InputError: the questions, a gate or a setting cannot be used.
        NotConfiguredError: there is no index, or a run's model does not fit it.
    """
    from rag import build
    from rag.commands.stored_documents import KnownSources

    runs = _runs(choice)
    with closing(build.store(runs[0].settings)) as index:
        documents = list(index.documents())
    dataset = gold.read(path, documents, KnownSources(documents).one)
    dataset = _sampled(dataset.narrowed(choice.languages) if choice.languages else dataset, choice)
    everywhere = Where(languages=choice.languages)
    return _compared([_through_the_pipeline(run, dataset, everywhere) for run in runs], list(dataset.remarks))


def _through_the_pipeline(run: _Run, dataset: Dataset, everywhere: Where) -> Measured:
    from rag import build, build_retrieval
    from rag.api import open_rag
    from rag.evaluation.indexed import IndexRanker

    searches = len(dataset.questions) * (len(dataset.document_languages) + 1)  # at most
    depth = build_retrieval.depth(run.settings, build.checkpoint(run.settings))
    with open_rag(run.settings) as rag, progress(run.name) as show:

        def retrieve(question: str, where: Where) -> Sequence[Passage]:
            return rag.retrieve(question, k=depth, where=where)

        return evaluate(
            dataset,
            IndexRanker(dataset, retrieve, everywhere=everywhere, on_search=lambda done: show(done, searches)),
            name=run.name,
            model=run.embedder.model,
            fingerprint=run.embedder.fingerprint,
        )


def _read(paths: Sequence[Path], choice: Choice) -> Dataset:
    if all(bitext.is_bitext(path) for path in paths):
        return bitext.read(paths, choice.languages)
    if len(paths) > 1:
        other = next(path for path in paths if not bitext.is_bitext(path))
        raise InputError(
            f"{str(other)!r} is no .tsv, no .tsv.gz and no folder of them, which alone can be several: give one folder"
        )
    _require_folder(paths[0])
    dataset = beir.read(paths[0])
    return dataset.narrowed(choice.languages) if choice.languages else dataset


def _require_folder(path: Path) -> None:
    """Raises InputError for what is there and no data set."""
    accepted = "give a folder with corpus.jsonl and queries.jsonl, or bitext as .tsv or .tsv.gz"
    if path.is_file():
        raise InputError(f"{str(path)!r} is a file of another kind: {accepted}")
    if path.is_dir() and not any((path / name).is_file() for name in ("corpus.jsonl", "queries.jsonl")):
        raise InputError(f"{str(path)!r} holds no data set: {accepted}")


def _sampled(dataset: Dataset, choice: Choice) -> Dataset:
    if choice.max_questions:
        dataset = dataset.sampled(choice.max_questions)
    require_known(choice.gates, dataset)
    return dataset


def _runs(choice: Choice) -> list[_Run]:
    """Raises InputError where two runs are the same."""
    from rag import build, build_retrieval

    settings = choice.settings()
    several = len({each.embedder.model for each in settings}) > 1
    runs: list[_Run] = []
    for each in settings:
        found = build.checkpoint(each)
        embedder, ranking = build.embedder(each, found), build_retrieval.ranking(each, found)
        asked = each.retrieval
        after = Reranking(asked.reranker, asked.rerank_depth, asked.rerank_weight) if asked.reranker != "off" else None
        name = specs.name(ranking, embedder.model if several else None, after)
        if name in {run.name for run in runs}:
            raise InputError(f"--compare: two runs are {name!r}: leave one out")
        runs.append(_Run(each, embedder, ranking, after, name))
    return runs


def _uses_dense(runs: Sequence[_Run], model: str) -> bool:
    return any(run.embedder.model == model and run.ranking.mode != "sparse" for run in runs)


def _compared(measured: Sequence[Measured], remarks: Sequence[str]) -> Results:
    first, *others = measured
    return Results(
        tuple(measured),
        tuple(compare(first, other) for other in others),
        tuple(remarks),
    )
