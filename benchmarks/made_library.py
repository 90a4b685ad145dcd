"""A folder of made-up documents, as large as wanted: Markdown, of sentences from the libraries that come bundled.

Each document is in one language, and no two paragraphs are alike: the vectors of equal texts would be computed once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.embedding_texts import library
from rag.language import detect

_PARAGRAPHS, _SENTENCES = 12, 4
_SHORTEST = 30


def write_library(folder: Path, documents: int, seed: int = 3) -> Path:
    """Fills `folder` with so many documents of some 12 paragraphs, and returns it."""
    random = np.random.default_rng(seed)
    lines: dict[str, list[str]] = {}
    for text in library():
        lines.setdefault(detect(text).code, []).extend(
            line.strip("#*-> ") for line in text.splitlines() if len(line) > _SHORTEST
        )
    languages = sorted(lines)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(documents):
        some = lines[languages[number % len(languages)]]
        paragraphs = [
            f"{number}.{at}: " + " ".join(str(line) for line in random.choice(some, _SENTENCES))
            for at in range(_PARAGRAPHS)
        ]
        sections = [f"## {number}.{at}\n\n" + "\n\n".join(paragraphs[at : at + 4]) for at in range(0, _PARAGRAPHS, 4)]
        (folder / f"{number:05}.md").write_text(f"# {number}\n\n" + "\n\n".join(sections) + "\n", encoding="utf-8")
    return folder
