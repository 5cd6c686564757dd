"""Which frames are new and fit for DFT: distances, energies, grades, duplicates; every rejection has a cause."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii
from scipy.spatial import cKDTree

from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import DistinctFrames
from aiida_pace.structures.neighbours import images_within, wrapped_vectors

__all__ = ('GuardReport', 'check_energies', 'check_frames', 'check_novelty', 'closest_approach', 'guard_walkers')

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
StrArray = npt.NDArray[np.str_]

#: Curium, the last element whose covalent radius is known; for the others ASE's table holds a placeholder.
LAST_KNOWN = 96

#: Above this number of atoms neighbours are found with a tree, below from all pairs.
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
    :param limit: ratios at or above this count as infinity.
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
    """Return `closest_approach` of many atoms, from their images by `images_within`."""
    pairs = cKDTree(positions).query_pairs(2 * limit * float(radii.max()), output_type='ndarray')
    pairs = pairs[pairs.min(axis=1, initial=len(positions)) < len(radii)]
    distances = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    ratio = float(np.min(distances / (radii[owners[pairs[:, 0]]] + radii[owners[pairs[:, 1]]]), initial=np.inf))
    return ratio if ratio < limit else np.inf


@dataclasses.dataclass(frozen=True)
class GuardReport:
    """The verdict on a set of frames.

    :param causes: (n,) cause of each rejection, an empty string for frames that pass: the first of ``not_finite``,
        ``short_distance``, ``energy_window`` and ``grade`` that holds; or ``known`` or ``duplicate``.
    """

    causes: StrArray

    @property
    def mask(self) -> BoolArray:
        """Mask (n,), True for the frames that pass."""
        return np.asarray(self.causes == '')

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
    """Judge every frame; no frame is removed.

    :param closest: distances below this times the sum of the covalent radii are too short; 0 for no limit.
    :param energy: (n,) total energy of each frame in eV, such as that of the potential; by default the label. NaN or
        infinity rejects a frame.
    :param reference: (n,) or one number, in eV/atom, subtracted from the energy per atom before the window is applied.
    :param energy_window: lowest and highest energy per atom above ``reference``, in eV/atom.
    :param max_grade: frames with a higher grade are rejected; the frames must carry grades.
    :raises ValueError: when there is a window but no energy, or a covalent radius is not known.
    :raises FramesError: when there is a limit of the grade but the frames have no grades.
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
    for index in range(count) if closest > 0 else ():
        if closest_approach(*_geometry(frames, index), limit=closest) < closest:
            causes[index] = 'short_distance'
    if energy is not None:
        causes[~np.isfinite(energy)] = 'not_finite'
    return GuardReport(causes)


def check_novelty(frames: Frames, tolerance: float, *, known: Frames | None = None) -> GuardReport:
    """Reject frames that are like a ``known`` frame, and each ``duplicate`` of an earlier frame that passed.

    :param tolerance: largest difference between distances in frames that are alike, in Å; see `DistinctFrames`.
    :param known: frames such as those already labelled.
    :raises ValueError: when the tolerance is not above 0.
    """
    before, passed = DistinctFrames(tolerance), DistinctFrames(tolerance)
    if known is not None:
        # `known` may be large, and frames of another composition are never alike.
        compositions = {_composition(frames, index) for index in range(len(frames))}
        for index in range(len(known)):
            if _composition(known, index) in compositions:
                before.add(*_geometry(known, index))
    causes = np.full(len(frames), '', dtype='U16')
    for index in range(len(frames)):
        geometry = _geometry(frames, index)
        if before.holds(*geometry):
            causes[index] = 'known'
        elif not passed.add(*geometry):
            causes[index] = 'duplicate'
    return GuardReport(causes)


def guard_walkers(
    frames: Frames,
    walkers: StrArray,
    is_spare: BoolArray,
    *,
    closest: float,
    tolerance: float,
    known: Frames | None = None,
) -> GuardReport:
    """Judge the candidates of all walkers by `check_frames` and `check_novelty`; no walker loses all of them.

    When every candidate of a walker is rejected, and none as a duplicate, the last acceptable spare frame of the walker
    replaces the candidates. All other spare frames have the cause ``spare``: they are no candidates.

    :param walkers: (n,) the walker that each frame comes from.
    :param is_spare: (n,) frames from before the halt, the last one nearest to the halt.
    """
    causes = check_frames(frames, closest=closest).causes
    judged = np.flatnonzero((causes == '') & ~is_spare)
    causes[judged] = check_novelty(frames.take(judged), tolerance, known=known).causes
    causes[is_spare & (causes == '')] = 'spare'
    for walker in np.unique(walkers):
        own = walkers == walker
        if np.any(own & ~is_spare & np.isin(causes, ('', 'duplicate'))):
            continue
        for index in np.flatnonzero(own & (causes == 'spare'))[::-1]:
            passed = np.flatnonzero(causes == '')
            others = frames.take(passed) if known is None else Frames.concatenate([known, frames.take(passed)])
            if check_novelty(frames.take([index]), tolerance, known=others).mask.all():
                causes[index] = ''
                break
    causes[is_spare & (causes != '')] = 'spare'
    return GuardReport(causes)


def check_energies(
    frames: Frames,
    energy: FloatArray,
    walkers: StrArray,
    is_visited: BoolArray,
    *,
    window: float | None,
    max_grade: float | None = None,
) -> GuardReport:
    """Judge frames by energy and grade under the potential; at least one frame of each walker passes.

    The energy per atom of each frame is compared with the median over the frames that the molecular dynamics of the
    walker visited. When all frames of a walker are rejected, the one nearest to the median passes.

    :param energy: (n,) energy of each frame relative to isolated atoms, in eV.
    :param walkers: (n,) the walker that each frame comes from.
    :param is_visited: (n,) frames of the molecular dynamics; when a walker has none, all its frames count.
    :param window: largest difference from the median, in eV/atom.
    :param max_grade: frames with a higher grade are rejected; the frames must carry grades.
    """
    reference = np.zeros(len(frames))
    for walker in np.unique(walkers):
        own = walkers == walker
        visited = own & is_visited
        reference[own] = np.median((energy / frames.sizes)[visited if visited.any() else own])
    limits = None if window is None else (-window, window)
    causes = check_frames(
        frames, closest=0, energy=energy, reference=reference, energy_window=limits, max_grade=max_grade
    ).causes
    for walker in np.unique(walkers):
        own = np.flatnonzero(walkers == walker)
        if not np.any(causes[own] == ''):
            causes[own[np.argmin(np.abs(energy / frames.sizes - reference)[own])]] = ''
    return GuardReport(causes)


def _geometry(
    frames: Frames, index: int
) -> tuple[npt.NDArray[np.int32], FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Return atomic numbers, positions, cell and periodic directions of a frame."""
    part = frames.atoms_slice(index)
    return frames.numbers[part], frames.positions[part], frames.cells[index], frames.pbc[index]


def _composition(frames: Frames, index: int) -> bytes:
    """Return the composition of a frame; frames that are alike have the same."""
    return np.sort(frames.numbers[frames.atoms_slice(index)]).tobytes()
