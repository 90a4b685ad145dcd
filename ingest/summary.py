"""What an ingestion did, in a line for people and in fields for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.report import IngestReport

_COUNTS = ("added", "updated", "unchanged", "removed", "failed", "skipped")


def fields(report: IngestReport) -> dict[str, Any]:
    """As `ingest --json` prints them."""
    return {
        "documents": {name: getattr(report, name) for name in _COUNTS},
        "chunks": report.chunks,
        "tokens": report.tokens,
        "seconds": round(report.seconds, 3),
        "left": report.left,
        "optimized": None if report.optimized is None else round(report.optimized, 3),
        "failures": [{"source": failure.source, "error": failure.error} for failure in report.failures],
    }


def summary(report: IngestReport, *, dry_run: bool = False) -> str:
    """What is not nothing."""
    parts = [f"{getattr(report, name)} {name}" for name in _COUNTS]
    shown = [part for part in parts if not part.startswith("0 ")] or ["nothing to do"]
    done = "would be written" if dry_run else "written"
    optimized = "" if report.optimized is None else f", index optimized in {report.optimized:.1f} s"
    return f"{', '.join(shown)}; {report.chunks} chunks {done} in {report.seconds:.1f} s{optimized}"
