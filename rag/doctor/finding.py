"""What a check says, and what it may look at."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from rag.errors import RagError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rag_config.settings import Settings

    from rag.doctor.endpoint import Probe
    from rag.embedding_model import EmbeddingModel

Status = Literal["pass", "warn", "fail"]
"""`fail`: something is broken and a command would stop on it; `warn`: it works, with less than one would want."""

_ADVICE = re.compile(r"(?:: |; )(?!.*(?:: |; ))")
"""The last colon or semicolon of a message: what stands behind it is what to do, as rag.errors has it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check has found; `remedy` is what mends it, a command where there is one."""

    status: Status
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with the name of its check, one line each, without any secret of the settings."""

    check: str
    status: Status
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is too little or too slow.

    Attributes:
        least_disk: bytes free below which the next ingest is likely to fail: the engine allots its log, 32 MiB a
            segment, before it writes.
        ample_disk: bytes free below which a larger library would not fit.
        working_memory: bytes that Python, torch and the activations of one batch take, whatever the model.
        ample_memory: bytes that should be left for everything else.
        connect_seconds: for the endpoint's list of models, and for a request to the store's server.
        answer_seconds: for the first words of an answer; a local server may have to load its model first.
    """

    least_disk: int = 200_000_000
    ample_disk: int = 2_000_000_000
    working_memory: int = 500_000_000
    ample_memory: int = 1_000_000_000
    connect_seconds: float = 10.0
    answer_seconds: float = 30.0


class Setup:
    """The settings under examination, and what several checks need of them; each thing is looked up once.

    Attributes:
        offline: whether the endpoint must not be asked.
    """

    def __init__(self, settings: Settings, *, offline: bool, limits: Limits) -> None:
        self.settings = settings
        self.offline = offline
        self.limits = limits

    @cached_property
    def checkpoint(self) -> EmbeddingModel:
        """The embedding model's files, which are never fetched.

        Raises:
            ModelUnavailableError, CheckpointError: they are not on this machine, or not usable.
            InputError: prompts or a dimension are set that the model cannot have.
        """
        from rag.doctor.model import on_this_machine
        from rag.embedding_model import inspect

        embedder = self.settings.embedder
        return inspect(
            on_this_machine(embedder.model, embedder.revision),
            embedder.model,
            query_prompt=embedder.query_prompt,
            passage_prompt=embedder.passage_prompt,
            truncate_dim=embedder.truncate_dim,
        )

    @cached_property
    def probe(self) -> Probe:
        """What the endpoint said when it was asked for its models."""
        from rag.doctor.endpoint import ask_for_models

        return ask_for_models(self)

    @property
    def server_url(self) -> str | None:
        """The store's server; None where the index is in a folder."""
        return self.settings.store.url or None

    @cached_property
    def server(self) -> Verdict:
        """Whether the store's server answers and is new enough."""
        from rag import build

        try:
            said = build.server(self.settings, timeout=min(self.settings.store.timeout, self.limits.connect_seconds))
        except RagError as error:
            return failed_by(error)
        return passed(f"{self.server_url} is reached: {said}")

    def ingest(self, tenant_key: str | None, *, collection: str | None = None) -> str:
        """The command that writes where this examination looked, with an option for all that is not the default.

        Args:
            tenant_key: of the index, see rag.stores.tenants.
            collection: instead of the one of the settings.
        """
        store, embedder = self.settings.store, self.settings.embedder
        collection = collection or store.collection
        given = (
            ("--store", str(store.url or store.path), store.url or store.path != _default(store, "path")),
            ("--collection", collection, collection != _default(store, "collection")),
            ("--model", embedder.model, embedder.model != _default(embedder, "model")),
        )
        options = "".join(f" {option} {shlex.quote(value)}" for option, value, wanted in given if wanted)
        return f"ingest PATH…{options}{f' --meta {tenant_key}=NAME' if tenant_key else ''}"


def _default(group: BaseModel, name: str) -> object:
    return type(group).model_fields[name].get_default(call_default_factory=True)


def passed(detail: str) -> Verdict:
    """All is well."""
    return Verdict("pass", detail)


def warned(detail: str, remedy: str) -> Verdict:
    """It works, but."""
    return Verdict("warn", detail, remedy)


def failed(detail: str, remedy: str) -> Verdict:
    """It is broken."""
    return Verdict("fail", detail, remedy)


def failed_by(error: RagError) -> Verdict:
    """It is broken, as the error says; its message ends with what to do."""
    message = " ".join(str(error).split())
    advice = _ADVICE.search(message)
    if advice is None:
        return failed(message, "run the command with --debug to see more")
    return failed(message[: advice.start()], message[advice.end() :])
