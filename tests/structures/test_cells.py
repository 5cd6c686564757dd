"""Cells: other vectors of the same lattice, whose results are the same, and boxes for molecules."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aiida_pace.structures.cells import boxed, reduced, reduced_cell
from aiida_pace.structures.crystal import standard_primitive

LATTICES = {
    'fcc': bulk('Al').cell.array,
    'bcc': bulk('Fe').cell.array,
    'hcp': bulk('Mg').cell.array,
    'slab': np.diag([3.0, 3.0, 40.0]),
    'triclinic': np.array([[4.1, 0.3, 0], [-1.3, 5.2, 0.2], [1.7, 0.1, 3.3]]),
}


@st.composite
def combinations(draw: st.DrawFn, pbc: tuple[bool, bool, bool] = (True, True, True)) -> np.ndarray:
    """Any integer matrix of determinant 1 or -1 that mixes the periodic vectors only."""
    axes = np.flatnonzero(pbc)
    matrix = np.eye(3)
    for _ in range(draw(st.integers(0, 6))):
        one, other = draw(st.permutations(axes))[:2]
        matrix[one] += draw(st.integers(-6, 6)) * matrix[other]
    if draw(st.booleans()):
        matrix[axes[0]] *= -1
    return matrix


@st.composite
def patterns(draw: st.DrawFn) -> tuple[tuple[bool, bool, bool], np.ndarray]:
    """Periodic directions, two or three of them, and a matrix that mixes these."""
    pbc = draw(st.sampled_from([(True, True, True), (True, True, False), (True, False, True), (False, True, True)]))
    return pbc, draw(combinations(pbc))


def is_integer(matrix: np.ndarray) -> bool:
    return bool(np.allclose(matrix, np.rint(matrix), atol=1e-5))


@settings(deadline=None)
@given(st.sampled_from(sorted(LATTICES)), patterns(), hnp.arrays('f8', (3, 3), elements=st.floats(-0.1, 0.1)))
def test_reduced_cell_is_of_the_same_lattice_with_short_vectors(
    name: str, pattern: tuple[tuple[bool, bool, bool], np.ndarray], strain: np.ndarray
) -> None:
    pbc, matrix = np.array(pattern[0]), pattern[1]
    lattice = LATTICES[name] @ (np.eye(3) + strain)
    found = reduced_cell(matrix @ lattice, pbc)
    change = found @ np.linalg.inv(lattice)
    assert is_integer(change)
    assert np.linalg.det(change) == pytest.approx(np.sign(np.linalg.det(lattice)), abs=1e-4)
    assert np.linalg.det(found) > 0
    np.testing.assert_array_equal(found[~pbc], (matrix @ lattice)[~pbc])
    # No vector of the lattice that can replace one is shorter.
    steps = np.array([step for step in np.ndindex(3, 3, 3) if not np.any((np.array(step) != 1) & ~pbc)]) - 1
    shortest = np.linalg.norm(found, axis=1)
    for axis in np.flatnonzero(pbc):
        assert np.linalg.norm(steps[steps[:, axis] != 0] @ found, axis=1).min() >= shortest[axis] - 1e-9


@settings(deadline=None, max_examples=40)
@given(combinations(), st.integers(0, 10**6))
def test_reduced_structure_has_the_same_energy_forces_and_stress(matrix: np.ndarray, seed: int) -> None:
    atoms = bulk('Cu', cubic=True)
    atoms.numbers[0] = 79
    atoms.rattle(0.1, seed=seed)
    atoms.positions += np.random.default_rng(seed).uniform(-20, 20, size=3)
    atoms.calc = EMT()
    expected = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    skewed = atoms.copy()
    skewed.set_cell(matrix @ atoms.cell.array)
    found = reduced(skewed)
    np.testing.assert_array_equal(found.positions, atoms.positions)
    np.testing.assert_array_equal(found.numbers, atoms.numbers)
    assert found.pbc.all()
    found.calc = EMT()
    assert found.get_potential_energy() == pytest.approx(expected[0], abs=1e-8)
    np.testing.assert_allclose(found.get_forces(), expected[1], atol=1e-8)
    np.testing.assert_allclose(found.get_stress(), expected[2], atol=1e-10)


def mesh(atoms: Atoms, distance: float = 0.25) -> list[int]:
    """Return the points that a distance of k-points takes, as ``PwBaseWorkChain`` counts them."""
    return np.ceil(2 * np.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1) / distance).astype(int).tolist()


def test_skewed_crystal_takes_no_more_points_than_its_primitive_cell() -> None:
    silicon = bulk('Si', a=5.43)
    skewed = silicon.copy()
    skewed.set_cell(np.array([[1, 0, 0], [0, 1, 0], [4, -5, 1]]) @ silicon.cell.array)
    assert np.prod(mesh(skewed)) == 12636
    assert np.prod(mesh(reduced(skewed))) == np.prod(mesh(silicon)) == 729


@settings(deadline=None)
@given(
    st.sampled_from(['fcc', 'bcc', 'hcp']),
    hnp.arrays('f8', (3, 3), elements=st.floats(-0.05, 0.05)),
)
def test_strained_crystal_keeps_its_cell(name: str, strain: np.ndarray) -> None:
    """Where several reduced cells are equally short a strain decides which is the shortest: not our mesh."""
    atoms = Atoms('X', cell=LATTICES[name] @ (np.eye(3) + (strain + strain.T) / 2), pbc=True)
    assert reduced(atoms) is atoms


@pytest.mark.parametrize('angle', [20, 24, 33, 45, 57, 75, 105])
def test_strained_crystals_of_a_validation_keep_their_cell(angle: float) -> None:
    """Of a rhombohedral lattice the standard primitive cell can be as skewed as one likes."""
    rng = np.random.default_rng(1)
    crystal = standard_primitive(Atoms('Bi', cell=[5, 5, 5, angle, angle, angle], pbc=True), 1e-3)
    for _ in range(50):
        strain = rng.uniform(-0.05, 0.05, size=(3, 3))
        atoms = crystal.copy()
        atoms.set_cell(crystal.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        assert reduced(atoms) is atoms


def test_skewed_slab_keeps_the_vector_across_it() -> None:
    slab = fcc111('Al', (1, 1, 3), vacuum=6.0)
    skewed = slab.copy()
    skewed.set_cell(np.array([[1, 0, 0], [7, 1, 0], [0, 0, 1]]) @ slab.cell.array)
    found = reduced(skewed)
    assert found.cell.lengths() == pytest.approx(slab.cell.lengths())
    np.testing.assert_array_equal(found.cell.array[2], slab.cell.array[2])
    assert found.pbc.tolist() == [True, True, False]


def test_molecule_without_a_cell_gets_a_box() -> None:
    water = molecule('H2O')
    found = boxed(water, 9.0)
    assert not found.pbc.any()
    extents = np.ptp(water.positions, axis=0)
    np.testing.assert_allclose(found.cell.array, np.diag(extents + 9.0))
    np.testing.assert_allclose(found.get_all_distances(), water.get_all_distances())
    np.testing.assert_allclose(found.positions.min(axis=0) + found.positions.max(axis=0), extents + 9.0)
    assert boxed(Atoms('Si'), 10.0).cell.array.tolist() == (10 * np.eye(3)).tolist()
    assert not water.cell.any()


@pytest.mark.parametrize(('turned', 'cell'), [(False, [0, 0, 0]), (True, [0, 0, 0]), (True, [0, 0, 3.0])])
def test_slab_without_room_across_it_gets_some(turned: bool, cell: list[float]) -> None:
    slab = fcc111('Al', (2, 2, 3))
    slab.cell[2] = cell
    if turned:
        slab.rotate(33, (1, 2, 3), rotate_cell=True)
    found = boxed(slab, 12.0)
    np.testing.assert_array_equal(found.cell.array[:2], slab.cell.array[:2])
    assert found.pbc.tolist() == [True, True, False]
    assert found.cell.lengths()[2] == pytest.approx(2 * 4.05 / np.sqrt(3) + 12.0)
    assert found.cell.angles()[:2] == pytest.approx([90, 90])
    heights = found.get_scaled_positions(wrap=False)[:, 2]
    assert heights.min() + heights.max() == pytest.approx(1)
    np.testing.assert_allclose(found.get_all_distances(), slab.get_all_distances(), atol=1e-12)


@pytest.mark.parametrize(
    'atoms',
    [
        bulk('Si'),
        Atoms('Si', cell=[6, 6, 6]),
        Atoms('H2', positions=[[5.9, 0, 0], [6.6, 0, 0]], cell=[6, 6, 6]),
        fcc111('Al', (1, 1, 3), vacuum=6.0),
    ],
    ids=['crystal', 'atom', 'molecule', 'slab'],
)
def test_what_has_room_in_its_cell_stays_as_it_is(atoms: Atoms) -> None:
    assert boxed(atoms, 10.0) is atoms
