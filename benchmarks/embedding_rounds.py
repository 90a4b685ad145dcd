"""Libraries that embed the same texts in turns, round after round: what `embedding_speed` measures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from benchmarks import record
from benchmarks.checkpoints import memory_mib, useful_flops
from benchmarks.embedding_texts import Texts
from benchmarks.processes import PEERS, Done, Program, WorkError, make_room
from rag.checkpoint import Checkpoint
from rag.embedders.bge_m3 import BgeM3Embedder

BESIDE = "FlagEmbedding"
"""What ratios are to."""
_LEAST_PASSAGES = 8
_QUESTIONS = 10
_WARM_UP = 4


@dataclass(frozen=True, slots=True)
class Variant:
    """A library with its settings.

    Attributes:
        batch: texts that it pads to the longest of them, `in_order` where it does not sort them before; 0 pads nothing.
    """

    name: str
    kind: str
    arguments: tuple[str, ...] = ()
    dtype: str = "float32"
    peer: bool = False
    batch: int = 0
    in_order: bool = False

    def program(self, found: Checkpoint) -> Program:
        """Its process, not started yet."""
        python = PEERS if self.peer else Path(sys.executable)
        return Program(self.name, "benchmarks.encoders", [self.kind, str(found.folder), *self.arguments], python)

    def padding(self, lengths: Sequence[int]) -> float:
        """Tokens that are computed for each that is there."""
        if not self.batch:
            return 1.0
        some = list(lengths) if self.in_order else sorted(lengths, reverse=True)
        batches = [some[start : start + self.batch] for start in range(0, len(some), self.batch)]
        return sum(max(each) * len(each) for each in batches) / sum(some)


VARIANTS = (
    *(
        Variant(f"ours {backend} {dtype}", "ours", (backend, dtype), dtype)
        for backend, dtypes in (
            ("torch", ("bfloat16", "float32")),
            ("openvino", ("bfloat16", "float32")),
            ("flagembedding", ("float32",)),
        )
        for dtype in dtypes
    ),
    Variant(BESIDE, "flagembedding", batch=256),
    Variant("SentenceTransformer", "sentence_transformers", batch=32),
    Variant("LangChain", "langchain", peer=True, batch=32),
    Variant("LlamaIndex", "llamaindex", peer=True, batch=10, in_order=True),
)


@dataclass(slots=True)
class Row:
    """What a variant has done.

    Attributes:
        failed: why there is nothing, or nothing more.
        texts: name of a task → the texts it gets.
        once: tasks that it does only in the first round.
        done: name of a task → its runs.
    """

    variant: Variant
    program: Program
    failed: str | None = None
    texts: dict[str, list[str]] = field(default_factory=dict)
    once: set[str] = field(default_factory=set)
    done: dict[str, list[Done]] = field(default_factory=dict)


class Comparison:
    """Rounds over all variants."""

    def __init__(
        self, found: Checkpoint, variants: Sequence[Variant], passages: int, document: int, longest: float
    ) -> None:
        """Args:
        passages: how many.
        document: tokens of the longer document; the shorter one has a quarter.
        longest: seconds of a run.
        """
        self._found, self._longest = found, longest
        self._count = BgeM3Embedder(found).count_tokens
        self._made = Texts(self._count)
        long, short = document, document // 4
        self.tasks: dict[str, list[str]] = {
            "passages": self._made.passages(passages),
            f"document of {short:,}": [self._made.text(short)],
            f"document of {long:,}": [self._made.text(long)],
        }
        self._lengths = {
            text: n for texts in self.tasks.values() for text, n in zip(texts, self._count(texts), strict=True)
        }
        self.rows = [Row(variant, variant.program(found)) for variant in variants]
        sizes = [str(size) for size in (found.hidden_size, found.intermediate_size, found.layers)]
        dtypes = sorted({variant.dtype for variant in variants})
        self._ceilings = {
            each: Program(f"ceiling {each}", "benchmarks.encoders", ["ceiling", *sizes, each]) for each in dtypes
        }
        self.ceilings: dict[str, list[float]] = {each: [] for each in dtypes}
        self._last: list[Program] = []

    def warm_up(self) -> None:
        """Starts everyone once, and finds what they can do in the time that there is."""
        some = self.tasks["passages"][:_WARM_UP]
        for row in self.rows:
            began = perf_counter()

            def first(row: Row = row) -> None:
                self._ask(row.program, "questions", texts=self._made.questions(2))
                self._ask(row.program, "passages", texts=some)
                seconds = self._ask(row.program, "passages", texts=some).seconds
                self._plan(row, useful_flops(self._found, self.lengths(some)) / seconds)

            self._try(row, first)
            record.progress(f"{row.variant.name}: {row.failed or f'ready after {perf_counter() - began:.0f} s'}")

    def round(self, number: int) -> None:
        """Everyone does everything once, beginning with another one than in the last round."""
        for dtype, program in self._ceilings.items():
            self.ceilings[dtype].append(float(self._ask(program, "ceiling", seconds=1.5).answer))
        questions = self._made.questions(_QUESTIONS)
        start = number % len(self.rows)
        for row in self.rows[start:] + self.rows[:start]:
            if row.failed:
                continue

            def work(row: Row = row) -> None:
                for task, texts in row.texts.items():
                    if not (number and task in row.once):
                        row.done.setdefault(task, []).append(self._ask(row.program, "passages", texts=texts))
                row.done.setdefault("questions", []).append(self._ask(row.program, "questions", texts=questions))

            began = perf_counter()
            self._try(row, work)
            record.progress(
                f"round {number + 1}, {row.variant.name}: {row.failed or f'{perf_counter() - began:.1f} s'}"
            )

    def close(self) -> None:
        """Ends all processes."""
        for program in [*self._ceilings.values(), *(row.program for row in self.rows)]:
            program.close()

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each of the tasks' texts."""
        return [self._lengths[text] for text in texts]

    def _plan(self, row: Row, speed: float) -> None:
        for task, texts in self.tasks.items():
            seconds = useful_flops(self._found, self.lengths(texts)) / speed
            if len(texts) == 1 and seconds > self._longest:
                row.once.add(task)
            fitting = min(len(texts), max(_LEAST_PASSAGES, round(len(texts) * self._longest / seconds)))
            row.texts[task] = texts[:fitting]

    def _try(self, row: Row, work: Callable[[], None]) -> None:
        try:
            work()
        except WorkError as error:
            row.failed = str(error)

    def _ask(self, program: Program, what: str, **given: object) -> Done:
        if not program.running:
            make_room(self._last, program.peak_mib * 1.2 or memory_mib(self._found))
            # What is only done by the first call after a start is no part of any run.
            if program.name.startswith("ceiling"):
                program.start()
            else:
                program.do("questions", texts=self._made.questions(2))
        self._last = [*(each for each in self._last if each is not program), program]
        return program.do(what, **given)
