from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from aiida_pace.structures.embedding import search
from aiida_pace.structures.embedding.cut import EmbeddingError
from aiida_pace.structures.embedding.search import FoundEmbedding, search_embedding
from aiida_pace.structures.guards import closest_approach
from tests.fixtures.embedding import assert_core_is_untouched

CUTOFF = 3.0


def crystal() -> Atoms:
    atoms = bulk('Al', cubic=True).repeat(3)
    del atoms[100]
    atoms.rattle(0.1, seed=3)
    return atoms


def grades_within(reach: float) -> Callable[[Atoms], np.ndarray]:
    """Return a grade that depends on all atoms within ``reach``."""

    def grades(atoms: Atoms) -> np.ndarray:
        first, distances = neighbor_list('id', atoms, reach)
        return 10 * np.bincount(first, (1 - distances / reach) ** 2, len(atoms))

    return grades


def no_forces(atoms: Atoms) -> np.ndarray:
    return np.zeros((len(atoms), 3))


def prove(atoms: Atoms, max_atoms: int = 30, **changed: object) -> FoundEmbedding:
    grades_of = changed.pop('grades_of', grades_within(CUTOFF))
    forces_of = changed.pop('forces_of', no_forces)
    grades = grades_within(CUTOFF)(atoms) if 'grades' not in changed else changed.pop('grades')
    return search_embedding(atoms, 60, grades, CUTOFF, max_atoms, forces_of=forces_of, grades_of=grades_of, **changed)


def springs(atoms: Atoms) -> np.ndarray:
    """Push apart what is nearer than 2.8 Å."""
    first, vectors, distances = neighbor_list('iDd', atoms, 2.8)
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, first, -10 * ((2.8 - distances) / distances)[:, None] * vectors)
    return forces


def test_a_grade_of_the_surroundings_is_kept_at_the_first_try() -> None:
    atoms = crystal()
    proven = prove(atoms, forces_of=springs)
    assert (proven.tries, proven.is_relaxed) == (1, True)
    assert proven.grade_after == pytest.approx(proven.grade_before, rel=1e-9)
    assert proven.grade_before == grades_within(CUTOFF)(atoms)[proven.embedding.source[proven.embedding.core]].max()
    assert len(proven.grades) == len(proven.embedding) <= 30
    assert_core_is_untouched(proven.embedding, atoms)


def test_a_grade_that_changes_needs_a_box_with_a_larger_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = crystal()
    seen: list[Atoms] = []

    def grades_of(box: Atoms) -> np.ndarray:
        seen.append(box)
        return grades_within(CUTOFF)(box) * (1.02 if len(seen) == 1 else 1.005)

    proven = prove(atoms, grades_of=grades_of)
    assert proven.tries == 2
    assert proven.grade_after == pytest.approx(1.005 * proven.grade_before)
    assert seen[1].get_volume() > seen[0].get_volume()
    monkeypatch.setattr(search, 'TRIES', 1)
    with pytest.raises(EmbeddingError, match='the grade of the core around atom 60 changes') as caught:
        prove(atoms, grades_of=grades_within(2 * CUTOFF))
    assert caught.value.cause == 'grade_changed'


def test_relaxation_that_does_harm_is_given_up() -> None:
    atoms = crystal()
    cut = prove(atoms)
    assert not cut.is_relaxed

    def crushing(box: Atoms) -> np.ndarray:
        """Pull all atoms to one corner, with a force that becomes less on the way."""
        return -5 * (box.positions - [0, 0, 0])

    def refusing(box: Atoms) -> np.ndarray:
        raise ValueError('such a structure is not known')

    def rising(box: Atoms) -> np.ndarray:
        return springs(box) * (1 + 100 * np.abs(box.positions - cut.embedding.atoms.positions).max())

    for forces_of in (refusing, rising):
        proven = prove(atoms, forces_of=forces_of)
        assert not proven.is_relaxed
        assert np.array_equal(proven.embedding.atoms.positions, cut.embedding.atoms.positions)
    box = prove(atoms, forces_of=crushing).embedding.atoms
    assert closest_approach(box.numbers, box.positions, box.cell.array, box.pbc) >= 0.7


def test_every_cause_of_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, 'TRIES', 1)
    atoms = crystal()
    with pytest.raises(EmbeddingError, match='no box of at most 8 atoms') as caught:
        prove(atoms, 8)
    assert caught.value.cause == 'too_many_atoms'

    def refusing(box: Atoms) -> np.ndarray:
        raise ValueError('a number that is not finite')

    with pytest.raises(EmbeddingError, match='a number that is not finite') as caught:
        prove(atoms, grades_of=refusing)
    assert caught.value.cause == 'not_finite'


def test_no_distance_is_too_short_unless_the_large_cell_has_it() -> None:
    atoms = crystal()
    box = prove(atoms, closest=0.93).embedding.atoms
    assert closest_approach(box.numbers, box.positions, box.cell.array, box.pbc) >= 0.93
    squeezed = atoms.copy()
    squeezed.set_distance(60, 61, 1.5, mic=True, fix=0)
    box = prove(squeezed).embedding.atoms
    assert closest_approach(box.numbers, box.positions, box.cell.array, box.pbc) == pytest.approx(1.5 / 2.42)
