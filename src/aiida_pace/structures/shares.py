"""Whole numbers from shares."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ('split_count',)


def split_count(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return whole numbers that add up to ``count``, as near to the ratio of ``shares`` as can be.

    Each number is rounded down; what remains goes to the largest remainders, of equal ones to the first.

    :param shares: numbers from 0 up.
    :raises ValueError: when no share is above 0 and ``count`` is not 0.
    """
    total = sum(shares.values())
    if count and total <= 0:
        raise ValueError('no share is above 0')
    exact = {name: count * share / total if total else 0.0 for name, share in shares.items()}
    counts = {name: int(amount) for name, amount in exact.items()}
    largest = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in largest[: count - sum(counts.values())]:
        counts[name] += 1
    return counts
