"""Results as people read them and as programs do; the names of JSON fields are a contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rag.language import name
from rag.normalization import printable, without_controls
from rag.types import Answer, Citation, Passage

_EXCERPT = 240  # characters of a passage in a list for people


def to_json(value: Mapping[str, Any]) -> str:
    """One line of JSON, every script as it is."""
    return json.dumps(value, ensure_ascii=False)


def passage_fields(passage: Passage) -> dict[str, Any]:
    """A passage for --json."""
    chunk = passage.chunk
    return {
        "rank": passage.rank,
        "score": round(passage.score, 6),
        "dense_score": round(passage.dense_score, 6),
        "sparse_score": round(passage.sparse_score, 6),
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
        },
        "timings": {stage: round(seconds, 4) for stage, seconds in answer.timings.items()},
    }


def passage_text(passage: Passage) -> str:
    """A passage for people: where it is, then how it begins."""
    chunk = passage.chunk
    head = f"{passage.rank:>2}. {_place(chunk.source, chunk.page, chunk.language)}  {passage.score:.3f}"
    heading = chunk.heading or chunk.title
    return "\n".join([head, *([f"    {heading}"] if heading else []), f"    {_excerpt(chunk.text)}"])


def sources_text(answer: Answer) -> str:
    """The citations for people: where each marker points, and the original words the answer does not show itself."""
    lines: list[str] = []
    for citation in answer.citations:
        place = f"[{citation.marker}] {_place(citation.source, citation.page, citation.language)}"
        if place not in lines:
            lines.append(place)
        if citation.quote not in answer.text:
            lines.append(f"    {_excerpt(citation.quote)}")
    return "\n".join(lines)


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
    }


def _place(source: str, page: int | None, language: str) -> str:
    return f"{printable(source)}{f', p. {page}' if page else ''} ({name(language, 'en')})"


def _excerpt(text: str) -> str:
    line = " ".join(without_controls(text).split())
    return line if len(line) <= _EXCERPT else line[:_EXCERPT].rstrip() + " …"
