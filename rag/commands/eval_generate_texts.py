"""What `rag eval generate` says: the estimate, the progress, the summary."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.evaluation.generate import Spent, Wanted
    from rag.evaluation.generate_estimate import Estimate
    from rag.evaluation.generate_files import QuestionFiles


def way_on(wanted: Wanted, files: QuestionFiles) -> str:
    """What a run that is cut short leaves."""
    from rag.rendering.text import counted

    return f"{counted(wanted.kept(files), 'question')} kept in {files.out}: the same command goes on from there"


def announcement(wanted: Wanted, files: QuestionFiles, cost: Estimate) -> str:
    """What is there, and what the rest will cost."""
    most, least = cost.most, cost.least
    lines = []
    if kept := wanted.kept(files):
        lines.append(f"{files.out} has {kept} of {wanted.total} questions.")
    if not most.requests:
        return "\n".join([*lines, "There is nothing left to ask."])
    lines.append(
        f"Estimate: {_range(least.requests, most.requests)} requests with about "
        f"{_range(least.prompt_tokens, most.prompt_tokens)} tokens to read and "
        f"{_range(least.completion_tokens, most.completion_tokens)} to write."
    )
    lines.append(
        "The more are rejected, the more it takes. Tokens are guessed from the characters, and what a model thinks "
        "before it writes is not among them."
    )
    return "\n".join(lines)


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def summary(wanted: Wanted, files: QuestionFiles, spent: Spent) -> str:
    """What there is now, by language, and what this run has cost."""
    from rag.language import name
    from rag.rendering.text import counted

    lines = []
    for language in wanted.languages:
        rejections = ", ".join(f"{count} {reason}" for reason, count in files.rejections(language).items())
        kept = f"{name(language, 'en')}: {files.kept(language)} of {wanted.questions} kept"
        lines.append(kept + (f"; rejected: {rejections}" if rejections else ""))
    usage = spent.usage
    lines.append(
        f"{counted(usage.requests, 'request')}, {usage.prompt_tokens:,} tokens read and "
        f"{usage.completion_tokens:,} written in {spent.seconds:.1f} s"
        + (f"; {spent.failed} failed" if spent.failed else "")
    )
    left = [passages for missing, passages in wanted.outstanding(files).values() if missing]
    if any(left):
        lines.append("The same command asks again about the passages of requests that failed.")
    elif left:
        lines.append("No passage is left to ask about: a higher --per-document gives more, and so do wider filters.")
    if any("not found" in files.rejections(language) for language in wanted.languages):
        lines.append(f"Figures measured with those kept are too good; the others are in {files.rejected}.")
    return "\n".join(lines)


def fields(wanted: Wanted, files: QuestionFiles, cost: Estimate, spent: Spent, *, dry_run: bool) -> str:
    """The summary for --json; `usage`, `failed` and `seconds` are of this run, the rest of all that went before too."""
    from rag.rendering.records import to_json

    return to_json(
        {
            "out": str(files.out),
            "rejected_file": str(files.rejected),
            "dry_run": dry_run,
            "passages": len(wanted.passages),
            "languages": [
                {
                    "language": language,
                    "wanted": wanted.questions,
                    "kept": files.kept(language),
                    "rejected": dict(files.rejections(language)),
                }
                for language in wanted.languages
            ],
            "estimate": asdict(cost),
            "usage": asdict(spent.usage),
            "failed": spent.failed,
            "seconds": round(spent.seconds, 3),
        }
    )


class Line:
    """A progress line on stderr; nothing where stderr is no terminal."""

    def __init__(self, wanted: Wanted, files: QuestionFiles) -> None:
        self._wanted, self._files = wanted, files
        self._show: Callable[[], None] | None = None

    def __enter__(self) -> Line:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.fields[done]}"), BarColumn(), TextColumn("ETA"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            total = self._wanted.total
            task = self._bar.add_task("", total=total, done="asking")

            def show() -> None:
                rejected = sum(sum(self._files.rejections(each).values()) for each in self._wanted.languages)
                kept = self._wanted.kept(self._files)
                self._bar.update(task, completed=kept, done=f"{kept}/{total} kept, {rejected} rejected")

            self._show = show
            show()
        return self

    def __exit__(self, *error: object) -> None:
        if self._show:
            self._bar.stop()

    def update(self) -> None:
        """Shows the latest state."""
        if self._show:
            self._show()
