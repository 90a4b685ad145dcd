"""Bitext: sentences and their translations, as Tatoeba's test sets (Artetxe & Schwenk 2019) and parallel corpora.

A file is read in one of two shapes, with tabs between, and unpacked where its name ends in .gz. One that is named after
two languages, as `en-de.tsv`, has a sentence in the first and its translation in the second. Any other has the language
of the translation (a BCP-47 tag or an ISO 639 code), an English sentence, its translation. Further columns are passed
over.

Both sides are questions and both are documents. A sentence is looked for among those of its own two languages alone, so
recall@1 is the accuracy@1 that is published.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import InputError
from rag.evaluation.datasets import Dataset, DatasetDocument, DatasetQuestion, by_id, in_order
from rag.evaluation.problems import Problems
from rag.evaluation.records import lines, primary_tag, shown
from rag.normalization import visible

_SUFFIXES = (".tsv", ".tsv.gz")
_PIVOT = "en"
"""The language of the sentences of files that name one language a line."""

Pair = tuple[str, str]
"""Two primary tags, in the order of `in_order`."""


@dataclass(slots=True)
class _Found:
    """What was read so far: pairs in their order, each once, with file and line of the first."""

    pairs: dict[Pair, dict[tuple[str, str], str]] = field(default_factory=dict)
    repeated: int = 0

    def add(self, languages: Pair, texts: tuple[str, str], place: str) -> None:
        ordered = in_order(*languages)
        if languages != ordered:
            texts = (texts[1], texts[0])
        pairs = self.pairs.setdefault(ordered, {})
        self.repeated += texts in pairs
        pairs.setdefault(texts, place)


def is_bitext(path: Path) -> bool:
    """Whether `path` is to be read here: a TSV file, or a folder with some and without BEIR's files."""
    if path.is_dir():
        return not any((path / name).is_file() for name in ("corpus.jsonl", "queries.jsonl")) and bool(_files(path))
    return path.name.endswith(_SUFFIXES)


def read(paths: Sequence[Path], languages: Collection[str] = ()) -> Dataset:
    """The data set that files, and the files of folders, make together.

    Args:
        languages: primary tags; only their pairs, with each other and with English, are read. Empty for all.

    Raises:
        InputError: a file cannot be read, or there is no pair.
        DatasetError: lines cannot be used; all are told.
    """
    problems, found = Problems(), _Found()
    for path in paths:
        for file in _files(path) if path.is_dir() else (path,):
            _read(file, set(languages), found, problems)
    problems.raise_if_any()
    if not found.pairs:
        of = f" in {', '.join(sorted(languages))}" if languages else ""
        raise InputError(f"{', '.join(map(str, paths))}: there is no pair of sentences{of}: add some, or choose others")
    documents: list[DatasetDocument] = []
    questions: list[DatasetQuestion] = []
    for pair, sentences in found.pairs.items():
        for number, (texts, place) in enumerate(sentences.items(), start=1):
            _add(pair, number, texts, place, documents, questions)
    remarks = (f"{found.repeated} pairs stand twice and count once",) if found.repeated else ()
    name = " ".join(path.resolve().name for path in paths)
    return Dataset(name, by_id(documents), tuple(questions), remarks)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIXES) and path.is_file())


def _read(path: Path, wanted: set[str], found: _Found, problems: Problems) -> None:
    named = _named_after(path)
    if named and wanted and not {*named} - {_PIVOT} <= wanted:
        return
    refused: set[str] = set()  # codes; one stands on a thousand lines
    for number, line in enumerate(lines(path), start=1):
        place = f"{path}:{number}"
        try:
            cells = line.decode("utf-8").rstrip("\r").split("\t")
        except UnicodeDecodeError as error:
            problems.add(place, f"is not UTF-8 (byte {error.start}): save the file as UTF-8")
            continue
        if cells == [""]:
            continue
        if named:
            languages: Pair | None = named
            texts = cells[:2]
        else:
            languages = _languages(cells[0], place, wanted, refused, problems)
            texts = cells[1:3]
        if len(texts) < 2:
            shape = "sentence and translation" if named else "language, English sentence and translation"
            problems.add(place, f"is {shown(' '.join(cells))}: write {shape}, with tabs between")
        elif languages:
            for language, text in zip(languages, texts, strict=True):
                if not visible(text).strip():
                    problems.add(place, f"the side in {language!r} is empty: write a sentence, or leave the line out")
            found.add(languages, (texts[0].strip(), texts[1].strip()), place)


def _named_after(path: Path) -> Pair | None:
    """The languages of the file's columns, where its name has them.

    Raises:
        InputError: both are the same.
    """
    words = path.name.removesuffix(".gz").removesuffix(".tsv").split("-")
    if len(words) != 2 or not all(2 <= len(word) <= 3 for word in words):
        return None
    try:
        first, second = (primary_tag(word) for word in words)
    except InputError:
        return None
    if first == second:
        raise InputError(f"{path} is named after {first!r} twice: name it after two languages, as 'en-de.tsv'")
    return first, second


def _languages(code: str, place: str, wanted: set[str], refused: set[str], problems: Problems) -> Pair | None:
    """English and the language of the line; None where it is not wanted or no language, which is told once a file."""
    try:
        language = primary_tag(code)
    except InputError as error:
        if not wanted and code not in refused:
            refused.add(code)
            problems.add(place, str(error))
        return None
    if wanted and language not in wanted:
        return None
    if language != _PIVOT:
        return _PIVOT, language
    if code not in refused:
        refused.add(code)
        problems.add(place, f"the language is {code!r}, and the sentence beside it English, too: write a translation's")
    return None


def _add(
    pair: Pair,
    number: int,
    texts: tuple[str, str],
    place: str,
    documents: list[DatasetDocument],
    questions: list[DatasetQuestion],
) -> None:
    """Each side as a document, and as a question that the other side answers."""
    pool = "-".join(pair)
    ids = [f"{pool} {language} {number:09}" for language in pair]  # equal scores fall into the order of lines
    for own, other, language, text in zip(ids, reversed(ids), pair, texts, strict=True):
        documents.append(DatasetDocument(own, language, visible(text), own, place, pool))
        questions.append(DatasetQuestion(own, language, text, f"{pool} {number}", {other: 1}, place, pool))
