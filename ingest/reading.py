"""How files are read, as the settings and the machine have it: the same for whoever ingests."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from ingest.preparing import Limits
from ingest.reading_process import MakeCounter
from rag import build
from rag.checkpoint import Checkpoint
from rag.embedding_model import EmbeddingModel

if TYPE_CHECKING:
    from rag_config.settings import Settings

_SMALL_TOKENIZER = 4_000_000
"""Bytes of a tokenizer that other processes may have, too. XLM-R's whole vocabulary, in 17 MB, takes 300 MB of memory
and two seconds to be loaded; what is embedded with it takes so long that nothing is won by cutting elsewhere."""
_MANY_CORES = 8


class Reading(TypedDict):
    """What an ingestion is given beside its documents, see `Ingestion`."""

    limits: Limits
    make_counter: MakeCounter | None
    processes: int


def reading(settings: Settings, model: EmbeddingModel | None) -> Reading:
    """How files are read for an index of `model`, or to look at them where there is no model."""
    chosen = settings.ingest
    return {
        "limits": Limits(chosen.read_seconds, chosen.read_memory, chosen.max_bytes, chosen.max_pages),
        "make_counter": token_counter(model) if model else None,
        "processes": reading_processes(),
    }


def token_counter(model: EmbeddingModel) -> MakeCounter | None:
    """What makes the model's tokenizer once more, where that is cheap; else documents are cut in this process."""
    if isinstance(model, Checkpoint) and model.tokenizer.stat().st_size <= _SMALL_TOKENIZER:
        return partial(build.token_counter, model)
    return None


def reading_processes() -> int:
    """How many read files: one reads as fast as eight cores embed with a small model."""
    return 2 if (os.cpu_count() or 1) >= _MANY_CORES else 1
