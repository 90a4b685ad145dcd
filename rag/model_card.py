"""What a model card, the README.md of a checkpoint, recommends to programs: group `retrieval` of its front matter."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from logging import getLogger
from pathlib import Path
from typing import Literal

from rag.errors import CheckpointError

logger = getLogger(__name__)

_CARD = "README.md"
_LEAST_TOKENS = 3
"""The two special ones and one of the text."""


@dataclass(frozen=True, slots=True)
class Recommended:
    """How a model's vectors are best used, as `rag.fusion.Ranking` has it; None where the card says nothing."""

    dense_weight: float | None = None
    sparse_weight: float | None = None
    coverage: float | None = None
    centring: float | None = None


@dataclass(frozen=True, slots=True)
class Representation:
    """What the vectors of a text are made of, beside what the model makes of it; part of the model's fingerprint.

    Attributes:
        lexical: `own`, the weights of the model's sparse head, or `bm25` (`rag.lexical_terms`) in their place.
        beginning_tokens: a passage's first tokens, special tokens included, that count once more; 0 for none.
        beginning_weight: of their dense vector, added to the whole passage's before it is brought to unit norm.
    """

    lexical: Literal["own", "bm25"] = "own"
    beginning_tokens: int = 0
    beginning_weight: float = 0.0


def recommended(folder: Path) -> Recommended:
    """How the model's vectors are best used.

    Args:
        folder: of the checkpoint.

    Raises:
        CheckpointError: a value is no number from 0 up, or `centring` is above 1.
        OSError: the card cannot be read.
    """
    path = folder / _CARD
    group = _retrieval(path)
    found = Recommended(**{field.name: _number(path, group, field.name) for field in fields(Recommended)})
    if found.centring is not None and found.centring > 1:
        raise CheckpointError(f"{path} recommends centring = {found.centring}: give a number from 0 to 1")
    return found


def representation(folder: Path) -> Representation:
    """What vectors are to be made of.

    Args:
        folder: of the checkpoint.

    Raises:
        CheckpointError: `lexical` is neither `own` nor `bm25`, `beginning_weight` no number from 0 up, or
            `beginning_tokens` no whole number from 3 up.
        OSError: the card cannot be read.
    """
    path = folder / _CARD
    group = _retrieval(path)
    lexical, tokens = group.get("lexical", "own"), group.get("beginning_tokens", 0)
    weight = _number(path, group, "beginning_weight") or 0.0
    if lexical not in ("own", "bm25"):
        raise CheckpointError(f"{path} recommends lexical = {lexical!r}: say own or bm25, or remove the line")
    if type(tokens) is not int or (tokens != 0 and tokens < _LEAST_TOKENS):
        raise CheckpointError(
            f"{path} recommends beginning_tokens = {tokens!r}: give a whole number from {_LEAST_TOKENS} up, or remove "
            "the line"
        )
    return Representation(lexical, tokens, weight) if tokens and weight else Representation(lexical)


def _retrieval(path: Path) -> Mapping[str, object]:
    """Group `retrieval` of the front matter of the card at `path`, empty where there is none."""
    if not path.is_file():
        return {}
    front_matter = re.match(
        r"---\r?\n(.*?)\r?\n---\s*(?:\n|$)", path.read_text(encoding="utf-8", errors="replace"), re.DOTALL
    )
    if front_matter is None:
        return {}
    import yaml

    try:
        card = yaml.safe_load(front_matter[1])
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that is none; thousands of brackets
        # A card is prose for people; it recommends weights or it does not, and the model works either way.
        logger.warning("the front matter of %s is no YAML: its fusion weights, if any, are not used", path)
        return {}
    group = card.get("retrieval") if isinstance(card, dict) else None
    return group if isinstance(group, dict) else {}


def _number(path: Path, group: Mapping[str, object], key: str) -> float | None:
    value = group.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise CheckpointError(f"{path} recommends {key} = {value!r}: give a number from 0 up, or remove the line")
    return float(value)
