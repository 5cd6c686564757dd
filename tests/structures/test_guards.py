import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.frames import Frames, FramesError
from aiida_pace.structures.guards import check_energies, check_frames, check_novelty, closest_approach, guard_walkers


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


def rattled(scale: float, seed: int, amplitude: float = 0.1) -> Atoms:
    atoms = bulk('Al', cubic=True, a=4.05 * scale)
    atoms.positions += np.random.default_rng(seed).normal(scale=amplitude, size=(4, 3))
    return atoms


def moved(atoms: Atoms, seed: int) -> Atoms:
    """The same crystal: turned, shifted, its atoms in another order."""
    rng = np.random.default_rng(seed)
    image = atoms.copy()[rng.permutation(len(atoms))]
    image.rotate(rng.uniform(0, 180), rng.normal(size=3), rotate_cell=True)
    image.positions += rng.normal(size=3)
    return image


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12), st.sets(st.integers(0, 5)))
def test_novelty_counts_every_structure_once(picks: list[tuple[int, bool]], known: set[int]) -> None:
    """Whatever the order: the first of each structure passes, unless it is known."""
    structures = [rattled(1.0, seed) for seed in range(6)]
    frames = Frames.from_atoms(
        [moved(structures[i], n) if turn else structures[i] for n, (i, turn) in enumerate(picks)]
    )
    labelled = Frames.from_atoms([structures[i] for i in sorted(known)])
    report = check_novelty(frames, 0.02, known=labelled)
    seen: set[int] = set()
    expected = []
    for i, _ in picks:
        expected.append('known' if i in known else 'duplicate' if i in seen else '')
        seen.add(i)
    assert report.causes.tolist() == expected


def test_the_tolerance_decides_what_is_a_near_duplicate() -> None:
    frames = Frames.from_atoms([rattled(1.0, 1), rattled(1.0, 1), rattled(1.01, 1)])
    nearly = frames.replace(positions=frames.positions + np.random.default_rng(5).normal(scale=1e-3, size=(12, 3)))
    assert check_novelty(nearly, 0.02).rejected == {'duplicate': 1}
    assert check_novelty(nearly, 1e-5).rejected == {}
    assert check_novelty(nearly, 0.5).rejected == {'duplicate': 2}


def close(seed: int) -> Atoms:
    atoms = rattled(1.0, seed)
    atoms.positions[1] = atoms.positions[0] + 0.5
    return atoms


def judge(images: list[Atoms], walkers: str, spare: str, known: list[Atoms] | None = None) -> list[str]:
    report = guard_walkers(
        Frames.from_atoms(images),
        np.array(list(walkers)),
        np.array([mark == 's' for mark in spare]),
        closest=0.7,
        tolerance=0.02,
        known=Frames.from_atoms(known) if known else None,
    )
    return report.causes.tolist()


def test_spare_frames_are_left_out_where_something_passes() -> None:
    images = [rattled(1, 1), close(2), rattled(1, 3), rattled(1, 4)]
    assert judge(images, 'aaaa', '..ss') == ['', 'short_distance', 'spare', 'spare']


def test_the_last_acceptable_spare_frame_stands_in() -> None:
    images = [close(1), rattled(1, 2), rattled(1, 3), close(4), rattled(1, 5)]
    assert judge(images, 'aaaab', '.sss.') == ['short_distance', 'spare', '', 'spare', '']
    # One that is labelled already is no way out, the one before it is.
    assert judge(images, 'aaaab', '.sss.', [rattled(1, 3)]) == ['short_distance', '', 'spare', 'spare', '']
    # The way out of one walker is no candidate of the other.
    assert judge([close(1), close(2), rattled(1, 3), rattled(1, 3)], 'abab', '..ss') == [
        *('short_distance', 'short_distance', '', 'spare')
    ]


def test_a_walker_whose_frames_another_one_has_needs_no_way_out() -> None:
    images = [rattled(1, 1), moved(rattled(1, 1), 2), rattled(1, 3)]
    assert judge(images, 'abb', '..s') == ['', 'duplicate', 'spare']


def test_a_walker_whose_frames_are_all_labelled_falls_back() -> None:
    assert judge([rattled(1, 1), rattled(1, 2)], 'aa', '.s', [rattled(1, 1)]) == ['known', '']


def energies(per_atom: list[float], walkers: str, visited: str, **limits: float | None) -> list[str]:
    frames = Frames.from_atoms([rattled(1, seed) for seed in range(len(per_atom))])
    frames = frames.replace(grade=np.repeat(np.arange(len(per_atom), dtype='f8'), 4))
    return check_energies(
        frames,
        4 * np.array(per_atom),
        np.array(list(walkers)),
        np.array([mark == 'v' for mark in visited]),
        **{'window': 1.0} | limits,
    ).causes.tolist()


def test_energies_are_compared_with_those_that_the_same_walker_visited() -> None:
    per_atom = [-3.0, -3.1, -9.0, -2.2, -1.9, 5.0, 5.9]
    causes = energies(per_atom, 'aaaaabb', 'vvv..v.')
    assert causes == ['', '', 'energy_window', '', 'energy_window', '', '']
    assert set(energies(per_atom, 'aaaaabb', 'vvv..v.', window=None)) == {''}


def test_a_walker_keeps_the_best_when_no_energy_is_acceptable() -> None:
    # The median of what it visited, 1, is nobody's energy.
    assert energies([-4.0, 6.0, 20.0], 'aaa', 'vv.') == ['', 'energy_window', 'energy_window']
    assert energies([1.0, 1.5, 5.0], 'abb', 'vvv', window=5.0, max_grade=0.5) == ['', '', 'grade']


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from('abc'), st.booleans(), st.floats(-1e3, 1e3)), min_size=1, max_size=10),
    st.floats(1e-3, 1e3),
    st.one_of(st.none(), st.floats(0.1, 10)),
)
def test_no_window_empties_a_walker(
    frames: list[tuple[str, bool, float]], window: float, max_grade: float | None
) -> None:
    walkers = ''.join(walker for walker, *_ in frames)
    visited = ''.join('v' if is_visited else '.' for _, is_visited, _ in frames)
    causes = energies([energy for *_, energy in frames], walkers, visited, window=window, max_grade=max_grade)
    assert {walker for walker, cause in zip(walkers, causes, strict=True) if not cause} == set(walkers)


def test_hundreds_of_frames_are_judged_in_a_second() -> None:
    rng = np.random.default_rng(1)
    images = [rattled(1, seed, 0.2) * (2, 1, 1) for seed in range(200)]
    known = [rattled(1, seed, 0.2) * (2, 1, 1) for seed in range(1000, 1200)]
    known += [bulk('Al', cubic=True, a=a) * (2, 2, 2) for a in rng.uniform(4, 5, size=200)]
    start = time.perf_counter()
    causes = judge(images, 'a' * 200, '.' * 200, known)
    assert time.perf_counter() - start < 2  # half of it on an idle machine
    assert causes == [''] * 200
