"""Meshes of k-points that are the same for all frames of a crystal."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from ase import Atoms

__all__ = ('steady_distance',)

FloatArray = npt.NDArray[np.float64]

#: Meshes are made denser by at most this factor along each axis.
DENSEST = 2.0


def steady_distance(crystals: Iterable[Atoms], distance: float, stretch: float) -> float:
    """Return the largest distance between k-points, at most the given one, at which strain changes no mesh.

    A mesh made from a distance has ceil(|b| / distance) points along each reciprocal vector b: the number may change
    with a small strain, and the energy jumps, by more than the strain energy of a finite difference. Differences
    between frames of one crystal need the same mesh. When there is no such distance, the result is the distance that
    changes the fewest meshes.

    :param crystals: primitive cells.
    :param distance: in 1/Å, 2π included.
    :param stretch: largest relative change of the length of a cell vector, of both signs.
    """
    lengths = np.concatenate([2 * np.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1) for atoms in crystals])
    longest, shortest = lengths / (1 - stretch), lengths / (1 + stretch)
    # The largest distance with a given number of points is the longest vector over that number.
    counts = [np.arange(np.ceil(length / distance), np.ceil(DENSEST * length / distance) + 1) for length in longest]
    fitting = np.concatenate([length / count for length, count in zip(longest, counts, strict=True)])
    # Rounded up, so that the longest vector still fits, and the result is the same on every machine.
    candidates = np.ceil(1e6 * fitting) / 1e6
    candidates = np.unique(np.append(candidates[candidates < distance], distance))[::-1]
    changes = [int(np.sum(np.ceil(longest / one) > np.ceil(shortest / one))) for one in candidates]
    return float(candidates[int(np.argmin(changes))])
