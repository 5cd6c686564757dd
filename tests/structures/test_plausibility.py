"""Which imported frames are implausible, and that what is plausible passes."""

from __future__ import annotations

import typing as t

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from aiida_pace.frames import Frames
from aiida_pace.structures.plausibility import implausible_frames


def labelled(*images: Atoms, energy: float | list[float] = -4.0, force: float = 0.5, stress: t.Any = None) -> Frames:
    """Return frames with an energy per atom, a force on the first atom against that on the last, and a stress."""
    frames = Frames.from_atoms(images)
    forces = np.zeros((len(frames.numbers), 3))
    forces[frames.offsets[:-1]] += [0, 0, force]
    forces[frames.offsets[1:] - 1] -= [0, 0, force]
    stresses = None if stress is None else np.tile(stress, (len(frames), 1))
    return frames.replace(energy=energy * frames.sizes, forces=forces, stress=stresses)


def causes(frames: Frames) -> dict[int, str]:
    return {index: cause for index, (cause, _) in implausible_frames(frames).items()}


def displaced(symbol: str = 'Si', a: float | None = None, seed: int = 0) -> Atoms:
    atoms = bulk(symbol, a=a, cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


class TestDistances:
    @pytest.mark.parametrize(('symbols', 'distance'), [('H2', 0.33), ('Si2', 1.2), ('O2', 0.7), ('HO', 0.5)])
    def test_half_a_bond_is_the_limit(self, symbols: str, distance: float) -> None:
        close, far = (Atoms(symbols, [[0, 0, 0], [0, 0, factor * distance]]) for factor in (1, 1.15))
        (_, place) = implausible_frames(labelled(close, far))[0]
        assert place == f'atoms 0 and 1, {distance:.2f} Å'
        assert list(implausible_frames(labelled(close, far))) == [0]

    def test_across_the_face_of_a_cell(self) -> None:
        atoms = Atoms('Si2', [[0, 0, 0.1], [0, 0, 5.7]], cell=[6, 6, 6], pbc=True)
        assert implausible_frames(labelled(atoms))[0][1] == 'atoms 0 and 1, 0.40 Å'

    def test_an_atom_and_its_image(self) -> None:
        atoms = Atoms('Si', cell=[6, 6, 1], pbc=True)
        assert implausible_frames(labelled(atoms))[0][1] == 'atom 0 and its image, 1.00 Å'

    def test_frames_without_labels_are_looked_at_too(self) -> None:
        assert list(implausible_frames(Frames.from_atoms([bulk('Si'), Atoms('Si2')]))) == [1]

    @pytest.mark.parametrize('name', ['H2', 'H2O', 'CO', 'N2', 'C6H6', 'HF', 'NaCl'])
    def test_molecules_pass(self, name: str) -> None:
        assert implausible_frames(Frames.from_atoms([molecule(name)])) == {}

    def test_an_element_without_a_radius_passes(self) -> None:
        assert implausible_frames(Frames.from_atoms([Atoms('Es2', [[0, 0, 0], [0, 0, 0.1]])])) == {}


class TestForces:
    def test_above_those_of_the_stiffest_dimer(self) -> None:
        assert causes(labelled(displaced(), force=99)) == {}
        assert implausible_frames(labelled(displaced(), force=5000))[0] == (
            'a force above 100 eV/Å',
            'atom 0, 5000 eV/Å',
        )

    def test_of_zero_where_nothing_makes_them_so(self) -> None:
        assert causes(labelled(displaced(), force=0)) == {0: 'all forces are 0 in a frame that is not symmetric'}
        assert causes(labelled(molecule('H2O'), force=0)) != {}

    @pytest.mark.parametrize(
        'atoms', [bulk('Si'), bulk('Cu', cubic=True), bulk('Mg'), bulk('NaCl', 'rocksalt', a=5.6) * 2, Atoms('Si')]
    )
    def test_of_zero_by_symmetry_pass(self, atoms: Atoms) -> None:
        atoms.positions = np.round(atoms.positions, 4)
        assert causes(labelled(atoms, force=0)) == {}


class TestEnergies:
    def test_of_no_such_atoms(self) -> None:
        """Above free atoms by 50 eV, or below what all electrons of Si are worth."""
        assert causes(labelled(displaced(), energy=1e3)) == {0: 'an energy that is impossible for these elements'}
        assert causes(labelled(displaced(), energy=-2e4)) == {0: 'an energy that is impossible for these elements'}
        assert causes(labelled(displaced(), energy=-7.9e3)) == {}

    def test_far_from_those_of_most_frames(self) -> None:
        images = [displaced(seed=seed) for seed in range(5)]
        assert causes(labelled(*images, energy=[-108, -107.5, -107, -140, -50])) == {
            3: 'an energy that contradicts most other frames',
            4: 'an energy that contradicts most other frames',
        }

    def test_of_two_frames_that_contradict_each_other_none_is_believed(self) -> None:
        images = [displaced(seed=seed) for seed in range(2)]
        assert list(causes(labelled(*images, energy=[-108, -2000]))) == [0, 1]


class TestStresses:
    def test_those_of_a_calculation_pass(self) -> None:
        images = []
        for index, a in enumerate((3.2, 3.5, 3.7, 4.0)):
            atoms = displaced('Cu', a=a, seed=index)
            atoms.calc = EMT()
            atoms.get_stress()
            images.append(atoms)
        assert causes(Frames.from_atoms(images)) == {}

    @pytest.mark.parametrize(('gigapascal', 'unit'), [(1.0, 'GPa, kbar'), (30.0, 'GPa, kbar'), (500.0, 'kbar, MPa')])
    def test_of_another_unit_are_told(self, gigapascal: float, unit: str) -> None:
        frames = labelled(displaced(), displaced(seed=1), stress=[gigapascal] * 3 + [0] * 3)
        assert all(f'likely in {unit} or virials' in cause for cause in causes(frames).values())
        assert list(causes(frames)) == [0, 1]

    def test_of_one_frame_alone(self) -> None:
        frames = labelled(*(displaced(seed=seed) for seed in range(4)), stress=[0.05, 0.05, 0.05, 0, 0, 0])
        stress = frames.stress.copy()  # type: ignore[union-attr]
        stress[2, 0] = 8
        assert causes(frames.replace(stress=stress)) == {2: 'an implausible stress'}


def test_nothing_at_all() -> None:
    assert implausible_frames(Frames.from_atoms([])) == {}
