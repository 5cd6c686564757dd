"""Conformal intervals: the factor that turns predicted standard deviations into intervals with a guarantee."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aiida_pace.frames import FloatArray

__all__ = ('conformal_scale', 'fewest_groups')

#: Rounding error of sums of shares.
ROUNDING = 1e-9


def conformal_scale(
    errors: FloatArray,
    sigmas: FloatArray,
    groups: npt.ArrayLike | None = None,
    *,
    coverage: float = 0.9,
    floor: float = 1e-9,
) -> float:
    """Return the factor ``q`` such that ``± q sigma`` covers the error of a new value with probability ``coverage``.

    Split conformal prediction with the score ``|error| / sigma`` (Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)).
    Of n values, ``q`` is the score of rank ``⌈(n + 1) coverage⌉`` from below, the quantile ``⌈(n + 1) coverage⌉ / n``.
    When the rank is above n, ``q`` is infinite: there are too few values, see `fewest_groups`. The probability is at
    least ``coverage`` for any n and any distribution, even with wrong standard deviations, which affect only the
    width of the intervals. The probability is an average over samples: for one sample, the share of new values in the
    intervals scatters by some ``√(coverage (1 - coverage) / n)``. New values must come from the same distribution, and
    the potential must not have been fitted to any of the values.

    Values that are correlated, such as the force components of a frame, form groups (Lee, Barber and Willett,
    arXiv:2306.06342): a value in a group of m among K weighs ``1 / (m (K + 1))``, ``1 / (K + 1)`` lies at infinity, and
    ``q`` is the smallest score up to which the weights add up to ``coverage``. The guarantee is for a random value of a
    new group; with one value in each group it is the rule above.

    :param errors: (n,) predicted less true.
    :param sigmas: (n,) predicted standard deviations, in the same unit.
    :param groups: (n,) group of each value, of any type; None: each value is its own group.
    :param coverage: between 0 and 1.
    :param floor: least standard deviation, in the same unit, used in the intervals too: where symmetry makes the error
        0, error and standard deviation are rounding errors.
    :raises ValueError: when ``coverage`` is out of range, the lengths differ, or a number is not finite.
    """
    if not 0 < coverage < 1:
        raise ValueError(f'the coverage is {coverage}: give a number between 0 and 1')
    errors, sigmas = np.asarray(errors, dtype='f8'), np.asarray(sigmas, dtype='f8')
    labels = np.arange(len(errors)) if groups is None else np.asarray(groups)
    if not len(errors) == len(sigmas) == len(labels):
        raise ValueError(f'there are {len(errors)} errors, {len(sigmas)} sigmas and {len(labels)} groups')
    if not (np.isfinite(errors).all() and np.isfinite(sigmas).all()):
        raise ValueError('an error or a sigma is not finite')
    scores = np.abs(errors) / np.maximum(sigmas, floor)
    _, members, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(scores)
    reached = np.cumsum(1 / sizes[members[order]]) / (len(sizes) + 1)
    place = int(np.searchsorted(reached, coverage - ROUNDING))
    return float(scores[order[place]]) if place < len(scores) else math.inf


def fewest_groups(coverage: float) -> int:
    """Return the number of groups from which on `conformal_scale` is finite: 9 for 0.9, 19 for 0.95."""
    return math.ceil(coverage / (1 - coverage) - ROUNDING)
