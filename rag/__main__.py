"""The command `rag`."""

from __future__ import annotations

import click

from rag.commands.late_group import LateGroup
from rag.commands.shared import help_option, run

_SUMMARIES = {
    "ask": "Answer a question in its own language from documents in any.",
    "chat": "Talk with the documents: questions, follow-ups, sources.",
    "completion": "Let the shell complete commands, options and sources: installs it, or takes it out.",
    "config": "Show every setting in effect and where it comes from.",
    "doctor": "Check the installation, model, index and language model; say what mends them.",
    "eval": "Measure retrieval for every pair of languages.",
    "init": "Set up a folder: embedding model, store and language model, each checked.",
    "list": "List the documents that the index holds.",
    "models": "List embedding models with their figures; fetch or check one.",
    "search": "Find the passages that answer a question.",
    "show": "Show a document as the index holds it, or a passage with its neighbours.",
    "train": "Train an embedding model of your own.",
    "tune": "Find the ranking that suits your documents.",
}
_MODULES = {"list": "list_documents:list_documents"}


@click.group(
    cls=LateGroup, summaries=_SUMMARIES, modules=_MODULES, context_settings={"help_option_names": ["-h", "--help"]}
)
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
