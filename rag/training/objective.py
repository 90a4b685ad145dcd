"""What a step minimises.

sentence-transformers' losses call the teacher or the student in every step (MSELoss, GISTEmbedLoss); here the teacher's
vectors lie on disk, and one step weighs four contrasts over the same two forward passes. So the terms are written out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.05

_COSINE = 3.0  # weight of the distance to the teacher against the contrasts
_SAME = 0.9  # cosine of two targets from which one is no negative of the other


def paired(left: Tensor, right: Tensor, target: Tensor) -> Tensor:
    """Loss of translations: both sides (n, d) are to lie where `target` (n, d) is, and nearer than to others'."""
    masked = _near_duplicates(target)
    distance = _distance(left, target) + _distance(right, target)
    contrast = _contrast(right, target, masked) + 0.5 * _contrast(left, target, masked)
    between = _contrast(right, left, masked) + _contrast(left, right, masked)
    return _COSINE * distance + contrast + 0.5 * between


def asked(question: Tensor, passage: Tensor, question_target: Tensor, passage_target: Tensor) -> Tensor:
    """Loss of sentences (n, d) and the passages (n, d) that hold them, each with a target of its own."""
    masked = _near_duplicates(passage_target)
    distance = _distance(question, question_target) + _distance(passage, passage_target)
    contrast = _contrast(question, passage, masked) + 0.5 * _contrast(passage, question, masked)
    return _COSINE * distance + contrast + 0.5 * _contrast(question, passage_target, masked)


def among(scores: Tensor) -> Tensor:
    """Cross entropy of (n, n) scores whose right answers are on the diagonal."""
    return functional.cross_entropy(scores, torch.arange(len(scores)))


def _near_duplicates(target: Tensor) -> Tensor:
    masked = (target @ target.T) > _SAME
    return masked.fill_diagonal_(False)


def _distance(vectors: Tensor, target: Tensor) -> Tensor:
    return (1 - (vectors * target).sum(-1)).mean()


def _contrast(left: Tensor, right: Tensor, masked: Tensor) -> Tensor:
    return among((left @ right.T / TEMPERATURE).masked_fill(masked, -1e4))
