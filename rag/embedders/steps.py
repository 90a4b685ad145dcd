"""Texts through an encoder in steps: as many tokens as a forward pass best has, or as memory has room for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from logging import getLogger
from threading import Lock

from rag.embedders.encoding import Encoded, Encoder, MeasuredEncoder
from rag.embedders.step_budget import step_budget
from rag.errors import EmbeddingError

_UNMEASURED = 1024
"""Tokens of a step where nothing is measured: best in OpenVINO on a CPU, and next to best in torch."""

logger = getLogger(__name__)


class Steps:
    """Takes texts through one encoder. Safe to use from several threads."""

    def __init__(self, encoder: Encoder, most_tokens: int | None) -> None:
        """Args:
        encoder: what computes.
        most_tokens: in a step; a longer text gets one of its own. None takes what is measured fastest.
        """
        self.encoder = encoder
        self._given = most_tokens
        self._measured: int | None = None
        self._tokens = 0  # that it has been asked for
        self._room: int | None = None  # tokens, once more than that did not fit into memory
        self._lock = Lock()

    def __call__(self, token_ids: Sequence[list[int]], *, colbert: bool = False) -> Iterator[tuple[list[int], Encoded]]:
        """Gives each text once: the indices of a batch with what a pass made of it, the longest texts first.

        A batch that an accelerator has no room for is halved, and so is what follows; no text is lost.

        Args:
            token_ids: of each text, special tokens included, none longer than the window.
            colbert: as for `Encoder`.

        Raises:
            EmbeddingError: one text alone does not fit into memory.
            CheckpointError: as `Encoder`.
        """
        # The longest first: what does not fit into memory fails at once, and equal lengths stand side by side.
        order = sorted(range(len(token_ids)), key=lambda index: -len(token_ids[index]))
        fastest, done = self._fastest(sum(map(len, token_ids))), 0
        while done < len(order):
            batch = _fitting(islice(order, done, None), token_ids, min(fastest, self._room or fastest))
            encoded = self._encode([token_ids[index] for index in batch], colbert)
            if encoded is not None:
                done += len(batch)
                yield batch, encoded

    def _fastest(self, tokens: int) -> int:
        """Tokens of a step for so many tokens; too few since the start are no reason to measure."""
        if self._given is not None:
            return self._given
        if not isinstance(self.encoder, MeasuredEncoder):
            return _UNMEASURED
        with self._lock:
            self._tokens += tokens
            if self._measured is None and self._tokens > self.encoder.step_sizes[-1]:
                self._measured = step_budget(self.encoder).tokens
        return self._measured or _UNMEASURED

    def _encode(self, batch: list[list[int]], colbert: bool) -> Encoded | None:
        """One forward pass; None where it did not fit into memory, and less is to be tried."""
        try:
            return self.encoder(batch, colbert=colbert)
        except RuntimeError as error:
            from rag.embedders.devices import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            tokens = sum(map(len, batch))
            if len(batch) == 1:
                raise EmbeddingError(
                    f"a text of {tokens} tokens does not fit into the memory of {self.encoder.description}: "
                    "close other programs that use the device, cut texts shorter (RAG_INGEST__CHUNK_TOKENS), "
                    "or set RAG_EMBEDDER__DEVICE=cpu"
                ) from error
            self._room = min(tokens // 2, self._room or tokens)
            logger.warning(
                "%d tokens do not fit into the memory of %s: going on with %d at a time",
                *(tokens, self.encoder.description, self._room),
            )
            return None


def _fitting(order: Iterable[int], token_ids: Sequence[list[int]], most: int) -> list[int]:
    """The first of `order` that have at most so many tokens together; at least one."""
    batch: list[int] = []
    tokens = 0
    for index in order:
        tokens += len(token_ids[index])
        if batch and tokens > most:
            break
        batch.append(index)
    return batch
