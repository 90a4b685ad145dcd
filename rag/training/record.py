"""What a run was begun with, kept in its working folder: a run that goes on must be the same run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rag.errors import InputError
from rag.training.recipe import Recipe

_FORMAT = 1  # counts changes of the program that change the weights


def begun(
    recipe: Recipe, teacher: str, files: Iterable[Path], seed: int, init: str | None, tokenizer: str | None
) -> dict[str, Any]:
    """All that decides the weights.

    Args:
        teacher: hub id, or folder, which goes in by what it holds.
        files: the parallel text.
        init: fingerprint of the student that the run starts from.
        tokenizer: digest of the tokenizer that is taken over.

    Raises:
        InputError: a file cannot be read.
    """
    return {
        "format": _FORMAT,
        "teacher": _digest_of_folder(Path(teacher)) if Path(teacher).is_dir() else teacher,
        "seed": seed,
        "init": init,
        "tokenizer": tokenizer,
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
        if any(path.name != ".lock" for path in folder.iterdir()):
            raise InputError(f"{folder} holds something that is no training run: give another folder with --work")
        _write(path, wanted)
        return False
    place = _difference(found, wanted, ())
    if place and not any(folder.glob("*.np[yz]")):
        # Nothing that took long is there yet: a mistake that was put right must not need another folder.
        shutil.rmtree(folder / "tokenizer", ignore_errors=True)
        _write(path, wanted)
        return False
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


def _write(path: Path, wanted: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(wanted, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): mend it, or take it out of the folder") from error


def _digest_of_folder(folder: Path) -> str:
    """Of a model's files; prose about it, and what git keeps, do not count."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    parts = [f"{path.relative_to(folder)} {_digest(path)}" for path in files if ".git" not in path.parts]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
