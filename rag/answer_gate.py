"""The gate in the stream: of an answer only sentences get out whose language is known to be right. Pure.

Text comes in as deltas of any size and goes out unchanged, a whole sentence or line later. Each sentence is judged
alone where it is long enough, else together with those before it that were too short; what seems wrong without being
certain is judged together with all that seemed so. So an answer that changes its language half way is stopped there,
and a title or a name in a right one stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import regex

from rag import quotations
from rag.answer_language import Judgement, examine
from rag.segmentation import sentences

ENOUGH_TO_STOP: Final = ((1.0, 0.9), (2.0, 0.7))
"""Letters, as shares of the 20 that a verdict takes, and the confidence with which they stop an answer.

Tuned on one half of the answers of benchmarks/language_gate.py.
"""

_LETTERS_OF_A_WINDOW: Final = 5.0
"""Letters, as shares of 20, of stretches without a verdict after which a new window begins."""
_LONGEST: Final = 600
"""Characters without an end after which a space is one, and twice as many any character."""
_ENOUGH_WITHOUT_MARKS: Final = 20
"""Letters of a stretch that a space ends in Thai and Lao, which set no marks between sentences."""

_CLOSING: Final = r"[\p{Pe}\p{Pf}\"'»«“*_`]"
_MARKER: Final = r"\[\p{Nd}{1,3}\]"
_FULL_STOP: Final = regex.compile(rf"[.．]{_CLOSING}*(?:\s*{_MARKER})*\s+\Z")
# After 。” without a space mostly comes who says so, in the same sentence.
_CERTAIN: Final = regex.compile(
    rf"(?:[。！？｡](?:{_CLOSING}*(?:\s*{_MARKER})+\s*|{_CLOSING}*\s+|)"
    rf"|(?:[!?…؟।॥۔։።፧፨។៕။།‼⁇⁈⁉]|\p{{Armenian}}:){_CLOSING}*(?:\s*{_MARKER})*\s+)\Z"
)
_UNMARKED: Final = regex.compile(rf"[\p{{Thai}}\p{{Lao}}]\p{{M}}*(?:\s*{_MARKER})*\s+\Z")
_NO_BEGINNING: Final = regex.compile(r"[\s\[.．。！？｡!?…,;:،؛、，；：]")
_STILL_CLOSING: Final = regex.compile(_CLOSING)
_LETTER: Final = regex.compile(r"\p{L}")
_MARKERS: Final = regex.compile(rf"\s*{_MARKER}")
# However far it is indented, and as the first of a list item too; with what may follow the marks.
_FENCE: Final = regex.compile(
    r"[ \t>]*+(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]++)?"
    r"(?:(?P<marks>`{3,}+)(?P<after>[^`\n]*+)|(?P<marks>~{3,}+)(?P<after>[^\n]*+))\n?"
)
_WHOLE_LINE: Final = regex.compile(r"[ \t]{0,3}(?:\#{1,6}[ \t]|[|>]|`{3}|~{3})")
# Models write the line of dashes as any rule that Markdown or a typesetter has.
_SEPARATOR: Final = regex.compile(r"\s*(?P<bold>\*\*|__)?(?P<mark>[-*_–—―─])(?:[ \t]*+(?P=mark)){2,}+(?P=bold)?\s*")
_LINE: Final = regex.compile(r"[^\n]*\n|[^\n]+")

_Kind = Literal["words", "code", "separator"]


def halves(text: str) -> tuple[str, str]:
    """What stands before the line that separates two languages, and after it; all of it and "" where there is none."""
    fence = ""
    for line in _LINE.finditer(text):
        if not fence and _SEPARATOR.fullmatch(line.group()):
            return text[: line.start()], text[line.end() :]
        fence = _fence_after(line.group(), fence)
    return text, ""


class AnswerGate:
    """Lets out what is in the right language, and says when the answer is not.

    The output does not depend on how the text is cut into deltas. No more than one sentence is held before the first
    text is let out: a first sentence that does not tell goes out when it is whole.

    Attributes:
        wrong: whether a stretch was certainly in a wrong language, or the second language was missing at the end.
    """

    def __init__(self, expected: str, *, second_language: str | None = None, deliver: bool = False) -> None:
        """A gate for one answer.

        Args:
            expected: BCP-47 tag of the language it must be in.
            second_language: BCP-47 tag of what must follow after a line of three dashes, or another such rule.
            deliver: whether wrong text is let out all the same, as when there is no further attempt.
        """
        self.wrong = False
        self._expected = expected
        self._second_language = second_language
        self._deliver = deliver
        self._cutter = _Cutter(expected)
        self._held = self._all = self._undecided = self._doubtful = ""
        self._released = self._right = self._doubted = self._unsure = self._waiting = False
        self._has_words = self._lacks_second = False
        self._early = 0  # characters of the sentence at hand that are out already

    @property
    def language_ok(self) -> bool | None:
        """Whether all of it was in the right language so far; None when that cannot be said."""
        if self.wrong:
            return False
        return True if self._right and not self._doubted and not self._unsure and not self._lacks_second else None

    def feed(self, delta: str) -> str:
        """What of the text so far can be shown now; nothing any more once it is wrong, unless that is delivered."""
        return "".join(self._step(character) for character in delta)

    def finish(self, *, complete: bool = True) -> str:
        """What was still held back; the text has ended.

        Args:
            complete: whether it came to its own end. One that was cut off is not wrong for having no second language.
        """
        for text, kind in self._cutter.finish():
            self._hold(text)
            if not self.wrong and kind == "words":
                self._tells(text)
        # What no sentence settled for certain, all of them together may.
        if not self.wrong and not self._right:
            self.wrong = self._judge(self._all).ok is False
        if self._second_language is not None:
            self._lacks_second = self._has_words
        elif self._lacks_second:  # so far: it began when the separator came
            self._lacks_second = not self._has_words
        self.wrong |= self._lacks_second and complete
        return self._release()

    def _step(self, character: str) -> str:
        shown = "".join(self._pass(text, kind) for text, kind in self._cutter.feed(character))
        return shown + self._quoted()

    def _quoted(self) -> str:
        """Of a first sentence that goes on within a quotation, what has come: nobody is to wait for the end of that.

        It is judged with the rest, when that has come.
        """
        text = self._cutter.quoting
        if self._released or self.wrong or not text or _stops(self._judge(text)):
            return ""
        self._early = len(text)
        self._released = True
        shown, self._held = self._held + text, ""
        return shown

    def _pass(self, text: str, kind: _Kind) -> str:
        self._hold(text)
        if self._second_language is not None and kind == "separator":
            self._turn(self._second_language)
            return self._release()
        told = self.wrong or self._tells(text if kind == "words" else "")
        return self._release() if told or not self._released else ""

    def _hold(self, text: str) -> None:
        self._held += text[self._early :]
        self._early = 0

    def _turn(self, language: str) -> None:
        """What follows is in the second language."""
        self._lacks_second, self._has_words = self._has_words, False
        self._expected, self._second_language = language, None
        self._cutter.language = language
        self._all = self._undecided = self._doubtful = ""

    def _tells(self, text: str) -> bool:
        """Whether enough is known of the language up to the end of `text` to let go of what is held."""
        alone = self._judge(text) if _LETTER.search(text) else None
        self._has_words |= alone is not None
        if alone is None or alone.letters == 0:  # quotations, names, numbers: nothing that could be wrong
            return not self._waiting or len(self._held) >= _LONGEST
        self._all += text
        if alone.ok is False:
            self._doubted = True
            self._doubtful = (self._doubtful if len(self._doubtful) < _LONGEST else "") + text
            self.wrong = _stops(alone) or _stops(self._judge(self._doubtful))
            self._waiting = not self.wrong
        else:
            self._undecided += text
            joined = alone if alone.ok else self._judge(self._undecided)
            self.wrong = _stops(joined)
            self._right |= joined.ok is True
            # Enough letters without a verdict are mostly those of close kin, of which more text tells no more.
            self._unsure = joined.ok is None and (joined.letters >= 1 or (self._unsure and joined.letters > 0))
            self._waiting = not self.wrong and joined.ok is not True and 0 < joined.letters < 1
            if joined.ok or joined.letters >= _LETTERS_OF_A_WINDOW:
                self._undecided = ""
        return not self._waiting or len(self._held) >= _LONGEST

    def _judge(self, text: str) -> Judgement:
        return examine(text, self._expected)

    def _release(self) -> str:
        held, self._held = self._held, ""
        if self.wrong and not self._deliver:
            return ""
        self._released |= bool(held.strip())
        return held


def _stops(found: Judgement) -> bool:
    """Whether a stretch that seems wrong is so for certain."""
    enough = (found.letters >= letters and found.confidence >= confidence for letters, confidence in ENOUGH_TO_STOP)
    return found.ok is False and any(enough)


class _Cutter:
    """Cuts a stream into sentences and lines, each with the white space after it, and tells what kind they are.

    Whether a sentence ends is decided with the first character of the next, from what came before alone.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._text = ""
        self._in_quotation = False
        self._begins_line = True
        self._fence = ""

    def feed(self, delta: str) -> Iterator[tuple[str, _Kind]]:
        for character in delta:
            if self._ends_before(character):
                yield self._cut()
            self._text += character
            if character == "\n":
                yield self._cut()

    @property
    def quoting(self) -> str:
        """What has come of a sentence that would have ended already, were it not within a quotation; else nothing."""
        return self._text if self._in_quotation else ""

    def finish(self) -> Iterator[tuple[str, _Kind]]:
        if self._text:
            yield self._cut()

    def _cut(self) -> tuple[str, _Kind]:
        text, self._text, self._in_quotation = self._text, "", False
        kind: _Kind = "words"
        before = self._fence
        if self._begins_line:
            self._fence = _fence_after(text, before)
            kind = "separator" if _SEPARATOR.fullmatch(text) else "words"
        self._begins_line = text.endswith("\n")
        return text, "code" if before or self._fence else kind

    def _ends_before(self, character: str) -> bool:
        text = self._text
        if len(text) < _LONGEST:
            if not text or self._fence or _NO_BEGINNING.match(character):
                return False
            if not text[-1].isspace() and _STILL_CLOSING.match(character):
                return False
            if self._begins_line and _WHOLE_LINE.match(text):
                return False
            if not self._is_sentence(text, character):
                return False
            self._in_quotation |= quotations.ends_in_quotation(text)
            return not quotations.ends_in_quotation(text)
        if len(text) >= 2 * _LONGEST:
            return True
        ends = text[-1].isspace() or self._is_sentence(text, character)
        return ends and not quotations.ends_in_quotation(text)

    def _is_sentence(self, text: str, following: str) -> bool:
        if _CERTAIN.search(text):
            return not following.islower()
        if _UNMARKED.search(text):
            return len(_LETTER.findall(text)) >= _ENOUGH_WITHOUT_MARKS
        if not _FULL_STOP.search(text) or not _LETTER.search(text):
            return False
        before = _MARKERS.sub("", text).rstrip() + " "
        begun = before + (following if following.isalnum() else "A")  # what a quotation mark or a bracket opens with
        return len(sentences(begun, self.language)) > len(sentences(before, self.language))


def _fence_after(line: str, fence: str) -> str:
    """The marks of the code block that is open after `line`, of which `fence` was open before it; "" for none."""
    found = _FENCE.fullmatch(line)
    if found is None:
        return fence
    marks = str(found["marks"])
    if not fence:
        return marks
    closes = marks.startswith(fence) and not found["after"].strip()
    return "" if closes else fence
