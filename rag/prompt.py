"""Question, passages and language to what a language model reads. Pure but for the random fence.

Passages are data. Each stands between two lines that carry a random mark of this request, so that no document can know
how to end its own passage (spotlighting by delimiters: Hines et al. 2024, arXiv 2403.14720); all that a document
brought with it, its title too, stands inside, with whatever looks like a part of the request escaped (rag.untrusted).
Instructions are in the language to answer in, which they name, because that keeps models in it best (BERGEN: Chirkova
et al. 2024, arXiv 2407.01463). The best passage comes first, and the instruction says so: models make most of what
stands at the beginning or the end (Liu et al. 2024, arXiv 2307.03172), and the end is the question's.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rag import language as languages
from rag import locales, untrusted
from rag.budget import Budget
from rag.types import UNDETERMINED, ChatRequest, Chunk, Message, Passage

NO_ANSWER: Final = "NO_ANSWER"
"""What a language model writes, and nothing else, when the passages do not hold the answer."""

DATE: Final = "date"
"""The key under which a document's metadata tell its date."""

_FENCE_BYTES: Final = 8


def build(
    question: str,
    passages: Sequence[Passage],
    language: str,
    *,
    second_language: str | None = None,
    history: Sequence[Message] = (),
    insist: bool = False,
    fence: str | None = None,
    budget: Budget | None = None,
    templates: Path | None = None,
) -> ChatRequest:
    """The request for an answer to `question` in `language`.

    Messages: the locale's instruction; `history`; one message with the passages, numbered from [1] in the order given,
    the question verbatim, and a last line that names the language again. The request's passages are those that it
    shows: with a `budget` they may be fewer, and a single one may be cut.

    Args:
        passages: best first.
        language: BCP-47 tag to answer in.
        second_language: BCP-47 tag of the language in which to say it once more.
        history: earlier turns, oldest first.
        insist: whether to say that a first answer came in the wrong language.
        fence: the mark around passages; by default 16 random hexadecimal digits.
        budget: the room there is; by default everything is sent.
        templates: folder of the user's own texts, see `rag.locales.load`.

    Raises:
        InputError: the question does not fit into the budget, or a template cannot be used.
    """
    locale = locales.load(language, templates)
    mark = fence if fence is not None else new_fence()
    closing = [locale.insist] if insist else []
    names = [languages.name(language, locale.tag)]
    if second_language is not None:
        names.append(languages.name(second_language, locale.tag))
        closing.append(locale.bilingual.replace(locales.SECOND, names[1]))
    closing.append(f"{locale.answer_language_label}: {', '.join(names)}")
    shown, turns = tuple(passages), tuple(history)
    if budget is not None:
        fitting = budget.fitted(
            question,
            passages,
            history,
            instructions=(
                locale.system,
                f"{locale.passages_label}: {len(passages)}\n\n",
                "\n\n".join([f"{locale.question_label}:\n", *closing]),
            ),
            shown=lambda number, passage: fenced(number, passage, locale, mark) + "\n\n",
        )
        shown, turns = fitting.passages, fitting.history
    blocks = [f"{locale.passages_label}: {len(shown)}"]
    blocks += [fenced(number, passage, locale, mark) for number, passage in enumerate(shown, start=1)]
    blocks.append(f"{locale.question_label}:\n{question}")
    messages = (Message("system", locale.system), *turns, Message("user", "\n\n".join([*blocks, *closing])))
    return ChatRequest(messages, question, shown, language, second_language)


def show(request: ChatRequest) -> str:
    """`request` as it is sent, for people: each message under its role as a heading."""
    return "\n\n".join(f"## {message.role}\n\n{message.content}" for message in request.messages)


def new_fence() -> str:
    """The mark of a request: 16 random hexadecimal digits."""
    return secrets.token_hex(_FENCE_BYTES)


def fenced(number: int, passage: Passage, locale: locales.Locale, mark: str) -> str:
    """A passage under its number, with all that is known of it between two lines that carry `mark`.

    Where translations or copies of it were left out, their sources stand beside its own.
    """
    chunk = passage.chunk
    lines = [f"{label}: {_on_one_line(value, mark)}" for label, value in _known(passage, locale) if value.strip()]
    # A file name need not be valid text, and a request must be.
    body = "\n".join([*lines, "", untrusted.escaped(chunk.text, mark)]).encode(errors="replace").decode()
    return f"{locale.passage_label} [{number}]\n<<<{mark}>>>\n{body}\n<<<{mark}>>>"


def _known(passage: Passage, locale: locales.Locale) -> list[tuple[str, str]]:
    """Labels and what is known of a passage, empty where it is not."""
    chunk = passage.chunk
    sources = dict.fromkeys(each.source for each in (chunk, *passage.copies))
    return [
        *((locale.source_label, source) for source in sources),
        (locale.title_label, chunk.title),
        (locale.section_label, chunk.heading),
        (locale.date_label, chunk.metadata.get(DATE, "")),
        (locale.page_label, "" if chunk.page is None else str(chunk.page)),
        (locale.language_label, _language(chunk, locale)),
    ]


def _language(chunk: Chunk, locale: locales.Locale) -> str:
    return languages.name(chunk.language, locale.tag) if chunk.language != UNDETERMINED else ""


def _on_one_line(value: str, mark: str) -> str:
    return untrusted.escaped(" ".join(value.split()), mark)
