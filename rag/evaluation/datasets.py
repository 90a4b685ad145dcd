"""A data set for retrieval: documents, questions, and which documents answer which question."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

from rag.errors import InputError


@dataclass(frozen=True, slots=True)
class DatasetDocument:
    """A document that may be found.

    Attributes:
        language: BCP-47 primary tag.
        text: what is embedded; empty where an index holds the document.
        group: the same for all translations of one document.
        place: file and line, for messages.
        pool: the questions that may find it; "" unless a data set keeps pairs of languages apart, as a bitext does.
    """

    id: str
    language: str
    text: str
    group: str
    place: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class DatasetQuestion:
    """A question with its answers.

    Attributes:
        language: BCP-47 primary tag.
        group: the same for all translations of one question.
        gold: id of each document that answers it → grade, above 0.
        place: file and line, for messages.
        pool: that of the documents among which it is put.
    """

    id: str
    language: str
    text: str
    group: str
    gold: Mapping[str, int]
    place: str = ""
    pool: str = ""


@dataclass(frozen=True)
class Dataset:
    """Documents and questions in any languages.

    Attributes:
        documents: by id, so that equal scores fall into the order of ids.
        questions: each with at least one document that answers it.
        remarks: what a reader of the figures must know, as how many questions were left out; one line each.
    """

    name: str
    documents: tuple[DatasetDocument, ...]
    questions: tuple[DatasetQuestion, ...]
    remarks: tuple[str, ...] = field(default=())

    @cached_property
    def relevant(self) -> tuple[Mapping[int, int], ...]:
        """Of each question: position of each document that answers it → grade.

        Translations of a document that answers a question answer it too, with the same grade.
        """
        positions = {document.id: position for position, document in enumerate(self.documents)}
        groups: dict[str, list[int]] = {}
        for position, document in enumerate(self.documents):
            groups.setdefault(document.group, []).append(position)
        found: list[Mapping[int, int]] = []
        for question in self.questions:
            grades: dict[int, int] = {}
            for document_id, grade in question.gold.items():
                for position in groups[self.documents[positions[document_id]].group]:
                    grades[position] = max(grade, grades.get(position, 0))
            for document_id, grade in question.gold.items():  # what is said of the document itself goes before
                grades[positions[document_id]] = grade
            found.append(grades)
        return tuple(found)

    @cached_property
    def document_languages(self) -> tuple[str, ...]:
        """Each once, sorted."""
        return tuple(sorted({document.language for document in self.documents}))

    @cached_property
    def question_languages(self) -> tuple[str, ...]:
        """Each once, sorted."""
        return tuple(sorted({question.language for question in self.questions}))

    @cached_property
    def pools(self) -> tuple[str, ...]:
        """Each once, sorted; of a data set that keeps nothing apart, "" alone."""
        return tuple(sorted({document.pool for document in self.documents}))

    @property
    def is_bitext(self) -> bool:
        """Whether it is sentences and their translations: each document is a question, too, under the same id."""
        return self.pools != ("",)

    def sampled(self, questions: int) -> Dataset:
        """With at most `questions` questions, each in all its languages; the same ones on every machine.

        Of a bitext that many pairs for each two languages stay, and no other sentence is in the pool: so is it told
        how large published pools are, 1,000 most often.
        """
        groups: dict[str, set[str]] = {}
        for each in self.questions:
            groups.setdefault(each.pool, set()).add(each.group)
        count = sum(map(len, groups.values()))
        kept = {
            group
            for some in groups.values()
            for group in sorted(some, key=lambda group: sha256(group.encode()).digest())[:questions]
        }
        if len(kept) == count:
            return self
        asked = tuple(each for each in self.questions if each.group in kept)
        if not self.is_bitext:
            remark = f"{len(kept)} of {count} questions were asked, each in all its languages"
            return replace(self, questions=asked, remarks=(*self.remarks, remark))
        gold = {document_id for question in asked for document_id in question.gold}
        remark = f"{len(kept)} of {count} pairs were taken, at most {questions} for two languages"
        documents = tuple(document for document in self.documents if document.id in gold)
        return replace(self, documents=documents, questions=asked, remarks=(*self.remarks, remark))

    def narrowed(self, languages: Collection[str]) -> Dataset:
        """With the documents and questions in `languages` alone.

        A question whose answer is in none of them goes; a translation of what was its gold takes its place.

        Raises:
            InputError: nothing is left, or there is no document and no question in one of them.
        """
        there = {*self.document_languages, *self.question_languages}
        for language in languages:
            if language not in there:
                raise InputError(f"{self.name} has nothing in {language!r}: it has {', '.join(sorted(there))}")
        documents = tuple(document for document in self.documents if document.language in languages)
        questions = []
        for question, relevant in zip(self.questions, self.relevant, strict=True):
            held = {self.documents[at]: grade for at, grade in relevant.items()}
            gold = {document.id: grade for document, grade in held.items() if document.language in languages}
            if question.language in languages and gold:
                questions.append(replace(question, gold=gold))
        if not questions:
            raise InputError(f"{self.name} has no question in {', '.join(languages)} with an answer there: choose more")
        return replace(self, documents=documents, questions=tuple(questions))


def by_id(documents: Sequence[DatasetDocument]) -> tuple[DatasetDocument, ...]:
    """In the order in which `rag.fusion` breaks ties."""
    return tuple(sorted(documents, key=lambda document: document.id))


def in_order(first: str, second: str) -> tuple[str, str]:
    """A pair of languages as it is named: English is the first, else they are in the order of the alphabet."""
    return (second, first) if second == "en" or (first != "en" and second < first) else (first, second)
