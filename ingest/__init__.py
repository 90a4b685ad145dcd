"""Documents into the index: read, cut, embedded, committed whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.api import ingest as ingest
    from ingest.report import Failure as Failure
    from ingest.report import IngestReport as IngestReport
    from ingest.report import Progress as Progress

_HOME = {
    "ingest": "ingest.api",
    "Failure": "ingest.report",
    "IngestReport": "ingest.report",
    "Progress": "ingest.report",
}
__all__ = ["Failure", "IngestReport", "Progress", "ingest"]


def __getattr__(name: str) -> object:
    """Imports the public names on first use, so that the command line answers --help at once."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
