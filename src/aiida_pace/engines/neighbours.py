"""Neighbour lists for pyace: made with a tree, and kept while the atoms move little."""

from __future__ import annotations

import ctypes
import dataclasses
import typing as t

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from aiida_pace.structures.neighbours import images_within

__all__ = ('SKIN', 'KeptNeighbours', 'memory_of_positions', 'neighbour_lists')

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer[t.Any]]
Periods = npt.NDArray[np.bool_]

#: Distance beyond the cutoff that kept lists cover, in Å: lists are rarely rebuilt, and the evaluator skips far pairs.
SKIN = 1.0


def neighbour_lists(
    positions: FloatArray, cell: FloatArray, pbc: Periods, reach: float
) -> tuple[FloatArray, IntArray, list[list[int]]]:
    """Return the atoms, those of their images that have an atom within ``reach``, and the neighbours of each atom.

    :param positions: (N, 3) in Å, anywhere in space.
    :param cell: (3, 3) vectors as rows, in Å; those of directions without periods are not used.
    :param pbc: (3,) periodic directions.
    :param reach: in Å.
    :returns: (M, 3) positions in Å, the atoms first and moved into one cell; (M,) atom that each is an image of; and
        of each atom the rows of its neighbours among the M, ascending.
    """
    count = len(positions)
    owners, images = images_within(positions, cell, pbc, reach)
    found = cKDTree(images[:count]).sparse_distance_matrix(cKDTree(images), reach, output_type='ndarray')
    # One sort of one integer per pair is several times as fast as a sort by two keys.
    first, second = np.divmod(np.sort(found['i'] * len(images) + found['j']), len(images))
    others = first != second
    first, second = first[others], second[others]
    used = np.arange(len(images)) < count
    used[second] = True
    rows = (np.cumsum(used) - 1)[second].tolist()
    ends = np.cumsum(np.bincount(first, minlength=count)).tolist()
    lists = [rows[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return images[used], owners[used], lists


@dataclasses.dataclass(frozen=True)
class _Held:
    """Neighbour lists, with the data that tell whether the lists are still valid.

    The M extended atoms are the atoms and their periodic images: ``positions[owners] + images @ cell``.

    :param rows: see `memory_of_positions`.
    :param structure: content of the atomic numbers and of the periodic directions.
    :param cell: content of the cell.
    :param positions: (N, 3) of the atoms, in Å.
    :param shifts: (M, 3) ``images @ cell``, in Å.
    :param images: (M, 3) whole numbers; None where not all directions are periodic.
    """

    environment: t.Any
    rows: tuple[FloatArray, IntArray] | None
    structure: bytes
    cell: bytes
    positions: FloatArray
    owners: IntArray
    shifts: FloatArray
    images: FloatArray | None


class KeptNeighbours:
    """Neighbour lists of pyace along a trajectory, kept while no atom has moved by half a skin."""

    def __init__(self, build: t.Callable[..., t.Any], skin: float = SKIN) -> None:
        """Start without lists.

        :param build: makes the lists from numbers, positions, cell, periodic directions and skin, such as
            `AceModel.environment`.
        :param skin: distance beyond the cutoff that the lists cover, in Å.
        """
        self.builds = 0
        self._build = build
        self._skin = skin
        self._held: _Held | None = None

    def environment(self, numbers: Integers, positions: FloatArray, cell: FloatArray, pbc: Periods) -> t.Any:
        """Return neighbour lists with the atoms at ``positions``.

        :param numbers: (N,) atomic numbers; their order may change from call to call.
        :param positions: (N, 3) in Å.
        :param cell: (3, 3) vectors as rows, in Å.
        :param pbc: (3,) periodic directions.
        """
        structure, lattice = numbers.tobytes() + pbc.tobytes(), cell.tobytes()
        held = self._held
        if held is not None and held.structure == structure:
            shifts = self._shifts(held, cell, lattice)
            if shifts is not None and self._is_near(held, positions, shifts):
                _move(held, positions.take(held.owners, axis=0) + shifts)
                return held.environment
        environment = self._build(numbers, positions, cell, pbc, self._skin)
        owners, extended = np.array(environment.origins), np.array(environment.x)
        shifts = extended - positions[owners]
        images = np.rint(shifts @ np.linalg.inv(cell)) if pbc.all() else None
        rows = memory_of_positions(environment, extended)
        self._held = _Held(environment, rows, structure, lattice, positions.copy(), owners, shifts, images)
        self.builds += 1
        return environment

    @staticmethod
    def _shifts(held: _Held, cell: FloatArray, content: bytes) -> FloatArray | None:
        """Return the shifts (M, 3) of the images in a cell; None when the lists belong to another cell."""
        if held.cell == content:
            return held.shifts
        return None if held.images is None else held.images @ cell

    def _is_near(self, held: _Held, positions: FloatArray, shifts: FloatArray) -> bool:
        """Return whether every extended atom has moved by less than half a skin; False when a position is NaN."""
        moves = positions - held.positions
        if shifts is not held.shifts:
            moves = moves.take(held.owners, axis=0) + (shifts - held.shifts)
        farthest = np.maximum.reduce(np.einsum('ix,ix->i', moves, moves))
        return bool(farthest < (self._skin / 2) ** 2)


def _move(held: _Held, extended: FloatArray) -> None:
    """Set the positions (M, 3) of the extended atoms, in Å."""
    if held.rows is None:
        held.environment.x = extended.tolist()
    else:
        memory, places = held.rows
        memory[places] = extended


def memory_of_positions(environment: t.Any, extended: FloatArray) -> tuple[FloatArray, IntArray] | None:
    """Return the memory in which pyace holds the positions of the extended atoms, to change them in place.

    pyace takes positions as a list of lists only, and allocates them anew: for 8 atoms a fifth of the time of the
    forces. pyace holds them in ``struct {int n_atoms_real, n_atoms_extended; double **x; ...}``; pybind11 keeps a
    pointer to it behind the header of the object. This is not documented: the numbers found are compared with pyace's.

    :param environment: of pyace; the memory is valid until `x` is assigned to, or the environment is deleted.
    :param extended: (M, 3) the current positions, in Å.
    :returns: numbers that include the positions, and the (M, 3) indices of the positions among them; None when the
        positions are not at the expected address.
    """
    if type(type(environment)).__name__ != 'pybind11_type' or not len(extended):
        return None
    address = ctypes.c_void_p.from_address(id(environment) + object.__basicsize__).value
    if not address:
        return None
    if tuple((ctypes.c_int * 2).from_address(address)) != (environment.n_atoms_real, len(extended)):
        return None
    table = ctypes.c_void_p.from_address(address + 2 * ctypes.sizeof(ctypes.c_int)).value
    if not table:
        return None
    rows = np.ctypeslib.as_array((ctypes.c_int64 * len(extended)).from_address(table)).copy()
    first, size = int(rows.min()), ctypes.sizeof(ctypes.c_double)
    memory = np.ctypeslib.as_array((ctypes.c_double * ((int(rows.max()) - first) // size + 3)).from_address(first))
    places = (rows - first)[:, None] // size + np.arange(3)
    return (memory, places) if np.array_equal(memory[places], extended) else None
