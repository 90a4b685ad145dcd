"""A cross-encoder reads question and passage together (Nogueira & Cho 2019, arXiv 1901.04085): the exact, slow look.

Any model that sentence-transformers' CrossEncoder loads and that gives one score, such as BAAI/bge-reranker-v2-m3. Code
that comes with a model is not run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from rag.checkpoint import is_folder
from rag.errors import RagError, RerankError
from rag.rerankers.passages import passage_text
from rag.types import Chunk, RerankScores

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder

DEFAULT_MODEL: Final = "BAAI/bge-reranker-v2-m3"
DEFAULT_REVISIONS: Final = {DEFAULT_MODEL: "953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e"}
"""Commits this version was written for; every other model is taken at `main`."""

RETRY_AFTER: Final = 300.0
"""Seconds for which a model that could not be loaded is not tried again: a chat asks for it with every question."""

_HUB_TIMEOUT: Final = 5.0
_UNKNOWN_WINDOW: Final = 8192
"""Tokens of a pair where neither tokenizer nor model says how many they take; far beyond any passage."""

_WAY_OUT: Final = "give the folder or hub id of a sentence-transformers cross-encoder, or rerank without one"

_LOG = logging.getLogger(__name__)


class CrossEncoderReranker:
    """A `rag.ports.Reranker` over a cross-encoder.

    Making one loads nothing: the model is loaded, and fetched if it is not on this machine, by the first question.
    Calls from several threads are safe and wait for each other.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_tokens: int = 2048,
    ) -> None:
        """Args:
        model: a folder or a hub id; a folder that exists is preferred to a hub id of its name.
        revision: commit, tag or branch of a hub id; by default the one in `DEFAULT_REVISIONS`, else `main`.
        device: `auto`, or a torch device such as `cpu` or `cuda:1`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`; precision of the forward pass.
        batch_tokens: most tokens in one forward pass, padding included; a longer pair gets one of its own.
        """
        self._model, self._revision = model, revision or DEFAULT_REVISIONS.get(model)
        self._device, self._dtype, self._batch_tokens = device, dtype, batch_tokens
        self._loaded: CrossEncoder | None = None
        self._failure: tuple[float, RerankError] | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Kind and model."""
        return f"cross-encoder {self._model}"

    def scores(self, question: str, chunks: Sequence[Chunk]) -> RerankScores:
        """The model's logits, without the sigmoid that would press the best ones together.

        A pair beyond the model's window is cut at its end.

        Raises:
            RerankError: the model cannot be loaded or fetched, is no reranker, or gives a score that is not finite.
        """
        if not chunks:
            return RerankScores(())
        pairs = [(question, passage_text(chunk)) for chunk in chunks]
        with self._lock:  # fast tokenizers may not be used by two threads at once
            model = self._loaded = self._loaded or self._load_or_recall()
            try:
                scores = self._score(model, pairs)
            except Exception as error:  # the vendor's own, or torch's for want of memory
                raise RerankError(f"{self.name} cannot score ({_line(error)}): rerank without it") from error
        if not np.isfinite(scores).all():
            raise RerankError(f"{self.name} gave scores that are not finite: compute in float32, or rerank without it")
        return RerankScores(tuple(scores.tolist()))

    def _score(self, model: CrossEncoder, pairs: list[tuple[str, str]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        import torch

        questions, texts = ([pair[side] for pair in pairs] for side in (0, 1))
        tokens = model.tokenizer(questions, texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
        scores = np.empty(len(pairs))
        for batch in _batches([len(ids) for ids in tokens], self._batch_tokens):
            scores[batch] = model.predict(
                [pairs[index] for index in batch],
                batch_size=len(batch),
                show_progress_bar=False,
                activation_fn=torch.nn.Identity(),
            )
        return scores

    def _load_or_recall(self) -> CrossEncoder:
        if self._failure is not None and monotonic() - self._failure[0] < RETRY_AFTER:
            raise RerankError(str(self._failure[1])) from self._failure[1]
        try:
            return self._load()
        except RerankError as error:
            self._failure = (monotonic(), error)
            raise

    def _load(self) -> CrossEncoder:
        from rag.embedders.devices import choose_device, choose_dtype

        if not self._model.strip():
            raise RerankError(f"the cross-encoder has no name: {_WAY_OUT}")
        started = perf_counter()
        try:
            device = choose_device(self._device)
            dtype = choose_dtype(self._dtype, device)
        except RagError as error:
            raise RerankError(f"{self.name} cannot be loaded: {error}") from error
        try:
            model = self._found(device, dtype)
            model.max_seq_length = _window(model)
            labels = model.num_labels
        except Exception as error:  # sentence-transformers and what it stands on raise of every kind
            raise RerankError(f"{self.name} cannot be loaded ({_line(error)}): {_WAY_OUT}") from error
        if labels != 1:
            raise RerankError(f"{self.name} gives {labels} scores a pair, where a reranker gives one: {_WAY_OUT}")
        description = f"{device} in {str(dtype).removeprefix('torch.')}"
        _LOG.info("loaded %s on %s in %.1f s", self.name, description, perf_counter() - started)
        return model

    def _found(self, device: torch.device, dtype: torch.dtype) -> CrossEncoder:
        """The model from its folder or the cache; over the network only if it is in neither."""
        from huggingface_hub import HfApi
        from sentence_transformers import CrossEncoder
        from transformers.utils import logging as transformers_logging

        # A report on every tensor and a bar for every file would stand between question and answer.
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

        def load(name: str, *, local: bool) -> CrossEncoder:
            model: CrossEncoder = CrossEncoder(
                name,
                revision=self._revision,
                device=str(device),
                local_files_only=local,
                model_kwargs={"dtype": dtype},
            )
            return model

        if is_folder(self._model):
            return load(str(Path(self._model).expanduser()), local=True)
        try:
            return load(self._model, local=True)
        except OSError:  # how the vendor says that it is not in the cache, or not whole
            # Asked first, because without a network the vendor tries for a minute.
            HfApi().model_info(self._model, revision=self._revision, timeout=_HUB_TIMEOUT)
            return load(self._model, local=False)


def _window(model: CrossEncoder) -> int:
    """Longest pair in tokens, special tokens included.

    Where the tokenizer does not say it, sentence-transformers takes the number of positions, of which models of
    RoBERTa's kind leave the first ones empty: a pair that long would end in an index error.
    """
    import torch

    longest = int(min(model.max_seq_length or _UNKNOWN_WINDOW, _UNKNOWN_WINDOW))
    for module in model.modules():
        positions = getattr(module, "position_embeddings", None)
        if isinstance(positions, torch.nn.Embedding) and positions.padding_idx is not None:
            longest = min(longest, positions.num_embeddings - positions.padding_idx - 1)
    return longest


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of pairs, longest first, so that padded to its first one a batch holds at most `batch_tokens`."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    while order:
        size = max(1, batch_tokens // max(1, lengths[order[0]]))
        yield order[:size]
        order = order[size:]


def _line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
