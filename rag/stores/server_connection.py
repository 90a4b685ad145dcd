"""The connection to a Qdrant server: made on first use, over gRPC where that is open, else over HTTP; with retries."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rag.errors import InputError, StoreError
from rag.stores.server_address import ServerAddress
from rag.stores.server_errors import failure_of, translated, vendor_errors

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_OLDEST_SERVER = (1, 16)
"""Qdrant 1.16 brought metadata of collections and conditional upserts; everything else in use here is older."""
_READ_PATIENCE = 2.0  # seconds: long enough for a server that restarts behind a proxy, short for someone who waits
_PROBE_SECONDS = 3.0  # a firewall that drops packets must not cost the whole timeout
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds


class ServerConnection:
    """A client of one server, shared by threads. `client` replaces the one that would be made, and is never closed."""

    def __init__(
        self,
        url: str,
        collection: str,
        *,
        api_key: str | None,
        timeout: float,
        prefer_grpc: bool,
        streams: int,
        client: QdrantClient | None,
    ) -> None:
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise InputError("RAG_STORE__API_KEY holds characters that no HTTP header can carry: copy the key again")
        self.address = ServerAddress.parse(url)
        self._collection = collection
        self._api_key = api_key or None
        self._timeout = timeout
        self._prefer_grpc = prefer_grpc
        self._streams = streams
        self._given = client
        self._made: QdrantClient | None = None
        self._over_grpc = False
        self._connecting = threading.Lock()

    @property
    def is_local(self) -> bool:
        """Whether the client in use is qdrant-client's own engine in this process, which has no indexes to speak of."""
        if self._given is None:
            return False
        options = self._given.init_options
        return options.get("location") == ":memory:" or options.get("path") is not None

    def read(self, doing: str, call: Callable[[QdrantClient], _T]) -> _T:
        """The result of a request that changes nothing; tried again for up to two seconds when the connection fails.

        Raises:
            IndexMissingError: the collection is not there.
            StoreError: the server cannot be reached, or refuses.
        """
        return self._until(min(_READ_PATIENCE, self._timeout), doing, call)

    def write(self, doing: str, call: Callable[[QdrantClient], _T]) -> _T:
        """The result of a request that may be sent twice without harm; tried again until the timeout has passed.

        Raises:
            IndexMissingError: the collection is not there.
            StoreError: the server cannot be reached, or refuses.
        """
        return self._until(self._timeout, doing, call)

    def once(self, doing: str, call: Callable[[QdrantClient], _T]) -> _T:
        """The result of a request that is not tried again.

        Raises:
            IndexMissingError: the collection is not there.
            StoreError: the server cannot be reached, or refuses.
        """
        return self._until(0, doing, call)

    def server(self) -> str:
        """Version and protocol of what answers, as `Qdrant 1.19.1 over gRPC`.

        Raises:
            StoreError: the server cannot be reached, or is too old.
        """
        version = self.read("answer", lambda client: client.info().version)
        return f"Qdrant {version} over {'gRPC' if self._over_grpc else 'HTTP'}"

    def close(self) -> None:
        """Closes what was opened; a later request opens it again."""
        with self._connecting:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _until(self, patience: float, doing: str, call: Callable[[QdrantClient], _T]) -> _T:
        client = self._client()
        deadline = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return call(client)
            except vendor_errors() as error:
                failure = failure_of(error)
                # Jitter: writers that were refused together do not come back together.
                delay = max(failure.wait, pause * random.uniform(0.5, 1.0))
                if not failure.transient or time.monotonic() + delay > deadline:
                    raise self._translated(error, doing) from error
            _log.info("trying again in %.1f s to %s (%s)", delay, doing, failure.kind)
            time.sleep(delay)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _translated(self, error: Exception, doing: str) -> Exception:
        return translated(failure_of(error), doing, self.address, self._api_key, self._collection, self._timeout)

    def _client(self) -> QdrantClient:
        if self._given is not None:
            return self._given
        with self._connecting:
            if self._made is None:
                self._made = self._connect()
            return self._made

    def _connect(self) -> QdrantClient:
        """A client of a server that is there and new enough; whether the key is right shows at the first request."""
        if self._api_key and not self.address.https and not self.address.is_loopback:
            _log.warning("the API key goes to %s unencrypted: use https://", self.address.url)
        self._over_grpc = False
        over_http = self._make_client(grpc=False, timeout=self._timeout)
        try:
            version = over_http.info().version
            self._require_version(version)
        except vendor_errors() as error:
            over_http.close()
            raise self._translated(error, "answer") from error
        except StoreError:
            over_http.close()
            raise
        if self._prefer_grpc and self.address.grpc_port is not None:
            if self._speaks_grpc(version):
                over_http.close()
                self._over_grpc = True
                return self._make_client(grpc=True, timeout=self._timeout)
            _log.info("no gRPC on port %d of %s: going on over HTTP", self.address.grpc_port, self.address.host)
        return over_http

    def _require_version(self, version: str) -> None:
        found = re.match(r"(\d+)\.(\d+)", version)
        if found is None or (int(found[1]), int(found[2])) < _OLDEST_SERVER:
            oldest = ".".join(str(number) for number in _OLDEST_SERVER)
            raise StoreError(
                f"the Qdrant server at {self.address.url} has version {version}, but {oldest} is the oldest that "
                "can be used: upgrade it (docker-compose.yml names a version that fits)"
            )

    def _speaks_grpc(self, version: str) -> bool:
        """Whether the server that answered over HTTP answers over gRPC too; another version would be another server."""
        probe = self._make_client(grpc=True, timeout=min(self._timeout, _PROBE_SECONDS))
        try:
            return bool(probe.info().version == version)
        except vendor_errors():
            return False
        finally:
            probe.close()

    def _make_client(self, *, grpc: bool, timeout: float) -> QdrantClient:
        # Its C library would write to stderr, in the middle of a chat, that a server went away; the error says it.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        from qdrant_client import QdrantClient

        with warnings.catch_warnings():
            # The warning does not know loopback; _connect warns where there is a network between.
            warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
            return QdrantClient(
                url=self.address.url,
                port=self.address.port,
                grpc_port=self.address.grpc_port or 0,
                prefer_grpc=grpc,
                api_key=self._api_key,
                timeout=timeout,  # type: ignore[arg-type]  # the client rounds a float up itself
                check_compatibility=False,  # in a thread, as a warning; _require_version is an error with a way out
                pool_size=max(3, self._streams),
                # Reading this machine's certificates takes 0.1 s, and without TLS there is nothing to verify.
                verify=self.address.https,
                # gRPC's own pause between connection attempts grows to two minutes: a chat would wait that long.
                grpc_options={"grpc.max_reconnect_backoff_ms": 2000},
            )


def server_at(url: str, *, api_key: str | None, timeout: float) -> str:
    """`ServerConnection.server` of what answers at `url`.

    Raises:
        InputError: the URL or the key cannot be used.
        StoreError: the server cannot be reached, or is too old.
    """
    connection = ServerConnection(url, "", api_key=api_key, timeout=timeout, prefer_grpc=True, streams=1, client=None)
    try:
        return connection.server()
    finally:
        connection.close()
