"""A group of commands whose modules are imported when they are called, so that --help answers at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class LateGroup(click.Group):
    """Shows its commands from a table, and imports one when it is called."""

    def __init__(
        self, *arguments: Any, summaries: Mapping[str, str], modules: Mapping[str, str], **options: Any
    ) -> None:
        """Takes what click.Group takes, and the tables.

        Args:
            summaries: what each command does, by name.
            modules: where a command is that is not a function called as its module: `module:function`, by name.
        """
        super().__init__(*arguments, **options)
        self._summaries = dict(sorted(summaries.items()))
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, sorted."""
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, out of its module of `rag.commands`."""
        if cmd_name not in self._summaries:
            return None
        module, _, function = self._modules.get(cmd_name, f"{cmd_name}:{cmd_name}").partition(":")
        command = getattr(import_module(f"rag.commands.{module}"), function)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Commands with their summaries, then options."""
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=text) for name, text in self._summaries.items()]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [item for item in commands if item.value.startswith(incomplete)] + options

    def get_help(self, ctx: click.Context) -> str:
        """The whole page, also where `rag` is called alone."""
        from rag.commands.help_page import page

        return page(ctx)
