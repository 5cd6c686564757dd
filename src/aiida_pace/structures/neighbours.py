"""Distances under periodic boundary conditions, for cells of any shape and size."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from aiida_pace.structures.cells import reduced_cell, whole_cell

__all__ = ('images_within', 'wrapped_vectors')

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


#: With more images than this, the cell is reduced first.
MANY_IMAGES = 343

#: Farthest image that is considered, in cells: in a thinner reduced cell the nearest images are far too close anyway.
FARTHEST_IMAGE = 20


def wrapped_vectors(
    positions: FloatArray, others: FloatArray, cell: FloatArray, pbc: npt.NDArray[np.bool_], reach: float
) -> tuple[FloatArray, FloatArray]:
    """Return vectors from each position to each of ``others``, and the shifts that give all images within ``reach``.

    :param positions: (p, 3) in Å.
    :param others: (q, 3) in Å.
    :returns: (p, q, 3) vectors and (s, 3) shifts, of which one is zero: every image nearer than ``reach`` is a vector
        plus a shift; some of these sums are farther.
    """
    cell = whole_cell(cell, pbc)
    inverse = np.linalg.inv(cell)
    counts = _image_counts(inverse, pbc, reach)
    if np.prod(2 * counts + 1) > MANY_IMAGES:
        cell = reduced_cell(cell, pbc)
        inverse = np.linalg.inv(cell)
        counts = _image_counts(inverse, pbc, reach)
    fractions = (others @ inverse)[None, :, :] - (positions @ inverse)[:, None, :]
    fractions[..., pbc] -= np.round(fractions[..., pbc])
    shifts = np.array(list(itertools.product(*(range(-count, count + 1) for count in counts))))
    return (fractions.reshape(-1, 3) @ cell).reshape(fractions.shape), shifts @ cell


def _image_counts(inverse: npt.NDArray[np.floating], pbc: npt.NDArray[np.bool_], reach: float) -> IntArray:
    """Return the number of cells, in each direction, within which images of wrapped differences may be in ``reach``."""
    # The norm of a column of the inverse is 1 / height of the cell; a wrapped difference is at most 1/2.
    counts = np.where(pbc, np.floor(reach * np.linalg.norm(inverse, axis=0) + 0.5), 0)
    return np.minimum(counts, FARTHEST_IMAGE).astype('i8')


def images_within(
    positions: FloatArray, cell: FloatArray, pbc: npt.NDArray[np.bool_], reach: float
) -> tuple[IntArray, FloatArray]:
    """Return the atoms, moved into one reduced cell, and their periodic images nearer than ``reach`` to that cell.

    :returns: (m,) index of the atom of each image, the ``N`` atoms themselves first, and (m, 3) positions in Å.
    """
    cell = reduced_cell(whole_cell(cell, pbc), pbc)
    inverse = np.linalg.inv(cell)
    fractions = positions @ inverse
    fractions[:, pbc] %= 1.0
    margins = reach * np.linalg.norm(inverse, axis=0)
    owners = np.arange(len(positions))
    for axis in np.flatnonzero(pbc):
        count = min(int(np.ceil(margins[axis])), FARTHEST_IMAGE)
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
