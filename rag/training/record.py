"""What a run was begun with, kept in its working folder: a run that goes on must be the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rag.errors import InputError
from rag.training.recipe import Recipe

_FORMAT = 1  # counts changes of the program that change the weights


def begun(recipe: Recipe, teacher: str, files: Iterable[Path], seed: int, init: str | None) -> dict[str, Any]:
    """All that decides the weights.

    Args:
        files: the parallel text.
        init: fingerprint of the student that the run starts from.
    """
    return {
        "format": _FORMAT,
        "teacher": teacher,
        "seed": seed,
        "init": init,
        "recipe": recipe.model_dump(mode="json"),
        "parallel": {path.name: _digest(path) for path in files},
    }


def claim(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Makes a working folder this run's own.

    Returns:
        Whether it was this run's already.

    Raises:
        InputError: it belongs to a run that was begun with something else; the message names what.
    """
    path = folder / "run.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): give another folder with --work, or remove it") from error
    if found is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds something that is no training run: give another folder with --work")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(wanted, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return False
    place = _difference(found, wanted, ())
    if place:
        raise InputError(
            f"{folder} holds a run that was begun with another {'.'.join(place)}: give the same again, "
            "another folder with --work, or remove it"
        )
    return True


def _difference(found: object, wanted: object, place: tuple[str, ...]) -> tuple[str, ...] | None:
    """Where two trees differ first."""
    if isinstance(found, dict) and isinstance(wanted, Mapping):
        for key in sorted({*found, *wanted}):
            inside = _difference(found.get(key), wanted.get(key), (*place, str(key)))
            if inside:
                return inside
        return None
    return None if found == wanted else place or ("format",)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
