"""`make demo`: brings the bundled library into an index and asks it questions in other languages than its documents'.

Runs offline with the bundled model. With RAG_LLM__MODEL set, the configured language model answers.
"""

from __future__ import annotations

import json
from pathlib import Path

from ingest import ingest
from rag import Settings, open_rag
from rag.language import name
from rag.rendering.text import sources_text

HERE = Path(__file__).parent
SHOWN = ("i09", "i15", "i46", "i55", "i69", "i72")


def main() -> None:
    settings = Settings(
        store={"path": HERE.parent / ".demo", "collection": "demo"},  # type: ignore[arg-type]
        embedder={"model": "pocket-m3"},  # type: ignore[arg-type]
    )
    print(f"ingest {(HERE / 'library').relative_to(HERE.parent)}", flush=True)
    report = ingest([HERE / "library"], settings=settings)
    print(
        f"  {report.added} added, {report.updated} updated, {report.unchanged} unchanged, {report.failed} failed; "
        f"{report.chunks} chunks in {report.seconds:.1f} s"
    )
    for failure in report.failures:
        print(f"  {failure.source}: {failure.error}")
    questions = [json.loads(line) for line in (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    with open_rag(settings) as rag:
        for question in questions:
            if question["id"] not in SHOWN:
                continue
            print(f"\n{'─' * 80}\n{name(question['language'], 'en')}: {question['question']}\n", flush=True)
            answer = rag.ask(question["question"])
            print(answer.text)
            print(f"\n{sources_text(answer)}")
    print(f"\n{'─' * 80}\nYour own question:\n")
    print('  .venv/bin/rag ask "How do I share my calendar?" --store .demo --collection demo --model pocket-m3')


if __name__ == "__main__":
    main()
