"""What makes searches fast again, once everything is written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rag import build
from rag.errors import IndexMissingError, UnavailableError
from rag.ports import PassageStore

if TYPE_CHECKING:
    from rag_config.settings import Settings

logger = logging.getLogger(__name__)


def optimized(
    store: PassageStore,
    settings: Settings,
    on_optimizing: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> float | None:
    """Optimizes the index where it is worth it, see `build.optimize`; seconds, or None where it was not done."""
    try:
        return build.optimize(store, settings, on_optimizing or (lambda new: None), stop)
    # Everything is written, and searches are right, only slower. Or the index has been removed since: no fault of ours.
    except (UnavailableError, IndexMissingError) as error:
        logger.warning("%s", error)
        return None
