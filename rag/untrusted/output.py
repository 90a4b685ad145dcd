r"""An answer's text without anything that a screen would follow or fetch, while it is streamed. Pure.

The rules, whatever Markdown, HTML or terminal shows the text:
- An address (`scheme://…`, `www.…`, `host.name/…`, `javascript:…`, `data:…`, `mailto:…`, also within `<…>`) is shown in
  code marks, up to its query or fragment; of `javascript:` and `data:` no more than that.
- A link or image keeps its words and loses its form: `[words](address)` becomes "[words] (`address`)". Right after a
  marker the address goes: `[1](address)` is `[1]`. A definition, `[name]: address`, gets a space before the colon.
- What would begin an HTML tag, `<` before a letter, `/`, `!` or `?`, becomes `⟨`.
- An entity, `&#58;`, is shown as it is written, with `＆`; after a backslash, `:`, `/` and `.` get a space before them.
- Code stays as it is: between backticks on one line, and between fences that begin their lines without indentation. A
  backtick that closes nothing becomes `ˋ`: it could otherwise pair with one of ours. After an indented fence nobody
  can say without a whole parser what is code: from there on nothing is exempt, and addresses are broken by spaces
  instead of being marked as code.
Markers `[n]` stay as they are.
"""

from __future__ import annotations

from typing import Final

import regex

from rag.untrusted.code import LONGEST_SPAN, LOOK_ALIKE

_LONGEST_ADDRESS: Final = 2000

_ADDRESS: Final = regex.compile(
    rf"""
    (?:
        [A-Za-z0-9][A-Za-z0-9+.-]{{0,30}}://
      | www\.
      | (?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}[A-Za-z]{{2,24}}(?::[0-9]{{1,5}})?/
      | (?:javascript|vbscript|mailto|blob):(?=[!-~])
      | data:(?=[A-Za-z]+/|[;,])
    )
    [!-~--[<>`\[\]"\\]]{{0,{_LONGEST_ADDRESS}}}
    """,
    regex.VERBOSE | regex.IGNORECASE | regex.V1,
)
_AFTER_MARKER: Final = regex.compile(
    r"\([ \t]?<?(?:[A-Za-z][A-Za-z0-9+.-]{0,30}:(?=[^\s)])|www\.|[A-Za-z0-9.-]{1,253}\.[A-Za-z]{2,24}/|[/#?.\\])"
    r"[^\n)]{0,600}\)"
)
_ENTITY: Final = regex.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SIMPLE_TAG: Final = regex.compile(r"</?[A-Za-z][A-Za-z0-9]{0,15} ?/?>")
_MARKER_AT_END: Final = regex.compile(r"\[\p{Nd}{1,3}\]\Z")
_FENCE_MAY_FOLLOW: Final = regex.compile(r"[\s>*+\-\d.)]*\Z")
_ENDING: Final = ".,;:!?'*_~"
_NO_MORE_THAN_THE_SCHEME: Final = ("javascript:", "vbscript:", "data:", "blob:")


class OutputFilter:
    """Takes the life out of links, images, tags and addresses; see the rules above.

    The output does not depend on how the text is cut into deltas. Held back is at most an address that may go on, a
    parenthesis after a marker, or a line's end with a backtick in it.
    """

    def __init__(self) -> None:
        self._held = ""
        self._before = ""  # the code point before the held ones, as it came
        self._line = ""  # what was shown of the line, its first and last part
        self._sure = True  # whether what is code is known
        self._fence: str | None = None  # the run of backticks or tildes of the code block that is open
        self._shown: list[str] = []

    def feed(self, delta: str) -> str:
        """What of the text so far can be shown now."""
        return self._drain(delta, last=False)

    def finish(self) -> str:
        """What was still held back; the text has ended."""
        return self._drain("", last=True)

    def _drain(self, delta: str, *, last: bool) -> str:
        text = self._held + delta
        position = 0
        while position < len(text):
            length = self._step(text, position, last=last)
            if length == 0:
                break
            self._before = text[position + length - 1]
            position += length
        self._held = text[position:]
        shown, self._shown = "".join(self._shown), []
        return shown

    def _step(self, text: str, at: int, *, last: bool) -> int:
        """Shows what begins at `at`; how many code points that was, 0 where more must come first."""
        if self._fence is not None:
            return self._in_block(text, at, last=last)
        character = text[at]
        if character in "`~":
            return self._run(text, at, last=last)
        if character == "<":
            return self._angle(text, at, last=last)
        if character == "&" and (entity := _ENTITY.match(text, at, partial=not last)) is not None:
            if entity.partial:
                return 0
            self._show("＆")
            return 1
        if character == "(" and _MARKER_AT_END.search(self._line):
            found = _AFTER_MARKER.match(text, at, partial=not last)
            if found is not None:
                return 0 if found.partial else len(found.group())
        if character.isascii() and character.isalnum() and not (self._before.isascii() and self._before.isalnum()):
            found = _ADDRESS.match(text, at, partial=not last)
            if found is not None:
                return 0 if found.partial or (found.end() == len(text) and not last) else self._address(found.group())
        self._show(character)
        return 1

    def _angle(self, text: str, at: int, *, last: bool) -> int:
        following = text[at + 1 : at + 2]
        if not following and not last:
            return 0
        tag = _SIMPLE_TAG.match(text, at, partial=not last)
        if tag is not None:
            if tag.partial:
                return 0
            self._show(f"⟨{tag.group()[1:-1]}⟩")
            return len(tag.group())
        # Shown together with what follows: nothing that is left out later can come to stand right behind it.
        self._show("<" if not following or following.isspace() or following in "0123456789=" else "⟨")
        return 1

    def _address(self, found: str) -> int:
        address = found.rstrip(_ENDING)
        while address.endswith(")") and address.count(")") > address.count("("):
            address = address[:-1].rstrip(_ENDING)
        address = address or found
        inert = regex.split(r"[?#]", address, maxsplit=1)[0]
        for scheme in _NO_MORE_THAN_THE_SCHEME:
            if inert.lower().startswith(scheme):
                inert = scheme
        if self._sure:
            self._show_code(f"`{inert}`")
        else:
            self._show(inert.replace(".", ". "))
        return len(address)

    def _run(self, text: str, at: int, *, last: bool) -> int:
        """A run of backticks or tildes: a code block's fence, code on one line, or nothing."""
        sign = text[at]
        ahead = text[at : at + LONGEST_SPAN]
        run = len(ahead) - len(ahead.lstrip(sign))
        if run == len(text) - at and run < LONGEST_SPAN and not last:
            return 0
        if run >= 3 and self._sure and _FENCE_MAY_FOLLOW.match(self._line):
            if self._line:
                self._sure = False
            elif (length := self._opened(text, at, run, last=last)) is not None:
                return length
        if sign == "~" or not self._sure:
            self._show(text[at : at + run])
            return run
        return self._span(text, at, run, last=last)

    def _opened(self, text: str, at: int, run: int, *, last: bool) -> int | None:
        """Opens the code block whose fence may begin at `at`; None where none does (CommonMark 4.5)."""
        end = regex.compile(r"[\r\n]").search(text, at)
        if end is None and not last and len(text) - at < LONGEST_SPAN:
            return 0
        stop = end.start() if end is not None else len(text)
        if stop - at >= LONGEST_SPAN or (text[at] == "`" and "`" in text[at + run : stop]):
            return None
        self._fence = text[at] * run
        self._keep(text[at:stop])
        return stop - at

    def _in_block(self, text: str, at: int, *, last: bool) -> int:
        """A line end, or what is there of a line of a code block; the block ends with the line that closes it."""
        fence = str(self._fence)
        if text[at] in "\r\n":
            self._keep(text[at])
            return 1
        end = regex.compile(r"[\r\n]").search(text, at)
        stop = end.start() if end is not None else len(text)
        closing = rf" {{0,3}}{regex.escape(fence[0])}{{{len(fence)},}}[ \t]*"
        if not self._line:
            found = regex.fullmatch(closing, text[at:stop][: LONGEST_SPAN * 10], partial=end is None and not last)
            if found is not None and end is None and not last:
                return 0
            if found is not None:
                self._fence = None
        self._keep(text[at:stop])
        return stop - at

    def _span(self, text: str, at: int, run: int, *, last: bool) -> int:
        """Code on one line where a run as long closes it (CommonMark 6.1), else look-alikes of backticks."""
        line = regex.split(r"[\r\n]", text[at : at + LONGEST_SPAN], maxsplit=1)[0]
        closed = regex.compile(rf"(?<!`)`{{{run}}}(?!`)").search(line, run)
        # A run that ends what has come may still grow.
        undecided = len(line) == len(text) - at and len(line) < LONGEST_SPAN and not last
        if undecided and (closed is None or closed.end() == len(line)):
            return 0
        if closed is None or self._before == "\\" or (closed.end() == len(line) == LONGEST_SPAN):
            self._show(LOOK_ALIKE * run)
            return run
        self._show_code(line[: closed.end()])
        return int(closed.end())

    def _show(self, text: str) -> None:
        """Shows text that is no code, so that with what was shown before it makes no link."""
        for character in text:
            parts = character in ":(" and self._line.endswith("]")
            if character == ":" and _MARKER_AT_END.search(self._line):
                # Within a line a colon after a marker is a colon; at its beginning it would define a link.
                parts = not any(each.isalpha() for each in self._line)
            parts = parts or (character == "/" and self._line.endswith(":/"))
            parts = parts or (character in ":/." and self._line.endswith("\\"))
            self._keep(f" {character}" if parts else character)

    def _show_code(self, text: str) -> None:
        # A backslash would take the meaning of our first backtick, and a backtick would make one longer run with it.
        if self._line.endswith(("`", "\\")) and text.startswith("`"):
            self._keep(" ")
        self._keep(text)

    def _keep(self, text: str) -> None:
        self._shown.append(text)
        kept = regex.split(r"[\r\n]", self._line + text)[-1]
        self._line = kept if len(kept) <= 80 else kept[:40] + kept[-40:]
