"""Makes a data set for `rag eval retrieval` of documentation and its translations: English question → page.

    python -m benchmarks.otel_gold "$RAG_DATA/docs/gold.jsonl" build/otel --tokens 256
    rag eval retrieval build/otel --mode dense --model pocket-m3 --measure R@10

Each line of the gold file names a page (`path`, `lang`) and what it translates (`en_path`, `en_title`, `en_sentence`).
A question is the English title and first sentence. The documents are all pages below the folders that hold these pages,
whether or not anything asks for them: of each the title and the beginning of its prose. Code is the same in all
languages and link targets are nobody's words, so both are left out.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.readers import read
from rag import build
from rag.commands.shared import load_settings
from rag.errors import ReadError
from rag.evaluation.windows import beginning
from rag.locations import uri_of
from rag.ports import Embedder

_ENGLISH = "en"
_NO_PROSE = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\A---\n.*?\n---\n",  # front matter
        r"(`{3,}|~{3,}).*?\1",  # code block
        r"<!--.*?-->",
        r"\{\{.*?\}\}|\{#[^}]*\}",  # Hugo's shortcodes and anchors
        r"(?<=\])\([^)]*\)|(?<=\])\[[^\]]*\]",  # link target
        r"[#*`>|\[\]]+",  # marks
    )
)


def main() -> None:
    """Writes corpus.jsonl and queries.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gold", type=Path, help="JSON lines; paths in them are relative to its folder")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--characters", type=int, default=2500, metavar="N", help="of a page (default: %(default)s)")
    parser.add_argument("--tokens", type=int, metavar="N", help="at most, of these characters; needs --model")
    parser.add_argument("--model", default="pocket-m3", metavar="M", help="that counts tokens (default: %(default)s)")
    given = parser.parse_args()
    if given.tokens is not None and given.tokens < 1:
        parser.error(f"--tokens {given.tokens} leaves nothing of a page: give 1 or more")
    try:
        lines = [json.loads(line) for line in given.gold.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        parser.error(f"{given.gold} cannot be read as JSON lines ({error}): give the gold file")
    embedder = build.embedder(load_settings(model=given.model)) if given.tokens is not None else None
    given.out.mkdir(parents=True, exist_ok=True)
    pages = list(_pages(given.gold.parent, lines, given.characters, embedder, given.tokens or 0))
    _write(given.out / "corpus.jsonl", pages)
    _write(given.out / "queries.jsonl", _questions(lines, {page["id"] for page in pages}))
    print(f"{len(pages)} pages in {given.out}")


def _pages(
    root: Path, lines: list[dict[str, Any]], characters: int, embedder: Embedder | None, tokens: int
) -> Iterator[dict[str, str]]:
    """The pages of each language, of the folder `<source>/<language>` that the gold file's paths begin with."""
    languages = {_folder(line["path"]): line["lang"] for line in lines}
    languages |= {_folder(line["en_path"]): _ENGLISH for line in lines}
    for folder, language in sorted(languages.items()):
        for path in sorted((root / folder).rglob("*.md")):
            try:
                (document,) = read(uri_of(path), path.read_bytes())
            except ReadError as error:
                print(f"{path}: {error}")
                continue
            text = f"{document.title}\n{_prose(path.read_text(encoding='utf-8'))}"[:characters]
            text = beginning(text, embedder, tokens) if embedder else text
            yield {"id": path.relative_to(root).as_posix(), "lang": language, "text": text}


def _prose(markdown: str) -> str:
    """What a reader of the rendered page reads as sentences, on one line."""
    for pattern in _NO_PROSE:
        markdown = pattern.sub(" ", markdown)
    return " ".join(markdown.split())


def _folder(path: str) -> str:
    return "/".join(path.split("/")[:2])


def _questions(lines: list[dict[str, Any]], pages: set[str]) -> Iterator[dict[str, Any]]:
    """One for each English page, with the page itself and all its translations as gold."""
    asked: dict[str, dict[str, Any]] = {}
    for line in lines:
        english = line["en_path"]
        text = f"{line['en_title']}. {line['en_sentence']}"
        question = asked.setdefault(english, {"id": english, "lang": _ENGLISH, "text": text, "gold": [english]})
        question["gold"].append(line["path"])
    for question in asked.values():
        yield {**question, "gold": [path for path in question["gold"] if path in pages]}


def _write(path: Path, records: Any) -> None:
    content = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)
    path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
