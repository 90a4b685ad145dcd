"""What a model card, the README.md of a checkpoint, recommends to programs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from logging import getLogger
from pathlib import Path

from rag.errors import CheckpointError

logger = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recommended:
    """How a model's vectors are best used, as `rag.fusion.Ranking` has it; None where the card says nothing."""

    dense_weight: float | None = None
    sparse_weight: float | None = None
    coverage: float | None = None
    centring: float | None = None


def recommended(folder: Path) -> Recommended:
    """Group `retrieval` of the model card's front matter, where it has one.

    Args:
        folder: of the checkpoint.

    Raises:
        CheckpointError: a value is no number from 0 up, or `centring` is above 1.
        OSError: the card cannot be read.
    """
    path = folder / "README.md"
    if not path.is_file():
        return Recommended()
    front_matter = re.match(
        r"---\r?\n(.*?)\r?\n---\s*(?:\n|$)", path.read_text(encoding="utf-8", errors="replace"), re.DOTALL
    )
    if front_matter is None:
        return Recommended()
    import yaml

    try:
        card = yaml.safe_load(front_matter[1])
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that is none; thousands of brackets
        # A card is prose for people; it recommends weights or it does not, and the model works either way.
        logger.warning("the front matter of %s is no YAML: its fusion weights, if any, are not used", path)
        return Recommended()
    group = card.get("retrieval") if isinstance(card, dict) else None
    if not isinstance(group, dict):
        return Recommended()
    found = Recommended(**{field.name: _number(path, group, field.name) for field in fields(Recommended)})
    if found.centring is not None and found.centring > 1:
        raise CheckpointError(f"{path} recommends centring = {found.centring}: give a number from 0 to 1")
    return found


def _number(path: Path, group: Mapping[str, object], key: str) -> float | None:
    value = group.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise CheckpointError(f"{path} recommends {key} = {value!r}: give a number from 0 up, or remove the line")
    return float(value)
