"""A data set for retrieval: documents, questions, and which documents answer which question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class DatasetDocument:
    """A document that may be found.

    Attributes:
        language: BCP-47 primary tag.
        text: what is embedded; empty where an index holds the document.
        group: the same for all translations of one document.
        place: file and line, for messages.
    """

    id: str
    language: str
    text: str
    group: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class DatasetQuestion:
    """A question with its answers.

    Attributes:
        language: BCP-47 primary tag.
        group: the same for all translations of one question.
        gold: id of each document that answers it → grade, above 0.
        place: file and line, for messages.
    """

    id: str
    language: str
    text: str
    group: str
    gold: Mapping[str, int]
    place: str = ""


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

    def sampled(self, questions: int) -> Dataset:
        """With at most `questions` questions, each in all its languages; the same ones on every machine."""
        groups = sorted({each.group for each in self.questions}, key=lambda group: sha256(group.encode()).digest())
        if len(groups) <= questions:
            return self
        kept = set(groups[:questions])
        remark = f"{questions} of {len(groups)} questions were asked, each in all its languages"
        return replace(
            self,
            questions=tuple(each for each in self.questions if each.group in kept),
            remarks=(*self.remarks, remark),
        )


def by_id(documents: Sequence[DatasetDocument]) -> tuple[DatasetDocument, ...]:
    """In the order in which `rag.fusion` breaks ties."""
    return tuple(sorted(documents, key=lambda document: document.id))
