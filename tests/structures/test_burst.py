import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.units import kB

from aiida_pace.structures.burst import PATIENCE, PER_BURST, Bursts, burst_swarm
from aiida_pace.structures.fingerprint import near_duplicate_indices
from aiida_pace.structures.guards import closest_approach


class Made(Calculator):
    """Forces by a function of the atoms and of the number of calls."""

    implemented_properties = ['energy', 'forces']  # noqa: RUF012

    def __init__(self, forces) -> None:
        super().__init__()
        self.forces, self.calls = forces, 0

    def calculate(self, atoms=None, properties=('energy',), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        self.results = {'energy': 0.0, 'forces': self.forces(self.atoms, self.calls)}


def run(atoms: Atoms, count: int, calculator: Calculator | None = None, seed: int = 1, **changed: float) -> Bursts:
    settings = {'temperature': 600.0, 'steps': 40, 'timestep': 2.0, **changed}
    return burst_swarm(atoms, count, calculator or EMT(), np.random.default_rng(seed), **settings)


def test_bursts_reach_the_temperature() -> None:
    crystal = bulk('Cu', cubic=True).repeat(3)
    bursts = run(crystal, 3, temperature=500.0, steps=60, timestep=5.0)
    energies = []
    for image in [crystal, *bursts.frames]:
        image.calc = EMT()
        energies.append(image.get_potential_energy())
    # Equipartition: a harmonic crystal has as much potential energy as kinetic.
    stored = (np.array(energies[1:]) - energies[0]) / len(crystal)
    assert stored[1:].mean() == pytest.approx(1.5 * kB * 500, rel=0.3)
    assert not bursts.stopped


def test_candidates_are_distinct_and_as_many_as_wanted() -> None:
    crystal = bulk('Cu', cubic=True)
    for count in (1, PER_BURST, PER_BURST + 1, 2 * PER_BURST + 1):
        frames = run(crystal, count).frames
        assert len(frames) == count
        assert set(frames.origin) == {'swarm/burst'}
        assert near_duplicate_indices(frames, 1e-3) == []
        assert all(np.abs(image.positions - crystal.positions).max() > 0.02 for image in frames)


def test_a_burst_shorter_than_its_candidates_is_followed_by_others() -> None:
    assert len(run(bulk('Cu', cubic=True), 2 * PER_BURST, steps=PER_BURST // 2).frames) == 2 * PER_BURST
    assert len(run(bulk('Cu', cubic=True), 2 * PER_BURST, steps=1).frames) == PATIENCE * 2


def test_weights_are_kept_and_the_seed_decides() -> None:
    atoms = bulk('Cu', cubic=True)
    atoms.set_array('force_weight', np.array([1.0, 0, 0.5, 0]))
    atoms.info['weight'] = 0.0
    one, same, other = (run(atoms, 3, seed=seed).frames for seed in (1, 1, 2))
    assert one.force_weight.reshape(3, 4).tolist() == [[1, 0, 0.5, 0]] * 3
    assert one.weight.tolist() == [0] * 3
    assert np.array_equal(one.positions, same.positions)
    assert not np.array_equal(one.positions, other.positions)


def attraction(atoms: Atoms, _: int) -> np.ndarray:
    """Pull the first two atoms together."""
    vector = atoms.get_distance(0, 1, mic=True, vector=True)
    forces = np.zeros((len(atoms), 3))
    forces[0], forces[1] = 0.3 * vector, -0.3 * vector
    return forces


def test_a_distance_too_short_ends_a_burst_that_keeps_what_it_has() -> None:
    atoms = bulk('Cu', cubic=True)
    bursts = run(atoms, 2 * PER_BURST, Made(attraction), steps=100)
    assert bursts.stopped.keys() == {'short_distance'}
    assert bursts.stopped.total() == 2 * PATIENCE
    assert 0 < len(bursts.frames) < 2 * PER_BURST
    for image in bursts.frames:
        assert closest_approach(image.numbers, image.positions, image.cell.array, image.pbc) >= 0.7


def test_a_structure_with_overlaps_gives_nothing() -> None:
    bursts = run(Atoms('Cu2', [[0, 0, 0], [1.0, 0, 0]]), 3)
    assert (len(bursts.frames), dict(bursts.stopped)) == (0, {'short_distance': PATIENCE})


def broken(_: Atoms, calls: int) -> np.ndarray:
    return np.full((4, 3), np.nan if calls > 20 else 0.0)


def refused(_: Atoms, calls: int) -> np.ndarray:
    if calls > 20:
        raise ValueError('such a structure is not known')
    return np.zeros((4, 3))


def exploding(_: Atoms, calls: int) -> np.ndarray:
    return np.eye(4, 3) * (1e4 if calls > 20 else 0.0)


@pytest.mark.parametrize(
    ('forces', 'cause'), [(broken, 'not_finite'), (refused, 'not_finite'), (exploding, 'exploded')]
)
def test_dynamics_that_fail_end_a_burst_that_keeps_what_it_has(forces, cause: str) -> None:
    bursts = run(bulk('Cu', cubic=True), PER_BURST, Made(forces), temperature=50.0)
    assert bursts.stopped.keys() == {cause}
    # The first burst got to the first of its candidates, the one after it to none.
    assert len(bursts.frames) == 1
    assert np.isfinite(bursts.frames.positions).all()
