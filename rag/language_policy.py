"""Which language everything that an asker reads is in: answers, refusals, messages, labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from rag.errors import InputError
from rag.language import (
    ULTIMATE_FALLBACK,
    detect,
    is_certain,
    parse_tag,
    primary,
    process_language,
    prose,
)
from rag.scripts import can_be_written_in, main_scripts, script_variant, stated_script
from rag.types import UNDETERMINED, Language

LanguageMode = Literal["match", "pin", "bilingual"]
_MODES: Final = get_args(LanguageMode)


@dataclass(frozen=True, slots=True)
class Target:
    """The language of one answer.

    Attributes:
        language: BCP-47 tag to answer in, with the script where the question shows one: `zh-Hant`, `sr-Latn`.
        second_language: BCP-47 tag of the language to say it in once more; None for one language.
        asked_in: the question's language as detected.
    """

    language: str
    second_language: str | None
    asked_in: Language


@dataclass(frozen=True, slots=True)
class LanguagePolicy:
    """How the language of an answer is decided. Never at random: equal circumstances give equal languages.

    Attributes:
        mode: `match` answers in the question's language, `pin` always in `pinned`, `bilingual` in the question's and
            then in `second`.
        pinned: BCP-47 tag for `pin`.
        second: BCP-47 tag for `bilingual`; None for the language that most documents are in.
        fallback: BCP-47 tag of the user's setting, for questions that do not tell their language.

    Raises:
        InputError: a tag is not one, the mode is unknown, or `pin` has no language.
    """

    mode: LanguageMode = "match"
    pinned: str | None = None
    second: str | None = None
    fallback: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise InputError(f"{self.mode!r} is no language mode: choose one of {', '.join(_MODES)}")
        if self.mode == "pin" and self.pinned is None:
            raise InputError("the language mode 'pin' has no language: name one, such as 'de', or choose 'match'")
        for tag in (self.pinned, self.second, self.fallback):
            if tag is not None:
                parse_tag(tag)

    def decide(
        self,
        question: str,
        *,
        requested: str | None = None,
        conversation: str | None = None,
        documents_language: str | None = None,
    ) -> Target:
        """The language to answer `question` in.

        `requested` wins in every mode. Otherwise, unless one is pinned: the question's language if its confidence is
        enough for its length; the first of `conversation`, `fallback`, the language of the process (LC_ALL, else
        LC_MESSAGES, else LANG) and English that can be written in the question's script; the detected language after
        all, as whoever writes Cyrillic reads it.

        Args:
            requested: BCP-47 tag that was asked for with this question.
            conversation: BCP-47 tag of the answer before.
            documents_language: BCP-47 tag of the language that most documents are in, for `bilingual`.

        Raises:
            InputError: one of the tags is not one.
        """
        detected = detect(question)
        if requested is not None:
            language = parse_tag(requested)
        elif self.mode == "pin" and self.pinned is not None:
            language = parse_tag(self.pinned)
        else:
            language = self._matching(question, detected, conversation)
        return Target(language, self._second(language, documents_language), detected)

    def _matching(self, question: str, detected: Language, conversation: str | None) -> str:
        named = [parse_tag(tag) for tag in (conversation, self.fallback) if tag is not None]
        others = [*named, *filter(None, [process_language()]), ULTIMATE_FALLBACK]
        if not is_certain(question, detected):
            scripts = main_scripts(prose(question))
            for tag in others:
                if not scripts or can_be_written_in(primary(tag), scripts):
                    return tag
            if detected.code == UNDETERMINED:
                return others[0]
        variant = script_variant(question, detected.code)
        if variant == detected.code:  # of a language with two scripts, the asker's own is known from elsewhere
            alike = [tag for tag in others if primary(tag) == detected.code and stated_script(tag)]
            return alike[0] if alike else variant
        return variant

    def _second(self, language: str, documents_language: str | None) -> str | None:
        """None, too, where it would be the first once more."""
        wanted = self.second or documents_language
        if self.mode != "bilingual" or wanted in (None, UNDETERMINED):
            return None
        second = parse_tag(str(wanted))
        # Two scripts of one language are two texts; two territories are not.
        scripts = {stated_script(language), stated_script(second)} - {None}
        return None if primary(second) == primary(language) and len(scripts) < 2 else second
