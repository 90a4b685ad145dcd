"""Bitext: sentences and their translations, as Tatoeba's test sets (Artetxe & Schwenk 2019) and parallel corpora.

A file is read in one of two shapes, with tabs between, and unpacked where its name ends in .gz. One that is called
`en-TAG.tsv` after a language, as `en-de.tsv` or `en-pt-BR.tsv`, has an English sentence and its translation. Any other
has the language of the translation (a BCP-47 tag or an ISO 639 code), an English sentence, its translation. Further
columns are passed over.

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
from rag.locations import translation_tag
from rag.normalization import visible

_SUFFIXES = (".tsv", ".tsv.gz")
_PIVOT = "en"
"""The language of the sentences of files that name one language a line."""

Pair = tuple[str, str]
"""Two primary tags, in the order of `in_order`."""


@dataclass(slots=True)
class _Found:
    """What was read so far: pairs in their order, each once, with file and line of the first.

    Attributes:
        there: languages that the files have, wanted or not.
        repeated: pairs that stood there already.
    """

    pairs: dict[Pair, dict[tuple[str, str], str]] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)
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
        languages: primary tags; only their pairs with English are read. Empty for all.

    Raises:
        InputError: a file cannot be read, or there is no pair, or none in one of `languages`.
        DatasetError: lines cannot be used; all are told.
    """
    problems, found = Problems(), _Found()
    for path in paths:
        for file in _files(path) if path.is_dir() else (path,):
            _read(file, set(languages), found, problems)
    problems.raise_if_any()
    name = " ".join(path.resolve().name for path in paths)
    read_in = {language for pair in found.pairs for language in pair}
    for language in languages:
        if language not in (_PIVOT, *read_in) and found.there:
            raise InputError(f"{name} has nothing in {language!r}: it has {', '.join(sorted(found.there))}")
    if not found.pairs:
        raise InputError(f"{', '.join(map(str, paths))}: there is no pair of sentences: add some, or choose another")
    documents: list[DatasetDocument] = []
    questions: list[DatasetQuestion] = []
    for pair, sentences in found.pairs.items():
        for number, (texts, place) in enumerate(sentences.items(), start=1):
            _add(pair, number, texts, place, documents, questions)
    twice = "1 pair stands" if found.repeated == 1 else f"{found.repeated} pairs stand"
    remarks = (f"{twice} twice and count{'s' * (found.repeated == 1)} once",) if found.repeated else ()
    return Dataset(name, by_id(documents), tuple(questions), remarks)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIXES) and path.is_file())


def _read(path: Path, wanted: set[str], found: _Found, problems: Problems) -> None:
    named = _named_after(path)
    if named:
        found.there |= {_PIVOT, named}
        if wanted and named not in wanted:
            return
    shape = "sentence and translation" if named else "language, English sentence and translation"
    refused: set[str] = set()  # codes; one stands on a thousand lines
    for number, line in enumerate(lines(path), start=1):
        place = f"{path}:{number}"
        content = line.decode("utf-8", errors="replace")
        cells = content.rstrip("\r").split("\t")
        if not any(visible(cell).strip() for cell in cells):
            continue
        language = named or _language(cells[0])
        if language and not named:
            found.there |= {_PIVOT, language}
        if wanted and language and language not in wanted:
            continue
        texts = cells[:2] if named else cells[1:3]
        if len(texts) < 2:
            problems.add(place, f"is {shown(' '.join(cells))}: write {shape}, with tabs between")
        elif (byte := _not_utf8(line)) is not None:
            problems.add(place, f"is not UTF-8 (byte {byte}): save the file as UTF-8")
        elif language in (None, _PIVOT):
            # A language that has no tag is nobody's wish.
            if (language or not wanted) and cells[0] not in refused:
                refused.add(cells[0])
                problems.add(place, _refusal(cells[0]))
        else:
            assert language is not None
            for side, text in ((_PIVOT, texts[0]), (language, texts[1])):
                if not visible(text).strip():
                    problems.add(place, f"the side in {side!r} is empty: write a sentence, or leave the line out")
            found.add((_PIVOT, language), (texts[0].strip(), texts[1].strip()), place)


def _named_after(path: Path) -> str | None:
    """The language of the second column, where the file's name says that there are two.

    Raises:
        InputError: it is English, as the first.
    """
    tag = translation_tag(path.name)
    language = _language(tag) if tag else None
    if language == _PIVOT:
        raise InputError(f"{path} is named after {_PIVOT!r} twice: name it after a translation, as 'en-de.tsv'")
    return language


def _language(code: str) -> str | None:
    try:
        return primary_tag(code)
    except InputError:
        return None


def _not_utf8(line: bytes) -> int | None:
    """Position of the first byte that is not UTF-8."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return None


def _refusal(code: str) -> str:
    """Why `code` cannot be the language of a line."""
    try:
        primary_tag(code)
    except InputError as error:
        return str(error)
    return f"the language is {code!r}, and the sentence beside it English, too: write a translation's"


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
