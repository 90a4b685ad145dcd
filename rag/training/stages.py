"""The loop that every stage runs in: steps, learning rate, checkpoints that a killed run goes on from, evaluation."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rag.errors import DiskError, InputError
from rag.training.tokens import Floats, Pairs, Texts

Event = Mapping[str, object]
"""What a run says of itself: `event` names it."""

Tell = Callable[[Event], None]

_LEAST_RATE = 0.02  # of the learning rate, at the end of a stage
_MOST_WARM_UP = 100  # steps
_NOTE_EVERY = 20.0  # seconds between two words about progress; they decide nothing


class Trained(Protocol):
    """A stage as the loop sees it."""

    @property
    def name(self) -> str:
        """Of its checkpoint."""

    @property
    def module(self) -> torch.nn.Module:
        """What is trained."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Its learning rates are those at their highest."""

    @property
    def clip(self) -> float | None:
        """Largest norm of the gradient, if it is to be cut."""

    def loss(self, step: int) -> Tensor:
        """Loss of the batch that belongs to this step."""

    def vectors(self, texts: Texts) -> Floats:
        """Unit vectors (texts, hidden) of the student as it is."""


def run(stage: Trained, pairs: Pairs, *, steps: int, checkpoint: int, folder: Path, tell: Tell) -> None:
    """Trains a stage to its end, from its last checkpoint if there is one.

    Raises:
        DiskError: a checkpoint cannot be written; the one before it is as it was.
    """
    path = _path(stage, folder)
    done = _restore(stage, path)
    if 0 < done < steps:
        tell({"event": "resumed", "stage": stage.name, "step": done, "steps": steps})
    rates = [group["lr"] for group in stage.optimizer.param_groups] if not done else _base_rates(stage)
    if not done:
        _evaluate(stage, pairs, 0, tell)
    warm_up = max(1, min(_MOST_WARM_UP, steps // 20))
    losses: list[float] = []
    began = noted = time.monotonic()
    for step in range(done, steps):
        share = min(1.0, (step + 1) / warm_up) * max(_LEAST_RATE, 1 - step / steps)
        for group, rate in zip(stage.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
            group["base"] = rate
        loss = stage.loss(step)
        if not math.isfinite(loss.item()):
            raise InputError(
                f"the {stage.name} stage has diverged in step {step + 1} (loss {loss.item()}): lower its rate in the "
                f"recipe, {rates[0]:g} now"
            )
        stage.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if stage.clip is not None:
            parameters = [each for group in stage.optimizer.param_groups for each in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, stage.clip)
        stage.optimizer.step()
        losses.append(loss.item())
        last = step + 1 == steps
        if last or time.monotonic() - noted > _NOTE_EVERY:
            noted = time.monotonic()
            pace = (step + 1 - done) / (noted - began)
            mean = float(np.mean(losses))
            tell(
                {
                    "event": "step",
                    "stage": stage.name,
                    "step": step + 1,
                    "steps": steps,
                    "loss": round(mean, 4),
                    "steps_per_second": round(pace, 3),
                }
            )
            losses.clear()
        if last or (step + 1) % checkpoint == 0:
            _evaluate(stage, pairs, step + 1, tell)
            _save(stage, path, step + 1)


def begun(stage: Trained, folder: Path) -> bool:
    """Whether the stage has a checkpoint to go on from."""
    return _path(stage, folder).is_file()


def held_out_accuracy(vectors: Callable[[Texts], Floats], pairs: Pairs) -> dict[str, float]:
    """Accuracy@1 of finding translations among the held-out pairs of each language, mean of both directions."""
    found = {}
    for position, language in enumerate(pairs.languages):
        of_language = pairs.held_out[pairs.pair_language[pairs.held_out] == position]
        # One English sentence with two translations has no single right answer.
        _, kept = np.unique(pairs.pair_english[of_language], return_index=True)
        of_language = of_language[np.sort(kept)]
        if not len(of_language):
            continue
        english = vectors(pairs.english.take(pairs.pair_english[of_language]))
        scores = english @ vectors(pairs.other.take(of_language)).T
        right = np.arange(len(of_language))
        both = ((scores.argmax(0) == right).mean() + (scores.argmax(1) == right).mean()) / 2
        found[language] = round(float(both), 4)
    return found


def save_whole(path: Path, content: object) -> None:
    """Writes what torch can save; the file is there whole or as it was before.

    Raises:
        DiskError: it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(buffer.getbuffer())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        kept = (
            "the checkpoint before it stays, and the run goes on from there" if path.is_file() else "nothing was lost"
        )
        raise DiskError(
            f"{path} cannot be written ({error.strerror or error}): {kept}; make room, then start the same command "
            "again"
        ) from error


def _evaluate(stage: Trained, pairs: Pairs, step: int, tell: Tell) -> None:
    accuracy = held_out_accuracy(stage.vectors, pairs)
    tell({"event": "evaluation", "stage": stage.name, "step": step, "accuracy": accuracy})


def _path(stage: Trained, folder: Path) -> Path:
    return folder / f"{stage.name}.pt"


def _save(stage: Trained, path: Path, step: int) -> None:
    state = {"step": step, "module": stage.module.state_dict(), "optimizer": stage.optimizer.state_dict()}
    save_whole(path, state)


def _restore(stage: Trained, path: Path) -> int:
    if not path.is_file():
        return 0
    state: dict[str, Any] = torch.load(path, weights_only=True)
    stage.module.load_state_dict(state["module"])
    stage.optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _base_rates(stage: Trained) -> list[float]:
    return [float(group["base"]) for group in stage.optimizer.param_groups]
