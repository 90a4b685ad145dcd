"""What a model card, the README.md of a checkpoint, recommends to programs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path

from rag.errors import CheckpointError

logger = getLogger(__name__)


def fusion_weights(folder: Path) -> tuple[float | None, float | None]:
    """`retrieval.dense_weight` and `.sparse_weight` of the model card's front matter, where it has any.

    Args:
        folder: of the checkpoint.

    Raises:
        CheckpointError: a weight is no number from 0 up.
        OSError: the card cannot be read.
    """
    path = folder / "README.md"
    if not path.is_file():
        return None, None
    front_matter = re.match(
        r"---\r?\n(.*?)\r?\n---\s*(?:\n|$)", path.read_text(encoding="utf-8", errors="replace"), re.DOTALL
    )
    if front_matter is None:
        return None, None
    import yaml

    try:
        card = yaml.safe_load(front_matter[1])
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that is none; thousands of brackets
        # A card is prose for people; it recommends weights or it does not, and the model works either way.
        logger.warning("the front matter of %s is no YAML: its fusion weights, if any, are not used", path)
        return None, None
    recommended = card.get("retrieval") if isinstance(card, dict) else None
    if not isinstance(recommended, dict):
        return None, None
    return _weight(path, recommended, "dense_weight"), _weight(path, recommended, "sparse_weight")


def _weight(path: Path, recommended: Mapping[str, object], key: str) -> float | None:
    value = recommended.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise CheckpointError(f"{path} recommends {key} = {value!r}: give a number from 0 up, or remove the line")
    return float(value)
