"""Where a batch is cut, for what lays texts into rows as long as the longest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_MOST = 1.5
"""Places in rows for each token, beyond which a batch is cut…"""
_FREE = 2048
"""…unless there are no more places than these: another pass costs more than their padding."""


def cuts(lengths: Sequence[int]) -> Iterator[slice]:
    """Ranges of texts to be padded together, in order.

    Texts that come longest first are cut into few: what is left at the end of a batch stands beside its like.

    Args:
        lengths: tokens of each text, at least one text.
    """
    start, tokens, longest = 0, 0, 0
    for place, length in enumerate(lengths):
        tokens, longest = tokens + length, max(longest, length)
        if start < place and longest * (place + 1 - start) > max(_MOST * tokens, _FREE):
            yield slice(start, place)
            start, tokens, longest = place, length, length
    yield slice(start, len(lengths))
