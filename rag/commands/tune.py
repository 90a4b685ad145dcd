"""`rag tune`: settings that suit your documents and questions."""

from __future__ import annotations

import click

from rag.commands.late_group import LateGroup
from rag.commands.shared import help_option

_SUMMARIES = {"retrieval": "Find the weights and the fusion that rank best, and how sure that is."}
_MODULES = {"retrieval": "tune_retrieval:retrieval"}


@click.group(
    "tune", cls=LateGroup, summaries=_SUMMARIES, modules=_MODULES, short_help="Find settings that suit your documents."
)
@help_option
def tune() -> None:
    """Find settings that suit your documents and questions; nothing is changed unless you say so.

    \b
    # With questions made from the index by the language model:
    rag eval generate --out gold.jsonl
    rag tune retrieval --gold gold.jsonl
    """
