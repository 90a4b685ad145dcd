"""Which embedding models are on this machine."""

from __future__ import annotations

from typing import Literal

from rag.catalogue.models import Model
from rag.checkpoint import BUNDLED, Checkpoint, inspect, locate, must_be_fetched
from rag.errors import CheckpointError, ModelUnavailableError

Presence = Literal["bundled", "here", "not here"]


def presence(model: Model) -> Presence | None:
    """Where an embedder's files are; None for a model that is no embedder here. Nothing is fetched."""
    if model.use != "embedder":
        return None
    if model.id in BUNDLED:
        return "bundled"
    return "not here" if must_be_fetched(model.id, model.revision) else "here"


def checkpoint(model: Model) -> Checkpoint | None:
    """The files of an embedder that is on this machine; None where it is not, or they cannot be used."""
    if presence(model) in (None, "not here"):
        return None
    try:
        return inspect(locate(model.id, model.revision), model.id)
    except (CheckpointError, ModelUnavailableError):  # `rag models check` says what is wrong with them
        return None
