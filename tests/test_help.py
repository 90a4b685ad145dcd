"""--help: one page a command, complete, right in narrow terminals, with examples that can be copied as they stand."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unicodedata import east_asian_width

import click
import pytest

import rag.errors
from ingest.cli import command as ingest_command
from rag.__main__ import rag as rag_command
from rag.commands import help_texts
from rag.commands.help_page import page
from rag.errors import RagError
from tests.terminal import Terminal

RAG_COMMANDS = [
    "ask",
    "chat",
    "completion",
    "config",
    "doctor",
    "eval",
    "init",
    "list",
    "models",
    "search",
    "show",
    "train",
    "tune",
]
PAGES = [
    "rag",
    *(f"rag {name}" for name in RAG_COMMANDS),
    "rag eval generate",
    "rag eval retrieval",
    "rag train distill",
    "rag tune retrieval",
    "rag models check",
    "rag models pull",
    "ingest",
    "ingest export",
    "ingest import",
    "ingest list",
    "ingest rebuild",
    "ingest remove",
    "ingest verify",
    "ingest watch",
]
SECTIONS = ["Options", "Examples", "Exit codes", "See also"]


def context_of(name: str) -> click.Context:
    group, _, word = name.partition(" ")
    root = {"rag": rag_command, "ingest": ingest_command}[group]
    context = click.Context(root, info_name=group)
    if group == "ingest" and not word:
        main = root.commands["PATH…"]
        return main.context_class(main, info_name="PATH…", parent=context)
    if not word:
        return context
    for part in word.split():
        above = context.command
        assert isinstance(above, click.Group)
        command = above.get_command(context, part)
        assert command is not None
        context = click.Context(command, info_name=part, parent=context)
    return context


def columns(line: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in line)


def section(text: str, title: str) -> list[str]:
    """The lines of a section, without their indent."""
    found = re.search(rf"^{title}:\n((?:(?:  .*)?\n)+)", text + "\n", re.MULTILINE)
    assert found, f"no section {title}"
    return [line[2:] for line in found[1].splitlines() if line]


def examples(lines: list[str]) -> list[list[str]]:
    """The words of each command of a section of examples, as a shell reads them."""
    joined = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", "")
    return [shlex.split(line) for line in joined.splitlines()]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_every_section_in_order(name: str) -> None:
    text = page(context_of(name))
    assert text.startswith(f"Usage: {name} ")
    places = [text.index(f"\n{title}:\n") for title in SECTIONS]
    assert places == sorted(places)
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_terminal_and_its_examples_stay_what_they_are(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    context = context_of(name)
    text = page(context)
    shown = section(text, "Examples")
    for line in text.splitlines():
        # A quoted word cannot be broken: the terminal does that, and what is copied is still whole.
        assert columns(line) <= width or len(shlex.split(line.rstrip("\\"))) == 1, line
    blocks = [part for part in inspect.cleandoc(context.command.help or "").split("\n\n") if part.startswith("\b")]
    written = [line.strip() for block in blocks for line in block.splitlines()[1:]]
    assert examples(shown) == examples(written)


def test_words_that_belong_together_are_not_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = section(page(context_of("rag search")), "Examples")
    at = shown.index('rag search "remote work" \\')
    following = shown[at : at + 5]
    assert "    --source 'policies/*' \\" in shown
    assert not any(line.endswith(("--source \\", "| \\", "--where \\")) for line in following)


def test_an_example_says_what_it_does_right_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    lines = page(context_of("rag ask")).splitlines()
    at = lines.index("  # Ask in Japanese, get the answer in English,")
    assert lines[at - 1] == "", "a line of its own between examples"
    assert lines[at + 1] == "  # as one JSON object:"
    assert lines[at + 2].startswith('  rag ask "有給休暇は何日ですか"')


def test_every_exit_code_of_the_program_is_explained() -> None:
    kinds = (each for each in vars(rag.errors).values() if isinstance(each, type))
    codes = {kind.exit_code for kind in kinds if issubclass(kind, RagError)}
    explained = {int(line.split()[0]) for line in section(page(context_of("rag ask")), "Exit codes") if line[0] != " "}
    assert explained == codes | {0, 130}


def test_every_variable_that_a_page_names_is_one_that_is_read() -> None:
    from rag_config.settings import Settings

    groups = {name: value for name, value in Settings().model_dump().items() if isinstance(value, dict)}
    known = {f"RAG_{group}__{key}".upper() for group, values in groups.items() for key in values} | {"RAG_LANGUAGE"}
    for text in help_texts.TEXTS.values():
        named = {variable for variable, _ in text.environment if variable.startswith("RAG_") and variable != "RAG_…"}
        assert named <= known


def test_texts_belong_to_commands_that_exist() -> None:
    there = set(rag_command.list_commands(click.Context(rag_command)))
    below = {
        "remove",
        "verify",
        "watch",
        "rebuild",
        "export",
        "import",
        "generate",
        "retrieval",
        "check",
        "pull",
        "distill",
        "tune retrieval",
    }
    assert set(RAG_COMMANDS) <= set(help_texts.TEXTS) <= there | {"rag", "ingest"} | below


def test_rag_alone_shows_its_page_as_one_and_is_an_error(in_folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "rag"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "\nCommands:\n  ask " in done.stderr


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {}])
def test_in_a_narrow_terminal_the_page_is_shown_as_it_is_written(in_folder: Path, environment: dict[str, str]) -> None:
    with Terminal(
        [sys.executable, "-m", "rag", "show", "-h"], rows=90, columns=40, environment=environment, folder=in_folder
    ) as shown:
        shown.wait_for("rag list, rag search")
        assert shown.exit_code() == 0
        lines = shown.lines()
    assert "  -h, --help" in lines
    assert "        Show this page and exit." in lines
    assert b"\x1b" not in shown.raw
