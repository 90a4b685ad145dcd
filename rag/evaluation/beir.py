"""Folders as BEIR lays them out (Thakur et al. 2021): corpus.jsonl, queries.jsonl and, where it is used, a qrels TSV.

Beyond BEIR a line may carry its language (`lang` or `language`), what ties translations together (`group`; `par` of a
document and `qid` of a question in data/xquad) and, in a question, the ids of the documents that answer it (`gold`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rag.errors import InputError
from rag.evaluation.datasets import Dataset, DatasetDocument, DatasetQuestion, by_id
from rag.evaluation.problems import Problems
from rag.evaluation.records import id_of, language_of, lines, records, shown, text_of
from rag.normalization import visible

_WHOLE, _OF_A_SPLIT = "qrels.tsv", "qrels/test.tsv"
Grades = dict[str, dict[str, int]]
"""Question id → document id → grade."""


def read(folder: Path) -> Dataset:
    """The data set in `folder`.

    Questions that qrels/test.tsv does not name belong to another split and are left out, which a remark says; anywhere
    else a question without gold is a mistake.

    Raises:
        InputError: a file is missing or cannot be read.
        DatasetError: lines cannot be used; all are told.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}: give one with corpus.jsonl and queries.jsonl")
    problems = Problems()
    documents = _documents(folder / "corpus.jsonl", problems)
    qrels = next((folder / name for name in (_WHOLE, _OF_A_SPLIT) if (folder / name).is_file()), None)
    grades = _grades(qrels, documents, problems) if qrels else {}
    questions = _questions(folder / "queries.jsonl", documents, grades, problems)
    without = [question for question in questions if not question.gold]
    remarks: tuple[str, ...] = ()
    if without and qrels and qrels == folder / _OF_A_SPLIT and len(without) < len(questions):
        remarks = (f"{len(without)} of {len(questions)} questions have no gold in {qrels} and were left out",)
    else:
        for question in without:
            problems.add(question.place, f"question {question.id!r} has no gold: name the documents that answer it")
    problems.raise_if_any()
    if not documents or not questions:
        raise InputError(f"{folder} holds {len(documents)} documents and {len(questions)} questions: add some")
    asked = tuple(question for question in questions if question.gold)
    return Dataset(folder.resolve().name, by_id(list(documents.values())), asked, remarks)


def _documents(path: Path, problems: Problems) -> dict[str, DatasetDocument]:
    documents: dict[str, DatasetDocument] = {}
    for place, record in records(path, problems):
        document_id = id_of(record, place, problems)
        text = text_of(record, place, problems, "text")
        if document_id is None or text is None:
            continue
        language = language_of(record, text, place, problems)
        group = _group(record, "par", document_id)
        document = DatasetDocument(document_id, language or "", _with_title(record.get("title"), text), group, place)
        first = documents.setdefault(document_id, document)
        if first is not document:
            problems.add(place, f"id {document_id!r} is already that of {first.place}: give each document its own")
    return documents


def _with_title(title: object, text: str) -> str:
    """What is embedded, as ingest does it: the title, an empty line, the text, without invisible characters."""
    line = visible(" ".join(title.split())).strip() if isinstance(title, str) else ""
    text = visible(text)
    return f"{line}\n\n{text}" if line and not text.startswith(line) else text


def _questions(
    path: Path, documents: dict[str, DatasetDocument], grades: Grades, problems: Problems
) -> list[DatasetQuestion]:
    questions: dict[str, DatasetQuestion] = {}
    for place, record in records(path, problems):
        question_id = id_of(record, place, problems)
        text = text_of(record, place, problems, "text")
        if question_id is None or text is None:
            continue
        language = language_of(record, text, place, problems)
        gold = {**_inline_gold(record, documents, place, problems), **grades.get(question_id, {})}
        found = {document_id: grade for document_id, grade in gold.items() if grade > 0}
        question = DatasetQuestion(question_id, language or "", text, _group(record, "qid", question_id), found, place)
        first = questions.setdefault(question_id, question)
        if first is not question:
            problems.add(place, f"id {question_id!r} is already that of {first.place}: give each question its own")
    for question_id in grades:
        if question_id not in questions:
            problems.add(str(path), f"there is no question {question_id!r}, which the qrels name: add it")
    return list(questions.values())


def _inline_gold(
    record: dict[str, Any], documents: dict[str, DatasetDocument], place: str, problems: Problems
) -> dict[str, int]:
    """Each document of the field `gold` with grade 1; an empty one where a problem has been noted."""
    value = record.get("gold", [])
    named = value if isinstance(value, list) else [value]
    gold: dict[str, int] = {}
    for document_id in named:
        if isinstance(document_id, int) and not isinstance(document_id, bool):
            document_id = str(document_id)
        if not isinstance(document_id, str):
            problems.add(place, f"'gold' holds {shown(document_id)}: write the ids of documents")
            continue
        gold[document_id] = 1
        if document_id not in documents:
            problems.add(place, f"gold names an unknown document {document_id!r}: corpus.jsonl has no such id")
    return gold


def _grades(path: Path, documents: dict[str, DatasetDocument], problems: Problems) -> Grades:
    """What a qrels file says: question id, document id and grade, with tabs between; a first line of names is none."""
    grades: Grades = {}
    for number, line in enumerate(lines(path), start=1):
        place = f"{path}:{number}"
        try:
            row = line.decode("utf-8").strip("\r\n").split("\t")
        except UnicodeDecodeError as error:
            problems.add(place, f"is not UTF-8 (byte {error.start}): save the file as UTF-8")
            continue
        if row == [""] or (number == 1 and row[-1].strip() == "score"):
            continue
        if len(row) != 3 or not row[2].strip().lstrip("-").isdecimal():
            problems.add(place, f"is {shown(' '.join(row))}: write question id, document id, grade, with tabs between")
            continue
        question_id, document_id, grade = (cell.strip() for cell in row)
        if document_id not in documents:
            problems.add(place, f"gold names an unknown document {document_id!r}: corpus.jsonl has no such id")
        if document_id in grades.setdefault(question_id, {}):
            problems.add(place, f"question {question_id!r} and document {document_id!r} stand twice: keep one line")
        grades[question_id][document_id] = int(grade)
    return grades


def _group(record: dict[str, Any], of_xquad: str, own_id: str) -> str:
    """What ties translations together; without it a text is in no other language.

    Its own name space keeps an id from being taken for a group.
    """
    value = record.get("group", record.get(of_xquad))
    return f"id {own_id}" if value is None else f"group {value}"
