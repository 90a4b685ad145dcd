"""The commands as a shell runs them, in this process: arguments, input, exit code and both streams."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ingest.cli import command as ingest_command
from rag.__main__ import rag as rag_command
from rag.commands.shared import run


@dataclass(frozen=True)
class Done:
    """What came of a command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def sources(self) -> list[str]:
        return [line["source"] for line in self.lines]


Shell = Callable[..., Done]


def call(
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *,
    stdin: bytes | None = None,
) -> Done:
    """Runs `rag …` or `ingest …`; an error that nobody foresaw fails the test."""
    with monkeypatch.context() as during:
        during.setattr(sys, "argv", list(words))
        if stdin is not None:
            during.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            run({"rag": rag_command, "ingest": ingest_command}[words[0]], words[0])
    out, err = capfd.readouterr()
    assert isinstance(left.value.code, int)
    assert "Traceback" not in err
    assert "internal error" not in err
    return Done(left.value.code, out, err)
