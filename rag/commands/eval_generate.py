"""`rag eval generate`: questions from the documents of the index, to measure its search with."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.commands.shared import filter_options, load_settings, shared_options

if TYPE_CHECKING:
    from rag_config.settings import Settings

    from rag.evaluation.generate import RoundTrip, Spent, Wanted
    from rag.evaluation.generate_files import QuestionFiles
    from rag.ports import PassageStore
    from rag.types import Where


@click.command(short_help="Make questions for an evaluation from the documents of the index.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Questions, one JSON object a line; what is there already is gone on with.",
)
@click.option("--lang", "language", multiple=True, required=True, metavar="L", help="Language to ask in; repeatable.")
@click.option(
    "--questions",
    default=20,
    show_default=True,
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Questions to keep in each language.",
)
@click.option(
    "--per-document",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Most passages of one document to ask about.",
)
@click.option("--seed", default=0, show_default=True, metavar="N", help="Another one chooses other passages.")
@click.option(
    "-k",
    "--k",
    "count",
    default=10,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Keep a question if its document is among the first N passages.",
)
@filter_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost; ask the language model nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@shared_options
def generate(
    out: Path,
    language: tuple[str, ...],
    questions: int,
    per_document: int,
    seed: int,
    count: int,
    languages: tuple[str, ...],
    not_languages: tuple[str, ...],
    source: tuple[str, ...],
    where: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    as_json: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Make questions from the documents of the index, with the configured language model (RAG_LLM__MODEL).

    Passages are drawn from all documents and languages; --in, --source and --where narrow that. Each is asked about in
    every --lang. A question is kept if the search finds its document; so figures measured with those kept are too
    good, above all for the model and ranking that did the looking. What is rejected goes, with the reason, into
    gold.rejected.jsonl beside gold.jsonl.

    Says first what it will cost, and asks. A run that was cut short goes on when it is started again.

    \b
    rag eval generate --out gold.jsonl --lang de --lang ja --dry-run
    rag eval generate --out gold.jsonl --lang de --lang ja --questions 50 --yes
    # Questions about French policies alone:
    rag eval generate --out policies.jsonl --lang en --in fr --source 'policies/*'
    """
    from rag import build
    from rag.commands.eval_generate_texts import announcement, fields, summary
    from rag.errors import InputError, NotConfiguredError
    from rag.evaluation.generate import Spent
    from rag.evaluation.generate_estimate import estimate
    from rag.filters import where_from

    if not (yes or dry_run or sys.stdin.isatty()):
        raise InputError(
            "nobody can be asked, as the input is no terminal: give --yes to go ahead, --dry-run to see what it costs"
        )
    settings = load_settings(store=store, collection=collection, model=model)
    if not settings.llm.model:
        raise NotConfiguredError("no language model is configured: set RAG_LLM__MODEL, or run `rag init`")
    drawn_from = where_from(languages, source, where, not_languages)
    choice = _Choice(out, _tags(language), questions, per_document, seed, count, drawn_from)
    with closing(build.store(settings)) as index:
        run = _prepared(settings, index, choice)
        cost = estimate(run.wanted.outstanding(run.files))
        spent = Spent()
        click.echo(announcement(run.wanted, run.files, cost), err=True)
        if cost.most.requests and not dry_run:
            if not (yes or click.confirm("Ask the language model?", err=True)):
                click.echo("rag: nothing was asked", err=True)
                return 1
            _carry_out(settings, run, spent)
    if as_json:
        click.echo(fields(run.wanted, run.files, cost, spent, dry_run=dry_run))
    elif not dry_run:
        click.echo(summary(run.wanted, run.files, spent), err=True)
    return 1 if spent.failed and run.wanted.kept(run.files) < run.wanted.total else 0


@dataclass(frozen=True, slots=True)
class _Choice:
    """What was asked for on the command line."""

    out: Path
    languages: tuple[str, ...]
    questions: int
    per_document: int
    seed: int
    k: int
    where: Where

    def options(self) -> dict[str, str]:
        """As a message can name them."""
        return {
            "--lang": " ".join(self.languages),
            "--questions": str(self.questions),
            "--per-document": str(self.per_document),
            "--seed": str(self.seed),
            "--k": str(self.k),
            "--in": " ".join(self.where.languages),
            "--source": " ".join(self.where.sources),
            "--where": " ".join(f"{key}={value}" for key, value in sorted(self.where.metadata.items())),
        }


@dataclass(frozen=True, slots=True)
class _Run:
    """All that a run needs but the language model."""

    wanted: Wanted
    files: QuestionFiles
    round_trip: RoundTrip


def _tags(words: tuple[str, ...]) -> tuple[str, ...]:
    from rag.language import parse_tag

    return tuple(dict.fromkeys(parse_tag(word) for word in words))


def _prepared(settings: Settings, index: PassageStore, choice: _Choice) -> _Run:
    """Draws the passages and reads what an earlier run has left.

    Raises:
        InputError: there is nothing to ask about, or the earlier run was begun with something else.
        NotConfiguredError: the index or its model cannot be used.
    """
    from rag import build, build_retrieval
    from rag.errors import InputError
    from rag.evaluation import generate, generate_passages
    from rag.evaluation.generate_files import QuestionFiles
    from rag.identity import text_hash
    from rag.rendering.text import counted
    from rag.stores.tenants import require_tenant
    from rag.types import Where

    info = index.info()
    require_tenant(choice.where, info.tenant_key)
    found = build.checkpoint(settings, info)
    embedder = build.embedder(settings, found)
    build.require_fit(index, embedder, settings)
    ranking = build_retrieval.ranking(settings, found)
    documents = generate_passages.documents(index, choice.where)
    digest = text_hash("\n".join(f"{document.uri} {document.version}" for document in documents))
    ranked_by = {**asdict(ranking), "depth": build_retrieval.depth(settings, found)}
    begun = {
        **choice.options(),
        "the language model": settings.llm.model or "",
        "the embedding model": f"{embedder.model} ({embedder.fingerprint})",
        "the ranking": " ".join(f"{key}={value}" for key, value in ranked_by.items()),
        "an index of": f"{counted(len(documents), 'document')} (digest {digest})",
    }
    files = QuestionFiles(choice.out, begun)
    drawn = generate_passages.passages(index, choice.where, per_document=choice.per_document, seed=choice.seed)
    passages = list(islice(drawn, generate.PASSAGES_A_QUESTION * choice.questions))
    if not passages:
        raise InputError(
            f"none of the index's documents that fit the filters ({len(documents)}) has a passage of "
            f"{generate_passages.ENOUGH_LETTERS} letters or more to ask about: `rag list` shows what there is"
        )
    # The question is looked for among everything its asker would search, not only where passages were drawn from.
    tenant = {info.tenant_key: choice.where.metadata[info.tenant_key]} if info.tenant_key else {}
    retriever = build_retrieval.retriever(settings, embedder, index, ranking, found)
    return _Run(
        generate.Wanted(choice.languages, choice.questions, passages),
        files,
        generate.RoundTrip(retriever, choice.k, Where(metadata=tenant)),
    )


def _carry_out(settings: Settings, run: _Run, spent: Spent) -> None:
    """Makes the questions.

    Raises:
        UnavailableError: the language model or the store does not answer; the message says how to go on.
    """
    from rag import build
    from rag.commands.eval_generate_texts import Line, way_on
    from rag.errors import UnavailableError
    from rag.evaluation.generate import generate as generate_questions

    with Line(run.wanted, run.files) as line:
        try:
            generate_questions(
                run.wanted,
                run.files,
                chat_model=build.language_model(settings),
                model=settings.llm.model or "",
                round_trip=run.round_trip,
                spent=spent,
                on_progress=line.update,
            )
        except UnavailableError as error:
            raise type(error)(f"{error}; {way_on(run.wanted, run.files)}") from error
        except KeyboardInterrupt:
            click.echo(f"rag: {way_on(run.wanted, run.files)}", err=True)
            raise
