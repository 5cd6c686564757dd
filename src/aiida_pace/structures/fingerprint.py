"""Fingerprints of structures: which frames are equal or alike."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import typing as t
from collections import defaultdict
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

from aiida_pace.frames import Frames
from aiida_pace.structures.neighbours import images_within, wrapped_vectors

__all__ = ('DistinctFrames', 'duplicate_indices', 'exact_fingerprints', 'near_duplicate_indices')

#: Coordinates are compared after rounding to this many digits after the point, in Å.
EXACT_DECIMALS = 6

#: Number of nearest neighbours of each element in the comparison of surroundings.
NEIGHBOURS = 24

#: Marks that span the grid: lowest and highest distance to the first, a middle and the last neighbour.
MARKS_OF_GRID = [0, NEIGHBOURS // 2, NEIGHBOURS - 1, -NEIGHBOURS, -NEIGHBOURS // 2, -1]

#: Above this number of atoms neighbours are found with a tree, below from all pairs.
MAX_ALL_PAIRS = 48


#: Digests of the frames in memory; frames never change.
_digests: WeakKeyDictionary[Frames, tuple[bytes, ...]] = WeakKeyDictionary()


def exact_fingerprints(frames: Frames) -> tuple[bytes, ...]:
    """Return one digest per frame; it is the same for frames that are equal, atom by atom, after rounding to 1e-6 Å.

    Atomic numbers, positions, cell and periodic directions count; labels, grades, weights and origins do not. Frames
    that differ by the order of their atoms, a translation or the choice of the cell have different digests.
    """
    if frames not in _digests:
        _digests[frames] = _computed_digests(frames)
    return _digests[frames]


def _computed_digests(frames: Frames) -> tuple[bytes, ...]:
    # Adding zero turns the -0.0 that rounding leaves into 0.0.
    positions = np.round(frames.positions, EXACT_DECIMALS) + 0.0
    cells = np.round(frames.cells, EXACT_DECIMALS) + 0.0
    digests = []
    for index in range(len(frames)):
        part = frames.atoms_slice(index)
        digest = hashlib.sha256(frames.numbers[part].tobytes())
        for array in (positions[part], cells[index], frames.pbc[index]):
            digest.update(array.tobytes())
        digests.append(digest.digest())
    return tuple(digests)


def duplicate_indices(frames: Frames) -> list[int]:
    """Return the indices of frames that repeat an earlier one exactly, in rising order."""
    seen: set[bytes] = set()
    duplicates = []
    for index, digest in enumerate(exact_fingerprints(frames)):
        if digest in seen:
            duplicates.append(index)
        seen.add(digest)
    return duplicates


def near_duplicate_indices(
    frames: Frames, tolerance: float, *, known: Frames | None = None, cutoff: float = 6.0
) -> list[int]:
    """Return the indices of frames that are like an earlier kept frame, in rising order; see `DistinctFrames`.

    :param tolerance: in Å.
    :param known: frames that count as kept from the start, such as those already labelled.
    :param cutoff: distances beyond it count as equal to it, in Å.
    :raises ValueError: when the tolerance is not above 0.
    """
    distinct = DistinctFrames(tolerance, cutoff)
    for atoms in () if known is None else _geometries(known):
        distinct.add(*atoms)
    return [index for index, atoms in enumerate(_geometries(frames)) if not distinct.add(*atoms)]


class DistinctFrames:
    """A growing collection of frames of which no two are alike.

    Two frames are alike when their atoms can be paired, element by element, so that the sorted distances of paired
    atoms to their `NEIGHBOURS` nearest neighbours of each element agree to the tolerance: their pointwise distance
    distributions agree (Widdowson and Kurlin, Adv. Neural Inf. Process. Syst. 35, 24625 (2022)). The distances do not
    depend on rotation, reflection, translation, the order of atoms and the choice of origin and cell vectors; moving
    every atom by less than half the tolerance changes them by less than the tolerance. Frames with different numbers of
    atoms are never alike.

    The time to add a frame does not depend on the number of frames, as long as the tolerance is well below the
    differences between frames; with a tolerance as large as thermal displacements the time grows.
    """

    def __init__(self, tolerance: float, cutoff: float = 6.0) -> None:
        """Start an empty collection.

        :param tolerance: in Å.
        :param cutoff: distances beyond it count as equal to it, in Å.
        :raises ValueError: when the tolerance is not above 0.
        """
        if tolerance <= 0:
            raise ValueError(f'the tolerance is {tolerance} Å: give a length above 0')
        self._tolerance = tolerance
        self._cutoff = cutoff
        self._kept: dict[tuple[t.Hashable, ...], _Kept] = defaultdict(_Kept)

    def add(
        self,
        numbers: npt.NDArray[np.integer],
        positions: npt.NDArray[np.float64],
        cell: npt.NDArray[np.float64],
        pbc: npt.NDArray[np.bool_],
    ) -> bool:
        """Keep a frame unless it is like a kept one; return whether it is kept.

        :param numbers: (N,) atomic numbers.
        :param positions: (N, 3) in Å.
        :param cell: (3, 3) cell vectors as rows, in Å.
        :param pbc: (3,) periodic directions.
        """
        environments = _environments(numbers, positions, cell, pbc, self._cutoff)
        return self._kept[environments.kind].add(environments, self._tolerance)

    def holds(
        self,
        numbers: npt.NDArray[np.integer],
        positions: npt.NDArray[np.float64],
        cell: npt.NDArray[np.float64],
        pbc: npt.NDArray[np.bool_],
    ) -> bool:
        """Return whether a frame is like a kept one; the arguments are those of `add`."""
        environments = _environments(numbers, positions, cell, pbc, self._cutoff)
        kept = self._kept.get(environments.kind)
        return kept is not None and kept.holds(environments, self._tolerance)


def _geometries(frames: Frames) -> t.Iterator[tuple[npt.NDArray[t.Any], ...]]:
    """Iterate over numbers, positions, cell and periodic directions of the frames."""
    for index in range(len(frames)):
        part = frames.atoms_slice(index)
        yield frames.numbers[part], frames.positions[part], frames.cells[index], frames.pbc[index]


@dataclasses.dataclass(frozen=True)
class _Environments:
    """The surroundings of the atoms of one frame.

    :param kind: composition and periodicity, which are equal in frames that are alike.
    :param starts: first atom of each element, ending with the number of atoms.
    :param distances: (N, elements * `NEIGHBOURS`) sorted distances to neighbours of each element, in Å; atoms are
        sorted by element.
    :param profile: ``distances`` with every column sorted within each element, for a quick necessary condition.
    :param marks: (2 * elements * `NEIGHBOURS`,) lowest and highest distance of each column, to look frames up.
    """

    kind: tuple[t.Hashable, ...]
    starts: tuple[int, ...]
    distances: npt.NDArray[np.float32]
    profile: npt.NDArray[np.float32]
    marks: npt.NDArray[np.float32]


@dataclasses.dataclass
class _Kept:
    """Frames of one kind of which no two are alike, in the cells of a grid over some of the marks."""

    frames: list[_Environments] = dataclasses.field(default_factory=list)
    cells: dict[tuple[int, ...], list[int]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    marks: npt.NDArray[np.float32] = dataclasses.field(default_factory=lambda: np.empty((0, 0), dtype='f4'))

    def holds(self, new: _Environments, tolerance: float) -> bool:
        """Return whether a frame is like a kept one."""
        home, beside = _cells(new, tolerance)
        near = itertools.product(*zip(home.tolist(), beside.tolist(), strict=True))
        candidates = np.array([i for cell in near if cell in self.cells for i in self.cells[cell]], dtype=int)
        if not len(candidates):
            return False
        candidates = candidates[np.abs(self.marks[candidates] - new.marks).max(axis=1) <= tolerance]
        return any(_alike(new, self.frames[i], tolerance) for i in candidates)

    def add(self, new: _Environments, tolerance: float) -> bool:
        """Keep a frame unless it is like a kept one; return whether it is kept."""
        if self.holds(new, tolerance):
            return False
        count = len(self.frames)
        if count == len(self.marks):
            room = np.empty((max(count, 8), len(new.marks)), dtype='f4')
            self.marks = np.concatenate([self.marks.reshape(count, -1), room]) if count else room
        self.marks[count] = new.marks
        self.frames.append(new)
        self.cells[tuple(_cells(new, tolerance)[0].tolist())].append(count)
        return True


def _cells(new: _Environments, tolerance: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the grid cell of a frame and, for each mark, the nearer of the two neighbouring cells."""
    # With cells of twice the tolerance, marks within the tolerance are in the same cell or in the nearer neighbour.
    scaled = new.marks[MARKS_OF_GRID] / (2 * tolerance)
    home = np.floor(scaled).astype(int)
    return home, home + np.where(scaled - home < 0.5, -1, 1)


def _environments(
    numbers: npt.NDArray[np.integer],
    positions: npt.NDArray[np.float64],
    cell: npt.NDArray[np.float64],
    pbc: npt.NDArray[np.bool_],
    cutoff: float,
) -> _Environments:
    """Return the surroundings of the atoms of one frame."""
    order = np.argsort(numbers, kind='stable')
    numbers, positions = numbers[order], positions[order]
    elements, first, counts = np.unique(numbers, return_index=True, return_counts=True)
    starts = (*first.tolist(), len(numbers))
    blocks = []
    if len(numbers) > MAX_ALL_PAIRS:
        owners, images = images_within(positions, cell, pbc, cutoff)
        for element in elements:
            tree = cKDTree(images[numbers[owners] == element])
            nearest, _ = tree.query(images[: len(numbers)], NEIGHBOURS + 1, distance_upper_bound=cutoff)
            blocks.append(nearest)
    else:
        vectors, shifts = wrapped_vectors(positions, positions, cell, pbc, cutoff)
        images = vectors[:, :, None, :] + shifts
        squares = np.einsum('pqsx,pqsx->pqs', images, images)
        for start, stop in itertools.pairwise(starts):
            block = squares[:, start:stop].reshape(len(numbers), -1)
            if block.shape[1] > NEIGHBOURS + 1:
                block = np.partition(block, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
            blocks.append(np.sqrt(np.sort(block, axis=1)))
    distances = np.full((len(numbers), len(elements) * NEIGHBOURS), cutoff, dtype='f4')
    for number, block in enumerate(blocks):
        column = number * NEIGHBOURS
        for start, stop in itertools.pairwise(starts):
            # The first distance to the own element is that of the atom to itself, 0.
            own = int(start == starts[number])
            values = block[start:stop, own : own + NEIGHBOURS]
            distances[start:stop, column : column + values.shape[1]] = np.minimum(values, cutoff)
    profile = np.concatenate([np.sort(distances[start:stop], axis=0) for start, stop in itertools.pairwise(starts)])
    marks = np.concatenate([distances.min(axis=0), distances.max(axis=0)])
    kind = (elements.tobytes(), counts.tobytes(), bool(pbc.any()))
    return _Environments(kind, starts, distances, profile, marks)


def _alike(one: _Environments, other: _Environments, tolerance: float) -> bool:
    """Return whether the atoms of two frames of one kind can be paired with surroundings that agree."""
    if np.abs(one.profile - other.profile).max() > tolerance:
        return False
    # One atom without a partner is enough; the first atom already tells most frames apart.
    if np.abs(other.distances[: one.starts[1]] - one.distances[0]).max(axis=1).min() > tolerance:
        return False
    for start, stop in itertools.pairwise(one.starts):
        differences = np.abs(one.distances[start:stop, None, :] - other.distances[None, start:stop, :]).max(axis=-1)
        partners = maximum_bipartite_matching(csr_array(differences <= tolerance))
        if np.any(partners < 0):
            return False
    return True
