"""Results as people read them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rag.language import name
from rag.locales import load
from rag.normalization import printable, without_controls
from rag.types import Answer, Passage, StoredDocument

_EXCERPT = 240  # characters of a passage in a list for people


def passage_text(passage: Passage) -> str:
    """A passage for people: where it is, then how it begins."""
    chunk = passage.chunk
    head = f"{passage.rank:>2}. {place(chunk.source, chunk.page, chunk.language)}  {passage.score:.3f}"
    heading = chunk.heading or chunk.title
    lines = [head, *([f"    {heading}"] if heading else []), f"    {_excerpt(chunk.text)}", *_copies(passage)]
    return "\n".join(lines)


def sources_text(answer: Answer, templates: Path | None = None) -> str:
    """The citations for people: where each marker points, and the original words the answer does not show itself.

    Args:
        templates: folder of the user's own texts.
    """
    lines: list[str] = []
    for citation in answer.citations:
        where = place(citation.source, citation.page, citation.language, answer.language)
        head = f"[{citation.marker}] {where}"
        if head not in lines:
            lines += [head, *_also(answer, citation.marker)]
        if citation.quote not in answer.text:
            lines.append(f"    {_excerpt(citation.quote)}")
        if citation.translation:
            label = load(answer.language, templates).machine_translated
            lines.append(f"    {label}: {_excerpt(citation.translation)}")
    return "\n".join(lines)


def remarks(answer: Answer, templates: Path | None = None) -> list[str]:
    """What a reader must know about the answer: how its passages were found, beside by a search; that it is in another
    language than it should be; whose orders a document gives; which sentences no quote bears out; what it cost; that it
    broke off.

    Args:
        templates: folder of the user's own texts.
    """
    found = list(map(printable, answer.remarks))
    locale = load(answer.language, templates)
    if answer.language_ok is False:
        found.append(f"{locale.wrong_language} ({name(answer.answered_in, locale.tag)})")
    if answer.flagged:
        found.append(f"{locale.gives_orders} {''.join(f'[{number}]' for number in answer.flagged)}")
    # That a whole answer quotes nothing may be the way of its model, unless what it quoted is nowhere.
    if answer.unsupported and (answer.support or answer.invented):
        sentences = (printable(" ".join(answer.text[start:end].split())) for start, end in answer.unsupported)
        found.append(f"{locale.unsupported} {' … '.join(map(_excerpt, sentences))}")
    if answer.usage.cost:
        found.append(f"cost: {answer.usage.cost:.4g}")
    if not answer.complete:
        found.append(locale.incomplete)
    return found


def _also(answer: Answer, marker: int) -> list[str]:
    """Where the passage behind a marker stands, too."""
    return _copies(answer.passages[marker - 1], answer.language) if marker <= len(answer.passages) else []


def _copies(passage: Passage, reader: str = "en") -> list[str]:
    places = dict.fromkeys(place(copy.source, copy.page, copy.language, reader) for copy in passage.copies)
    return [f"    also: {each}" for each in places]


def place(source: str, page: int | None, language: str, reader: str = "en") -> str:
    """Where a passage stands, with its language as readers of `reader`, a BCP-47 tag, call it."""
    locale = load(reader)
    on_page = f", {'p.' if locale.tag == 'en' else locale.page_label} {page}" if page else ""
    return f"{printable(source)}{on_page} ({name(language, locale.tag)})"


def _excerpt(text: str) -> str:
    line = " ".join(without_controls(text).split())
    return line if len(line) <= _EXCERPT else line[:_EXCERPT].rstrip() + " …"


def counted(count: int, noun: str) -> str:
    """`count` of something, as people say it."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def local_time(document: StoredDocument) -> str:
    """When the document was ingested, for people, in their time zone."""
    return datetime.fromtimestamp(document.ingested_at).astimezone().strftime("%Y-%m-%d %H:%M")


def readable_size(size: float) -> str:
    """Bytes in decimal units, as the model hub's pages give them."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size:.0f} bytes"
