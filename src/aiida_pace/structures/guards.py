"""Which frames are fit for DFT: shortest distance, energy window, grade; every reject has a cause."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii
from scipy.spatial import cKDTree

from aiida_pace.frames import Frames
from aiida_pace.structures.neighbours import images_within, wrapped_vectors

__all__ = ('GuardReport', 'check_frames', 'closest_approach')

FloatArray = npt.NDArray[np.float64]

#: Curium, the last element whose covalent radius is known; for the others ASE's table holds a placeholder.
LAST_KNOWN = 96

#: Above this number of atoms neighbours are found with a tree instead of all pairs.
MAX_ALL_PAIRS = 48


def radii_of(numbers: npt.NDArray[np.integer]) -> FloatArray:
    """Return the covalent radii (Cordero et al., Dalton Trans. 2832 (2008), as in ASE) of ``numbers``, in Å.

    :raises ValueError: when the radius of an element is not known.
    """
    if np.any(numbers > LAST_KNOWN):
        raise ValueError(f'the covalent radius of the element with atomic number {numbers.max()} is not known')
    return np.asarray(covalent_radii[numbers], dtype='f8')


def closest_approach(
    numbers: npt.NDArray[np.integer],
    positions: FloatArray,
    cell: FloatArray,
    pbc: npt.NDArray[np.bool_],
    limit: float = 1.0,
) -> float:
    """Return the smallest distance over the sum of the two covalent radii, periodic images included.

    :param numbers: (N,) atomic numbers.
    :param positions: (N, 3) in Å, not necessarily inside the cell.
    :param cell: (3, 3) cell vectors as rows, in Å; those of directions that are not periodic may be zero.
    :param pbc: (3,) periodic directions.
    :param limit: ratios at or above this are not looked for.
    :returns: the ratio, or infinity when no pair is closer than ``limit`` times the sum of its radii.
    :raises ValueError: when the covalent radius of an element is not known.
    """
    radii = radii_of(numbers)
    reach = 2 * limit * float(radii.max())
    if len(numbers) > MAX_ALL_PAIRS:
        return _closest_by_tree(radii, *images_within(positions, cell, pbc, reach), limit)
    vectors, shifts = wrapped_vectors(positions, positions, cell, pbc, reach)
    first, second = np.triu_indices(len(numbers))
    images = vectors[first, second][:, None, :] + shifts[None, :, :]
    squares = np.einsum('psx,psx->ps', images, images)
    squares[np.ix_(first == second, ~shifts.any(axis=1))] = np.inf
    ratio = float(np.min(np.sqrt(squares.min(axis=1)) / (radii[first] + radii[second])))
    return ratio if ratio < limit else np.inf


def _closest_by_tree(radii: FloatArray, owners: npt.NDArray[np.int64], positions: FloatArray, limit: float) -> float:
    """Return `closest_approach` of many atoms; their images are given by `images_within`."""
    pairs = cKDTree(positions).query_pairs(2 * limit * float(radii.max()), output_type='ndarray')
    pairs = pairs[pairs.min(axis=1, initial=len(positions)) < len(radii)]
    distances = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    ratio = float(np.min(distances / (radii[owners[pairs[:, 0]]] + radii[owners[pairs[:, 1]]]), initial=np.inf))
    return ratio if ratio < limit else np.inf


@dataclasses.dataclass(frozen=True)
class GuardReport:
    """The verdict on a set of frames.

    :param mask: (n,) True for the frames that pass.
    :param causes: (n,) why each frame was rejected, an empty string for those that pass: ``not_finite``,
        ``short_distance``, ``energy_window`` or ``grade``, the first that holds in this order.
    """

    mask: npt.NDArray[np.bool_]
    causes: npt.NDArray[np.str_]

    @property
    def rejected(self) -> dict[str, int]:
        """Number of rejected frames by cause, sorted by name of the cause."""
        return dict(sorted(Counter(str(cause) for cause in self.causes[~self.mask]).items()))


def check_frames(
    frames: Frames,
    *,
    closest: float = 0.7,
    energy: FloatArray | None = None,
    reference: FloatArray | float = 0.0,
    energy_window: tuple[float, float] | None = None,
    max_grade: float | None = None,
) -> GuardReport:
    """Judge every frame; nothing is dropped here.

    :param closest: distances below this times the sum of the covalent radii are too short.
    :param energy: (n,) total energy of each frame in eV, such as the potential gives; by default the frames' own.
        NaN or infinity rejects a frame.
    :param reference: (n,) or one number, in eV/atom, subtracted from the energy per atom before the window is applied.
    :param energy_window: lowest and highest energy per atom above ``reference``, in eV/atom.
    :param max_grade: frames with a higher grade are rejected; the frames must carry grades.
    :raises ValueError: when a window is asked for without energies, or a covalent radius is not known.
    :raises FramesError: when a grade is asked for and the frames carry none.
    """
    energy = frames.energy if energy is None else energy
    if energy_window is not None and energy is None:
        raise ValueError('an energy window needs the energies of the frames')
    count = len(frames)
    causes = np.full(count, '', dtype='U16')
    if max_grade is not None and count:
        causes[frames.max_grade() > max_grade] = 'grade'
    if energy is not None:
        energy = np.asarray(energy, dtype='f8').reshape(count)
        per_atom = energy / frames.sizes - reference
        if energy_window is not None:
            low, high = energy_window
            causes[(per_atom < low) | (per_atom > high)] = 'energy_window'
    for index in range(count):
        part = frames.atoms_slice(index)
        geometry = (frames.numbers[part], frames.positions[part], frames.cells[index], frames.pbc[index])
        if closest_approach(*geometry, limit=closest) < closest:
            causes[index] = 'short_distance'
    if energy is not None:
        causes[~np.isfinite(energy)] = 'not_finite'
    return GuardReport(mask=causes == '', causes=causes)
