"""`rag train`: embedding models of one's own."""

from __future__ import annotations

import click

from rag.commands.late_group import LateGroup
from rag.commands.shared import help_option

_SUMMARIES = {"distill": "Train a small cross-lingual embedding model from an English teacher."}
_MODULES = {"distill": "train_distill:distill"}


@click.group(
    "train", cls=LateGroup, summaries=_SUMMARIES, modules=_MODULES, short_help="Train an embedding model of your own."
)
@help_option
def train() -> None:
    """Train an embedding model of your own, in BGE-M3's layout: the very same programs load it.

    \b
    # From an English teacher and a folder of translations:
    rag train distill --teacher sentence-transformers/all-MiniLM-L6-v2 --parallel pairs/ --out student/
    rag eval retrieval xquad/ --model student/
    """
