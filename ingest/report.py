"""What an ingestion tells: how far it is, and what it has done."""

from __future__ import annotations

from dataclasses import dataclass, field

from rag.locations import source_of


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that did not become a document, and why, in one line.

    Attributes:
        passing: whether store or model failed rather than the file: the same file may fare better later.
    """

    source: str
    error: str
    uri: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingestion is.

    Attributes:
        files: files that are done with, of `files_total`.
        size: their bytes, of `size_total`.
        chunks: embedded so far, or found in the index with their vectors.
        seconds: since the start.
    """

    files: int
    files_total: int
    size: int
    size_total: int
    chunks: int
    seconds: float


@dataclass(slots=True)
class IngestReport:
    """What an ingestion did, in documents; `chunks` and `tokens` count what was written.

    Attributes:
        skipped: walked files of a type that no reader takes.
        tokens: of the embedded strings, special tokens included.
        seconds: wall time.
        left: files that were not looked at, because the run was ended.
        optimized: seconds that it then took to optimize the index; None where it was not.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    skipped: int = 0
    chunks: int = 0
    tokens: int = 0
    seconds: float = 0.0
    left: int = 0
    optimized: float | None = None
    failures: list[Failure] = field(default_factory=list)

    def fail(self, uri: str, reason: str, *, passing: bool = False) -> None:
        """Records a file that failed."""
        self.failed += 1
        self.failures.append(Failure(source_of(uri), " ".join(reason.split()), uri, passing))
