"""What `rag tune` found best for an index, in a file of its folder; found for one model, and of use for no other."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import get_args

from rag.errors import DiskError, StoreError
from rag.types import FusionMethod

logger = getLogger(__name__)

TUNED_FILE = "tuning.json"


@dataclass(frozen=True, slots=True)
class Tuned:
    """How hybrid ranks, and what that rests on.

    Attributes:
        fusion, dense_weight, sparse_weight, level_k, coverage, centring: as in the settings.
        fingerprint: of the embedding model.
        data: the questions it was chosen for.
        questions: how many; translations count as one.
        objective: whose nDCG@10 was to be high.
        gain: over the settings of then, on questions that had no part in the choice.
        low, high: its 95 % interval.
        depth: as in the settings; None where no index was searched.
    """

    fusion: FusionMethod
    dense_weight: float
    sparse_weight: float
    level_k: int
    coverage: float
    centring: float
    fingerprint: str
    data: str
    questions: int
    objective: str
    gain: float
    low: float
    high: float
    depth: int | None = None


def read(folder: Path, fingerprint: str) -> Tuned | None:
    """What was found for the index in `folder`; None where nothing was, or for another model.

    Args:
        fingerprint: of the model that the index was made with.

    Raises:
        StoreError: the file cannot be read or is damaged.
    """
    path = folder / TUNED_FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror}): check its permissions and the disk") from error
    try:
        found = _tuned(json.loads(content))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path} is damaged: delete it; `rag tune retrieval` makes another") from error
    if found.fingerprint != fingerprint:
        logger.warning("%s was found for another model and is not used: run `rag tune retrieval` again", path)
        return None
    return found


def write(folder: Path, tuned: Tuned) -> Path:
    """Puts it beside the index, in the place of what was there; the file.

    Raises:
        DiskError: it cannot be written.
    """
    path = folder / TUNED_FILE
    new = path.with_name(path.name + ".new")
    try:
        with new.open("w", encoding="utf-8") as stream:
            json.dump(asdict(tuned), stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    except OSError as error:
        raise DiskError(f"cannot write {path} ({error.strerror}): check its permissions and the disk") from error
    return path


def forget(folder: Path) -> bool:
    """Removes what was found for an index that another model's has replaced; whether there was anything.

    Raises:
        DiskError: it cannot be removed.
    """
    path = folder / TUNED_FILE
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DiskError(f"cannot remove {path} ({error.strerror}): remove it yourself") from error
    return True


def _tuned(fields: object) -> Tuned:
    if not isinstance(fields, dict) or fields["fusion"] not in get_args(FusionMethod):
        raise ValueError(fields)
    level_k, questions = fields["level_k"], fields["questions"]
    if type(level_k) is not int or type(questions) is not int or not 1 <= level_k <= 100:
        raise ValueError(fields)
    depth = fields.get("depth")
    if depth is not None and (type(depth) is not int or depth < 1):
        raise ValueError(fields)
    weights = [_number(fields[name]) for name in ("dense_weight", "sparse_weight")]
    # Files of before these were there were found without them.
    coverage, centring = (_number(fields.get(name, 0.0)) for name in ("coverage", "centring"))
    if min(*weights, coverage, centring) < 0 or centring > 1:
        raise ValueError(fields)
    gain, low, high = (_number(fields[name]) for name in ("gain", "low", "high"))
    return Tuned(
        fields["fusion"],
        weights[0],
        weights[1],
        level_k,
        coverage,
        centring,
        str(fields["fingerprint"]),
        str(fields["data"]),
        questions,
        str(fields["objective"]),
        gain,
        low,
        high,
        depth,
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)
