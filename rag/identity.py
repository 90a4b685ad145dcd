"""What makes two things the same: ids of points, digests of embedded texts."""

from __future__ import annotations

import hashlib
import uuid

# Fixed for good: another namespace would give every stored point another id.
_NAMESPACE = uuid.UUID("6f0c5ad2-7a0e-5b83-9a43-3f6f2d1f6c1e")


def point_id(uri: str, version: str, ordinal: int) -> str:
    """Id of a chunk: uuid5 over its document's URI and version and its 0-based position."""
    return str(uuid.uuid5(_NAMESPACE, f"{uri}\n{version}\n{ordinal}"))


def text_hash(embedded: str) -> str:
    """Digest of a string that is embedded (BLAKE2b, 128 bits, hex); equal strings share their vectors."""
    return hashlib.blake2b(embedded.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
