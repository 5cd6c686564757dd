"""Cells: short vectors of the same lattice, and a box for atoms that have no cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.geometry import complete_cell, minkowski_reduce

__all__ = ('boxed', 'reduced', 'reduced_cell', 'vacuum_cell', 'whole_cell')

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: A cell is replaced when its mesh of k-points has more than this many times the points of the reduced cell's mesh. For
#: a cubic or hexagonal crystal, which has several reduced cells, a strain of 5 % makes the ratio 1.16 at most: all
#: strained frames keep the same kind of cell and the same mesh.
SKEWED = 2.0


def whole_cell(cell: npt.ArrayLike, pbc: BoolArray) -> FloatArray:
    """Return the cell with normal vectors of unit length for the directions that are not periodic.

    :param cell: (3, 3) vectors as rows, in Å.
    :param pbc: (3,) periodic directions.
    """
    vectors = np.asarray(cell, dtype='f8')
    return vectors if np.all(pbc) else np.asarray(complete_cell(np.where(np.reshape(pbc, (3, 1)), vectors, 0.0)))


def vacuum_cell(positions: FloatArray, cell: npt.ArrayLike, pbc: BoolArray, vacuum: float) -> FloatArray:
    """Return the cell with normal vectors, long enough for ``vacuum``, for the directions that are not periodic.

    :param positions: (N, 3) in Å.
    :param cell: (3, 3) vectors as rows, in Å.
    :param pbc: (3,) periodic directions.
    :param vacuum: empty space along each direction that is not periodic, in Å.
    """
    lattice = np.array(whole_cell(cell, pbc))
    lattice[~pbc] *= (np.ptp(positions @ lattice[~pbc].T, axis=0) + vacuum)[:, None]
    return lattice


def reduced_cell(cell: npt.ArrayLike, pbc: BoolArray | bool = True) -> FloatArray:
    """Return the shortest vectors of the same lattice (Minkowski reduction, `ase.geometry.minkowski_reduce`).

    The result is right-handed. Vectors of directions that are not periodic do not change.

    :param cell: (3, 3) vectors as rows, in Å.
    :param pbc: (3,) periodic directions.
    """
    periodic = np.broadcast_to(pbc, 3)
    vectors = np.array(minkowski_reduce(np.asarray(cell, dtype='f8'), periodic)[0])
    if periodic.any() and np.linalg.det(vectors) < 0:
        vectors[np.argmax(periodic)] *= -1
    return vectors


def reduced(atoms: Atoms, gain: float = SKEWED) -> Atoms:
    """Return the structure in the reduced cell of its lattice when its own cell is skewed, else unchanged.

    Only the periodic vectors change: the lattice and the Cartesian positions stay, so energy, forces and stress are
    those of ``atoms`` without any rotation. The number of k-points at a given distance becomes smaller: silicon with
    the third vector replaced by 4 a - 5 b + c has 12636 at 0.25 1/Å, in the reduced cell 729.

    :param atoms: their arrays and ``info`` are kept, a calculator is not.
    :param gain: a cell is skewed when its mesh has more than this many times the points of the reduced cell's mesh.
    """
    pbc, cell = atoms.pbc, atoms.cell.array
    if not pbc.any():
        return atoms
    short = reduced_cell(cell, pbc)
    if _mesh_points(cell, pbc) <= gain * _mesh_points(short, pbc):
        return atoms
    copy: Atoms = atoms.copy()
    copy.set_cell(short, scale_atoms=False)
    return copy


def _mesh_points(cell: FloatArray, pbc: BoolArray) -> float:
    """Return the product of the lengths of the reciprocal vectors: proportional to the points of a dense mesh."""
    reciprocal = np.linalg.inv(whole_cell(cell, pbc)).T
    return float(np.prod(np.linalg.norm(reciprocal[pbc], axis=1)))


def boxed(atoms: Atoms, vacuum: float) -> Atoms:
    """Return the structure in the middle of a box when its cell is too small, else unchanged.

    The cell is too small when a vector of a direction without periods is missing, or shorter than the structure. Then
    all such vectors become normal to the periodic ones, with ``vacuum`` between the images; the structure is moved as
    a whole, and the periodic directions stay the same.

    :param atoms: their arrays and ``info`` are kept, a calculator is not.
    :param vacuum: in Å.
    """
    pbc, cell = atoms.pbc, atoms.cell.array
    if _has_room(atoms.positions, cell, pbc):
        return atoms
    copy: Atoms = atoms.copy()
    lattice = vacuum_cell(atoms.positions, cell, pbc, vacuum)
    copy.set_cell(lattice, scale_atoms=False)
    normals = whole_cell(cell, pbc)[~pbc]
    heights = atoms.positions @ normals.T
    middle = (heights.max(axis=0) + heights.min(axis=0)) / 2
    copy.positions += (np.linalg.norm(lattice[~pbc], axis=1) / 2 - middle) @ normals
    return copy


def _has_room(positions: FloatArray, cell: FloatArray, pbc: BoolArray) -> bool:
    """Return whether the atoms lie within one period of every vector of a direction without periods."""
    if pbc.all():
        return True
    if abs(np.linalg.det(cell)) <= 1e-9 * np.prod(np.linalg.norm(cell, axis=1)):
        return False
    return bool(np.all(np.ptp(np.linalg.solve(cell.T, positions.T)[~pbc], axis=1) < 1))
