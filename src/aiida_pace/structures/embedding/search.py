"""Embed the surroundings of an atom in a box, relax the buffer, and check that the core keeps its grades."""

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

#: Increase of the margin at each try, in Å, and the number of tries.
MARGIN_STEP, TRIES = 0.5, 6


@dataclasses.dataclass(frozen=True, eq=False)
class FoundEmbedding:
    """A box in which the core has the same grades as in the large cell.

    :param embedding: the box.
    :param grades: (n,) grade of each atom in the box.
    :param grade_before: highest grade of the core in the large cell.
    :param grade_after: highest grade of the core in the box.
    :param tries: number of margins that were tried.
    :param is_relaxed: whether the buffer was relaxed.
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
    """Return the box of at most ``max_atoms`` atoms, with nearly the largest core, whose core atoms keep their grades.

    The buffer is relaxed, unless the relaxation causes a short distance, larger forces or a changed grade. When the box
    is not acceptable without relaxation either, a box with a larger margin is tried.

    :param grades: (N,) grade of each atom of the large cell.
    :param forces_of: returns the forces on a structure in eV/Å.
    :param grades_of: returns the grades in a structure. Both raise ValueError when it cannot be evaluated.
    :param steps: largest number of steps of the relaxation, see `relax_buffer`.
    :param grade_tolerance: largest difference of grades, relative to the grade, or to 1 for grades below 1.
    :param closest: distances below this times the sum of the covalent radii are too short, unless the large cell has
        such a distance.
    :raises EmbeddingError: when no box is acceptable, with the cause of the last box: ``too_many_atoms``,
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
                # A larger margin needs even more atoms; the fault of the boxes that did fit is more informative.
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
    """Yield the relaxed box, if the forces on the buffer became smaller, then the box as cut."""

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
