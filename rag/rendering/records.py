"""Results as programs read them; the names of JSON fields are a contract."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rag.types import Answer, Chunk, Citation, Passage, StoredDocument

_OBEYED = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def to_json(value: Mapping[str, Any]) -> str:
    """One line of JSON, every script as it is; what a terminal would obey is escaped."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def passage_fields(passage: Passage) -> dict[str, Any]:
    """A passage for --json."""
    return {
        "rank": passage.rank,
        "score": round(passage.score, 6),
        "dense_score": round(passage.dense_score, 6),
        "sparse_score": round(passage.sparse_score, 6),
        "fused_score": round(passage.fused_score, 6),
        "level": round(passage.level, 6),
        "handicap": round(passage.handicap, 6),
        "rerank_score": None if passage.rerank_score is None else round(passage.rerank_score, 6),
        "wording": passage.wording,
        **chunk_fields(passage.chunk),
        "copies": [chunk_fields(chunk) for chunk in passage.copies],
    }


def chunk_fields(chunk: Chunk) -> dict[str, Any]:
    """A passage for --json without rank and scores, as the index holds it."""
    return {
        "source": chunk.source,
        "uri": chunk.uri,
        "title": chunk.title,
        "heading": chunk.heading,
        "page": chunk.page,
        "language": chunk.language,
        "ordinal": chunk.ordinal,
        "span": list(chunk.span),
        "text": chunk.text,
    }


def answer_fields(answer: Answer) -> dict[str, Any]:
    """An answer for --json."""
    return {
        "question": answer.question,
        "text": answer.text,
        "asked_in": answer.asked_in,
        "language": answer.language,
        "answered_in": answer.answered_in,
        "language_ok": answer.language_ok,
        "complete": answer.complete,
        "refused": answer.refused,
        "citations": [_citation_fields(citation) for citation in answer.citations],
        "passages": [passage_fields(passage) for passage in answer.passages],
        "usage": {
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
            "requests": answer.usage.requests,
            "cost": round(answer.usage.cost, 8),
        },
        "attempts": answer.attempts,
        "support": answer.support,
        "invented": answer.invented,
        "unsupported": [list(span) for span in answer.unsupported],
        "flagged": list(answer.flagged),
        "second_language": answer.second_language,
        "remarks": list(answer.remarks),
        "timings": {stage: round(seconds, 4) for stage, seconds in answer.timings.items()},
    }


def _citation_fields(citation: Citation) -> dict[str, Any]:
    return {
        "marker": citation.marker,
        "source": citation.source,
        "uri": citation.uri,
        "title": citation.title,
        "heading": citation.heading,
        "page": citation.page,
        "language": citation.language,
        "quote": citation.quote,
        "span": list(citation.span),
        "checked": citation.checked,
        "translation": citation.translation,
    }


def document_fields(document: StoredDocument) -> dict[str, Any]:
    """A document for --json; `ingested_at` is ISO 8601 in UTC."""
    return {
        "source": document.source,
        "uri": document.uri,
        "title": document.title,
        "language": document.language,
        "format": document.format,
        "chunks": document.chunk_count,
        "ingested_at": datetime.fromtimestamp(document.ingested_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "metadata": dict(document.metadata),
        "version": document.version,
    }
