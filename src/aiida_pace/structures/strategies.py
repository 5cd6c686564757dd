"""The choice of candidates from those that passed the guards."""

from __future__ import annotations

import typing as t

import numpy as np
import numpy.typing as npt

__all__ = ('STRATEGIES', 'Strategy', 'above_threshold', 'choose')

Strategy = t.Literal['d_optimal', 'random', 'threshold_random', 'max_grade']
STRATEGIES: tuple[Strategy, ...] = t.get_args(Strategy)


def above_threshold(
    strategy: Strategy, grades: npt.NDArray[np.float64], threshold: float
) -> npt.NDArray[np.integer[t.Any]]:
    """Return the indices of the frames that the strategy chooses from, in rising order.

    ``d_optimal`` and ``threshold_random`` choose from the frames above the threshold, or from those of the highest
    grade when none is above; ``random`` and ``max_grade`` choose from all frames.

    :param grades: (n,) the highest extrapolation grade of each frame.
    """
    if strategy in ('random', 'max_grade') or not len(grades):
        return np.arange(len(grades))
    return np.flatnonzero(grades > min(threshold, np.nextafter(grades.max(), -np.inf)))


def choose(
    strategy: Strategy, grades: npt.NDArray[np.float64], threshold: float, count: int, seed: int
) -> npt.NDArray[np.integer[t.Any]]:
    """Return the indices of the chosen frames.

    For ``d_optimal`` these are all frames above the threshold; MaxVol chooses among them later.

    :param grades: (n,) the highest extrapolation grade of each frame.
    :param threshold: grade above which frames are worth a label; see `above_threshold`.
    :param count: largest number of frames to choose.
    :param seed: of the random strategies.
    """
    pool = above_threshold(strategy, grades, threshold)
    if strategy == 'd_optimal':
        return pool
    if strategy == 'max_grade':
        return np.argsort(-grades, kind='stable')[:count]
    return np.random.default_rng(seed).permutation(pool)[:count]
