"""Embed the surroundings of an atom in a box, relax its buffer, and prove that the core looks the same there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from ase import Atoms

from aiida_pace.structures.embedding.boxes import USUAL_CLASH
from aiida_pace.structures.embedding.cut import Embedding, EmbeddingError, embed_within, relax_buffer
from aiida_pace.structures.guards import closest_approach

__all__ = ('FoundEmbedding', 'search_embedding')

FloatArray = npt.NDArray[np.float64]
FromAtoms = Callable[[Atoms], FloatArray]

#: Added to the least distance between core and faces at each try, and the number of tries, in Å.
MARGIN_STEP, TRIES = 0.5, 6


@dataclasses.dataclass(frozen=True, eq=False)
class FoundEmbedding:
    """A box in which the core has the grades that it has in the large cell.

    :param embedding: the box.
    :param grades: (n,) grade of each atom in it.
    :param grade_before: highest grade of the core in the large cell.
    :param grade_after: the same in the box.
    :param tries: number of boxes that it took.
    :param is_relaxed: whether the buffer was moved.
    """

    embedding: Embedding
    grades: FloatArray
    grade_before: float
    grade_after: float
    tries: int
    is_relaxed: bool


def search_embedding(
    atoms: Atoms,
    centre: int,
    grades: FloatArray,
    cutoff: float,
    max_atoms: int,
    *,
    forces_of: FromAtoms,
    grades_of: FromAtoms,
    steps: int = 100,
    force_tolerance: float = 0.5,
    grade_tolerance: float = 0.01,
    closest: float = 0.7,
) -> FoundEmbedding:
    """Return the box with about the largest core of at most ``max_atoms`` atoms whose core atoms keep their grades.

    The buffer is relaxed. Where that does harm, with a distance too short, larger forces or a changed grade, it stays
    as it was cut. Where this will not do either, a box with a larger margin is tried.

    :param grades: (N,) grade of each atom of the large cell.
    :param forces_of: returns the forces on a structure in eV/Å.
    :param grades_of: returns the grades in a structure. Both raise ValueError for one that cannot be evaluated.
    :param steps: largest number of steps of the relaxation, see `relax_buffer`.
    :param grade_tolerance: largest difference of grades, relative to the grade or, below 1, to 1.
    :param closest: distances below this times the sum of the covalent radii are too short, unless the large cell has
        such a distance.
    :raises EmbeddingError: when no box will do; its cause is that of the last one: ``too_many_atoms``,
        ``short_distance``, ``not_finite`` or ``grade_changed``.
    """
    native = min(_closest(atoms, 1.0), 1.0)
    limit = min(closest, native)
    failure: EmbeddingError | None = None
    for attempt in range(TRIES):
        try:
            cut = embed_within(
                atoms,
                centre,
                cutoff,
                max_atoms,
                margin=attempt * MARGIN_STEP,
                clash=max(limit, USUAL_CLASH * native),
            )
        except EmbeddingError as exception:
            if exception.cause == 'too_many_atoms':
                # A larger margin takes more atoms still; what was wrong with the boxes that did fit tells more.
                raise failure or exception from None
            failure = exception
            continue
        for box in _relaxed_first(cut, forces_of, steps, force_tolerance):
            core = box.core
            if _closest(box.atoms, closest) < limit * (1 - 1e-9):
                failure = EmbeddingError(f'atoms in the box around atom {centre} are too close', 'short_distance')
                continue
            try:
                after = grades_of(box.atoms)
            except ValueError as exception:
                failure = EmbeddingError(f'the box around atom {centre}: {exception}', 'not_finite')
                continue
            before = grades[box.source[core]]
            if np.all(np.abs(after[core] - before) <= grade_tolerance * np.maximum(before, 1)):
                highest = float(before.max()), float(after[core].max())
                return FoundEmbedding(box, after, *highest, tries=attempt + 1, is_relaxed=box is not cut)
            failure = EmbeddingError(f'the grade of the core around atom {centre} changes in the box', 'grade_changed')
    raise failure or EmbeddingError(f'there is no box around atom {centre}')


def _relaxed_first(cut: Embedding, forces_of: FromAtoms, steps: int, tolerance: float) -> Iterator[Embedding]:
    """Yield the box relaxed, if this lowered the forces on the buffer, then the box as it was cut."""

    def forces(atoms: Atoms) -> FloatArray:
        try:
            return forces_of(atoms)
        except ValueError:
            return np.full((len(atoms), 3), np.nan)

    relaxed = relax_buffer(cut, forces, steps=steps, target=tolerance)
    if not np.array_equal(relaxed.atoms.positions, cut.atoms.positions):
        before, after = (float(np.sum(forces(box.atoms)[~box.fixed] ** 2)) for box in (cut, relaxed))
        if after < before:
            yield relaxed
    yield cut


def _closest(atoms: Atoms, limit: float) -> float:
    """Return the smallest distance over the sum of the two covalent radii, infinity when it is not below ``limit``."""
    return closest_approach(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, limit)
