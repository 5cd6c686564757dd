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
    """How many of the frames or atoms of some range of grades have an error at or below the target.

    :param low: lowest grade of the range.
    :param high: the grade that the range ends before.
    :param count: number of frames or atoms.
    :param good: how many of them are at or below the target.
    :param lower: lower confidence limit of their share (Wilson); 0 when there are none.
    :param upper: upper confidence limit of their share; 1 when there are none.
    """

    low: float
    high: float
    count: int
    good: int
    lower: float
    upper: float

    @property
    def share(self) -> float | None:
        """Share of the good ones; None when there is nothing in the range."""
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
    difference of its forces over the square root of 3, which compares with the error of components. The limits take
    what is counted as independent: right for frames, too narrow for atoms, of which those of a frame go together.

    :param grades: (n,)
    :param errors: (n,) in the unit of the target; NaN is left out.
    :param edges: rising; a range holds its lower edge.
    """
    grades, errors = np.asarray(grades, dtype='f8'), np.asarray(errors, dtype='f8')
    bins = []
    for low, high in itertools.pairwise(edges):
        held = errors[(grades >= low) & (grades < high) & ~np.isnan(errors)]
        good = int(np.sum(held <= target))
        bins.append(GradeBin(low, high, len(held), good, *wilson_interval(good, len(held), confidence)))
    return bins


def wilson_interval(good: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence limits of a share (Wilson, J. Am. Stat. Assoc. 22, 209 (1927)); (0, 1) of nothing."""
    if count == 0:
        return 0.0, 1.0
    z = float(norm.isf((1 - confidence) / 2))
    share, weight = good / count, 1 + z**2 / count
    center = (share + z**2 / (2 * count)) / weight
    half = z / weight * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return max(0.0, center - half), min(1.0, center + half)
