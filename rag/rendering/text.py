"""Results as people read them."""

from __future__ import annotations

from datetime import datetime

from rag.language import name
from rag.normalization import printable, without_controls
from rag.types import Answer, Passage, StoredDocument

_EXCERPT = 240  # characters of a passage in a list for people


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


def _place(source: str, page: int | None, language: str) -> str:
    return f"{printable(source)}{f', p. {page}' if page else ''} ({name(language, 'en')})"


def _excerpt(text: str) -> str:
    line = " ".join(without_controls(text).split())
    return line if len(line) <= _EXCERPT else line[:_EXCERPT].rstrip() + " …"


def counted(count: int, noun: str) -> str:
    """`count` of something, as people say it."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def local_time(document: StoredDocument) -> str:
    """When the document was ingested, for people, in their time zone."""
    return datetime.fromtimestamp(document.ingested_at).astimezone().strftime("%Y-%m-%d %H:%M")
