"""Answers as JSON, turned back while they come into the text that the same model would write without. Pure.

    {"claims": [{"text": "Der Rhein fließt.", "citations": [{"passage": 2, "quote": "The Rhine flows"}]}],
     "no_answer": false}

becomes `Der Rhein fließt. [2: "The Rhine flows"]`. Claims are joined by a space, or by the line breaks that stand at
the end of one or at the beginning of the next. What is no such JSON, because the endpoint or the model leaves the
schema aside, goes through as it is.
"""

from __future__ import annotations

from typing import Any, Final

import regex

from rag.chat_models.json_stream import JSONStream, Piece
from rag.prompt import NO_ANSWER

_LONGEST_QUOTE: Final = 500
"""Code points of a quote; the first words of a longer one are verbatim, too, and in text it might be taken for none."""

_BEGINNING: Final = regex.compile(r'\s*(?:```(?:json)?\s*)?(?=\{\s*"(?:claims|no_answer)"\s*:)', regex.IGNORECASE)
# As high as markers count; whatever else stands there, such as a year, is no passage.
_NUMBER: Final = regex.compile(r"\s*0*([1-9][0-9]{0,2})\s*")
_GAPS: Final = " \t\r"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    # Strict schemas, OpenAI's, ask for every property and allow no other.
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _array(items: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "array", "items": items, "description": description}


_CITATION: Final = _object(
    {
        "passage": {"type": "integer", "description": "Number of a passage that says so."},
        "quote": {"type": "string", "description": "Words of that passage, verbatim, in its own language."},
    }
)
_CLAIM: Final = _object(
    {
        "text": {
            "type": "string",
            "description": "A sentence of the answer, without marks of citation; ends with a line break where a "
            "paragraph ends.",
        },
        "citations": _array(_CITATION, "Where the sentence comes from."),
    }
)
RESPONSE_FORMAT: Final[dict[str, Any]] = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": _object(
            {
                "claims": _array(_CLAIM, "The answer, sentence by sentence."),
                "no_answer": {
                    "type": "boolean",
                    "description": "True, with no claims, where the passages do not hold the answer.",
                },
            }
        ),
    },
}
"""The value of `response_format` that asks for such an answer."""


_WITHIN_A_MARKER: Final = str.maketrans('"[]［］【】', "”⟦⟧⟦⟧⟦⟧")


class StructuredOutputFilter:
    """Turns such JSON into text while it is streamed.

    The text of a claim goes on as it comes; its citations follow once it is complete. The output does not depend on how
    the JSON is cut into deltas. JSON that breaks off keeps all that was complete, and the text of its last claim as far
    as that came.
    """

    def __init__(self) -> None:
        self._held = ""
        self._json: JSONStream | None = None
        self._plain = False
        self._no_answer = False
        self._wrote = False
        # Of the claim that is coming: whether its text has begun, and is complete; what it cites; the citation that is
        # coming.
        self._begun = self._said = False
        self._citations: list[str] = []
        self._citation: dict[str, object] = {}
        self._space = ""

    @property
    def whole(self) -> bool:
        """Whether all of the answer has come, as far as its form tells; known after `finish`."""
        return self._json is None or self._json.whole

    def feed(self, delta: str) -> str:
        """What of the answer's text can be shown now."""
        if self._plain:
            return delta
        if self._json is None:
            self._held += delta
            found = _BEGINNING.match(self._held, partial=True)
            if found is not None and found.partial:
                return ""
            if found is None:
                return self._let_through()
            self._json = JSONStream()
            delta = self._held[found.end() :]
        return "".join(self._text_of(piece) for piece in self._json.feed(delta))

    def finish(self) -> str:
        """What was still held back; the answer has ended."""
        if self._json is None:
            return self._let_through()
        rest = "".join(self._text_of(piece) for piece in self._json.finish())
        return rest if self._json.done else rest + self._end_claim() + self._end_answer()

    def _let_through(self) -> str:
        self._plain = True
        text, self._held = self._held, ""
        return text

    def _text_of(self, piece: Piece) -> str:
        match piece.kind, piece.path:
            case "text", ("claims", "text"):
                return self._write(str(piece.value))
            case "value", ("claims", "text"):
                self._said = self._begun
            case "value", ("claims", "citations", ("passage" | "quote") as key):
                self._citation[key] = piece.value
            case "close", ("claims", "citations"):
                self._end_citation()
            case "close", ("claims",):
                return self._end_claim()
            case "value", ("no_answer",):
                self._no_answer = piece.value is True
            case "close", ():
                return self._end_answer()
        return ""

    def _write(self, text: str) -> str:
        """`text` of a claim, without the white space at its end, which comes after the citations."""
        text = self._space + text
        shown = text.rstrip()
        self._space = text[len(shown) :]
        if shown and not self._begun:
            shown = self._before_claim(shown)
            self._begun = self._wrote = True
        return shown

    def _before_claim(self, text: str) -> str:
        """The beginning of a claim behind what stands between it and the last one."""
        bare = text.lstrip()
        if not self._wrote:
            return bare
        between = text[: len(text) - len(bare)].strip(_GAPS)
        return (between or " ") + bare

    def _end_citation(self) -> None:
        if not self._citation:
            return  # the array closes, not one of its objects
        passage, quote = self._citation.get("passage"), self._citation.get("quote")
        self._citation = {}
        found = _NUMBER.fullmatch(str(passage))
        if found is None:
            return
        words = _in_one_line(quote) if isinstance(quote, str) else ""
        self._citations.append(f'[{found[1]}: "{words}"]' if words else f"[{found[1]}]")

    def _end_claim(self) -> str:
        citations, self._citations = "".join(self._citations), []
        said, self._begun, self._said = self._said, False, False
        return f" {citations}" if said and citations else ""

    def _end_answer(self) -> str:
        if not self._no_answer:
            return ""
        return f" {NO_ANSWER}" if self._wrote else NO_ANSWER


def _in_one_line(quote: str) -> str:
    """`quote` as it can stand in a marker without closing it.

    Spacing and the shape of marks and brackets count for nothing where it is looked up (`rag.verbatim`).
    """
    words = " ".join(quote.translate(_WITHIN_A_MARKER).split())
    if len(words) <= _LONGEST_QUOTE:
        return words
    return words[:_LONGEST_QUOTE].rpartition(" ")[0] or words[:_LONGEST_QUOTE]
