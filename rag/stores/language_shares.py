"""Which languages of an index get candidates of their own, whatever is nearer to a question in others."""

from __future__ import annotations

from collections.abc import Mapping

from rag.stores.schema import LANGUAGE, Selection

MOST_LANGUAGES = 32
"""Each costs a search of its own; those with fewer passages share one."""

Share = tuple[Selection, int]
"""Passages, and how many of the nearest of them are candidates."""


def shares(counts: Mapping[str, int], selected: Selection, depth: int, *, complete: bool) -> list[Share]:
    """One for each of the languages with most passages, and one for all others; none where one language has all.

    Args:
        counts: language → passages.
        selected: what a search asks for; where it asks for languages, these alone have shares.
        depth: candidates of a language.
        complete: whether `counts` holds all languages; else there may be others.
    """
    wanted, unwanted = selected.where.get(LANGUAGE), selected.but_not.get(LANGUAGE, [])
    complete = complete or wanted is not None
    known = {
        language: count
        for language, count in counts.items()
        if (wanted is None or language in wanted) and language not in unwanted
    }
    if len(known) < 2 and complete:
        return []
    frequent = list(most_first(known))[:MOST_LANGUAGES]
    found = [(Selection({**selected.where, LANGUAGE: [language]}, selected.but_not), depth) for language in frequent]
    rare = len(known) - len(frequent)
    if rare or not complete:
        others = [*frequent, *map(str, unwanted)]
        rest = Selection(selected.where, {LANGUAGE: others} if others else {})
        # As many as they would have by themselves, though not as many of each: the nearest of all rare languages.
        found.append((rest, depth * max(1, min(rare, MOST_LANGUAGES))))
    return found


def most_first(counts: Mapping[str, int]) -> dict[str, int]:
    """The same, the language with the most passages first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
