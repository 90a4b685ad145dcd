"""Small values that several tests need."""

from __future__ import annotations

from typing import Any

from rag.identity import point_id
from rag.types import Chunk, Passage


def a_chunk(**changes: Any) -> Chunk:
    """A German passage; any field can be given another value."""
    fields: dict[str, Any] = {
        "uri": "file:///library/handbuch.pdf",
        "version": "v1",
        "ordinal": 0,
        "chunk_count": 1,
        "text": "Die Schrauben werden mit 24 Nm angezogen.",
        "start": 100,
        "title": "Handbuch",
        "headings": ("Montage", "Schrauben"),
        "page": 3,
        "language": "de",
        "document_language": "de",
        "format": "pdf",
        "text_hash": "0" * 32,
        "ingested_at": 1.0,
        "metadata": {},
        **changes,
    }
    fields.setdefault("end", fields["start"] + len(fields["text"]))
    fields.setdefault("id", point_id(fields["uri"], fields["version"], fields["ordinal"]))
    return Chunk(**fields)


def a_passage(rank: int = 1, **changes: Any) -> Passage:
    """A ranked passage around `a_chunk`."""
    return Passage(rank, a_chunk(**changes), 1.0 / rank, 0.5, 0.1)
