"""How many results are in a language: what people may write, and what it does."""

from __future__ import annotations

import pytest

from rag.errors import InputError
from rag.quotas import Share, apply, parse


def chosen(languages: str, limit: int, *quotas: str) -> list[int]:
    """Ranks, from 1."""
    return [1 + position for position in apply(languages.split(), limit, parse(quotas))]


def test_exact_lower_and_upper_bounds_can_be_written() -> None:
    assert parse(["de=3", "EN = 2-4", "pt-BR=2-", "*=-1"]) == {
        "de": Share(3, 3),
        "en": Share(2, 4),
        "pt": Share(2, None),
        "*": Share(0, 1),
    }


@pytest.mark.parametrize(
    "quota", ["de", "de=", "de=-", "=3", "de=three", "de=3=4", "de=4-2", "xx-yy-zz=1", "de=1e3", "", "de=-1-2"]
)
def test_what_is_no_quota_is_refused_in_one_line_that_names_it(quota: str) -> None:
    with pytest.raises(InputError) as refused:
        parse([quota])
    assert "\n" not in str(refused.value)
    assert repr(quota) in str(refused.value) or repr(quota.partition("=")[0]) in str(refused.value)


def test_a_language_with_two_quotas_is_refused() -> None:
    with pytest.raises(InputError, match="already"):
        parse(["de=3", "DE=2"])


def test_more_kept_places_than_results_are_refused() -> None:
    with pytest.raises(InputError, match="keep 4 places, but only 3"):
        apply(["de", "de", "en", "en"], 3, parse(["de=2", "en=2-"]))


def test_kept_places_go_to_the_best_of_a_language_and_displace_the_last() -> None:
    assert chosen("en en en en de fr de", 4, "de=2-") == [1, 2, 5, 7]
    assert chosen("en en en en de fr de", 4, "de=1-", "fr=1-") == [1, 2, 5, 6]


def test_a_language_that_has_fewer_leaves_its_places_to_others() -> None:
    assert chosen("en en en de", 3, "de=2", "ja=1") == [1, 2, 4]


def test_no_language_gets_more_than_its_most_while_others_have_passages() -> None:
    assert chosen("en en en en de fr de", 4, "en=-2") == [1, 2, 5, 6]
    assert chosen("en en en en de fr de", 3, "*=-1") == [1, 5, 6]
    assert chosen("en en en de de de", 4, "*=-1", "de=-2") == [1, 2, 4, 5], "the places left over go by rank"


def test_a_quota_never_costs_results() -> None:
    assert chosen("de de de de", 3, "de=1") == [1, 2, 3]
    assert chosen("de de de de", 3, "de=0") == [1, 2, 3]
    assert chosen("de de en", 10, "de=1", "*=-0") == [1, 2, 3]


def test_every_other_language_can_have_its_place_as_far_as_there_is_room() -> None:
    assert chosen("en en en en de fr ja", 4, "*=1-") == [1, 5, 6, 7]
    assert chosen("en en en en de fr ja", 2, "*=1-") == [1, 5]
    assert chosen("en en en en de fr ja", 3, "*=1-", "ja=1") == [1, 5, 7]


def test_without_quotas_the_best_stay() -> None:
    assert chosen("en de en", 2) == [1, 2]
    assert chosen("", 5, "de=2") == []
