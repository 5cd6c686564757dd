import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.frames import Frames, FramesError
from aiida_pace.structures.guards import check_frames, closest_approach


def random_atoms(count: int, pbc: tuple[bool, bool, bool], seed: int) -> Atoms:
    """Atoms in a skewed cell, some of them outside of it, about 12 Å³ each."""
    rng = np.random.default_rng(seed)
    skew = np.array([[1, 0, 0], [rng.integers(-2, 3), 1, 0], [rng.integers(-2, 3), rng.integers(-2, 3), 1]])
    cell = skew @ (np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))) * (12 * count) ** (1 / 3)
    numbers = rng.choice([1, 6, 13, 55], size=count)
    return Atoms(numbers=numbers, positions=rng.uniform(-1, 2, (count, 3)) @ cell, cell=cell, pbc=pbc)


def by_ase(atoms: Atoms, limit: float) -> float:
    first, second, distances = neighbor_list('ijd', atoms, 2 * limit * covalent_radii[atoms.numbers].max())
    radii = covalent_radii[atoms.numbers]
    ratio = float(np.min(distances / (radii[first] + radii[second]), initial=np.inf))
    return ratio if ratio < limit else np.inf


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from([1, 2, 3, 7, 48, 49, 120]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.integers(0, 2**32),
    st.sampled_from([0.3, 0.7, 1.5]),
)
def test_closest_approach_agrees_with_the_neighbour_list_of_ase(
    count: int, pbc: tuple[bool, bool, bool], seed: int, limit: float
) -> None:
    atoms = random_atoms(count, pbc, seed)
    found = closest_approach(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, limit)
    assert found == pytest.approx(by_ase(atoms, limit))


def test_an_atom_may_be_too_close_to_its_own_image() -> None:
    atoms = Atoms('Cs', cell=[2.0, 9, 9], pbc=True)
    assert closest_approach(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc) == pytest.approx(2 / 4.88)
    atoms.pbc = False
    assert closest_approach(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc) == np.inf


def test_structures_without_a_cell_are_judged_too() -> None:
    atoms = Atoms('H2', [[0, 0, 0], [0.5, 0, 0]])
    assert closest_approach(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc) == pytest.approx(0.5 / 0.62)


def four_frames() -> Frames:
    close = Atoms('Al2', [[0, 0, 0], [1.6, 0, 0]], cell=[9, 9, 9], pbc=True)
    images = [bulk('Al'), close, bulk('Al', a=4.2), bulk('Al', a=4.3, cubic=True)]
    frames = Frames.from_atoms(images)
    return frames.replace(grade=[1, 2, 2, 5, 30, 2, 2, 2])


def test_rejects_are_counted_by_cause() -> None:
    frames = four_frames()
    report = check_frames(frames, energy=np.array([-3.4, -5.0, np.nan, -8.0]), energy_window=(-4, -3))
    assert list(report.causes) == ['', 'short_distance', 'not_finite', 'energy_window']
    assert list(report.mask) == [True, False, False, False]
    assert report.rejected == {'energy_window': 1, 'not_finite': 1, 'short_distance': 1}


def test_the_energy_window_is_per_atom_above_the_reference() -> None:
    frames = four_frames()
    energy = np.array([-3.0, -6.0, -3.0, -12.0])
    assert check_frames(frames, closest=0.1, energy=energy, reference=-3.0, energy_window=(-0.1, 0.1)).mask.all()
    reference = np.array([-3.0, -3.0, -3.5, -3.0])
    report = check_frames(frames, closest=0.1, energy=energy, reference=reference, energy_window=(-0.1, 0.1))
    assert list(report.mask) == [True, True, False, True]
    labelled = frames.replace(energy=energy, forces=np.zeros((8, 3)))
    assert not check_frames(labelled, closest=0.1, energy_window=(-2.9, 0)).mask.any()


def test_a_high_grade_rejects_only_when_asked() -> None:
    frames = four_frames()
    assert check_frames(frames).rejected == {'short_distance': 1}
    assert check_frames(frames, max_grade=25).rejected == {'grade': 1, 'short_distance': 1}
    with pytest.raises(FramesError, match='no extrapolation grade'):
        check_frames(frames.replace(grade=None), max_grade=25)


def test_the_factor_moves_the_limit() -> None:
    ratio = 1.6 / (2 * covalent_radii[13])
    assert list(check_frames(four_frames(), closest=ratio * 1.001).mask) == [True, False, True, True]
    assert check_frames(four_frames(), closest=ratio * 0.999).mask.all()


def test_a_window_without_energies_is_refused() -> None:
    with pytest.raises(ValueError, match='an energy window needs the energies'):
        check_frames(four_frames(), energy_window=(-1, 1))


def test_nothing_is_judged_in_an_empty_set() -> None:
    report = check_frames(Frames.from_atoms([]), energy=np.array([]), energy_window=(-1, 1))
    assert (len(report.mask), report.rejected) == (0, {})


@pytest.mark.parametrize('count', [1, 2, 60])
def test_collapsed_cells_are_judged_without_listing_all_their_images(count: int) -> None:
    cell = np.array([[9.0, 0, 0], [0, 9, 0], [9, 9, 1e-4]])
    positions = np.random.default_rng(1).uniform(0, 9, (count, 3))
    ratio = closest_approach(np.full(count, 13), positions, cell, np.ones(3, dtype=bool))
    assert 0 <= ratio <= 1e-4 / (2 * covalent_radii[13]) + 1e-9


def test_vectors_of_directions_that_are_not_periodic_do_not_matter() -> None:
    cell = np.array([[2.0, 0, 0], [0, 9, 0], [8.9, 0, 1e-3]])
    ratio = closest_approach(np.array([13]), np.zeros((1, 3)), cell, np.array([True, True, False]))
    assert ratio == pytest.approx(2 / (2 * covalent_radii[13]))
