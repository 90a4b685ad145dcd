"""What `rag init` has been told, and the settings that this comes to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rag.commands.shared import load_settings

if TYPE_CHECKING:
    from rag_config.settings import Settings

LLM_KEY, STORE_KEY, LLM_ADDRESS = "RAG_LLM__API_KEY", "RAG_STORE__API_KEY", "RAG_LLM__BASE_URL"


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen.

    Attributes:
        store: folder of the index, or address of a server, as it was given.
        llm_model: None: answers quote the documents.
        llm_base_url: None: OpenAI's.
        keys: keys that were typed in, by the name of their variable.
        download: whether to fetch the embedding model now, if it is not here.
    """

    model: str
    store: str
    collection: str
    llm_model: str | None = None
    llm_base_url: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    download: bool = False

    @property
    def on_server(self) -> bool:
        """Whether the store is a server."""
        return "://" in self.store

    def settings(self) -> Settings:
        """What a command would work with: the choices, and for all else flags, variables and files as ever.

        Raises:
            InputError: a choice is not allowed.
        """
        llm: dict[str, object] = {"model": self.llm_model, "base_url": self.llm_base_url}
        store: dict[str, object] = {}
        if LLM_KEY in self.keys:
            llm["api_key"] = self.keys[LLM_KEY]
        if STORE_KEY in self.keys:
            store["api_key"] = self.keys[STORE_KEY]
        more: dict[str, dict[str, object]] = {"llm": llm, "store": store}
        if load_settings().embedder.model != self.model:
            more["embedder"] = {"revision": None}  # what is set is another model's
        return load_settings(store=self.store, collection=self.collection, model=self.model, more=more)

    def secrets(self) -> dict[str, str]:
        """What goes into .env: the keys, and an address with a login in it, unless it comes from the environment."""
        address = self.llm_base_url
        is_new = address != os.environ.get(LLM_ADDRESS)
        return {**self.keys, **({LLM_ADDRESS: address} if address and is_new and holds_secret(address) else {})}

    def values(self) -> dict[str, str | None]:
        """What they mean for rag.toml, by dotted name; None: not there."""
        server = self.on_server
        address = None if self.llm_base_url and holds_secret(self.llm_base_url) else self.llm_base_url
        return {
            "embedder.model": self.model,
            **({"store.url": self.store} if server else {"store.path": self.store, "store.url": None}),
            "store.collection": self.collection,
            "llm.model": self.llm_model,
            "llm.base_url": address,
        }


def for_file(choices: Choices, held: Mapping[str, object]) -> dict[str, str | None]:
    """What to change in a rag.toml that holds `held`: nothing is written that is the default anyway, save the model."""
    from rag_config.settings import StoreSettings

    wanted = choices.values()
    defaults = {"store.path": str(StoreSettings().path), "store.collection": "default"}
    for name, default in defaults.items():
        if name not in held and wanted.get(name) == default:
            del wanted[name]
    path, before = wanted.get("store.path"), held.get("store.path")
    if path and isinstance(before, str) and Path(path).expanduser() == Path(before).expanduser():
        wanted["store.path"] = before  # spelled another way
    if held.get("embedder.model") not in (None, choices.model) and "embedder.revision" in held:
        wanted["embedder.revision"] = None  # of the other model
    return wanted


def effective(settings: Settings) -> Choices:
    """The choices that the settings now in effect amount to; keys are not among them."""
    store, llm = settings.store, settings.llm
    return Choices(settings.embedder.model, store.url or str(store.path), store.collection, llm.model, llm.base_url)


def holds_secret(address: str) -> bool:
    """Whether there is a login or a query in the address, which may be a key."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return True
    return "@" in parts.netloc or bool(parts.query)


def index_model(settings: Settings) -> str | None:
    """The model that the collection was made with; None where there is none, or it cannot be seen."""
    from contextlib import closing

    from rag import build
    from rag.errors import RagError

    try:
        with closing(build.store(settings)) as store:
            return store.info().model
    except RagError:
        return None


def must_be_fetched(model: str) -> bool:
    """Whether the model has to come over the network first."""
    from rag import checkpoint

    return checkpoint.must_be_fetched(model, _revision(model))


def size_to_fetch(model: str) -> tuple[int | None, bool]:
    """Bytes to fetch, or None, and whether the hub itself has said so."""
    from rag import hub
    from rag.catalogue.models import find
    from rag.errors import RagError

    try:
        return hub.download_size(model, _revision(model)), True
    except RagError:
        known = find(model)
        return known.size if known else None, False


def fetch(model: str) -> Path:
    """Brings the model here, progress on stderr.

    Raises:
        NotConfiguredError: it cannot be had.
    """
    from rag import checkpoint

    return checkpoint.locate(model, _revision(model))


def _revision(model: str) -> str | None:
    """The revision in the settings, if it is this model's."""
    embedder = load_settings().embedder
    return embedder.revision if embedder.model == model else None
