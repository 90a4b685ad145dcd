"""Third stage: sparse and ColBERT heads with the last layer, the dense loss kept.

A sparse weight is first fitted to how rare the token is in its language, then learned from which passage a sentence
comes out of. Lower layers and the vocabulary stay as they are.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rag.training import objective
from rag.training.sampling import Sampler
from rag.training.student import Student
from rag.training.tokenizer import BEGIN, END, PAD, SPECIALS
from rag.training.tokens import Floats, Pairs, Texts

STAGE = 3  # in the seeds of its steps

_DENSE, _RARITY, _LEXICAL, _LATE = 0.5, 10.0, 0.2, 0.5  # weights of the four losses
_LEXICAL_TEMPERATURE, _LATE_TEMPERATURE = 0.05, 0.03
_LATE_EVERY = 3  # steps: late interaction costs as much as all the rest
_LONGEST, _LONGEST_SENTENCE = 224, 96  # tokens
_HIGHEST = 0.35  # weight of the rarest tokens, as BGE-M3's are
_COMMON, _RARE = 1.0, 9.0  # log of 1 / share of texts, for weight 0 and for the highest
_RATE_OF_SPARSE, _RATE_OF_COLBERT = 10.0, 10 / 3  # learning rates against the last layer's
_PASSAGES_OF_FIT, _RIDGE = 2000, 1.0


class HeadsStage:
    """Trains the heads."""

    name = "heads"
    clip = 1.0

    def __init__(self, sampler: Sampler, student: Student, *, rate: float, batch: int, seed: int) -> None:
        """Takes the student as it is; `batch` counts passages."""
        self._sampler, self._batch, self._seed = sampler, batch, seed
        self.module = student
        self._rarity = torch.from_numpy(rarity(sampler.pairs, int(student.config["vocab_size"])))
        student.encoder.requires_grad_(False)
        last = student.encoder.encoder.layer[-1]
        last.requires_grad_(True)
        groups = [
            (list(last.parameters()), rate),
            (list(student.sparse.parameters()), rate * _RATE_OF_SPARSE),
            (list(student.colbert.parameters()), rate * _RATE_OF_COLBERT),
        ]
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "lr": each} for parameters, each in groups], betas=(0.9, 0.98), weight_decay=0.0
        )

    def fit_sparse(self) -> None:
        """Sets the sparse head to the least squares fit of the tokens' rarity: a start that ranks already."""
        draw = np.random.default_rng([self._seed, STAGE])
        passages = self._sampler.passages_or_pairs(draw, _PASSAGES_OF_FIT, 4)
        states, wanted = [], []
        with torch.no_grad():
            for side in self._sampler.sides(passages):
                for start in range(0, len(side.lengths), self._batch):
                    chosen = np.arange(start, min(start + self._batch, len(side.lengths)))
                    ids = self._ids(side.take(chosen), _LONGEST)
                    text = ids >= SPECIALS
                    states.append(self.module.hidden(ids)[text])
                    wanted.append(self._rarity[ids[text]])
            rows = torch.cat(states).double()
            rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
            ridge = _RIDGE * torch.eye(rows.shape[1], dtype=torch.float64)
            solved = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ torch.cat(wanted).double())
            self.module.sparse.weight.copy_(solved[None, :-1].float())
            self.module.sparse.bias.copy_(solved[-1:].float())

    def loss(self, step: int) -> Tensor:
        """As stages.Trained has it."""
        draw = np.random.default_rng([self._seed, STAGE, step])
        passages = self._sampler.passages_or_pairs(draw, self._batch, int(draw.choice([2, 4, 6])))
        kind = int(draw.integers(4))
        batch = self._sampler.question_batch(draw, passages, kind)
        question_ids, passage_ids = self._ids(batch.left, _LONGEST_SENTENCE), self._ids(batch.right, _LONGEST)
        question, passage = self.module.hidden(question_ids), self.module.hidden(passage_ids)
        dense = objective.asked(
            functional.normalize(question[:, 0], dim=-1),
            functional.normalize(passage[:, 0], dim=-1),
            torch.from_numpy(batch.left_target),
            torch.from_numpy(batch.right_target),
        )
        weights = self._weights(question), self._weights(passage)
        loss = _DENSE * dense + _RARITY * (self._off(question_ids, weights[0]) + self._off(passage_ids, weights[1]))
        if kind >= 2:  # within a language, where words are shared
            scores = lexical_scores(question_ids, weights[0], passage_ids, weights[1])
            loss = loss + _LEXICAL * objective.among(scores / _LEXICAL_TEMPERATURE)
        if step % _LATE_EVERY == 0:
            scores = self._late(question_ids, question, passage_ids, passage) / _LATE_TEMPERATURE
            loss = loss + _LATE * (objective.among(scores) + objective.among(scores.T))
        return loss

    def vectors(self, texts: Texts) -> Floats:
        """As stages.Trained has it."""
        return self.module.vectors(texts)

    def _ids(self, texts: Texts, longest: int) -> Tensor:
        return torch.from_numpy(texts.padded(min(longest, self.module.window), BEGIN, PAD, END))

    def _weights(self, hidden: Tensor) -> Tensor:
        return torch.relu(self.module.sparse(hidden))[..., 0]

    def _off(self, ids: Tensor, weights: Tensor) -> Tensor:
        """Mean squared distance of the weights from the tokens' rarity."""
        text = ids >= SPECIALS
        return ((weights - self._rarity[ids])[text] ** 2).mean()

    def _late(self, question_ids: Tensor, question: Tensor, passage_ids: Tensor, passage: Tensor) -> Tensor:
        """(n, n) mean over the question's tokens of the best cosine among the passage's."""
        asked, told = (functional.normalize(self.module.colbert(side[:, 1:]), dim=-1) for side in (question, passage))
        asked_text, told_text = question_ids[:, 1:] != PAD, passage_ids[:, 1:] != PAD
        cosines = torch.einsum("qid,pjd->qpij", asked.bfloat16(), told.bfloat16()).float()
        best = cosines.masked_fill(~told_text[None, :, None, :], -2).amax(-1) * asked_text[:, None, :]
        return best.sum(-1) / asked_text.sum(-1)[:, None]


def lexical_scores(question_ids: Tensor, question: Tensor, passage_ids: Tensor, passage: Tensor) -> Tensor:
    """(n, m) BGE-M3's lexical scores: over shared tokens, the product of each side's highest weight."""
    _, compact = torch.unique(torch.cat([question_ids.flatten(), passage_ids.flatten()]), return_inverse=True)
    size = int(compact.max()) + 1
    sides = []
    for ids, weights, numbers in (
        (question_ids, question, compact[: question_ids.numel()]),
        (passage_ids, passage, compact[question_ids.numel() :]),
    ):
        held = weights * (ids >= SPECIALS)
        rows = torch.zeros(len(ids), size)
        sides.append(rows.scatter_reduce(1, numbers.view_as(ids), held, "amax", include_self=True))
    return sides[0] @ sides[1].T


def rarity(pairs: Pairs, vocabulary: int) -> Floats:
    """(vocabulary,) weight of each token by its inverse document frequency, where it is most frequent.

    Counted by language: a small language's function words are as common there as a large one's.
    """
    made = len(pairs.languages)
    commonest = np.zeros(vocabulary)
    texts = [(pairs.english, np.flatnonzero(np.bincount(pairs.pair_english[pairs.pair_language < made])))]
    texts += [(pairs.other, np.flatnonzero(pairs.pair_language == language)) for language in range(made)]
    for side, chosen in texts:
        if not len(chosen):
            continue
        taken = side.take(chosen)
        row = np.repeat(np.arange(len(chosen), dtype=np.int64), taken.lengths)
        once = np.unique(row * vocabulary + taken.ids)
        share = np.bincount(once % vocabulary, minlength=vocabulary) / len(chosen)
        commonest = np.maximum(commonest, share)
    inverse = -np.log(np.maximum(commonest, 1e-9))
    weight = np.clip((inverse - _COMMON) / (_RARE - _COMMON), 0, 1) * _HIGHEST
    weight[:SPECIALS] = 0
    return weight.astype(np.float32)
