"""`rag init`: asks what a folder is to work with, tries it, and writes rag.toml."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from rag.commands import init_choices, init_files
from rag.commands.init_files import CONFIGURATION, SECRETS
from rag.commands.init_questions import Flags, ask, say, size_text
from rag.commands.shared import load_settings, shared_options
from rag.errors import InputError

if TYPE_CHECKING:
    from rag.commands.init_choices import Choices
    from rag.commands.init_files import Change
    from rag.doctor import Finding
    from rag.rendering.screen import Screen

_NONE = "none"  # as --llm-model


@click.command()
@click.option("--llm-model", metavar="NAME", help="Language model; `none` quotes the documents instead.")
@click.option("--llm-base-url", metavar="URL", help="Its endpoint, such as http://localhost:11434/v1; else OpenAI's.")
@click.option("--download", is_flag=True, help="Fetch the embedding model now, if it is not here yet.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: flags, else what is in effect now.")
@shared_options
def init(
    llm_model: str | None,
    llm_base_url: str | None,
    download: bool,
    yes: bool,
    store: str | None,
    collection: str | None,
    model: str | None,
) -> int:
    """Set up this folder: ask for embedding model, store and language model, try each, and write rag.toml.

    What is given as a flag is not asked for. Keys are never flags, as those can be seen by others: they are asked for
    without being shown and go into .env, or are taken from RAG_LLM__API_KEY, OPENAI_API_KEY and RAG_STORE__API_KEY. An
    existing rag.toml keeps its comments and other keys, and is changed only after a question. Nothing is fetched
    without a question or --download.

    \b
    rag init
    # Without questions, to try out what comes with the program:
    rag init --yes --model pocket-m3 --store ./index
    # With a language model on this machine:
    rag init --yes --llm-model qwen3 --llm-base-url http://localhost:11434/v1
    # A team's server; its key comes from the environment:
    RAG_STORE__API_KEY=… rag init --yes --store https://qdrant.example.org
    """
    if not (yes or sys.stdin.isatty()):
        raise InputError("nobody can be asked, as the input is no terminal: give --yes to take flags and defaults")
    now = init_choices.effective(load_settings())
    flags = Flags(model, store, collection, "" if llm_model == _NONE else llm_model, llm_base_url)
    if llm_base_url and init_choices.holds_secret(llm_base_url):
        raise InputError("--llm-base-url holds a login or a key, which others can see: set RAG_LLM__BASE_URL instead")
    if llm_base_url and not flags.over(now).llm_model:
        raise InputError("--llm-base-url needs a model at that endpoint: give --llm-model NAME")
    try:
        return _set_up(now, flags, download=download, yes=yes)
    except (click.Abort, KeyboardInterrupt):
        say("\nNothing was written.")
        raise


def _set_up(now: Choices, flags: Flags, *, download: bool, yes: bool) -> int:
    choices = flags.over(now) if yes else ask(now, flags, download=download)
    choices.settings()  # refuses what is not allowed
    if init_choices.must_be_fetched(choices.model) and (download or choices.download):
        say(f"\nFetching {choices.model}")
        init_choices.fetch(choices.model)
    failed = _examined(choices)
    _point_out(choices)
    text = init_files.read(CONFIGURATION).decode("utf-8")
    new_text, changes = init_files.changed(text, init_choices.for_file(choices, init_files.present(text)))
    if changes:
        say(f"\n{CONFIGURATION}:" if text else f"\n{CONFIGURATION}, which is new:")
        for change in changes:
            say(f"  {_change(change)}")
    if not yes and (failed or (text and changes)):
        question = f"{_failures(failed)}. Write it nevertheless?" if failed else "Write it?"
        if not click.confirm(f"\n{question}", default=not failed, err=True):
            say("Nothing was written.")
            return 1
    _write(choices, new_text if changes else None)
    if failed:
        say(f"\n{_failures(failed)}, as said above; `rag doctor` looks again.")
    return 1 if failed else 0


def _examined(choices: Choices) -> int:
    """Shows what the choices are found to be like; how many checks have failed."""
    from rag.commands.init_checks import findings
    from rag.rendering.screen import Screen

    say("\nChecking …")
    screen = Screen.of(sys.stderr)
    deferred = init_choices.must_be_fetched(choices.model)
    failed = 0
    for finding in findings(choices, size_text(choices.model) if deferred else ""):
        failed += finding.status == "fail"
        say(_line(finding, screen))
    return failed


def _line(finding: Finding, screen: Screen) -> str:
    from rag.normalization import printable
    from rag.rendering.screen import GREEN, RED, YELLOW

    status = screen.styled(finding.status, {"pass": GREEN, "warn": YELLOW, "fail": RED}[finding.status])
    remedy = f"\n        {printable(finding.remedy)}" if finding.remedy else ""
    return f"  {status}  {finding.check}: {printable(finding.detail)}{remedy}"


def _point_out(choices: Choices) -> None:
    """Says which variables go before what is to be written, and with what commands would work instead."""
    for variable, place, value in _overriding(choices):
        say(f"  note  {variable} in {place} goes before {CONFIGURATION}: commands take {value} until it is unset")


def _overriding(choices: Choices) -> Iterator[tuple[str, str, str]]:
    from rag.commands.config import given_by_source, shown

    settings, wanted = load_settings(), choices.settings()
    given = given_by_source(type(settings))
    for name in ("embedder.model", "store.path", "store.url", "store.collection", "llm.model", "llm.base_url"):
        group, _, key = name.partition(".")
        variable = f"RAG_{group}__{key}".upper()
        value = getattr(getattr(settings, group), key)
        places = (
            {"environment": "the environment"}
            if variable in choices.secrets()
            else {"environment": "the environment", ".env": ".env"}
        )
        if value != getattr(getattr(wanted, group), key):
            yield from (
                (variable, where, str(shown(name, value))) for place, where in places.items() if name in given[place]
            )


def _write(choices: Choices, text: str | None) -> None:
    """Writes what has changed, keys first: without them a rag.toml would name an endpoint that refuses."""
    secrets = choices.secrets()
    if secrets:
        init_files.write(SECRETS, init_files.with_secrets(init_files.read(SECRETS), secrets), private=True)
        say(f"\nWrote {', '.join(secrets)} into {SECRETS}, which you alone can read.")
        if init_files.would_be_committed(SECRETS):
            say(f"Git does not ignore {SECRETS} yet: echo {SECRETS} >> .gitignore")
    if text is None:
        say(f"\n{CONFIGURATION} says so already; nothing changed.")
    else:
        init_files.write(CONFIGURATION, text.encode("utf-8"))
        say(f"\nWrote {CONFIGURATION}.")
    say("Next:\n  ingest PATH…  brings documents in\n  rag chat      answers questions about them")


def _failures(count: int) -> str:
    from rag.rendering.text import counted

    return f"{counted(count, 'check')} failed"


def _change(change: Change) -> str:
    from rag.commands.config import shown
    from rag.normalization import printable

    before, after = (printable(repr(shown(change.name, value))) for value in (change.before, change.after))
    if change.after is None:
        return f"{change.name} is taken out (was {before})"
    return f"{change.name} = {after}" + ("" if change.before is None else f" (was {before})")
