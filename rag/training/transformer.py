"""Second stage: the whole encoder, from the bag of tokens on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rag.training import objective
from rag.training.sampling import Batch, Sampler
from rag.training.student import Student
from rag.training.tokenizer import BEGIN, END, PAD
from rag.training.tokens import Floats, Texts

STAGE = 2  # in the seeds of its steps

_PAIRS, _PASSAGES = 0.6, 0.75  # up to the first: pairs; to the second: passages; above: a sentence and its passage
_LONGEST, _LONGEST_SENTENCE = 256, 64  # tokens
_DECAY = 0.01


class TransformerStage:
    """Trains the encoder's dense vectors."""

    name = "transformer"
    clip = 1.0

    def __init__(self, sampler: Sampler, student: Student, *, rate: float, batch: int, seed: int) -> None:
        """Takes the student as it is; `batch` counts tokens of both sides."""
        self._sampler, self._batch, self._seed = sampler, batch, seed
        self.module = student
        embeddings = [student.encoder.embeddings.word_embeddings.weight]
        named = [(name, each) for name, each in student.encoder.named_parameters() if each is not embeddings[0]]
        matrices = [each for name, each in named if each.dim() == 2 and ".layer." in name]
        rest = [each for name, each in named if each.dim() != 2 or ".layer." not in name]
        groups = [(embeddings, 0.0), (matrices, _DECAY), (rest, 0.0)]
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "lr": rate, "weight_decay": decay} for parameters, decay in groups],
            betas=(0.9, 0.98),
            fused=True,
        )

    def loss(self, step: int) -> Tensor:
        """As stages.Trained has it."""
        draw = np.random.default_rng([self._seed, STAGE, step])
        kind = draw.random()
        if kind >= _PAIRS:
            passages = self._sampler.even_passages(draw, self._batch)
            if len(passages.counts) > 1:
                if kind < _PASSAGES:
                    return self._paired(self._sampler.passage_batch(passages))
                return self._asked(self._sampler.question_batch(draw, passages, int(draw.integers(3))))
        return self._paired(self._sampler.pair_batch(self._sampler.even_pairs(draw, self._batch)))

    def vectors(self, texts: Texts) -> Floats:
        """As stages.Trained has it."""
        return self.module.vectors(texts)

    def _paired(self, batch: Batch) -> Tensor:
        left, right = (self._dense(side, _LONGEST) for side in (batch.left, batch.right))
        return objective.paired(left, right, torch.from_numpy(batch.left_target))

    def _asked(self, batch: Batch) -> Tensor:
        targets = torch.from_numpy(batch.left_target), torch.from_numpy(batch.right_target)
        question, passage = self._dense(batch.left, _LONGEST_SENTENCE), self._dense(batch.right, _LONGEST)
        return objective.asked(question, passage, *targets)

    def _dense(self, texts: Texts, longest: int) -> Tensor:
        longest = min(longest, self.module.window)
        return self.module.dense(torch.from_numpy(texts.padded(longest, BEGIN, PAD, END)))
