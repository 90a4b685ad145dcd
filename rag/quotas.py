"""How many of the results may be, or have to be, in a language; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from rag.errors import InputError
from rag.language import parse_tag, primary

EVERY_OTHER: Final = "*"
"""Stands for each language that is not named itself."""

_QUOTA: Final = regex.compile(
    r"\s*(?P<language>[^=\s]+)\s*=\s*(?P<least>\d{1,6})?(?P<range>\s*-\s*(?P<most>\d{1,6})?)?\s*"
)


@dataclass(frozen=True, slots=True)
class Share:
    """Places of a result for one language.

    Attributes:
        least: places that are kept for it, as far as it has passages.
        most: None for any number.
    """

    least: int = 0
    most: int | None = None


def parse(quotas: Sequence[str]) -> dict[str, Share]:
    """Shares by language from `de=3` (three), `de=2-4`, `de=2-` (at least two) or `de=-4` (at most four).

    The language is a BCP-47 tag, of which the language counts, as in filters; or `*` for each one that is not named.

    Raises:
        InputError: not of this form, a language that does not exist or is named twice, or more at least than at most.
    """
    shares: dict[str, Share] = {}
    for quota in quotas:
        found = _QUOTA.fullmatch(quota)
        if found is None or (found["least"] is None and found["most"] is None):
            raise InputError(f"{quota!r} is not a quota: write LANGUAGE=PLACES, such as de=3, de=2-4, de=2- or '*=-2'")
        language = EVERY_OTHER if found["language"] == EVERY_OTHER else primary(parse_tag(found["language"]))
        if language in shares:
            raise InputError(f"{quota!r}: there is a quota for {language} already; give one for each language")
        least = int(found["least"] or 0)
        most = least if found["range"] is None else int(found["most"]) if found["most"] is not None else None
        if most is not None and least > most:
            raise InputError(f"{quota!r} asks for at least {least} and at most {most}: write the smaller number first")
        shares[language] = Share(least, most)
    return shares


def apply(languages: Sequence[str], limit: int, shares: Mapping[str, Share]) -> list[int]:
    """Positions of the `limit` best of some passages within `shares`, in the order they came in.

    First each language gets the places kept for it, for its best passages; then the best of all the others follow, no
    language beyond its most. Where that leaves places over, the best that were passed over fill them: a quota changes
    which results there are and never how many. To leave a language out, filter the search.

    Args:
        languages: BCP-47 tag of each passage, best first; more than `limit`, or there is nothing to choose from.
        shares: by BCP-47 tag of the passage, or `*`.

    Raises:
        InputError: the places kept for the languages named are more than `limit`.
    """
    kept = sum(share.least for language, share in shares.items() if language != EVERY_OTHER)
    if kept > limit:
        raise InputError(
            f"the quotas keep {kept} places, but only {limit} results are asked for: ask for {kept} or more"
        )
    every_other = shares.get(EVERY_OTHER, Share())
    chosen: set[int] = set()
    taken: Counter[str] = Counter()

    def take(within: Mapping[str, int | None], free: int) -> None:
        """The best of those not chosen yet, each language up to its number."""
        for position, language in enumerate(languages):
            bound = within.get(language)
            if free > 0 and position not in chosen and (bound is None or taken[language] < bound):
                chosen.add(position)
                taken[language] += 1
                free -= 1

    present = set(languages)
    named = {language: shares[language].least for language in present & shares.keys()}
    others = dict.fromkeys(present - shares.keys(), every_other.least)
    most = {language: shares.get(language, every_other).most for language in present}
    # Places kept for a language by name come before those kept for every other one, which may be more than there are.
    take({language: named.get(language, 0) for language in present}, limit)
    take({language: others.get(language, 0) for language in present}, limit - len(chosen))
    take(most, limit - len(chosen))
    take({}, limit - len(chosen))
    return sorted(chosen)
