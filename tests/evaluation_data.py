"""Small data sets for the tests of the evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUBJECTS = {
    "bees": {
        "en": "Bees keep their hive warm in winter by moving their wings.",
        "de": "Bienen halten ihren Stock im Winter warm, indem sie die Flügel bewegen.",
        "fr": "Les abeilles gardent leur ruche au chaud en hiver en bougeant les ailes.",
    },
    "rail": {
        "en": "The night train to Vienna leaves at nine from platform four.",
        "de": "Der Nachtzug nach Wien fährt um neun Uhr von Gleis vier ab.",
        "fr": "Le train de nuit pour Vienne part à neuf heures du quai quatre.",
    },
    "bread": {
        "en": "Bread dough rests for twelve hours in a cool cellar.",
        "de": "Der Brotteig ruht zwölf Stunden in einem kühlen Keller.",
        "fr": "La pâte à pain repose douze heures dans une cave fraîche.",
    },
}
QUESTIONS = {
    "bees": {"en": "How do bees keep their hive warm?", "de": "Wie halten Bienen ihren Stock warm?"},
    "rail": {"en": "When does the night train to Vienna leave?", "de": "Wann fährt der Nachtzug nach Wien ab?"},
    "bread": {"en": "How long does bread dough rest?", "de": "Wie lange ruht der Brotteig?"},
}
CORPUS = [
    {"id": f"{language}:{name}", "lang": language, "par": name, "text": text}
    for name, texts in SUBJECTS.items()
    for language, text in texts.items()
]
QUERIES = [
    {"id": f"{language}:q-{name}", "lang": language, "qid": name, "text": text, "gold": f"{language}:{name}"}
    for name, texts in QUESTIONS.items()
    for language, text in texts.items()
]


def write_lines(path: Path, records: Sequence[Any]) -> Path:
    """A file of JSON lines; a string is written as it is."""
    lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in records]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_dataset(
    folder: Path, corpus: Sequence[Any] = CORPUS, queries: Sequence[Any] = QUERIES, qrels: Sequence[str] = ()
) -> Path:
    """A folder as BEIR lays it out."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", queries)
    if qrels:
        write_lines(folder / "qrels.tsv", qrels)
    return folder
