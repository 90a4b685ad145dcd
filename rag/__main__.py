"""The command `rag`."""

from __future__ import annotations

from importlib import import_module

import click

from rag.commands.shared import run

_COMMANDS = {
    "ask": "Answer a question in its own language from documents in any.",
    "config": "Show every setting in effect and where it comes from.",
    "doctor": "Check the installation, model, index and language model; say what mends them.",
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


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cross-lingual-rag")
def rag() -> None:
    """Ask in your language; get answers from documents in theirs, each claim leading back to the original words.

    Bring documents in with `ingest`, then search or ask. Settings come from flags, RAG_… variables, .env and rag.toml.
    """


def main() -> None:
    """Entry point of the command."""
    run(rag, "rag")


if __name__ == "__main__":
    main()
