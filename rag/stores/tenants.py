"""Tenants that share an index: every document belongs to one, every search names one, no document is taken over.

What separates them is a key of the metadata, `IndexInfo.tenant_key`, chosen when the index is made and kept in it: a
client whose settings do not know it is bound by it too. It separates what is found. It is no lock: whoever may reach
the index can name any tenant, and lists, shows and removes the documents of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rag.errors import IndexMismatchError, InputError
from rag.locations import source_of
from rag.types import Chunk, IndexInfo, Where

Tenant = tuple[str, str] | None
"""The key and the name of the one whose passages are looked at; None where an index separates none."""


def require_tenant_key(found: IndexInfo, wanted: str | None) -> None:
    """Refuses an index that separates its tenants by another key than `wanted`; None takes it as it is.

    Raises:
        IndexMismatchError: with both keys and the way out.
    """
    if wanted is None or wanted == found.tenant_key:
        return
    how = f"separates its tenants by {found.tenant_key!r}" if found.tenant_key else "separates no tenants"
    raise IndexMismatchError(
        f"the index {how}, but RAG_STORE__TENANT_KEY is {wanted!r}: unset it, or ingest again into another --collection"
    )


def require_tenant(where: Where, tenant_key: str | None) -> None:
    """Refuses a search that does not say whose documents it is for.

    Raises:
        InputError: with what to add.
    """
    if tenant_key is not None and not where.metadata.get(tenant_key):
        raise InputError(
            f"the index holds the documents of several tenants, separated by {tenant_key!r}: say whose to search with "
            f"--where {tenant_key}=NAME (in a chat: /filter {tenant_key}=NAME)"
        )


def tenant_of(where: Where, tenant_key: str | None) -> Tenant:
    """Whose documents a search is for.

    Raises:
        InputError: as `require_tenant`.
    """
    require_tenant(where, tenant_key)
    return (tenant_key, where.metadata[tenant_key]) if tenant_key is not None else None


def require_given(metadata: Mapping[str, str], tenant_key: str | None) -> None:
    """Refuses documents that would be nobody's; `metadata` is what is given to all of them.

    Raises:
        InputError: with what to add.
    """
    if tenant_key is not None and not metadata.get(tenant_key):
        raise InputError(
            f"the index separates its tenants by {tenant_key!r}: say whose documents these are with "
            f"--meta {tenant_key}=NAME"
        )


def require_own(chunks: Sequence[Chunk], held: Iterable[Mapping[str, object]], tenant_key: str) -> None:
    """Refuses chunks of no tenant, and those that would replace another tenant's document.

    Args:
        held: payloads of live points at the chunks' locations, one or more for each, with `uri` and `metadata`.

    Raises:
        InputError: for the first such document.
    """
    owners = {payload["uri"]: _tenant(payload["metadata"], tenant_key) for payload in held}
    for chunk in chunks:
        require_given(chunk.metadata, tenant_key)
        if owners.get(chunk.uri, chunk.metadata[tenant_key]) != chunk.metadata[tenant_key]:
            raise InputError(
                f"{source_of(chunk.uri)!r} is in the index as a document of another {tenant_key!r} than "
                f"{chunk.metadata[tenant_key]!r}: remove it there with `ingest remove`, or ingest a copy elsewhere"
            )


def _tenant(metadata: object, tenant_key: str) -> object:
    return metadata.get(tenant_key) if isinstance(metadata, Mapping) else None
