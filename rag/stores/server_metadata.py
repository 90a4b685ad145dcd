"""What a collection on a server says of itself, and which of a server's collections are this application's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rag.errors import IndexMismatchError, IndexMissingError
from rag.stores.server_connection import ServerConnection
from rag.types import IndexInfo

_APPLICATION = "cross-lingual-rag"

GENERATION_MARK = "~"
"""Stands between a collection's name and the rest of a generation's, see rag.stores.server_generations."""
ALIAS_SUFFIX = f"{GENERATION_MARK}live"
"""Ends the name of the alias of the generation that answers."""


def metadata_of(info: IndexInfo) -> dict[str, Any]:
    """The metadata of a collection that is made with `info`."""
    tenants = {} if info.tenant_key is None else {"tenant_key": info.tenant_key}
    return {
        "application": _APPLICATION,
        "schema_version": info.schema_version,
        "fingerprint": info.fingerprint,
        "model": info.model,
        "dimension": info.dimension,
        **tenants,
    }


def info_of(metadata: Mapping[str, Any] | None, collection: str, url: str) -> IndexInfo:
    """What the collection was made with.

    Args:
        collection, url: for messages.

    Raises:
        IndexMismatchError: it is another application's.
    """
    fields = metadata or {}
    try:
        if fields["application"] != _APPLICATION:
            raise KeyError("application")
        return IndexInfo(
            schema_version=int(fields["schema_version"]),
            fingerprint=str(fields["fingerprint"]),
            model=str(fields["model"]),
            dimension=int(fields["dimension"]),
            tenant_key=str(fields["tenant_key"]) if fields.get("tenant_key") is not None else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IndexMismatchError(
            f"the collection {collection!r} at {url} belongs to another application (its metadata does not name "
            f"{_APPLICATION}): choose another --collection"
        ) from error


def collections_on(url: str, *, api_key: str | None = None, timeout: float = 30.0) -> list[str]:
    """Names of this application's collections on the server at `url`, sorted: a request for all, then one for each.

    Raises:
        InputError: the URL or the key cannot be used.
        StoreError: the server cannot be reached, refuses, or cannot be used.
    """
    connection = ServerConnection(url, "", api_key=api_key, timeout=timeout, prefer_grpc=False, streams=1, client=None)
    try:
        found = connection.read("list its collections", lambda client: client.get_collections()).collections
        aliases = connection.read("list its collections", lambda client: client.get_aliases()).aliases
        rebuilt = {each.alias_name.removesuffix(ALIAS_SUFFIX) for each in aliases if _is_pointer(each.alias_name)}
        names = [each.name for each in found if GENERATION_MARK not in each.name and each.name not in rebuilt]
        return sorted([*rebuilt, *(name for name in names if _is_own(connection, name))])
    finally:
        connection.close()


def _is_pointer(alias: str) -> bool:
    return alias.endswith(ALIAS_SUFFIX) and alias.count(GENERATION_MARK) == 1


def _is_own(connection: ServerConnection, name: str) -> bool:
    try:
        answer = connection.read("read", lambda client: client.get_collection(name))
        info_of(answer.config.metadata, name, connection.address.url)
    except (IndexMissingError, IndexMismatchError):  # deleted meanwhile, or not ours
        return False
    return True
