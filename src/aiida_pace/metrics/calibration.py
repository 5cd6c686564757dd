"""Calibration: whether a low extrapolation grade means a small error."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from aiida_pace.frames import FloatArray

__all__ = ('GRADE_EDGES', 'GradeBin', 'calibration', 'wilson_interval')

#: Edges of the bins of extrapolation grades: those at which small and large cells are collected and halted.
GRADE_EDGES = (0.0, 1.0, 2.0, 5.0, 10.0, 25.0, float('inf'))


@dataclasses.dataclass(frozen=True)
class GradeBin:
    """The share of the frames or atoms in a range of grades whose error is at or below the target.

    :param low: lowest grade of the range.
    :param high: upper end of the range, not included.
    :param count: number of frames or atoms.
    :param good: number of those with an error at or below the target.
    :param lower: lower confidence limit of the share (Wilson); 0 for an empty range.
    :param upper: upper confidence limit of the share; 1 for an empty range.
    """

    low: float
    high: float
    count: int
    good: int
    lower: float
    upper: float

    @property
    def share(self) -> float | None:
        """Share of ``good`` in ``count``; None for an empty range."""
        return self.good / self.count if self.count else None


def calibration(
    grades: FloatArray,
    errors: FloatArray,
    target: float,
    *,
    edges: Sequence[float] = GRADE_EDGES,
    confidence: float = 0.95,
) -> list[GradeBin]:
    """Return, for each range of grades, the share of small errors; ``edges=(0, 2)`` asks for the grades below 2.

    For frames, give the largest grade and the force error of each; for atoms, the grade of each and the length of the
    difference of its forces over the square root of 3, which compares with the error of components. The confidence
    limits assume independence: right for frames, too narrow for atoms, whose errors within a frame are correlated.

    :param grades: (n,)
    :param errors: (n,) in the unit of the target; NaN is left out.
    :param edges: rising; the lower edge belongs to a range, the upper edge does not.
    """
    grades, errors = np.asarray(grades, dtype='f8'), np.asarray(errors, dtype='f8')
    bins = []
    for low, high in itertools.pairwise(edges):
        held = errors[(grades >= low) & (grades < high) & ~np.isnan(errors)]
        good = int(np.sum(held <= target))
        bins.append(GradeBin(low, high, len(held), good, *wilson_interval(good, len(held), confidence)))
    return bins


def wilson_interval(good: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence limits of a share (Wilson, J. Am. Stat. Assoc. 22, 209 (1927)); (0, 1) without data."""
    if count == 0:
        return 0.0, 1.0
    z = float(norm.isf((1 - confidence) / 2))
    share, weight = good / count, 1 + z**2 / count
    center = (share + z**2 / (2 * count)) / weight
    half = z / weight * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return max(0.0, center - half), min(1.0, center + half)
