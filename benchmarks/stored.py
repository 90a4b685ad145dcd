"""Texts with their vectors into an index, as the benchmarks need them: many passages at once, one document a call."""

from __future__ import annotations

from collections.abc import Sequence

from rag.identity import point_id, text_hash
from rag.ports import PassageWriter
from rag.types import Chunk, Embedding


def add(
    store: PassageWriter, uri: str, texts: Sequence[str], languages: Sequence[str], embeddings: Sequence[Embedding]
) -> list[Chunk]:
    """Writes one document whose passages are `texts`, each in its language, and makes it live."""
    version, start, chunks = "1", 0, []
    for ordinal, (text, language) in enumerate(zip(texts, languages, strict=True)):
        chunk = Chunk(
            id=point_id(uri, version, ordinal),
            uri=uri,
            version=version,
            ordinal=ordinal,
            chunk_count=len(texts),
            text=text,
            start=start,
            end=start + len(text),
            title=uri.rpartition("/")[2],
            headings=(),
            page=None,
            language=language,
            document_language=languages[0],
            format="txt",
            text_hash=text_hash(f"{language} {text}"),
            ingested_at=0.0,
        )
        chunks.append(chunk)
        start += len(text) + 2
    store.stage(chunks, embeddings)
    store.commit(uri, version)
    return chunks
