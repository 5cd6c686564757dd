import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import near_duplicate_indices
from aiida_pace.structures.initial import generate_initial_set


def structure(count: int, periodic: bool, seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    cell = (np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))) * (18 * count) ** (1 / 3)
    symbols = rng.choice(['Al', 'Si'], size=count)
    return Atoms(symbols, scaled_positions=rng.uniform(size=(count, 3)), cell=cell, pbc=periodic)


def moved(atoms: Atoms, seed: int) -> Atoms:
    """The same structure, rotated or reflected, shifted, its atoms in another order and its cell chosen differently."""
    rng = np.random.default_rng(seed)
    turn = Rotation.random(None, rng).as_matrix() * rng.choice([-1, 1])
    order = rng.permutation(len(atoms))
    lower, upper = np.tril(rng.integers(-1, 2, (3, 3)), -1), np.triu(rng.integers(-1, 2, (3, 3)), 1)
    cell = (np.eye(3) + lower) @ (np.eye(3) + upper) @ atoms.cell.array
    positions = atoms.positions[order] + rng.uniform(-9, 9, 3)
    other = Atoms(numbers=atoms.numbers[order], positions=positions @ turn, cell=cell @ turn, pbc=atoms.pbc)
    if atoms.pbc.all():
        other.wrap()
    return other


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([1, 2, 5, 16, 60]), st.booleans(), st.integers(0, 2**32), st.integers(0, 2**32))
def test_rigid_motions_and_choices_of_the_cell_do_not_count(count: int, periodic: bool, seed: int, motion: int) -> None:
    atoms = structure(count, periodic, seed)
    assert near_duplicate_indices(Frames.from_atoms([atoms, moved(atoms, motion)]), 1e-4) == [1]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([2, 8, 60]), st.integers(0, 2**32), st.sampled_from([0.01, 0.1, 0.4]))
def test_moves_below_half_the_tolerance_do_not_count(count: int, seed: int, tolerance: float) -> None:
    atoms = structure(count, True, seed)
    rng = np.random.default_rng(seed)
    other = moved(atoms, seed + 1)
    steps = rng.normal(size=(count, 3))
    other.positions += 0.499 * tolerance * steps / np.linalg.norm(steps, axis=1, keepdims=True)
    assert near_duplicate_indices(Frames.from_atoms([atoms, other]), tolerance) == [1]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([2, 8, 60]), st.integers(0, 2**32))
def test_one_atom_moved_beyond_the_tolerance_counts(count: int, seed: int) -> None:
    atoms = structure(count, True, seed)
    other = atoms.copy()
    distances = atoms.get_all_distances(mic=True)[0]
    nearest = int(np.argsort(distances)[1])
    towards = atoms.get_distance(0, nearest, mic=True, vector=True)
    other.positions[0] -= 0.2 * towards / np.linalg.norm(towards)
    assert near_duplicate_indices(Frames.from_atoms([atoms, other]), 0.02) == []


def test_structures_with_equal_first_shells_are_told_apart() -> None:
    fcc = bulk('Al', 'fcc', a=4.0).repeat((1, 1, 2))
    hcp = bulk('Al', 'hcp', a=4.0 / 2**0.5, c=4.0 / 2**0.5 * (8 / 3) ** 0.5)
    assert near_duplicate_indices(Frames.from_atoms([fcc, hcp]), 0.05) == []


def test_elements_and_their_arrangement_count() -> None:
    chain = bulk('Al', cubic=True)
    layered, mixed, other = (chain.copy() for _ in range(3))
    layered.numbers = [13, 13, 14, 14]
    mixed.numbers = [13, 14, 14, 14]
    other.numbers = [14, 14, 13, 13]
    frames = Frames.from_atoms([chain, layered, mixed, other])
    # Both layered ones are the same, seen from another origin.
    assert near_duplicate_indices(frames, 0.05) == [3]
    rows = bulk('Al').repeat((1, 1, 4))
    together, alternating = rows.copy(), rows.copy()
    together.numbers, alternating.numbers = [13, 13, 14, 14], [13, 14, 13, 14]
    assert near_duplicate_indices(Frames.from_atoms([together, alternating]), 0.05) == []


def test_atoms_count_with_what_surrounds_each_not_only_on_average() -> None:
    # Within this cutoff only the bonds are seen: the same four in both frames, but in other pairs.
    def two_molecules(one: tuple[float, float], two: tuple[float, float]) -> Atoms:
        positions = [[0, 0, 0], [one[0], 0, 0], [-one[1], 0, 0], [0, 50, 0], [two[0], 50, 0], [-two[1], 50, 0]]
        return Atoms('SiH2SiH2', positions, pbc=False)

    frames = Frames.from_atoms([two_molecules((1, 2), (1.5, 2.5)), two_molecules((1, 2.5), (1.5, 2))])
    assert near_duplicate_indices(frames, 0.05, cutoff=2.6) == []
    assert near_duplicate_indices(frames, 0.51, cutoff=2.6) == [1]


def test_the_box_of_what_is_not_periodic_does_not_count() -> None:
    dimer = Atoms('Al2', [[0, 0, 0], [2.5, 0, 0]], cell=[9, 9, 9])
    boxed = Atoms('Al2', [[3, 1, 1], [3, 3.5, 1]], cell=[12, 12, 12])
    periodic = Atoms('Al2', [[0, 0, 0], [2.5, 0, 0]], cell=[9, 9, 9], pbc=True)
    assert near_duplicate_indices(Frames.from_atoms([dimer, boxed, periodic]), 0.01) == [1]


def test_repeats_are_found_behind_any_number_of_others() -> None:
    frames = generate_initial_set(['Al', 'Si'], 150, seed=1)
    assert near_duplicate_indices(frames, 1e-3) == []
    twice = Frames.concatenate([frames, Frames.from_atoms([moved(atoms, i) for i, atoms in enumerate(frames)])])
    assert near_duplicate_indices(twice, 1e-3) == list(range(150, 300))


def test_known_frames_count_as_kept_and_are_not_reported() -> None:
    frames = generate_initial_set('Si', 30, seed=1)
    known = Frames.concatenate([frames.take([4, 4, 9]), generate_initial_set('Al', 5, seed=1)])
    assert near_duplicate_indices(frames, 1e-3, known=known) == [4, 9]
    assert near_duplicate_indices(frames, 1e-3, known=Frames.from_atoms([])) == []


def test_a_tolerance_that_is_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match='give a length above 0'):
        near_duplicate_indices(Frames.from_atoms([bulk('Al')]), 0.0)
