"""The page that --help shows: usage, purpose, arguments, options, examples, exit codes, environment, files, see also.

Purpose and examples are the command's docstring: its last paragraphs, if they begin with `\\b` as click marks what is
not to be wrapped, are examples; a line of them that begins with `#` says what the next one does. All else is in
`help_texts`. No page has colours, so NO_COLOR and TERM=dumb change nothing.
"""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator

import click

from rag.commands import help_texts

_WIDEST = 80
_NARROWEST = 24
_SIDE_BY_SIDE = 60
"""Columns from which on a term and its description stand on one line."""
_FIRST_COLUMN, _FIRST_COLUMN_WHEN_NARROW = 24, 4
_CONTINUED = "    "
_WORD = re.compile(r"(?:[^\s'\"\\]|\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\")+|['\"].*")
"""A word of a shell's command line; quotes hold spaces together."""


class _Formatter(click.HelpFormatter):
    """Writes to the true width, where click stops at 50 columns and lets narrower terminals break its lines."""

    def __init__(self) -> None:
        columns = shutil.get_terminal_size((_WIDEST, 24)).columns
        super().__init__(width=max(min(columns, _WIDEST), _NARROWEST) - 1)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        wide = self.width + 1 >= _SIDE_BY_SIDE
        super().write_dl(rows, _FIRST_COLUMN if wide else _FIRST_COLUMN_WHEN_NARROW, col_spacing)


def page(context: click.Context) -> str:
    """The page of the command that `context` is of, as wide as the terminal, at most 80 columns."""
    command = context.command
    name = "ingest" if context.command_path == "ingest" else command.name or ""
    below = context.command_path.partition(" ")[2]
    about = help_texts.TEXTS.get(below, help_texts.TEXTS.get(name, help_texts.Text()))
    purpose, examples = _parts(command)
    formatter = _Formatter()
    command.format_usage(context, formatter)
    for paragraph in purpose:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(" ".join(paragraph.split()))
    _table(formatter, "Arguments", about.arguments)
    command.format_options(context, formatter)
    if examples:
        with formatter.section("Examples"):
            for line in _examples(examples, formatter.width - formatter.current_indent):
                formatter.write(f"{'':>{formatter.current_indent}}{line}".rstrip() + "\n")
    _table(formatter, "Exit codes", help_texts.exit_codes(about))
    _table(formatter, "Environment", about.environment)
    _table(formatter, "Files", about.files)
    if about.see_also:
        with formatter.section("See also"):
            formatter.write_text(", ".join(about.see_also))
    return formatter.getvalue().rstrip("\n")


def _table(formatter: click.HelpFormatter, title: str, rows: tuple[tuple[str, str], ...]) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def _parts(command: click.Command) -> tuple[list[str], list[str]]:
    """The paragraphs of the docstring, and the lines of its examples."""
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    paragraphs = re.split(r"\n\s*\n", text.strip())
    purpose = [paragraph for paragraph in paragraphs if not paragraph.startswith("\b")]
    examples = [line for each in paragraphs if each.startswith("\b") for line in each.splitlines()[1:]]
    return purpose, [line.strip() for line in examples]


def _examples(lines: list[str], width: int) -> Iterator[str]:
    """The lines within `width`: comments wrapped, commands broken as a shell reads them."""
    spaced = any(line.startswith("#") for line in lines)
    for number, line in enumerate(lines):
        if not line.startswith("#"):
            yield from _command_lines(line, width)
            continue
        if number and spaced:
            yield ""
        yield from textwrap.wrap(line.lstrip("# "), width, initial_indent="# ", subsequent_indent="# ")


def _command_lines(command: str, width: int) -> Iterator[str]:
    r"""`command` in lines of at most `width`, each but the last ending in ` \`; a longer word stays whole."""
    if _columns(command) <= width:
        yield command
        return
    line = ""
    for words in _kept_together(_WORD.findall(command), width - len(_CONTINUED) - 2):
        longer = f"{line} {words}" if line else words
        if line and _columns(longer) > width - 2:
            yield f"{line} \\"
            line = f"{_CONTINUED}{words}"
        else:
            line = longer
    yield line


def _kept_together(words: list[str], width: int) -> list[str]:
    """An option with its value, and `|` with the program that follows, in one string each where that fits."""
    groups: list[str] = []
    open_ended = False
    for word in words:
        if open_ended and word[0] not in "-|" and _columns(f"{groups[-1]} {word}") <= width:
            groups[-1] += f" {word}"
        else:
            groups.append(word)
        open_ended = word == "|" or (word.startswith("-") and word != "-")
    return groups


def _columns(text: str) -> int:
    """Columns of a terminal that `text` takes; East Asian letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
