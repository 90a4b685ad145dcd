"""`rag eval`: how good retrieval is across languages."""

from __future__ import annotations

import click

from rag.commands.late_group import LateGroup
from rag.commands.shared import help_option

_SUMMARIES = {
    "generate": "Make questions for an evaluation from the documents of the index.",
    "retrieval": "Measure retrieval for every pair of languages.",
}
_MODULES = {"generate": "eval_generate:generate", "retrieval": "eval_retrieval:retrieval"}


@click.group(
    "eval",
    cls=LateGroup,
    summaries=_SUMMARIES,
    modules=_MODULES,
    short_help="Measure retrieval for every pair of languages.",
)
@help_option
def eval() -> None:
    """Measure how well questions in one language find documents in another.

    \b
    # Paragraphs and questions in a folder, and a page of charts:
    rag eval retrieval xquad/ --report xquad.html
    # The index as it is, with questions whose sources are known:
    rag eval retrieval --gold questions.jsonl
    """
