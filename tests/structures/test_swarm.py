import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from ase.units import kB
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.structures.fingerprint import duplicate_indices, near_duplicate_indices
from aiida_pace.structures.shares import split_count
from aiida_pace.structures.swarm import (
    hessian_displacements,
    hessian_from_forces,
    mode_swarm,
    normal_modes,
    rattle_swarm,
)

STEP = 0.005


def hessian_of(atoms: Atoms) -> np.ndarray:
    """Hessian under the effective-medium potential of ASE, in eV/Å²."""
    forces = []
    for image in hessian_displacements(atoms, STEP):
        image.calc = EMT()
        forces.append(image.get_forces())
    return hessian_from_forces(np.array(forces), STEP)


def too_close(atoms: Atoms, closest: float) -> bool:
    radii = [closest * (1 - 1e-9) * covalent_radii[number] for number in atoms.numbers]
    return len(neighbor_list('i', atoms, radii)) > 0


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 30), st.floats(0.05, 0.6), st.integers(0, 2**32), st.sampled_from(['Al', 'Si', 'W']))
def test_rattled_copies_are_distinct_and_without_overlaps(
    count: int, amplitude: float, seed: int, element: str
) -> None:
    atoms = bulk(element, cubic=True)
    swarm = rattle_swarm(atoms, count, amplitude, np.random.default_rng(seed))
    assert len(swarm) == count
    assert set(swarm.origin) == {'swarm/rattle'}
    assert duplicate_indices(swarm) == near_duplicate_indices(swarm, 1e-3) == []
    assert not any(too_close(image, 0.7) for image in swarm)


def test_rattling_has_the_amplitude_asked_for_and_keeps_the_cell() -> None:
    atoms = bulk('Al', cubic=True).repeat(2)
    swarm = rattle_swarm(atoms, 40, 0.1, np.random.default_rng(1))
    steps = np.array([image.positions - atoms.positions for image in swarm])
    assert steps.std() == pytest.approx(0.1, rel=0.05)
    assert all(np.array_equal(image.cell.array, atoms.cell.array) for image in swarm)


def test_same_seed_same_swarm() -> None:
    swarms = [rattle_swarm(bulk('Al'), 3, 0.1, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(swarms[0].positions, swarms[1].positions)
    assert not np.array_equal(swarms[0].positions, swarms[2].positions)


def test_candidates_have_the_weights_of_the_structure_but_not_its_labels() -> None:
    atoms = bulk('Cu', cubic=True)
    hessian = hessian_of(atoms)
    atoms.set_array('force_weight', np.array([1.0, 0, 0, 0.5]))
    atoms.set_array('grade', np.full(4, 9.0))
    atoms.info |= {'weight': 0.0, 'origin': 'embedded/halt', 'label_uuid': 'of another structure'}
    atoms.calc = EMT()
    atoms.get_forces()
    rng = np.random.default_rng(1)
    for swarm, origin in (
        (rattle_swarm(atoms, 3, 0.1, rng), 'swarm/rattle'),
        (mode_swarm(atoms, 3, hessian, 300, rng), 'swarm/modes'),
    ):
        assert swarm.force_weight.reshape(3, 4).tolist() == [[1, 0, 0, 0.5]] * 3
        assert swarm.weight.tolist() == [0] * 3
        assert swarm.origin.tolist() == [origin] * 3
        assert swarm.label_uuid.tolist() == [''] * 3
        assert swarm.grade is None
        assert not swarm.is_labelled


@given(st.integers(0, 200), st.lists(st.floats(0, 1e6), min_size=1, max_size=5).filter(any))
def test_a_split_loses_nothing_and_is_as_even_as_whole_numbers_can_be(count: int, shares: list[float]) -> None:
    split = split_count(count, {str(index): share for index, share in enumerate(shares)})
    assert sum(split.values()) == count
    for index, share in enumerate(shares):
        assert abs(split[str(index)] - count * share / sum(shares)) < 1 + 1e-9
        assert share > 0 or split[str(index)] == 0


def test_the_usual_split() -> None:
    shares = {'rattle': 2, 'burst': 1, 'modes': 1}
    assert split_count(20, shares) == {'rattle': 10, 'burst': 5, 'modes': 5}
    assert split_count(6, shares) == {'rattle': 3, 'burst': 2, 'modes': 1}
    assert split_count(1, shares) == {'rattle': 1, 'burst': 0, 'modes': 0}


def test_a_structure_with_overlaps_gives_no_copies_instead_of_waiting_for_ever() -> None:
    atoms = Atoms('Al3', [[0, 0, 0], [0.4, 0, 0], [0, 0.4, 0]], cell=[9, 9, 9], pbc=True)
    assert len(rattle_swarm(atoms, 5, 0.05, np.random.default_rng(1))) == 0


def test_hessian_agrees_with_the_curvature_of_the_energy() -> None:
    atoms = bulk('Cu', cubic=True)
    atoms.rattle(0.05, seed=1)
    hessian = hessian_of(atoms)
    direction = np.random.default_rng(1).normal(size=(4, 3))
    energies = []
    for amount in (-0.02, 0, 0.02):
        image = atoms.copy()
        image.positions += amount * direction
        image.calc = EMT()
        energies.append(image.get_potential_energy())
    curvature = (energies[0] - 2 * energies[1] + energies[2]) / 0.02**2
    assert direction.ravel() @ hessian @ direction.ravel() == pytest.approx(curvature, rel=2e-3)
    assert np.array_equal(hessian, hessian.T)


def test_forces_that_fit_no_structure_are_refused() -> None:
    with pytest.raises(ValueError, match='60 components of forces'):
        hessian_from_forces(np.zeros((20, 3)), STEP)


def test_modes_leave_out_rigid_motions() -> None:
    crystal = bulk('Cu', cubic=True)
    values, vectors = normal_modes(crystal, hessian_of(crystal))
    assert (values.shape, vectors.shape) == ((9,), (9, 4, 3))
    assert values.min() > 0.01
    weighted = vectors * np.sqrt(crystal.get_masses())[:, None]
    assert np.einsum('aix,bix->ab', weighted, weighted) == pytest.approx(np.eye(9), abs=1e-9)
    assert np.abs(np.einsum('aix,i->ax', vectors, crystal.get_masses())).max() < 1e-8
    for name, count in (('CO', 1), ('H2O', 3)):
        cluster = molecule(name)
        values, vectors = normal_modes(cluster, hessian_of(cluster))
        assert len(values) == count
        spin = np.einsum('ix,aiy,i->axy', cluster.positions, vectors, cluster.get_masses())
        assert np.abs(spin - spin.swapaxes(1, 2)).max() < 1e-6


def test_frequency_of_a_dimer_is_that_of_its_reduced_mass() -> None:
    dimer = Atoms('CuAl', [[0, 0, 0], [2.3, 0, 0]])
    spring = 3.0
    hessian = np.zeros((6, 6))
    hessian[0, 0] = hessian[3, 3] = spring
    hessian[0, 3] = hessian[3, 0] = -spring
    values, vectors = normal_modes(dimer, hessian)
    heavy, light = dimer.get_masses()
    assert values == pytest.approx([spring * (1 / heavy + 1 / light)])
    assert vectors[0, 1, 0] / vectors[0, 0, 0] == pytest.approx(-heavy / light)


def test_amplitudes_are_thermal() -> None:
    atoms = bulk('Cu', cubic=True).repeat(2)
    hessian = hessian_of(atoms)
    swarm = mode_swarm(atoms, 120, hessian, 300, np.random.default_rng(1))
    steps = np.array([(image.positions - atoms.positions).ravel() for image in swarm])
    energies = np.einsum('fa,ab,fb->f', steps, hessian, steps) / 2
    # Equipartition: half of kT for each of the 3 N - 3 modes in the copies that move along all of them.
    assert energies[::2].mean() == pytest.approx((3 * len(atoms) - 3) / 2 * kB * 300, rel=0.1)
    assert 0.2 < energies[1::2].mean() / (kB * 300) < 1.5
    assert len(swarm) == 120
    assert duplicate_indices(swarm) == near_duplicate_indices(swarm, 1e-4) == []
    assert set(swarm.origin) == {'swarm/modes'}


def test_unstable_and_soft_modes_are_favoured() -> None:
    atoms = bulk('Cu', 'sc', a=2.4).repeat(2)
    hessian = hessian_of(atoms)
    values, vectors = normal_modes(atoms, hessian)
    assert values[0] < 0 < values[-1]
    swarm = mode_swarm(atoms, 80, hessian, 300, np.random.default_rng(1), largest=0.3)
    steps = np.array([image.positions - atoms.positions for image in swarm])
    amplitudes = np.einsum('fix,aix,i->fa', steps, vectors, atoms.get_masses())
    lengths = np.abs(amplitudes) * np.linalg.norm(vectors, axis=-1).max(axis=-1)
    unstable = values < 0
    assert lengths[:, unstable].mean() > 2 * lengths[:, ~unstable].mean()
    # The copies that move along one mode.
    chosen = np.argmax(np.abs(amplitudes[1::2]), axis=1)
    assert np.mean(unstable[chosen]) > 1.5 * np.mean(unstable)
    assert np.linalg.norm(steps, axis=-1).max() <= 3 * 0.3 + 1e-9
    assert not any(too_close(image, 0.7) for image in swarm)


def test_one_atom_in_a_crystal_has_no_mode() -> None:
    atoms = bulk('Cu')
    assert len(mode_swarm(atoms, 5, np.zeros((3, 3)), 300, np.random.default_rng(1))) == 0
