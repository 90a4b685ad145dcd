"""The table of checks, and how they are run: each alone, within its time, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from rag.doctor import endpoint, index, installation, machine, model
from rag.doctor.finding import Finding, Limits, Setup, Verdict, failed, failed_by
from rag.errors import RagError

if TYPE_CHECKING:
    from rag_config.settings import Settings

# What is shorter is no secret, and taking it out of a message would only garble it.
_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class _Check:
    """A line of the examination.

    Attributes:
        examine: None where there is nothing to say, because what it would look at is missing and its own check says so.
        seconds: after which it is given up; a dead mount or driver must not keep the others from being looked at.
    """

    name: str
    examine: Callable[[], Verdict | None]
    seconds: float


def examine_installation() -> Iterator[Finding]:
    """Looks at what needs no settings: Python and the packages."""
    checks = (
        _Check("python", installation.python_version, 10),
        _Check("packages", installation.packages, 30),
        _Check("imports", installation.imports, 120),
    )
    for check in checks:
        yield from _run(check, ())


def examine(settings: Settings, *, offline: bool = False, limits: Limits | None = None) -> Iterator[Finding]:
    """Looks at everything the settings name: model, machine, store, index and endpoint.

    A finding is given as soon as it is there; all together take seconds.

    Args:
        offline: leaves out what would ask the endpoint.
        limits: other bounds than the usual ones.
    """
    setup = Setup(settings, offline=offline, limits=limits or Limits())
    secrets = _secrets(settings)
    patience = setup.limits
    table: tuple[tuple[str, Callable[[Setup], Verdict | None], float], ...] = (
        ("model", model.files, 60),
        ("weights", model.weights, 60),
        ("tokenizer", model.tokenizer, 60),
        ("device", machine.device, 60),
        ("step", machine.step, 60),
        ("memory", machine.memory, 60),
        ("store", index.place, patience.connect_seconds + 10),
        ("disk", index.disk, 10),
        ("index", index.contents, 60),
        ("index model", index.model, 60),
        ("endpoint", endpoint.reachable, 2 * patience.connect_seconds + 10),
        ("model list", endpoint.listed, 2 * patience.connect_seconds + 10),
        ("answer", endpoint.answer, patience.connect_seconds + patience.answer_seconds + 10),
    )
    for name, function, seconds in table:
        yield from _run(_Check(name, partial(function, setup), seconds), secrets)


def _run(check: _Check, secrets: tuple[str, ...]) -> Iterator[Finding]:
    verdicts: list[Verdict | None] = []
    # A thread that hangs in the operating system or a driver cannot be ended; a daemon does not keep the program.
    thread = threading.Thread(target=lambda: verdicts.append(_verdict(check)), name=f"rag-{check.name}", daemon=True)
    thread.start()
    thread.join(check.seconds)
    verdict = (
        verdicts[0]
        if verdicts
        else failed(f"no result within {check.seconds:g} s", "look for a disk, driver or server that hangs")
    )
    if verdict is not None:
        remedy = None if verdict.remedy is None else _shown(verdict.remedy, secrets)
        yield Finding(check.name, verdict.status, _shown(verdict.detail, secrets), remedy)


def _verdict(check: _Check) -> Verdict | None:
    try:
        return check.examine()
    except RagError as error:
        return failed_by(error)
    except ImportError as error:
        return failed(f"a package cannot be imported ({error})", "mend what the lines `packages` and `imports` say")
    except Exception as error:  # noqa: BLE001  a fault that nobody foresaw must not end the examination
        return failed(f"{type(error).__name__}: {error}", "report this, with the output of `rag doctor --json`")


def _shown(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "…")
    return " ".join(text.split())


def _secrets(settings: Settings) -> tuple[str, ...]:
    """All that must appear in no finding, longest first."""
    found = {secret for value in _leaves(settings.model_dump()) for secret in _secrets_in(value)}
    key = settings.llm.endpoint()[1]  # may come from OPENAI_API_KEY
    if key is not None:
        found.add(key.get_secret_value())
    return tuple(sorted((secret for secret in found if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True))


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    else:
        yield value


def _secrets_in(value: Any) -> Iterator[str]:
    if hasattr(value, "get_secret_value"):
        yield value.get_secret_value()
    elif isinstance(value, str) and "://" in value:
        try:
            parts = urlsplit(value)
        except ValueError:
            return
        if parts.password:
            yield from (parts.password, unquote(parts.password))
        yield from (part for _, part in parse_qsl(parts.query))
