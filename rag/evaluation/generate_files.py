"""Where generated questions are kept: line by line, so that a run that is cut short goes on where it was.

gold.jsonl            the questions, to be measured with
gold.rejected.jsonl   those that were not kept, with the reason
gold.run.json         what the run was begun with: what goes on must be the same
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rag.errors import InputError
from rag.evaluation.generate_question import Reason
from rag.identity import text_hash
from rag.types import Chunk

_SUFFIX: Final = ".jsonl"

Begun = Mapping[str, str]
"""What decides which questions a run makes, by the name of the option or of the thing."""


@dataclass(frozen=True, slots=True)
class Question:
    """A line of either file.

    Attributes:
        id: of language and passage; the same for every run over the same version of the document.
        lang: BCP-47 tag of the language that was asked for.
        gold: URIs of the documents that answer it: the passage's own alone.
        source: its location as it was shown when the question was made.
        passage_ordinal: 0-based position of the passage among the document's.
        rank: place of the document's best passage in the search, 1 for the first; None where it was not found or not
            searched for.
        model: the language model's name.
        created: ISO 8601 in UTC.
    """

    id: str
    lang: str
    text: str
    gold: tuple[str, ...]
    source: str
    passage_ordinal: int
    document_language: str
    rank: int | None
    model: str
    created: str


def question_id(chunk: Chunk, language: str) -> str:
    """Id of the question in `language` about `chunk`."""
    return text_hash(f"{language}\n{chunk.id}")[:16]


class QuestionFiles:
    """The files of one run, as they are and as they grow.

    Attributes:
        out: the questions that were kept.
        rejected: the others.
    """

    def __init__(self, out: Path, begun: Begun) -> None:
        """Reads what an earlier run has left; writes nothing.

        Raises:
            InputError: it was begun with something else, or the files are not those of a run.
        """
        name = out.name.removesuffix(_SUFFIX)
        self.out = out
        self.rejected = out.with_name(f"{name}.rejected{_SUFFIX}")
        self._record = out.with_name(f"{name}.run.json")
        self._begun = begun
        self._tried: set[str] = set()
        self._texts: set[str] = set()
        self._counts: Counter[tuple[str, Reason | None]] = Counter()
        if not out.parent.is_dir():
            raise InputError(f"{out} cannot be written: there is no folder {out.parent}")
        if out.exists() or self._record.exists():
            self._require_same()
        for path in (self.out, self.rejected):
            self._read(path)

    def begin(self) -> None:
        """Writes down what the run is begun with, and takes off lines that were cut off in the middle."""
        self._record.write_text(json.dumps(dict(self._begun), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        for path in (self.out, self.rejected):
            data = path.read_bytes() if path.exists() else b""
            if data and not data.endswith(b"\n"):
                whole = _is_whole(data.rpartition(b"\n")[2])
                path.write_bytes(data + b"\n" if whole else data[: data.rfind(b"\n") + 1])

    def tried(self, question: str) -> bool:
        """Whether there is a line for the question of this id."""
        return question in self._tried

    def asked(self, text: str) -> bool:
        """Whether a question that was kept has this wording."""
        return text.casefold() in self._texts

    def kept(self, language: str) -> int:
        """How many questions in `language` were kept."""
        return self._counts[language, None]

    def rejections(self, language: str) -> Mapping[Reason, int]:
        """How many were not, by reason."""
        return {reason: count for (own, reason), count in self._counts.items() if reason and own == language}

    def add(self, question: Question, reason: Reason | None) -> None:
        """Writes the question to the file where it belongs; it is there when this returns."""
        fields = asdict(question) | ({"reason": reason} if reason else {})
        with (self.rejected if reason else self.out).open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")
        self._note(fields)

    def _note(self, fields: Mapping[str, Any]) -> None:
        reason = fields.get("reason")
        self._texts |= set() if reason else {str(fields["text"]).casefold()}
        self._counts[fields["lang"], reason] += 1
        self._tried.add(fields["id"])

    def _require_same(self) -> None:
        try:
            begun = json.loads(self._record.read_bytes())
        except FileNotFoundError:
            raise InputError(
                f"{self.out} exists, and no {self._record.name} beside it says how it was made: give another --out"
            ) from None
        except ValueError as error:
            raise InputError(f"{self._record} is not JSON ({error}): give another --out") from error
        if not isinstance(begun, dict):
            raise InputError(f"{self._record} is not the record of a run: give another --out")
        for name, now in self._begun.items():
            if begun.get(name) != now:
                raise InputError(
                    f"{self.out} was begun with {name} {begun.get(name) or 'unset'}, and now it is {now or 'unset'}: "
                    "go on with the same, or give another --out"
                )

    def _read(self, path: Path) -> None:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for number, line in enumerate(lines, start=1):
            if not line.strip() or (number == len(lines) and not _is_whole(line)):
                continue
            try:
                self._note(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path}, line {number}, is not a question of a run: mend it or take it out"
                ) from error


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
