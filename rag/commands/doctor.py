"""`rag doctor`: what works, what does not, and what mends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from rag.commands.shared import load_settings, shared_options
from rag.errors import InputError

if TYPE_CHECKING:
    from rag.doctor import Finding
    from rag.rendering.screen import Screen

_WIDTH = 11  # of the longest name of a check


@click.command()
@click.option("--offline", is_flag=True, help="Do not ask the language model's endpoint.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@shared_options
def doctor(offline: bool, as_json: bool, store: str | None, collection: str | None, model: str | None) -> int:
    """Check Python, packages, model, machine, index and language model; each line says what mends it.

    Nothing is downloaded. The language model is asked for one word, which some endpoints charge for: --offline leaves
    that out. The exit code is 1 if any check fails.

    \b
    rag doctor
    rag doctor --offline --model pocket-m3
    rag doctor --json | jq -r 'select(.status != "pass") | .remedy'
    """
    from rag.rendering.records import to_json
    from rag.rendering.screen import Screen

    screen = Screen.of(sys.stdout)
    healthy = True
    for finding in _findings(offline, store, collection, model):
        healthy &= finding.status != "fail"
        click.echo(to_json(asdict(finding)) if as_json else _line(finding, screen))
    return 0 if healthy else 1


def _findings(offline: bool, store: str | None, collection: str | None, model: str | None) -> Iterator[Finding]:
    from rag.doctor import Finding, examine, examine_installation

    yield from examine_installation()
    try:
        settings = load_settings(store=store, collection=collection, model=model)
    except InputError as error:
        yield Finding("settings", "fail", " ".join(str(error).split()), "correct it there; `rag config` shows the rest")
        return
    yield Finding("settings", "pass", "flags, RAG_… variables, .env and rag.toml can be read; `rag config` shows them")
    yield from examine(settings, offline=offline)


def _line(finding: Finding, screen: Screen) -> str:
    from rag.normalization import printable
    from rag.rendering.screen import GREEN, RED, YELLOW

    status = screen.styled(finding.status, {"pass": GREEN, "warn": YELLOW, "fail": RED}[finding.status])
    parts = [finding.detail, *([finding.remedy] if finding.remedy else [])]
    return f"{status}  {finding.check:<{_WIDTH}}  " + "".join(f"– {printable(part)} " for part in parts).rstrip()
