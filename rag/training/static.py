"""First stage: a bag of tokens, z = norm(Σ exp(u·x) x) with x = LN(E), trained in minutes on a CPU.

The transformer then starts as exactly this model (student.start_from_bag): most of what a small student will ever know
about words is learned here, a hundred times faster than through attention.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn import functional

from rag.training import objective
from rag.training.sampling import Batch, Sampler
from rag.training.tokenizer import SPECIALS
from rag.training.tokens import Floats, Pairs, Texts

STAGE = 1  # in the seeds of its steps

_PAIRS, _PASSAGES = 0.6, 0.8  # up to the first: pairs; to the second: passages; above: a sentence and its passage
_LENGTH = 16.0  # of the vectors at the start
_RATE_OF_WEIGHTS = 1 / 15  # learning rate of u against E's


class Bag(torch.nn.Module):
    """The bag of tokens.

    Attributes:
        table: (vocabulary, hidden) E.
        direction: (hidden,) u: how much a token counts.
    """

    def __init__(self, table: Tensor) -> None:
        """Takes the vectors to start with."""
        super().__init__()
        self.table = torch.nn.Parameter(table)
        self.direction = torch.nn.Parameter(torch.zeros(table.shape[1]))

    def tokens(self) -> tuple[Tensor, Tensor]:
        """(vocabulary, hidden) x and (vocabulary,) exp(u·x)."""
        tokens = functional.layer_norm(self.table, (self.table.shape[1],))
        return tokens, torch.exp(tokens @ self.direction)


class StaticStage:
    """Trains a bag of tokens."""

    name = "static"
    clip = None

    def __init__(self, sampler: Sampler, vocabulary: int, *, rate: float, batch: int, seed: int) -> None:
        """Starts each token at the mean of the targets of the texts that hold it."""
        self._sampler, self._batch, self._seed = sampler, batch, seed
        self.module = Bag(_start(sampler.pairs, vocabulary, seed))
        self.optimizer = torch.optim.Adam(
            [
                {"params": [self.module.table], "lr": rate},
                {"params": [self.module.direction], "lr": rate * _RATE_OF_WEIGHTS},
            ],
            betas=(0.9, 0.98),
        )

    def loss(self, step: int) -> Tensor:
        """As stages.Trained has it."""
        draw = np.random.default_rng([self._seed, STAGE, step])
        kind = draw.random()
        tokens = self.module.tokens()
        if kind >= _PAIRS:
            passages = self._sampler.passages(draw, self._batch // 3, int(draw.choice([3, 5, 8])))
            if len(passages.counts) > 1:
                if kind < _PASSAGES:
                    return self._paired(self._sampler.passage_batch(passages), tokens)
                return self._asked(self._sampler.question_batch(draw, passages, int(draw.integers(3))), tokens)
        return self._paired(self._sampler.pair_batch(self._sampler.draw(draw, self._batch)), tokens)

    def vectors(self, texts: Texts) -> Floats:
        """As stages.Trained has it."""
        with torch.no_grad():
            return _bag(self.module.tokens(), texts).numpy()

    def _paired(self, batch: Batch, tokens: tuple[Tensor, Tensor]) -> Tensor:
        target = torch.from_numpy(batch.left_target)
        return objective.paired(_bag(tokens, batch.left), _bag(tokens, batch.right), target)

    def _asked(self, batch: Batch, tokens: tuple[Tensor, Tensor]) -> Tensor:
        targets = torch.from_numpy(batch.left_target), torch.from_numpy(batch.right_target)
        return objective.asked(_bag(tokens, batch.left), _bag(tokens, batch.right), *targets)


def _bag(tokens: tuple[Tensor, Tensor], texts: Texts) -> Tensor:
    table, counts = tokens
    ids = torch.from_numpy(texts.ids.astype(np.int64))
    offsets = torch.from_numpy(texts.offsets[:-1])
    summed = functional.embedding_bag(ids, table, offsets, mode="sum", per_sample_weights=counts[ids])
    return functional.normalize(summed, dim=-1)


def _start(pairs: Pairs, vocabulary: int, seed: int) -> Tensor:
    kept = pairs.chance > 0
    english_kept = np.zeros(len(pairs.english.lengths), np.float32)
    english_kept[pairs.pair_english[kept]] = 1
    targets = pairs.targets.astype(np.float32)
    centred = targets - targets.mean(0)
    sums = np.zeros((vocabulary, targets.shape[1]), np.float32)
    mass = np.zeros(vocabulary, np.float32)
    sides = [
        (pairs.english, english_kept, centred),
        (pairs.other, kept.astype(np.float32), centred[pairs.pair_english]),
    ]
    for texts, weight, target in sides:
        holds = _holds(texts, weight, vocabulary)
        sums += holds.T @ target
        mass += np.asarray(holds.sum(0)).ravel()
    table = sums / (mass[:, None] + 1e-3)
    table *= _LENGTH / (np.linalg.norm(table, axis=1, keepdims=True) + 1e-6)
    unseen = mass == 0
    unseen[:SPECIALS] = True
    table[unseen] = np.random.default_rng([seed, 4]).normal(size=(int(unseen.sum()), targets.shape[1]))
    return torch.from_numpy(table.astype(np.float32))


def _holds(texts: Texts, weight: Floats, vocabulary: int) -> scipy.sparse.csr_matrix:
    """(texts, vocabulary) share of each token in each text, times the text's weight."""
    share = np.repeat(weight / np.maximum(texts.lengths, 1), texts.lengths).astype(np.float32)
    cells = (share, texts.ids.astype(np.int32), texts.offsets)
    return scipy.sparse.csr_matrix(cells, shape=(len(weight), vocabulary))
