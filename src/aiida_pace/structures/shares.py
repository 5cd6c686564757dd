"""Whole numbers from shares."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ('split_count',)


def split_count(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return whole numbers that add up to ``count``, in the ratio of ``shares`` as nearly as possible.

    Each number is rounded down; the rest goes to the largest remainders, and to the first of equal ones.

    :param shares: numbers, 0 or more.
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
