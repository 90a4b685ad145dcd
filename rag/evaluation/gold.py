"""Questions whose answers lie in an index: a file of JSON lines, question → source.

Two shapes are read. Plain: `question` (or `text`), `language` (or `lang`, else detected), `source` or `sources`. Pages
and their translations, as data/docs/gold.jsonl has them: `en_title` and `en_sentence` are the question, in English,
and `path` and `en_path` the same page in two languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rag.errors import InputError
from rag.evaluation.datasets import Dataset, DatasetDocument, DatasetQuestion, by_id
from rag.evaluation.problems import Problems
from rag.evaluation.records import language_of, records, shown, text_of
from rag.language import primary
from rag.types import StoredDocument

Find = Callable[[str], StoredDocument]
"""A source as people write it → its document; InputError where there is none."""


def read(path: Path, documents: Iterable[StoredDocument], find: Find) -> Dataset:
    """The data set that the questions of `path` make over an index.

    Args:
        documents: all that the index holds.

    Raises:
        InputError: the file cannot be read.
        DatasetError: lines cannot be used; all are told.
    """
    problems = Problems()
    questions: dict[tuple[str, str], DatasetQuestion] = {}
    groups: dict[str, str] = {}  # of documents, by uri
    for place, record in records(path, problems):
        if "en_title" in record and "path" in record:
            _add_page(record, place, find, questions, groups, problems)
        else:
            _add_question(record, place, find, questions, problems)
    problems.raise_if_any()
    if not questions:
        raise InputError(f"{path} holds no question: write one JSON object a line, with 'question' and 'source'")
    held = [
        DatasetDocument(each.uri, primary(each.language), "", groups.get(each.uri, f"uri {each.uri}"))
        for each in documents
    ]
    return Dataset(path.name, by_id(held), tuple(questions.values()))


def _add_question(
    record: dict[str, Any],
    place: str,
    find: Find,
    questions: dict[tuple[str, str], DatasetQuestion],
    problems: Problems,
) -> None:
    text = text_of(record, place, problems, "question", "text")
    if text is None:
        return
    language = language_of(record, text, place, problems)
    sources = _sources(record, find)
    if not sources:
        problems.add(place, f"question {shown(text)} has no gold: add 'source', as `rag list` shows it")
        return
    gold = {uri: 1 for source in sources if (uri := _uri(source, place, find, problems))}
    group = str(record.get("group", record.get("id", place)))
    question = DatasetQuestion(place, language or "", text, group, gold, place)
    first = questions.setdefault((language or "", text), question)
    if first is not question:
        problems.add(place, f"the same question is at {first.place}: name all its sources on one line")


def _add_page(
    record: dict[str, Any],
    place: str,
    find: Find,
    questions: dict[tuple[str, str], DatasetQuestion],
    groups: dict[str, str],
    problems: Problems,
) -> None:
    """A page is asked for once, however many lines name its translations."""
    title = text_of(record, place, problems, "en_title")
    sentence = text_of(record, place, problems, "en_sentence")
    translated, original = (_uri(record.get(name), place, find, problems) for name in ("path", "en_path"))
    if not (title and sentence and translated and original):
        return
    groups[translated] = groups[original] = f"page {original}"
    questions.setdefault(
        ("en", original), DatasetQuestion(place, "en", f"{title}. {sentence}", original, {original: 1}, place)
    )


def _sources(record: dict[str, Any], find: Find) -> list[object]:
    """What names the documents. `rag eval generate` writes URIs and a path, which still holds on another machine."""
    gold, sources = (_listed(record.get(name)) for name in ("gold", "sources"))
    source = _listed(record.get("source"))
    if gold and not sources and not (source and any(not _is_held(each, find) for each in gold)):
        return gold
    return sources or source


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_held(source: object, find: Find) -> bool:
    try:
        return isinstance(source, str) and bool(find(source))
    except InputError:
        return False


def _uri(source: object, place: str, find: Find, problems: Problems) -> str | None:
    if not isinstance(source, str) or not source:
        problems.add(place, f"the source is {shown(source)}: write it as `rag list` shows it")
        return None
    try:
        return find(source).uri
    except InputError as error:
        problems.add(place, f"gold names an unknown document: {error}")
        return None
