"""What is wrong with the lines of a data set, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence

from rag.errors import InputError


class DatasetError(InputError):
    """Lines of a data set that cannot be used.

    Attributes:
        problems: one line each, as `corpus.jsonl:17: what is wrong`.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        more = f" (and {len(self.problems) - 1} more problems)" if len(self.problems) > 1 else ""
        super().__init__(self.problems[0] + more)


class Problems:
    """Collects them while a data set is read."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, place: str, what: str) -> None:
        """Notes one.

        Args:
            place: file and line.
        """
        self._found.append(f"{place}: {what}")

    def raise_if_any(self) -> None:
        """Ends the reading.

        Raises:
            DatasetError: there were some.
        """
        if self._found:
            raise DatasetError(self._found)
