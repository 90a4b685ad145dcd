"""Commands that show where an answer comes from."""

from __future__ import annotations

from collections.abc import Sequence

from rag.chat.chat import Chat
from rag.errors import InputError
from rag.normalization import printable
from rag.rendering.passages import highlighted
from rag.rendering.records import answer_fields, to_json
from rag.rendering.text import counted, passage_text, place, sources_text
from rag.types import Answer, Chunk, Citation, Passage

_TERMS = 8  # matched terms of a passage that /why shows


def search(chat: Chat, argument: str) -> None:
    """Shows passages without an answer; /quote N then shows one in full."""
    if not argument:
        raise InputError("/search needs a question: /search how long is the warranty")
    found = chat.conversation.search(argument)
    passages = found.passages
    for passage in passages:
        chat.say(passage_text(passage))
    if not passages:
        chat.say("No passage found.")
    for remark in found.remarks:
        chat.say(f"({printable(remark)})")
    chat.number({passage.rank: [passage] for passage in passages})


def sources(chat: Chat, argument: str) -> None:
    """Where the last answer's markers point, then the passages it had but does not cite."""
    answer = chat.conversation.last
    chat.number(numbered(answer))
    if answer.citations:
        chat.say(sources_text(answer))
    cited = {citation.marker for citation in answer.citations}
    for passage in answer.passages:
        if passage.rank not in cited:
            chat.say(f"[{passage.rank}] {_place(passage)}  (not cited)")
    if not answer.passages:
        chat.say("No passage was found for it.")


def quote(chat: Chat, argument: str) -> None:
    """The original passage around a citation, the quoted words marked."""
    if not chat.numbered and chat.conversation.session.turns:
        chat.number(numbered(chat.conversation.last))
    known = ", ".join(map(str, chat.numbered))
    digits = argument.strip("[]")
    if not digits.isdecimal() or int(digits) not in chat.numbered:
        raise InputError(
            f"/quote {argument}: there is no such number; those of the last answer are {known}"
            if known
            else "there is nothing to quote yet: ask something, or /search"
        )
    for chunk, spans in _originals(chat, chat.numbered[int(digits)]):
        page = chunk.page_at(chunk.start + spans[0][0]) if spans else chunk.page
        parts = [place(chunk.source, page, chunk.language), f"#{chunk.ordinal}", chunk.heading or chunk.title]
        chat.say(" · ".join(part for part in parts if part))
        chat.show(highlighted(chunk.text, spans, chat.screen))


def why(chat: Chat, argument: str) -> None:
    """The passages of the last answer with their scores and the words they share with the question."""
    answer = chat.conversation.last
    cited = {citation.marker for citation in answer.citations}
    terms = chat.rag.matched_terms(answer.question, answer.passages)
    for passage, matched in zip(answer.passages, terms, strict=True):
        chat.say(f"[{passage.rank}] {_place(passage)}{'' if passage.rank in cited else '  (not cited)'}")
        chat.say(f"    score {passage.score:.3f}  dense {passage.dense_score:.3f}  sparse {passage.sparse_score:.3f}")
        shown = ", ".join(f"{printable(term.term)} {term.weight:.3f}" for term in matched[:_TERMS])
        chat.say(f"    matched terms: {shown or 'none'}")
    times = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in answer.timings.items())
    usage = answer.usage
    requests = counted(usage.requests, "request")
    chat.say(f"{times}; {usage.prompt_tokens} tokens in, {usage.completion_tokens} out, {requests}")


def as_json(chat: Chat, argument: str) -> None:
    """The last answer as `rag ask --json` prints it."""
    chat.show(to_json(answer_fields(chat.conversation.last)))


def numbers(chat: Chat) -> dict[str, str]:
    """What /quote can show."""
    if not chat.numbered and chat.conversation.session.turns:
        chat.number(numbered(chat.conversation.last))
    return {str(number): _place(found[0]) for number, found in chat.numbered.items()}


def numbered(answer: Answer) -> dict[int, list[Citation | Passage]]:
    """What /quote N shows after `answer`: the citations with marker N, else the passage of that rank."""
    found: dict[int, list[Citation | Passage]] = {passage.rank: [passage] for passage in answer.passages}
    for citation in answer.citations:
        found[citation.marker] = [each for each in found.get(citation.marker, []) if isinstance(each, Citation)]
        found[citation.marker].append(citation)
    return found


def _originals(chat: Chat, found: Sequence[Citation | Passage]) -> list[tuple[Chunk, list[tuple[int, int]]]]:
    """The passages that hold what was found, each once, with the spans of its text that are quoted."""
    originals: dict[str, tuple[Chunk, list[tuple[int, int]]]] = {}
    for each in found:
        if isinstance(each, Passage):
            originals.setdefault(each.chunk.id, (each.chunk, []))
            continue
        start, end = each.span
        holding = [
            passage.chunk
            for passage in chat.conversation.last.passages
            if passage.chunk.uri == each.uri and passage.chunk.start <= start and end <= passage.chunk.end
        ]
        if not holding:
            raise InputError(f"the passage of [{each.marker}] is not among those of the last answer: ask again")
        chunk = holding[0]
        _, spans = originals.setdefault(chunk.id, (chunk, []))
        spans.append((start - chunk.start, end - chunk.start))
    return list(originals.values())


def _place(found: Citation | Passage) -> str:
    chunk = found.chunk if isinstance(found, Passage) else found
    return place(chunk.source, chunk.page, chunk.language)
