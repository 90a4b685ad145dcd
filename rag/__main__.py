"""The command `rag`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

from rag.commands.shared import help_option, run

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "ask": "Answer a question in its own language from documents in any.",
    "chat": "Talk with the documents: questions, follow-ups, sources.",
    "completion": "Let the shell complete commands, options and sources: installs it, or takes it out.",
    "config": "Show every setting in effect and where it comes from.",
    "doctor": "Check the installation, model, index and language model; say what mends them.",
    "init": "Set up a folder: embedding model, store and language model, each checked.",
    "list": "List the documents that the index holds.",
    "search": "Find the passages that answer a question.",
    "show": "Show a document as the index holds it, or a passage with its neighbours.",
}
_MODULES = {"list": "list_documents"}
"""Module and function of a command, where its name is taken by Python itself."""


class _LateGroup(click.Group):
    """Imports a command's module when it is called: --help answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command = getattr(import_module(f"rag.commands.{module}"), module)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=text) for name, text in sorted(_COMMANDS.items())]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [item for item in commands if item.value.startswith(incomplete)] + options

    def get_help(self, ctx: click.Context) -> str:
        from rag.commands.help_page import page

        return page(ctx)


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="cross-lingual-rag")
@help_option
def rag() -> None:
    """Ask in your language; get answers from documents in theirs, each claim leading back to the original words.

    Set a folder up with `rag init`, bring documents in with `ingest`, then search, ask or chat. Flags go before RAG_…
    variables, these before .env, then rag.toml.

    \b
    # The first steps, with the small model that comes with the program:
    rag init --model pocket-m3
    ingest docs/
    rag ask "Wie lange gilt die Garantie?"
    # A question from a pipe, and passages for another program:
    cat question.txt | rag ask -
    rag search "remote work" --json | jq -r .source
    """


def main() -> None:
    """Entry point of the command."""
    run(rag, "rag")


if __name__ == "__main__":
    main()
