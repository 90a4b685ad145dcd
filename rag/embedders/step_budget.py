"""How many tokens a forward pass best has on this machine: measured once, and kept in the user's cache folder.

    CACHE/steps/DIGEST.json     {"setup": what was measured, "speeds": {"512": tokens a second of one layer, …}}

It decides how fast vectors are made and nothing else. A file that cannot be read is measured anew, and one that cannot
be written costs the next process the measurement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from logging import getLogger
from math import isfinite
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import perf_counter

from platformdirs import user_cache_path

from rag.embedders.encoding import MeasuredEncoder

_APPLICATION = "cross-lingual-rag"
_ROUNDS = 3
_SECONDS = 0.5  # no further round is begun after that
_NEXT_TO_FASTEST = 0.97  # the smallest of those that are as fast as the fastest but for noise needs the least memory

logger = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepBudget:
    """What was measured.

    Attributes:
        speeds: tokens a second through one layer, by the tokens of a pass, ascending; not empty.
    """

    speeds: Mapping[int, float]

    @property
    def tokens(self) -> int:
        """Of a pass: the fewest that are next to fastest."""
        enough = _NEXT_TO_FASTEST * max(self.speeds.values())
        return next(tokens for tokens, speed in self.speeds.items() if speed >= enough)


def step_budget(encoder: MeasuredEncoder, folder: Path | None = None) -> StepBudget:
    """The budget of this encoder on this machine; measured, in about half a second, where it is not known yet.

    Args:
        folder: of what is kept; by default in the user's cache folder.
    """
    known = known_step_budget(encoder.setup, encoder.step_sizes, folder)
    if known is not None:
        return known
    budget = StepBudget(_measure(encoder))
    logger.info("%s takes %d tokens a step (%s)", encoder.description, budget.tokens, dict(budget.speeds))
    _keep(_file(encoder.setup, folder), encoder, budget)
    return budget


def known_step_budget(
    setup: Mapping[str, str | int], sizes: Sequence[int], folder: Path | None = None
) -> StepBudget | None:
    """The same where it has been measured already; no weights are needed to ask.

    Args:
        setup: as `MeasuredEncoder.setup`.
        sizes: as `MeasuredEncoder.step_sizes`.
        folder: as for `step_budget`.
    """
    try:
        kept = json.loads(_file(setup, folder).read_text(encoding="utf-8"))
        speeds = {int(tokens): float(speed) for tokens, speed in kept["speeds"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # not there, or no longer what was written
    if set(speeds) != set(sizes) or not all(speed > 0 and isfinite(speed) for speed in speeds.values()):
        return None
    return StepBudget(dict(sorted(speeds.items())))


def _measure(encoder: MeasuredEncoder) -> dict[int, float]:
    encoder.rehearse(encoder.step_sizes[0])  # the first pass of all is slower
    fastest: dict[int, float] = {}
    began = perf_counter()
    for _ in range(_ROUNDS):
        for tokens in encoder.step_sizes:
            started = perf_counter()
            encoder.rehearse(tokens)
            fastest[tokens] = max(fastest.get(tokens, 0.0), tokens / (perf_counter() - started))
        if perf_counter() - began > _SECONDS:
            break
    return fastest


def _keep(file: Path, encoder: MeasuredEncoder, budget: StepBudget) -> None:
    content = json.dumps({"setup": dict(encoder.setup), "speeds": {str(t): round(s) for t, s in budget.speeds.items()}})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, suffix=".unfinished", delete=False) as written:
            written.write(content)
        Path(written.name).replace(file)
    except OSError as error:
        logger.info("the measured step is not kept: %s", error)


def _file(setup: Mapping[str, str | int], folder: Path | None) -> Path:
    told = json.dumps(dict(setup), sort_keys=True)
    folder = folder or user_cache_path(_APPLICATION) / "steps"
    return folder / f"{sha256(told.encode()).hexdigest()[:16]}.json"
