"""What a reranker reads of a passage."""

from __future__ import annotations

from typing import Final

from rag.normalization import visible
from rag.types import Chunk

LONGEST_CONTEXT: Final = 106
"""Code points of title and headings: what `ingest` puts before a passage when chunks have their default length."""


def passage_text(chunk: Chunk) -> str:
    """Title and heading path on one line, an empty line, and the text, as the index embedded them.

    Headings that begin the text itself are not said twice, and what nobody sees is left out.
    """
    headings = (heading for heading in chunk.headings if heading not in chunk.text[: len(heading) + 8])
    parts = [part for part in dict.fromkeys((chunk.title, *headings)) if part.strip()]
    context = visible(" › ".join(parts))[:LONGEST_CONTEXT].strip()
    text = visible(chunk.text)
    return f"{context}\n\n{text}" if context and not text.startswith(context) else text
