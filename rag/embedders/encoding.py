"""What a backend makes of packed token ids; numpy alone, so that it can be spoken of without any backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoded:
    """One batch of texts after a forward pass, one text after the other; not finite where the precision overflowed.

    Attributes:
        dense: unit vectors, float32 of shape (texts, hidden size).
        token_weights: relu'd, of all tokens, float32 of shape (tokens,).
        colbert: unit vectors of every token but each text's first, `</s>` among them (BGE-M3, arXiv 2402.03216, section
            3.1), float32 of shape (tokens - texts, d); None where they were not asked for.
    """

    dense: NDArray[np.float32]
    token_weights: NDArray[np.float32]
    colbert: NDArray[np.float32] | None = None


class Encoder(ABC):
    """BGE-M3's forward pass with its heads, loaded. Safe to call from several threads."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Device and precision, for messages."""

    @abstractmethod
    def __call__(self, texts: Sequence[Sequence[int]], *, colbert: bool = False) -> Encoded:
        """Encodes one batch.

        Args:
            texts: token ids of each text, special tokens included, none longer than the window.
            colbert: whether the tokens' own vectors are wanted, too.

        Raises:
            CheckpointError: the ColBERT head was asked for and cannot be read, or is of another model.
        """


class MeasuredEncoder(Encoder):
    """An encoder whose speed depends on how many tokens a pass has, in a way that differs from machine to machine."""

    @property
    @abstractmethod
    def setup(self) -> Mapping[str, str | int]:
        """All that this speed depends on: hardware, threads, precision, the model's sizes, versions."""

    @property
    @abstractmethod
    def step_sizes(self) -> Sequence[int]:
        """Tokens of a pass to choose among, ascending."""

    @abstractmethod
    def rehearse(self, tokens: int) -> None:
        """Computes one layer's share of a pass over so many tokens, to be timed."""
