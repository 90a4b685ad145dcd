"""How far an ingestion is, in a line on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.report import Progress


class ProgressLine:
    """The line; nothing where it is to be silent."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent
        self._update: Callable[[Progress], None] | None = None

    def __enter__(self) -> ProgressLine:
        if not self._silent:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.fields[done]}"),
                BarColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            task = self._task = self._bar.add_task("", total=None, done="reading")

            def update(progress: Progress) -> None:
                rate = progress.chunks / progress.seconds if progress.seconds else 0.0
                done = f"{progress.files}/{progress.files_total} files, {progress.chunks} chunks, {rate:.0f} chunks/s"
                self._bar.update(task, total=progress.size_total, completed=progress.size, done=done)

            self._update = update
        return self

    def __exit__(self, *error: object) -> None:
        if self._update:
            self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Takes the latest state."""
        if self._update:
            self._update(progress)

    def optimize(self, new: int) -> None:
        """Says that the documents are done and what is waited for now."""
        if self._update:
            self._bar.update(
                self._task, total=None, done=f"optimizes the index for {new:,} new passages, which answers"
            )
