"""What the passages of an index have in common: the mean of a sample of their dense vectors, kept for a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rag.stores.points import StoredPoint
from rag.stores.schema import LIVE, Conditions

_SAMPLE = 512
"""Passages, the first by point id, which is a digest: as good as drawn. Their mean is that of all within some .04."""
_KEPT_SECONDS = 60.0


class Centres:
    """One for each tenant of an index, or for all of it. Safe to call from several threads."""

    def __init__(self, some: Callable[[Conditions, int], Sequence[StoredPoint]]) -> None:
        """Takes what gives the first points by id, at most so many, with their embeddings."""
        self._some = some
        self._kept: dict[tuple[str, str] | None, tuple[float, NDArray[np.float32]]] = {}
        self._changes = 0

    def of(self, tenant: tuple[str, str] | None) -> NDArray[np.float32] | None:
        """The mean, or None where there is no passage.

        Args:
            tenant: the key and the name of the one whose passages are looked at; None for all passages.
        """
        kept = self._kept.get(tenant)
        if kept is not None and time.monotonic() - kept[0] <= _KEPT_SECONDS:
            return kept[1]
        changes = self._changes
        where: Conditions = {"state": [LIVE], **({f"metadata.{tenant[0]}": [tenant[1]]} if tenant else {})}
        sample = [point.embedding.dense for point in self._some(where, _SAMPLE) if point.embedding]
        if not sample:
            return None
        centre: NDArray[np.float32] = np.mean(np.stack(sample), axis=0)
        if changes == self._changes:  # else it may be of before the change
            self._kept[tenant] = (time.monotonic(), centre)
        return centre

    def forget(self) -> None:
        """After a change: the next search looks again."""
        self._changes += 1
        self._kept.clear()
