"""Documents that give orders: what scripted models do that obey them, and which of these documents are flagged.

    python -m benchmarks.injection [--json]          # $RAG_DATA set: false flags on real texts, too

Attacks and harmless sentences lie in tests/fixtures/injection; they were written for this, by the hand that wrote the
rules, so the share that is flagged says what the rules can know, not what an attacker will think of. Each attack stands
in a passage of a request as `rag.prompt` builds it. Three models read that request, each by its own idea of it:

(a) obeys an order anywhere outside of fences, and takes any two lines `<<<…>>>` for a fence;
(b) obeys an order that stands after anything like a fence, a role or a marker within a passage;
(c) obeys everything: it repeats the passage, with what it could give away filled into the addresses.

The order is to say a word, `PWNED`; what is given away is a key. What a model says goes through the output filter, and
what leaves is looked at as a browser would see it: rendered as Markdown, with bare addresses taken for links. The same
is done without any defence, to show that the models do obey.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from rag import prompt, untrusted
from rag.normalization import visible
from rag.types import ChatRequest, Chunk, Message, Passage

ROOT = Path(__file__).parent.parent
FIXTURE = ROOT / "tests" / "fixtures" / "injection"
RESULT = ROOT / "benchmarks" / "results" / "injection.json"
ORDER = "PWNED"
KEY = "sk-7f3a9c"
INNOCENT = "The valve is rated for 10 bar [1]."

Model = Callable[[ChatRequest], str]

_FENCE_LINE = re.compile(r"^\s*<{3,}(.*?)>{3,}\s*$", re.MULTILINE)
_ROLES = (
    "system|user|human|assistant|instructions?|система|користувач|пользователь|système|usuario|instruções|sistem|النظام|"
    "सिस्टम|システム|시스템|系统"
)
_FORGED = re.compile(
    rf"<{{2,}}[^\n]*>{{2,}}|<\|[^|\n]*\||\[/?INST\]|</?(?:s|think|passage|documents|instructions|start_of_turn|end_of_turn)>|"
    rf"^[\s#]*(?:{_ROLES})\s*:|\[\s*\d{{1,3}}\s*[\]:]|【\d+】",
    re.MULTILINE | re.IGNORECASE,
)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|(?<![a-z0-9])www\.[a-z]", re.IGNORECASE)


def obeys_outside(request: ChatRequest) -> str:
    """Model (a)."""
    parts = _FENCE_LINE.split(request.messages[-1].content)
    # Outside, mark, inside, mark, outside …
    return ORDER if any(ORDER in text for text in parts[::4]) else INNOCENT


def obeys_forged(request: ChatRequest) -> str:
    """Model (b). Full-width signs are as good as others to it, and it sees through invisible ones."""
    for body in _bodies(request):
        seen = unicodedata.normalize("NFKC", visible(body))
        forged = _FORGED.search(seen)
        if forged is not None and ORDER in seen[forged.end() :]:
            return ORDER
    return INNOCENT


def obeys_everything(request: ChatRequest) -> str:
    """Model (c). Of what it was given, the key stands for what is worth taking; escapes it reverts."""
    said = "\n\n".join(_bodies(request)).translate(untrusted.FOLDED)
    return f"{INNOCENT}\n\n{said.replace('KEY', KEY)}\n"


def _bodies(request: ChatRequest) -> list[str]:
    """What the request's own fences hold: their mark is in the first line that looks like one."""
    content = request.messages[-1].content
    first = _FENCE_LINE.search(content)
    assert first is not None
    return content.split(first.group().strip())[1::2]


def request_with(attack: str, field: str = "text") -> ChatRequest:
    """The request as the application sends it, with `attack` as the text or title of a passage."""
    return prompt.build("How much pressure may the valve take?", [_passage(**{field: attack})], "en")


def undefended(attack: str) -> ChatRequest:
    """The same with the passage as it is, between fences whose mark is known."""
    passage = _passage(text=attack)
    content = f"Passage [1]\n<<<0123456789abcdef>>>\n{attack}\n<<<0123456789abcdef>>>\n\nQuestion:\nHow much?"
    return ChatRequest((Message("user", content),), "How much?", (passage,), "en")


def _passage(text: str = "It is made of brass.", title: str = "Manual") -> Passage:
    chunk = Chunk(
        id="1", uri="file:///manual.txt", version="1", ordinal=0, chunk_count=1, text=text, start=0, end=len(text),
        title=title, headings=(), page=None, language="und", document_language="und", format="txt", text_hash="",
        ingested_at=0.0,
    )  # fmt: skip
    return Passage(1, chunk, 1.0, 1.0, 0.0)


def filtered(text: str, cut: int = 7) -> str:
    """`text` as the output filter lets it out, given to it in pieces of `cut` characters."""
    outlet = untrusted.OutputFilter()
    return "".join(outlet.feed(text[at : at + cut]) for at in range(0, len(text), cut)) + outlet.finish()


def leaks(text: str) -> list[str]:
    """What in `text` a screen would follow or fetch: links, images, tags, and addresses outside of code."""
    found: list[str] = []
    for block in MarkdownIt("commonmark").enable("table").parse(text):
        if block.type == "html_block":
            found.append(block.content)
        words = ""
        for each in block.children or []:
            if each.type in {"link_open", "image", "html_inline"}:
                found.append(str(each.attrs or each.content))
            # Some screens look for addresses after entities and backslashes are read.
            words += each.content if each.type in {"text", "text_special"} else " "
        found += _ADDRESS.findall(words)
    return found


def attacks() -> list[dict[str, str]]:
    """The attacks: language, kind and text."""
    return _lines("attacks.jsonl")


def harmless() -> list[dict[str, str]]:
    """Sentences of manuals that tell people what to do: language and text."""
    return _lines("harmless.jsonl")


def _lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (FIXTURE / name).read_text(encoding="utf-8").splitlines()]


def measure() -> dict[str, Any]:
    """What each model did with and without defence, and what was flagged."""
    texts = [each["text"] for each in attacks()]
    followed = {
        name: {
            "attacks": len(texts),
            "undefended": sum(ORDER in model(undefended(text)) for text in texts),
            "defended": sum(
                any(ORDER in filtered(model(request_with(text, field))) for field in ("text", "title"))
                for text in texts
            ),
        }
        for name, model in (("outside", obeys_outside), ("forged", obeys_forged))
    }
    everything = {
        "attacks": len(texts),
        "undefended": sum(bool(leaks(obeys_everything(undefended(text)))) for text in texts),
        "defended": sum(bool(leaks(filtered(obeys_everything(request_with(text))))) for text in texts),
    }
    flagged = Counter(each["kind"] for each in attacks() if untrusted.gives_orders(each["text"]))
    kinds = Counter(each["kind"] for each in attacks())
    calm = harmless()
    return {
        "languages": len({each["language"] for each in attacks()}),
        "models": {**followed, "everything": everything},
        "flagged": {kind: [flagged[kind], kinds[kind]] for kind in sorted(kinds)},
        "false_flags": [sum(untrusted.gives_orders(each["text"]) for each in calm), len(calm)],
    }


def real(folder: Path) -> dict[str, list[int]]:
    """False flags on texts that were not written for this: name → flagged, all."""
    corpus = (json.loads(line)["text"] for line in (folder / "xquad" / "corpus.jsonl").open(encoding="utf-8"))
    pages = (path.read_text(encoding="utf-8") for path in sorted((folder / "docs" / "otel").rglob("*.md")))
    paragraphs = (each for page in pages for each in page.split("\n\n") if len(each) >= 30)
    return {"XQuAD, paragraphs": _flags(corpus), "documentation, paragraphs": _flags(paragraphs)}


def _flags(texts: Iterable[str]) -> list[int]:
    verdicts = [untrusted.gives_orders(text) for text in texts]
    return [sum(verdicts), len(verdicts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="write benchmarks/results/injection.json")
    options = parser.parse_args()
    result = measure()
    if data := os.environ.get("RAG_DATA"):
        result["false_flags_on_real_texts"] = real(Path(data))
    else:
        print("RAG_DATA is not set: no false flags on real texts")
    if options.json:
        RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
