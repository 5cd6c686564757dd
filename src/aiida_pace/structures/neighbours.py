"""Distances under periodic boundary conditions, for cells of any shape and size."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from ase.geometry import complete_cell

__all__ = ('images_within', 'whole_cell', 'wrapped_vectors')

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def whole_cell(cell: FloatArray, pbc: npt.NDArray[np.bool_]) -> FloatArray:
    """Return the cell with unit vectors in place of missing ones; those may be missing that are not periodic."""
    return np.asarray(cell) if np.all(pbc) else np.asarray(complete_cell(cell))


def wrapped_vectors(
    positions: FloatArray, others: FloatArray, cell: FloatArray, pbc: npt.NDArray[np.bool_], reach: float
) -> tuple[FloatArray, FloatArray]:
    """Return vectors from each position to each of ``others`` and the shifts to add for all images within ``reach``.

    :param positions: (p, 3) in Å.
    :param others: (q, 3) in Å.
    :returns: (p, q, 3) vectors and (s, 3) shifts, of which one is zero: every image nearer than ``reach`` is a vector
        plus a shift, and so are some that are farther.
    """
    cell = whole_cell(cell, pbc)
    inverse = np.linalg.inv(cell)
    fractions = (others @ inverse)[None, :, :] - (positions @ inverse)[:, None, :]
    fractions[..., pbc] -= np.round(fractions[..., pbc])
    # The norm of a column of the inverse is one over the height of the cell; a wrapped difference is at most 1/2.
    counts = np.where(pbc, np.floor(reach * np.linalg.norm(inverse, axis=0) + 0.5), 0).astype(int)
    shifts = np.array(list(itertools.product(*(range(-count, count + 1) for count in counts))))
    return fractions @ cell, shifts @ cell


def images_within(
    positions: FloatArray, cell: FloatArray, pbc: npt.NDArray[np.bool_], reach: float
) -> tuple[IntArray, FloatArray]:
    """Return the atoms, moved into the cell, and all periodic images of them nearer than ``reach`` to the cell.

    :returns: (m,) atom that each is an image of, the ``N`` atoms themselves first, and (m, 3) positions in Å.
    """
    cell = whole_cell(cell, pbc)
    inverse = np.linalg.inv(cell)
    fractions = positions @ inverse
    fractions[:, pbc] %= 1.0
    margins = reach * np.linalg.norm(inverse, axis=0)
    owners = np.arange(len(positions))
    for axis in np.flatnonzero(pbc):
        count = int(np.ceil(margins[axis]))
        parts = [(owners, fractions)]
        for shift in (s for s in range(-count, count + 1) if s):
            moved = fractions[:, axis] + shift
            near = (moved > -margins[axis]) & (moved < 1 + margins[axis])
            image = fractions[near]
            image[:, axis] += shift
            parts.append((owners[near], image))
        owners = np.concatenate([part[0] for part in parts])
        fractions = np.concatenate([part[1] for part in parts])
    return owners, fractions @ cell
