"""BGE-M3 as its authors compute it: FlagEmbedding's model with its own pooling and heads, the reference.

For comparing: it computes padding, and its tokens go through transformers' own layers. What FlagEmbedding does around
its model is not part of it: tokens, batches and the maximum of a token's weights are this project's.

Importing this module loads torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rag.checkpoint import Checkpoint
from rag.embedders.encoding import Encoded, Encoder
from rag.embedders.padding import cuts
from rag.errors import CheckpointError


class FlagEncoder(Encoder):
    """FlagEmbedding's BGEM3FlagModel, loaded onto one device. Safe to call from several threads."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        """Loads the weights.

        Raises:
            CheckpointError: FlagEmbedding cannot load the folder.
        """
        self._device, self._dtype, self._padding_id = device, dtype, checkpoint.padding_id
        from FlagEmbedding import BGEM3FlagModel
        from transformers.utils import logging

        # A bar for every file would stand between question and answer.
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            loaded = BGEM3FlagModel(
                str(checkpoint.folder),
                use_fp16=dtype == torch.float16,
                use_bf16=dtype == torch.bfloat16,
                devices=str(device),
            )
            loaded.model.to(device).eval()
        except Exception as error:  # FlagEmbedding and what it stands on raise of every kind
            said = next(iter(str(error).splitlines()), type(error).__name__)[:200]
            raise CheckpointError(
                f"FlagEmbedding cannot load {checkpoint.folder} ({said}): set RAG_EMBEDDER__BACKEND=torch"
            ) from error
        self._loaded = loaded  # not its model alone: when it goes, it takes its model from the device

    @property
    def description(self) -> str:
        """Device and precision, for messages."""
        return f"{self._device} in {str(self._dtype).removeprefix('torch.')} with FlagEmbedding"

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Sequence[int]], *, colbert: bool = False) -> Encoded:
        """Encodes one batch, padded to the longest text or cut where that would be too much: sort by length.

        Args:
            texts: token ids of each text, special tokens included, none longer than the window.
            colbert: whether the tokens' own vectors are wanted, too.
        """
        parts = [self._encode(texts[cut], colbert) for cut in cuts([len(text) for text in texts])]
        return Encoded(
            dense=np.concatenate([part.dense for part in parts]),
            token_weights=np.concatenate([part.token_weights for part in parts]),
            colbert=np.concatenate([part.colbert for part in parts if part.colbert is not None]) if colbert else None,
        )

    def _encode(self, texts: Sequence[Sequence[int]], colbert: bool) -> Encoded:
        lengths = torch.tensor([len(text) for text in texts])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        token_ids = torch.full(mask.shape, self._padding_id)
        token_ids[mask] = torch.cat([torch.tensor(text) for text in texts])
        made = self._loaded.model(
            {"input_ids": token_ids.to(self._device), "attention_mask": mask.long().to(self._device)},
            return_dense=True,
            return_sparse=True,
            return_colbert_vecs=colbert,
        )
        return Encoded(
            dense=_unit(made["dense_vecs"]).numpy(),
            token_weights=made["sparse_vecs"].squeeze(-1).cpu().float()[mask].numpy(),
            colbert=_unit(made["colbert_vecs"])[mask[:, 1:]].numpy() if colbert else None,
        )


def _unit(vectors: Tensor) -> Tensor:
    """FlagEmbedding divides by the length in the model's precision, whose rounding shows in 16 bits."""
    return functional.normalize(vectors.cpu().float(), dim=-1)
