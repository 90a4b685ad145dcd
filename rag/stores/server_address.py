"""Where a Qdrant server listens, as the user wrote it: checked once, and shown without what is secret."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from rag.errors import InputError

_HTTP_PORT = 6333
# Behind the web's own ports stands a proxy that knows nothing of Qdrant's second port.
_WEB_PORTS = (80, 443)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server's address.

    Attributes:
        url: what requests go to: scheme, host, port and path prefix.
        grpc_port: where gRPC is to be looked for: one above the HTTP port, as Qdrant's own 6333 and 6334; None behind a
            proxy, known by a path prefix or by the web's own ports.
    """

    url: str
    host: str
    port: int
    https: bool
    grpc_port: int | None

    @classmethod
    def parse(cls, url: str) -> ServerAddress:
        """Reads `http[s]://host[:port][/prefix]`; the port is 6333 where none is given, with https too.

        Raises:
            InputError: it is something else; a name and password in it are refused and not repeated.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InputError("the store's URL cannot be read: write it as http://host:6333") from error
        if parts.username is not None or parts.password is not None:
            raise InputError("the store's URL holds a password: write http://host:6333 and set RAG_STORE__API_KEY")
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            # A query might hold a key; without its scheme a login is not recognised as one.
            shown = url.split("?")[0].split("#")[0].rpartition("@")[2]
            raise InputError(f"{shown!r} is no URL of a Qdrant server: write it as http://host:6333")
        port = port or _HTTP_PORT
        prefix = parts.path.rstrip("/")
        shown_host = f"[{host}]" if ":" in host else host
        behind_proxy = bool(prefix) or port in _WEB_PORTS or port == 65535
        return cls(
            url=f"{parts.scheme}://{shown_host}:{port}{prefix}",
            host=host,
            port=port,
            https=parts.scheme == "https",
            grpc_port=None if behind_proxy else port + 1,
        )

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, so that nobody listens between."""
        return self.host == "localhost" or self.host == "::1" or self.host.startswith("127.")
