"""Parallel text: pairs of an English sentence and its translation, from `en-TAG.tsv[.gz]`."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag.errors import InputError
from rag.language import parse_tag
from rag.locations import translation_tag
from rag.training.recipe import Data

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Lines of a file that are no pairs.

    Attributes:
        file: its name.
        lines: how many.
        first: what is wrong with the first of them, with its line number.
    """

    file: str
    lines: int
    first: str


@dataclass(frozen=True, slots=True)
class ParallelText:
    """Pairs of all languages.

    Attributes:
        english: each English text once.
        other: the other side, one text a pair.
        pair_english: (pairs,) position of each pair's English text.
        pair_language: (pairs,) position of its language in `languages`.
        weight: (pairs,) how often its source is drawn against others.
        languages: BCP-47 tags, in the order of the recipe or of the file names.
        held_out: (n,) positions of the pairs that are kept from training.
        left_out: what could not be used.
    """

    english: list[str]
    other: list[str]
    pair_english: Indices
    pair_language: Indices
    weight: npt.NDArray[np.float64]
    languages: tuple[str, ...]
    held_out: Indices
    left_out: tuple[LeftOut, ...]


def files(folder: Path, languages: tuple[str, ...]) -> dict[str, Path]:
    """The files of parallel text in a folder, by language.

    Raises:
        InputError: there is no such folder, a language has no file, or a file's tag is not BCP-47.
    """
    try:
        there = sorted((path, tag) for path in folder.iterdir() if (tag := translation_tag(path.name)))
    except OSError as error:
        raise InputError(f"--parallel {str(folder)!r} cannot be read ({error.strerror}): give a folder") from error
    found: dict[str, Path] = {}
    for path, written in there:
        try:
            tag = parse_tag(written)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if tag in found:
            raise InputError(f"{path} and {found[tag].name} hold the same language: keep one of them")
        found[tag] = path
    missing = [language for language in languages if language not in found]
    if missing or not found:
        wanted = missing[0] if missing else "TAG"
        raise InputError(
            f"{folder} has no en-{wanted}.tsv or .tsv.gz: each line is English<TAB>translation[<TAB>source]"
        )
    return {language: found[language] for language in languages} if languages else found


def read(folder: Path, data: Data, seed: int) -> ParallelText:
    """Reads the pairs that a recipe asks for; each pair once, in the order of languages, files and lines.

    A line that is no pair is left out and counted, and costs no other line.

    Raises:
        InputError: a file cannot be read, or nothing is left of a language.
    """
    numbers: dict[str, int] = {}
    other: list[str] = []
    english: list[int] = []
    language: list[int] = []
    weight: list[float] = []
    left_out: list[LeftOut] = []
    found = files(folder, data.languages)
    for position, path in enumerate(found.values()):
        before = len(other)
        for here, there, share in _pairs(path, data, left_out):
            english.append(numbers.setdefault(here, len(numbers)))
            other.append(there)
            language.append(position)
            weight.append(share)
        if len(other) == before:
            raise InputError(f"{path} holds no pair that can be used{_why(path, left_out)}")
    pair_language = np.array(language, np.int32)
    return ParallelText(
        english=list(numbers),
        other=other,
        pair_english=np.array(english, np.int32),
        pair_language=pair_language,
        weight=np.array(weight),
        languages=tuple(found),
        held_out=_held_out(pair_language, len(found), data.held_out, seed),
        left_out=tuple(left_out),
    )


def _pairs(path: Path, data: Data, left_out: list[LeftOut]) -> Iterator[tuple[str, str, float]]:
    """English, translation and weight of each pair of a file."""
    excluded = [re.compile(pattern) for pattern in data.exclude]
    seen: set[tuple[str, str]] = set()
    wrong, first = 0, ""
    for number, line in enumerate(_lines(path), start=1):
        columns = [column.strip() for column in line.split("\t")] if line is not None else []
        problem = (
            "it is not UTF-8: convert the file, as with iconv" if line is None else _problem(columns, data.longest)
        )
        if problem:
            wrong += 1
            first = first or f"line {number}: {problem}"
            continue
        here, there = columns[:2]
        share = data.sources.get(columns[2] if len(columns) > 2 else "", data.other_sources)
        if not share or (here, there) in seen:
            continue
        if any(pattern.search(here) or pattern.search(there) for pattern in excluded):
            continue
        seen.add((here, there))
        yield here, there, share
    if wrong:
        left_out.append(LeftOut(path.name, wrong, first))


def _problem(columns: list[str], longest: int) -> str:
    if len(columns) < 2:
        return "no tab: each line is English<TAB>translation[<TAB>source]"
    if not columns[0]:
        return "the English side is empty"
    if not columns[1]:
        return "the translation is empty"
    if max(map(len, columns[:2])) > longest:
        return f"a side is longer than {longest} characters (data.longest)"
    return ""


def _lines(path: Path) -> Iterator[str | None]:
    """Each line; None for one that is not UTF-8."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream):
                try:
                    yield line.decode("utf-8-sig" if number == 0 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    yield None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}): mend it, or leave it out of the folder") from error


def _why(path: Path, left_out: list[LeftOut]) -> str:
    of_file = [each for each in left_out if each.file == path.name]
    if of_file:
        return f" ({of_file[0].first})"
    return ": all are of sources that the recipe leaves out, or fit one of its `exclude`"


def _held_out(pair_language: Indices, languages: int, wanted: int, seed: int) -> Indices:
    chosen = []
    for position in range(languages):
        pairs = np.flatnonzero(pair_language == position)
        draw = np.random.default_rng([seed, 1, position])
        chosen.append(draw.permutation(pairs)[: min(wanted, len(pairs) // 10)])
    return np.sort(np.concatenate(chosen)).astype(np.int32)
