"""Ask in your language; get an answer from documents in theirs, each claim leading back to the original words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rag_config.settings import Settings as Settings

    from rag.api import aask as aask
    from rag.api import ask as ask
    from rag.api import open_rag as open_rag
    from rag.pipeline import CrossLingualRAG as CrossLingualRAG
    from rag.types import Answer as Answer
    from rag.types import Citation as Citation
    from rag.types import Passage as Passage
    from rag.types import Restarted as Restarted
    from rag.types import TextDelta as TextDelta
    from rag.types import Where as Where

_HOME = {
    "aask": "rag.api",
    "ask": "rag.api",
    "open_rag": "rag.api",
    "CrossLingualRAG": "rag.pipeline",
    "Answer": "rag.types",
    "Citation": "rag.types",
    "Passage": "rag.types",
    "Restarted": "rag.types",
    "TextDelta": "rag.types",
    "Where": "rag.types",
    "Settings": "rag_config.settings",
}
__all__ = [
    "Answer",
    "Citation",
    "CrossLingualRAG",
    "Passage",
    "Restarted",
    "Settings",
    "TextDelta",
    "Where",
    "aask",
    "ask",
    "open_rag",
]


def __getattr__(name: str) -> object:
    """Imports the public names on first use: `import rag` alone loads next to nothing."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
