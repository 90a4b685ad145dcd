"""The generations of a collection on a server: each a collection of its own, and an alias that says which one answers.

    NAME            the collection as it was made first; it answers as long as there is no alias
    NAME~DIGEST     one that a rebuild made
    NAME~live       the alias; Qdrant replaces it in one step

No name that settings allow has a `~` in it. NAME itself cannot become an alias while a collection is called so: that is
why the alias has a name of its own, and the first rebuild is as free of gaps as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from rag.errors import IndexMissingError
from rag.ports import PassageStore
from rag.stores.server import ServerStore
from rag.stores.server_connection import ServerConnection
from rag.stores.server_metadata import ALIAS_SUFFIX, GENERATION_MARK

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


class ServerGenerations:
    """A `rag.stores.generations.Generations` on a server."""

    def __init__(
        self, connection: ServerConnection, collection: str, open_collection: Callable[[str], PassageStore]
    ) -> None:
        """Nothing is sent yet.

        Args:
            connection: closed by `close`.
            open_collection: gives a store over the collection of that very name, over the same connection.
        """
        self._connection = connection
        self._collection = collection
        self._alias = collection + ALIAS_SUFFIX
        self._open = open_collection
        self._seen: str | None = None

    def current(self, *, fresh: bool) -> str:
        """The one that answers. A reader that has not looked again finds out when the one it knew is removed."""
        if fresh or self._seen is None:
            found = self._connection.read("read", lambda client: client.get_aliases()).aliases
            targets = {each.alias_name: each.collection_name for each in found}
            self._seen = targets.get(self._alias, self._collection)
        return self._seen

    def open(self, name: str) -> PassageStore:
        """A store over that one alone."""
        return self._open(name)

    def hold(self, name: str) -> None:
        """A server does not know who uses a collection."""
        return

    def left(self, name: str) -> None:
        """Others may use it."""

    def close(self) -> None:
        """Closes the connection; a later call opens it again."""
        self._seen = None
        self._connection.close()

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Nothing keeps two machines apart: of two rebuilds at once the later one removes what the other has made."""
        yield

    def quiet(self, store: PassageStore) -> AbstractContextManager[None]:
        """Nothing: on a server nobody can be kept from writing."""
        return nullcontext()

    def name_of(self, digest: str) -> str:
        """Name of the collection that is made of what `digest` says."""
        return f"{self._collection}{GENERATION_MARK}{digest}"

    def point_to(self, name: str) -> None:
        """Lets it answer, in one request."""
        from qdrant_client import models

        found = self._connection.read("read", lambda client: client.get_aliases()).aliases
        there = any(each.alias_name == self._alias for each in found)
        gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._alias))
        made = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=name, alias_name=self._alias)
        )

        def replace(client: QdrantClient) -> object:
            return client.update_collection_aliases([gone, made] if there else [made])

        self._connection.write("replace the collection", replace)
        self._seen = name

    def others(self) -> list[str]:
        """Those that do not answer: replaced, or never finished."""
        found = self._connection.read("list its collections", lambda client: client.get_collections()).collections
        mark = self._collection + GENERATION_MARK
        names = {each.name for each in found if each.name == self._collection or each.name.startswith(mark)}
        return sorted(names - {self.current(fresh=True)})

    def remove(self, name: str) -> bool:
        """Removes one that does not answer; whether it is gone."""
        if name == self.current(fresh=True):
            return False
        with suppress(IndexMissingError):
            self._connection.write("delete the collection", lambda client: client.delete_collection(name))
        return True


def generations_on(
    url: str,
    collection: str,
    *,
    api_key: str | None = None,
    timeout: float = 30.0,
    quantization: bool = False,
    on_disk: bool = True,
    metadata_keys: Sequence[str] = (),
    prefer_grpc: bool = True,
    parallel: int = 2,
    client: QdrantClient | None = None,
) -> ServerGenerations:
    """Those of a collection on the server at `url`; nothing is sent yet. The arguments are those of `ServerStore`.

    Raises:
        InputError: the URL or the key cannot be used.
    """
    connection = ServerConnection(
        url, collection, api_key=api_key, timeout=timeout, prefer_grpc=prefer_grpc, streams=parallel, client=client
    )

    def open_collection(name: str) -> ServerStore:
        return ServerStore(
            url,
            name,
            timeout=timeout,
            quantization=quantization,
            on_disk=on_disk,
            metadata_keys=metadata_keys,
            parallel=parallel,
            connection=connection,
        )

    return ServerGenerations(connection, collection, open_collection)
