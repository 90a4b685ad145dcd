"""Plain text."""

from __future__ import annotations

from ingest.readers.cleaning import clean, trim
from ingest.readers.decoding import decode
from ingest.readers.metadata import first_title
from rag.types import Document


def read(uri: str, data: bytes) -> Document:
    """The text as it is, in NFC.

    Raises:
        ReadError: binary content, no encoding fits, or no text in it.
    """
    return Document(uri=uri, text=trim(clean(decode(data))), title=first_title(uri, ()), format="txt")
