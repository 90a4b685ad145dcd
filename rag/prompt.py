"""Question, passages and language to what a language model reads. Pure but for the random fence.

Passages are data. Each stands between two lines that carry a random mark of this request, so that no document can know
how to end its own passage (spotlighting by delimiters: Hines et al. 2024, arXiv 2403.14720), and all that a document
brought with it, its title too, stands inside. Instructions are in the language to answer in, which they name, because
that keeps models in it best (BERGEN: Chirkova et al. 2024, arXiv 2407.01463).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Final

from rag import language as languages
from rag import locales
from rag.types import UNDETERMINED, ChatRequest, Message, Passage

NO_ANSWER: Final = "NO_ANSWER"
"""What a language model writes, and nothing else, when the passages do not hold the answer."""

_FENCE_BYTES: Final = 8
_FENCE_LINE: Final = re.compile(r"^(\s*)<<<(.*)>>>(?=\s*$)", re.MULTILINE)
# Escaped as Markdown, in bold, in quotation marks, with a full stop or a citation: still nothing but the word.
_REFUSAL_AT_AN_END: Final = re.compile(r"^\W*NO\\?_ANSWER\b|\bNO\\?_ANSWER\W*$")
_REFUSAL_ALONE: Final = re.compile(r"\W*NO[\\_ -]{0,2}ANSWER[\W\d]*", re.IGNORECASE)


def build(
    question: str,
    passages: Sequence[Passage],
    language: str,
    *,
    history: Sequence[Message] = (),
    insist: bool = False,
    fence: str | None = None,
) -> ChatRequest:
    """The request for an answer to `question` in `language`.

    Messages: the locale's instruction; `history` as it is; one message with the passages, numbered from [1] in the
    order given, the question verbatim, and a last line that names the language again.

    Args:
        language: BCP-47 tag to answer in.
        history: earlier turns, oldest first.
        insist: whether to say that a first answer came in the wrong language.
        fence: the mark around passages; by default 16 random hexadecimal digits.
    """
    locale = locales.load(language)
    mark = fence if fence is not None else new_fence()
    blocks = [f"{locale.passages_label}: {len(passages)}"]
    blocks += [fenced(number, passage, locale, mark) for number, passage in enumerate(passages, start=1)]
    blocks.append(f"{locale.question_label}:\n{question}")
    if insist:
        blocks.append(locale.insist)
    blocks.append(f"{locale.answer_language_label}: {languages.name(language, locale.tag)}")
    messages = (Message("system", locale.system), *history, Message("user", "\n\n".join(blocks)))
    return ChatRequest(messages=messages, question=question, passages=tuple(passages), language=language)


def is_refusal(text: str) -> bool:
    """Whether an answer says that the passages hold none: it begins or ends with `NO_ANSWER`, or just misspells it."""
    return bool(_REFUSAL_AT_AN_END.search(text) or _REFUSAL_ALONE.fullmatch(text))


def new_fence() -> str:
    """The mark of a request: 16 random hexadecimal digits."""
    return secrets.token_hex(_FENCE_BYTES)


def fenced(number: int, passage: Passage, locale: locales.Locale, mark: str) -> str:
    """A passage under its number, with all that is known of it between two lines that carry `mark`."""
    chunk = passage.chunk
    known = chunk.language != UNDETERMINED
    header = {
        locale.source_label: chunk.source,
        locale.title_label: chunk.title,
        locale.section_label: chunk.heading,
        locale.page_label: "" if chunk.page is None else str(chunk.page),
        locale.language_label: languages.name(chunk.language, locale.tag) if known else "",
    }
    lines = [f"{label}: {' '.join(value.split())}" for label, value in header.items() if value.strip()]
    # A file name need not be valid text, and a request must be.
    known_text = "\n".join([*lines, "", chunk.text]).encode(errors="replace").decode()
    body = _without_fences(known_text, mark)
    return f"{locale.passage_label} [{number}]\n<<<{mark}>>>\n{body}\n<<<{mark}>>>"


def _without_fences(text: str, mark: str) -> str:
    """`text` without the fence, and with no line that looks like one, whatever its mark."""
    text = re.sub(rf"<<<(\s*{re.escape(mark)}\s*)>>>", r"‹‹‹\1›››", text, flags=re.IGNORECASE)
    return _FENCE_LINE.sub(r"\1‹‹‹\2›››", text)
