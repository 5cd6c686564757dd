"""What a fit is made of: reference energies, weights, the choice of watched frames, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_pace.config import TrainingConfig
from aiida_pace.frames import Frames
from aiida_pace.training.training_set import (
    TrainingSetError,
    few_atoms,
    isolated_atom_energies,
    learned_atoms,
    learned_environments,
    training_plan,
    training_set,
)

UNIFORM = TrainingConfig()


def frame(
    symbols: str, energy: float, *, pbc: bool | tuple[bool, ...] = True, force: float = 0.0, weight: float = 1.0
) -> Atoms:
    atoms = Atoms(symbols, cell=[6, 6, 6], pbc=pbc)
    atoms.positions[:, 0] = 2.0 * np.arange(len(atoms))
    atoms.positions[:, 1] = energy * 1e-3
    atoms.info['weight'] = weight
    forces = np.zeros((len(atoms), 3))
    forces[0, 2] = force
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def frames(*images: Atoms) -> Frames:
    return Frames.from_atoms(images)


SI, C = frame('Si', -100.0, pbc=False), frame('C', -9.0, pbc=False)


class TestReferenceEnergies:
    def test_isolated_atoms_give_them_and_are_left_out_of_the_fit(self) -> None:
        chosen = training_set(frames(frame('SiC', -112.0), SI, C), UNIFORM)
        assert chosen.reference_energies == {'C': -9.0, 'Si': -100.0}
        assert chosen.fit.sizes.tolist() == [2]

    def test_one_periodic_atom_is_a_crystal_unless_its_box_is_larger_than_the_cutoff(self) -> None:
        crystal_and_box = frames(frame('Si', -105.0), frame('Si', -100.0))
        cells = [4 * np.eye(3), 20 * np.eye(3)]
        chosen = training_set(crystal_and_box.replace(cells=cells), UNIFORM)
        assert chosen.fit.energy.tolist() == [-105.0]
        assert chosen.reference_energies == {'Si': -100.0}

    def test_a_periodic_atom_may_be_named_isolated(self) -> None:
        both = frames(frame('Si', -105.0), frame('Si', -100.0))
        both = both.replace(cells=[4 * np.eye(3)] * 2, origin=['user', 'isolated_atom'])
        assert training_set(both, UNIFORM).reference_energies == {'Si': -100.0}

    def test_given_ones_come_first(self) -> None:
        config = TrainingConfig(reference_energies={'Si': -1.0})
        assert training_set(frames(frame('Si2', -205.0), SI), config).reference_energies == {'Si': -1.0}

    def test_those_of_the_potential_stand_in(self) -> None:
        chosen = training_set(frames(frame('Si2', -205.0), SI), UNIFORM, {'C': -8.5, 'Si': -99.0})
        assert chosen.reference_energies == {'C': -8.5, 'Si': -100.0}

    def test_a_missing_one_is_refused(self) -> None:
        with pytest.raises(
            TrainingSetError, match='no reference energy of C: add a labelled frame of one atom, not per'
        ):
            training_set(frames(frame('SiC', -112.0), SI), UNIFORM)
        with pytest.raises(TrainingSetError, match='no reference energy of C: add it to `reference_energies`'):
            training_set(frames(frame('SiC', -112.0)), TrainingConfig(reference_energies={'Si': 1.0}))

    def test_isolated_atoms_that_disagree_are_refused(self) -> None:
        with pytest.raises(TrainingSetError, match=r'isolated Si atoms of -100\.0 eV and -99\.9 eV'):
            isolated_atom_energies(frames(SI, frame('Si', -99.9, pbc=False)))

    def test_frames_without_labels_have_none(self) -> None:
        assert isolated_atom_energies(Frames.from_atoms([Atoms('Si')])) == {}


class TestWeights:
    def test_the_uniform_policy_changes_nothing(self) -> None:
        given = frames(frame('Si2', -205.0, weight=0.25, force=3.0), frame('Si2', -201.0))
        chosen = training_set(given, TrainingConfig(reference_energies={'Si': -100.0}))
        assert chosen.fit.weight.tolist() == [0.25, 1.0]
        assert chosen.fit.force_weight.tolist() == [1.0] * 4

    def test_the_energy_policy_lowers_high_energies_and_large_forces(self) -> None:
        config = TrainingConfig(
            weighting='energy', reference_energies={'Si': -100.0}, energy_scale=2.0, force_scale=3.0
        )
        lowest, high = frame('Si2', -205.0), frame('Si2', -201.0, force=3.0, weight=0.5)
        chosen = training_set(frames(lowest, high), config).fit
        np.testing.assert_allclose(chosen.weight, [1.0, 0.5 / 4])
        np.testing.assert_allclose(chosen.force_weight, [1.0, 1.0, 0.25 / 2, 0.25])

    def test_the_energy_policy_compares_energies_without_those_of_the_atoms(self) -> None:
        config = TrainingConfig(weighting='energy', reference_energies={'Si': -100.0, 'C': -9.0})
        chosen = training_set(frames(frame('Si2', -204.0), frame('SiC', -113.0)), config).fit
        np.testing.assert_allclose(chosen.weight, [1.0, 1.0])

    def test_weights_of_zero_everywhere_are_refused(self) -> None:
        with pytest.raises(TrainingSetError, match='are 0: give some frames a weight'):
            training_set(frames(frame('Si2', -205.0, weight=0.0), SI), UNIFORM)

    def test_a_fit_learns_from_forces_or_from_the_energy_of_the_frame(self) -> None:
        given = frames(frame('Si2', -205.0), frame('Si2', -204.0, weight=0.0), frame('Si2', -203.0, weight=0.0))
        given = given.replace(force_weight=np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]))
        assert learned_atoms(given).tolist() == [True, True, False, True, False, False]


class TestWatchedFrames:
    def test_fit_and_watch_share_the_frames(self) -> None:
        given = frames(SI, *(frame('Si2', -205.0 - 0.1 * index) for index in range(20)))
        config = TrainingConfig(test_fraction=0.25, seed=3)
        chosen = training_set(given, config)
        assert chosen.watch is not None
        assert (len(chosen.fit), len(chosen.watch)) == (15, 5)
        assert sorted([*chosen.fit.energy, *chosen.watch.energy]) == sorted(given.energy[1:])

    def test_the_seed_alone_decides(self) -> None:
        given = frames(SI, *(frame('Si2', -205.0 - 0.1 * index) for index in range(20)))
        energies = [
            training_set(given, TrainingConfig(test_fraction=0.25, seed=seed)).watch.energy.tolist()
            for seed in (1, 1, 2)
        ]
        assert energies[0] == energies[1] != energies[2]

    def test_frames_not_trusted_in_every_atom_are_never_watched(self) -> None:
        untrusted = [frame('Si2', -205.0 - 0.1 * index, weight=0.0) for index in range(20)]
        given = frames(SI, frame('Si2', -203.0), frame('Si2', -203.5), *untrusted)
        chosen = training_set(given, TrainingConfig(test_fraction=0.5))
        assert len(chosen.watch) == 1
        assert chosen.watch.weight[0] == 1

    def test_none_is_watched_by_default(self) -> None:
        assert training_set(frames(SI, frame('Si2', -205.0)), UNIFORM).watch is None


class TestRefusals:
    def test_frames_without_labels(self) -> None:
        with pytest.raises(TrainingSetError, match='label them first'):
            training_set(Frames.from_atoms([Atoms('Si2', [[0, 0, 0], [2, 0, 0]])]), UNIFORM)

    def test_isolated_atoms_alone(self) -> None:
        with pytest.raises(TrainingSetError, match='nothing but isolated atoms'):
            training_set(frames(SI), UNIFORM)


class TestEnvironments:
    @staticmethod
    def counts(*images: Atoms, cutoff: float = 4.0) -> dict[str, int]:
        return learned_environments(Frames.from_atoms(list(images), origin='test'), cutoff)

    def test_atoms_without_neighbours_do_not_count(self) -> None:
        near, far = (Atoms('AlSi', [[0, 0, 0], [0, 0, distance]]) for distance in (3.9, 4.1))
        assert self.counts(near) == {'Al': 1, 'Si': 1}
        assert self.counts(far) == {'Al': 0, 'Si': 0}
        assert self.counts(far, cutoff=4.2) == {'Al': 1, 'Si': 1}
        assert self.counts(Atoms('Al'), Atoms('Al2Si', [[0, 0, 0], [0, 0, 2], [9, 0, 0]])) == {'Al': 2, 'Si': 0}

    def test_images_are_neighbours(self) -> None:
        assert self.counts(Atoms('Si', cell=[3.9, 9, 9], pbc=True)) == {'Si': 1}
        assert self.counts(Atoms('Si', cell=[3.9, 9, 9], pbc=[False, True, True])) == {'Si': 0}
        assert self.counts(Atoms('Si', cell=[9, 9, 9], pbc=True)) == {'Si': 0}
        across = Atoms('SiAl', [[0.5, 0, 0], [8.5, 0, 0]], cell=[9, 9, 9], pbc=True)
        assert self.counts(across) == {'Al': 1, 'Si': 1}

    def test_atoms_of_no_weight_do_not_count(self) -> None:
        atoms = Atoms('Si3', [[0, 0, 0], [0, 0, 2], [0, 0, 4]])
        atoms.set_array('force_weight', np.array([1.0, 0.0, 0.5]))
        atoms.info['weight'] = 0.0
        assert self.counts(atoms) == {'Si': 2}

    def test_an_element_with_too_few_atoms_is_named(self) -> None:
        assert few_atoms({'Si': 2}, 4) == {}
        assert few_atoms({'Al': 2, 'Si': 3}, 4) == {
            'Al': 'they hold 2 atoms of Al with neighbours that a fit learns from, the smallest basis for Al, Si needs '
            '3: add frames with Al'
        }


def test_an_element_without_a_number_of_functions() -> None:
    config = TrainingConfig(functions_per_element={'Al': 10})
    with pytest.raises(TrainingSetError, match='`functions_per_element` has no number for Si: add one'):
        training_plan(config, ['Al', 'Si'])
