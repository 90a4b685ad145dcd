"""Which embedding models are on this machine."""

from __future__ import annotations

from typing import Literal

from rag.catalogue.models import Model
from rag.checkpoint import BUNDLED, locate, must_be_fetched
from rag.embedding_model import EmbeddingModel, inspect
from rag.errors import CheckpointError, ModelUnavailableError

Presence = Literal["bundled", "here", "not here"]


def presence(model: Model) -> Presence:
    """Where a model's files are. Nothing is fetched."""
    if model.id in BUNDLED:
        return "bundled"
    return "not here" if must_be_fetched(model.id, model.revision) else "here"


def files(model: Model) -> EmbeddingModel | None:
    """The files of a model that is on this machine; None where it is not, or they cannot be used."""
    if presence(model) == "not here":
        return None
    try:
        return inspect(locate(model.id, model.revision), model.id)
    except (CheckpointError, ModelUnavailableError):  # `rag models check` says what is wrong with them
        return None
