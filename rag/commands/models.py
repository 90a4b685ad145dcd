"""`rag models`: embedding models that are known, how good they are across languages, and what is on this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.commands.late_group import LateGroup
from rag.commands.shared import help_option
from rag.errors import InputError

if TYPE_CHECKING:
    from rag.catalogue.figures import OwnFigure

_SUMMARIES = {
    "check": "Say whether a folder holds a usable embedding model, and what is missing.",
    "pull": "Fetch an embedding model from the hub ahead of time.",
}
_MODULES = {"check": "models_check:check", "pull": "models_pull:pull"}


@click.group(
    cls=LateGroup,
    summaries=_SUMMARIES,
    modules=_MODULES,
    invoke_without_command=True,
    short_help="List embedding models with their figures; fetch or check one.",
)
@click.option(
    "--figures",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Show what `rag eval retrieval --json` has printed beside the published figures; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@help_option
@click.pass_context
def models(context: click.Context, files: tuple[Path, ...], as_json: bool) -> int:
    """List embedding models: what this program can do with them, their facts, and figures across languages.

    All of them can be used with --model, and so can others of their kinds. Nothing is downloaded.

    \b
    rag models
    # The user's own figures beside the published ones:
    rag eval retrieval xquad/ --json > own.json
    rag models --figures own.json
    # For a machine without a network: fetch here, copy the folder, check it there:
    rag models pull BAAI/bge-m3
    rag models check models/bge-m3
    # For programs:
    rag models --json | jq -r 'select(.presence != "not here").id'
    """
    if context.invoked_subcommand is not None:
        if files or as_json:
            raise InputError(
                f"--figures and --json of `rag models` say nothing to {context.invoked_subcommand!r}: "
                "give options behind it"
            )
        return 0
    own, faults = _read(files)
    _show(own, as_json=as_json)
    for fault in faults:
        click.echo(f"rag models: {' '.join(fault.split())}", err=True)
    return InputError.exit_code if faults else 0


def _read(files: Sequence[Path]) -> tuple[list[OwnFigure], list[str]]:
    """The figures of all files, and what is wrong with those that have none."""
    from rag.catalogue.figures import read

    own: list[OwnFigure] = []
    faults: list[str] = []
    for file in dict.fromkeys(files):
        try:
            own += read(file)
        except InputError as error:
            faults.append(str(error))
    return own, faults


def _show(own: Sequence[OwnFigure], *, as_json: bool) -> None:
    from rag.catalogue.listing import entries, entry_fields
    from rag.catalogue.table import listing_text
    from rag.rendering.records import to_json
    from rag.rendering.screen import Screen

    found = entries(own)
    if as_json:
        for entry in found:
            click.echo(to_json(entry_fields(entry)))
    else:
        click.echo(listing_text(found, Screen.of(sys.stdout).width))
