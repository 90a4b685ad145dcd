"""Programs under measurement, each in a process of its own that waits until it is told to work.

So each has its own peak memory, peers keep their own virtual environment, and rounds can be interleaved: one line of
JSON asks for a piece of work, one line answers with its seconds and its peak of resident memory. Whatever a library
prints goes to the log of its process. Nothing here needs more than Python, so that every environment can run it.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parent.parent
LOGS = ROOT / "build" / "bench" / "logs"
PEERS = ROOT / "build" / "peers" / "bin" / "python"
"""The peers' environment, made by `make peers`."""

logger = logging.getLogger(__name__)


class WorkError(Exception):
    """A program could not be started, or not do what it was asked for; the message is one line."""


@dataclass(frozen=True, slots=True)
class Done:
    """A piece of work.

    Attributes:
        seconds: from the question to the answer, inside the process.
        peak_mib: largest resident set during the work; mapped files count with the pages that were touched.
        answer: what else the work gives.
    """

    seconds: float
    peak_mib: float
    answer: Any


@dataclass(slots=True)
class Program:
    """A program, started when it is first asked.

    Attributes:
        name: for people.
        module: what is run with `-m`; its `main` calls `serve`.
        arguments: its arguments.
        python: the interpreter of its environment.
        peak_mib: the largest peak so far, starting included.
    """

    name: str
    module: str
    arguments: Sequence[str] = ()
    python: Path = Path(sys.executable)
    peak_mib: float = 0.0
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None

    def start(self) -> None:
        """Starts it and waits until it is ready; nothing happens when it is.

        Raises:
            WorkError: it did not get ready.
        """
        if self._process is not None:
            return
        if not self.python.exists():
            raise WorkError("its environment is not there: run make peers")
        LOGS.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(self.python), "-m", self.module, *self.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                cwd=ROOT,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"},
            )
        self._answer()

    def do(self, what: str, **given: object) -> Done:
        """Has it do a piece of work.

        Raises:
            WorkError: it could not.
        """
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "given": given}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return Done(answer["seconds"], answer["peak_mib"], answer["answer"])

    def close(self) -> None:
        """Ends its process; the next piece of work starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

    @property
    def _log_file(self) -> Path:
        return LOGS / f"{self.name.replace(' ', '_').replace('/', '_')}.log"

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._process = None
            raise WorkError(f"its process ended with {code}: see {self._log_file.relative_to(ROOT)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.close()
            raise WorkError(answer["error"])
        self.peak_mib = max(self.peak_mib, answer["peak_mib"])
        return answer


def make_room(programs: Sequence[Program], wanted_mib: float) -> None:
    """Ends programs until as much memory is free, those that were asked last first: in a round they come last again."""
    for program in reversed([each for each in programs if each.running]):
        if available_mib() >= wanted_mib:
            return
        program.close()


def available_mib() -> float:
    """Memory that programs can have; infinite where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 1024


def serve(load: Callable[[], Mapping[str, Callable[..., Any]]]) -> None:
    """The other side: loads, then works until nobody asks any more.

    Args:
        load: gives the pieces of work by name.
    """
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        work = load()
    except Exception as error:  # whatever a library raises is the reason that stands in the table
        logger.exception("loading failed")
        _say(channel, {"error": _one_line(error), "peak_mib": _peak_mib()})
        return
    _say(channel, {"peak_mib": _peak_mib()})
    for line in sys.stdin:
        asked = json.loads(line)
        _forget_peak()
        began = time.perf_counter()
        try:
            answer = work[asked["do"]](**asked["given"])
        except Exception as error:  # as above
            logger.exception("%s failed", asked["do"])
            _say(channel, {"error": _one_line(error), "peak_mib": _peak_mib()})
            return
        _say(channel, {"seconds": time.perf_counter() - began, "peak_mib": _peak_mib(), "answer": answer})


def _say(channel: TextIO, what: Mapping[str, Any]) -> None:
    channel.write(json.dumps(what) + "\n")
    channel.flush()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _forget_peak() -> None:
    """Linux counts the peak anew from here; elsewhere it is that of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_mib() -> float:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
