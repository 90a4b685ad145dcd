"""A whole run: pairs, tokenizer, teacher, three stages, export. What is done is kept, so a killed run goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from rag import checkpoint
from rag.errors import DiskError, InputError
from rag.training import export, parallel, prepare, record, stages, student
from rag.training import tokenizer as tokenizers
from rag.training.card import card
from rag.training.heads import HeadsStage
from rag.training.recipe import Recipe
from rag.training.sampling import Sampler
from rag.training.stages import Event, Tell
from rag.training.static import StaticStage
from rag.training.tokens import Floats, Pairs, Texts
from rag.training.transformer import TransformerStage


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be trained, out of what.

    Attributes:
        teacher: folder or hub id of a sentence-transformers model.
        parallel: folder of `en-TAG.tsv[.gz]`.
        out: folder of the student; must not exist.
        work: folder of what is kept while the run lasts.
        recipe: languages, sizes, steps.
        seed: of everything that is drawn.
        init: a student to start from, in BGE-M3's layout, as `--model` names one; its tokenizer and sizes are taken
            over.
        tokenizer: a checkpoint whose tokenizer a new student takes over, likewise.
    """

    teacher: str
    parallel: Path
    out: Path
    work: Path
    recipe: Recipe
    seed: int = 0
    init: str | None = None
    tokenizer: str | None = None


def distill(run: Run, tell: Tell) -> dict[str, float]:
    """Trains the student and writes it to `run.out`.

    Two runs of the same recipe, data and seed end with the same weights, on one machine with the same number of
    threads; so do a run that was never stopped and one that was killed and started again.

    Returns:
        Accuracy@1 among the held-out pairs, by language.

    Raises:
        InputError: something that was asked for cannot be used.
        CheckpointError: `init` or `tokenizer` is no usable checkpoint.
        ModelUnavailableError: the teacher cannot be loaded, or `init` or `tokenizer` is not there.
        DiskError: a checkpoint or the student cannot be written; what was written before stays.
    """
    _require_usable(run)
    init = checkpoint.locate(run.init) if run.init else None
    spoken = checkpoint.locate(run.tokenizer) if run.tokenizer else None
    start = checkpoint.inspect(init, str(run.init)).fingerprint if init else None
    files = parallel.files(run.parallel, run.recipe.data.languages)
    taken = tokenizers.digest(spoken) if spoken else None
    wanted = record.begun(run.recipe, run.teacher, files.values(), run.seed, start, taken)
    try:
        run.out.absolute().parent.mkdir(parents=True, exist_ok=True)
        run.work.mkdir(parents=True, exist_ok=True)
        with FileLock(run.work / ".lock", timeout=0):
            known = record.claim(run.work, wanted)
            with _told(run.work / "log.jsonl", tell) as say, _deterministic():
                say({"event": "started", "resumed": known, "threads": torch.get_num_threads()})
                return _train(run, init, spoken, say)
    except Timeout as error:
        raise InputError(
            f"{run.work} is in use by another run: wait for it, or give another folder (--work)"
        ) from error
    except OSError as error:  # what is read has been read by then, or is told by those who read it
        raise DiskError(
            f"{error.filename or run.work} cannot be written ({error.strerror or error}): what was done before stays; "
            "make room, then start the same command again"
        ) from error


def _require_usable(run: Run) -> None:
    if run.out.exists():
        raise InputError(f"--out {str(run.out)!r} exists already: give a new folder, or remove it")
    out, work = run.out.resolve(), run.work.resolve()
    if out == work or out in work.parents:
        raise InputError(f"--work {str(run.work)!r} would lie in --out {str(run.out)!r}: give it a place of its own")
    if run.init and run.tokenizer:
        raise InputError("--init and --tokenizer exclude each other: a student that exists has its tokenizer")
    if run.init and "student" in run.recipe.model_fields_set:
        raise InputError(f"the recipe sets [student], and --init takes over the sizes of {run.init!r}: leave one out")


def _train(run: Run, init: Path | None, spoken: Path | None, tell: Tell) -> dict[str, float]:
    recipe = run.recipe
    text = parallel.read(run.parallel, recipe.data, run.seed)
    for left_out in text.left_out:
        tell({"event": "left out", "file": left_out.file, "lines": left_out.lines, "first": left_out.first})
    tokenizer = prepare.tokenizer(run.work, text, recipe, init or spoken, run.seed, tell)
    trained = student.load(init, run.seed) if init else None
    place = _placing(trained, tokenizer) if trained else None
    pairs = prepare.pairs(run.work, text, recipe, run.teacher, run.seed, tell, place)
    sampler = Sampler(pairs, run.seed)
    if trained is None:
        trained = _from_nothing(run, sampler, tokenizer, tell)
    if recipe.transformer.steps:
        part = recipe.transformer
        whole = TransformerStage(sampler, trained, rate=part.rate, batch=part.batch, seed=run.seed)
        _carry_out(whole, part.steps, run, pairs, tell)
    part = recipe.heads
    heads = HeadsStage(sampler, trained, rate=part.rate, batch=part.batch, seed=run.seed)
    if not init and not stages.begun(heads, run.work):
        heads.fit_sparse()  # without any step, too: random weights would rank, and look fine
    if part.steps:
        _carry_out(heads, part.steps, run, pairs, tell)
    accuracy = stages.held_out_accuracy(trained.vectors, pairs)
    export.export(trained, tokenizer, card(run.out.name, recipe, run.teacher, run.init, text, accuracy), run.out)
    found = checkpoint.inspect(run.out, str(run.out))
    tell({"event": "done", "out": str(run.out), "fingerprint": found.fingerprint, "accuracy": accuracy})
    return accuracy


def _from_nothing(run: Run, sampler: Sampler, tokenizer: Path, tell: Tell) -> student.Student:
    """A new student, begun as a bag of tokens."""
    vocabulary = tokenizers.load(tokenizer).get_vocab_size()
    made = student.Student(student.configuration(run.recipe.student, vocabulary), run.seed)
    part = run.recipe.static
    bag = StaticStage(sampler, vocabulary, rate=part.rate, batch=part.batch, seed=run.seed)
    if part.steps:
        _carry_out(bag, part.steps, run, sampler.pairs, tell)
    student.start_from_bag(made, bag.module)
    return made


def _carry_out(stage: stages.Trained, steps: int, run: Run, pairs: Pairs, tell: Tell) -> None:
    stages.run(stage, pairs, steps=steps, checkpoint=run.recipe.checkpoint, folder=run.work, tell=tell)


def _placing(trained: student.Student, tokenizer: Path) -> prepare.Placing:
    """Where a student puts English texts now: the space that a teacher's vectors are to be turned into."""
    spoken = tokenizers.load(tokenizer)

    def place(texts: list[str]) -> Floats:
        return trained.vectors(Texts(*tokenizers.encode(spoken, texts, prepare.LONGEST)))

    return place


@contextmanager
def _told(path: Path, tell: Tell) -> Iterator[Tell]:
    """Keeps what a run says of itself beside its checkpoints, with the seconds since this start."""
    began = time.monotonic()
    with path.open("a", encoding="utf-8") as stream:

        def say(event: Event) -> None:
            stream.write(json.dumps({"seconds": round(time.monotonic() - began, 1), **event}) + "\n")
            stream.flush()
            tell(event)

        yield say


@contextmanager
def _deterministic() -> Iterator[None]:
    """Operations that give the same bits each time, for the length of a run."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
