"""Structures from elsewhere: what is taken, what is refused or set apart, and that nothing goes without a word."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.formats.exchange import Imported, LabelKeys, collect
from aiida_pace.formats.images import Fault, Image


def images(*structures: Atoms) -> list[tuple[str, int, Image | Fault]]:
    return [('memory', index, Image(atoms)) for index, atoms in enumerate(structures)]


def labelled(a: float = 4.0, symbol: str = 'Al', **results: t.Any) -> Atoms:
    """Return a cell with labels; ``results`` replace them, None removes one."""
    atoms = bulk(symbol, 'fcc', a=a)
    held = {'energy': -3.0, 'forces': [[0.1, 0.2, 0.3]], 'stress': np.arange(6.0) / 100} | results
    atoms.calc = SinglePointCalculator(atoms, **held)
    return atoms


def pair(distance: float = 2.0, **results: t.Any) -> Atoms:
    """Return a dimer in a box with labels; ``results`` replace them, None removes one."""
    atoms = Atoms('Al2', [[0, 0, 0], [0, 0, distance]], cell=[6, 6, 8], pbc=True)
    held = {'energy': -6.0, 'forces': [[0, 0, 0.5], [0, 0, -0.5]]} | results
    atoms.calc = SinglePointCalculator(atoms, **held)
    return atoms


def causes(imported: Imported) -> dict[int, str]:
    return {refusal.index: refusal.cause for refusal in imported.refusals}


class TestRefusals:
    @pytest.mark.parametrize(
        ('make', 'cause'),
        [
            (lambda: pair(forces=None), 'an energy without forces'),
            (lambda: pair(energy=None), 'forces without an energy'),
            (lambda: labelled(energy=np.nan), '`energy` holds a number that is not finite (NaN or infinity)'),
            (lambda: labelled(forces=[[0, np.inf, 0]]), '`forces` holds a number that is not finite (NaN or infinity)'),
            (lambda: labelled(stress=np.full(6, np.nan)), '`stress` holds a number that is not finite (NaN or infini'),
            (lambda: labelled(energy='low'), '`energy` is not numeric'),
            (lambda: labelled(energy=True), '`energy` is not numeric'),
            (lambda: labelled(forces=np.zeros((2, 3))), '`forces` has the shape (2, 3), expected (1, 3)'),
            (lambda: labelled(stress=np.zeros(3)), '`stress` has the shape (3,), expected (6,) or (3, 3) or (9,)'),
            (lambda: moved(labelled()), 'the calculator holds results of another structure'),
            (lambda: nowhere(labelled()), '`positions` holds a number that is not finite'),
            (lambda: Atoms('X', [[0, 0, 0]]), '`numbers` holds a value that is no atomic number (1 to 118)'),
            (Atoms, 'has no atoms'),
            (lambda: Atoms('Al', cell=[1, 1, 0], pbc=True), 'the cell vectors of its periodic directions span nothing'),
            (lambda: with_info(labelled(), weight=-1), '`weight` holds a negative weight'),
            (lambda: with_info(labelled(), weight='heavy'), 'column `weight` is of the type'),
            (lambda: with_array(labelled(), 'grade', [[1.0, 2.0]]), 'column `grade` has shape (1, 2), expected (1,)'),
        ],
    )
    def test_a_bad_frame_is_refused_and_its_neighbours_are_not(self, make: Callable[[], Atoms], cause: str) -> None:
        imported = collect(images(labelled(a=3.9), make(), labelled(a=4.1)))
        assert len(imported.frames) == 2
        assert list(causes(imported)) == [1]
        assert causes(imported)[1].startswith(cause)

    def test_forces_the_wrong_way_round_are_refused(self) -> None:
        """Their numbers are as many as those of the right shape."""
        atoms = bulk('Al') * (2, 1, 1)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((3, 2)))
        assert 'has the shape (3, 2)' in causes(collect(images(atoms)))[0]

    def test_frames_without_labels_beside_labelled_ones(self) -> None:
        given_ = images(bulk('Al', a=3.8), labelled(), bulk('Al', a=4.2))
        imported = collect(given_)
        assert causes(imported) == dict.fromkeys((0, 2), 'no energy and forces, which other frames have')
        assert imported.frames.is_labelled
        imported = collect(given_, labelled=False)
        assert len(imported.frames) == 3
        assert not imported.frames.is_labelled
        assert imported.ignored == {'energy': 1, 'forces': 1, 'stress': 1}

    def test_labels_can_be_demanded(self) -> None:
        imported = collect(images(bulk('Al', a=3.8), bulk('Al', a=4.2)), labelled=True)
        assert causes(imported) == dict.fromkeys((0, 1), 'no energy and forces')
        assert len(imported.frames) == 0
        assert len(collect(images(bulk('Al', a=3.8), bulk('Al', a=4.2))).frames) == 2

    def test_bad_labels_do_not_matter_when_none_are_wanted(self) -> None:
        imported = collect(images(pair(forces=None), moved(labelled())), labelled=False)
        assert imported.refusals == ()
        assert len(imported.frames) == 2

    def test_the_first_of_equal_structures_is_kept(self) -> None:
        again, contrary = labelled(), labelled(energy=-3.1)
        imported = collect(images(labelled(a=3.9), labelled(), again, contrary))
        assert causes(imported) == {2: 'repeats an earlier frame', 3: 'repeats an earlier frame, with other labels'}
        assert imported.frames.energy is not None
        assert imported.frames.energy.tolist() == [-3, -3]

    def test_an_implausible_frame_costs_no_equal_one_after_it(self) -> None:
        imported = collect(images(pair(forces=[[0, 0, 5e3], [0, 0, -5e3]]), pair(), pair(2.1), pair(2.2)))
        assert [refusal.kind for refusal in imported.refusals] == ['implausible']
        assert len(imported.frames) == 3

    def test_a_refused_frame_costs_no_equal_one_after_it(self) -> None:
        imported = collect(images(bulk('Al', 'fcc', a=4.0), labelled(energy=np.nan), labelled(), labelled(a=4.1)))
        assert sorted(causes(imported)) == [0, 1]
        assert len(imported.frames) == 2

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(['good', 'bare', 'half', 'twice', 'nan']), max_size=8))
    def test_every_frame_is_taken_or_refused(self, kinds: list[str]) -> None:
        make: dict[str, Callable[[int], Atoms]] = {
            'good': lambda index: labelled(a=4 + 0.01 * index),
            'bare': lambda index: bulk('Al', a=5 + 0.01 * index),
            'half': lambda index: pair(forces=None),
            'twice': lambda index: labelled(a=3.5),
            'nan': lambda index: labelled(a=6 + 0.01 * index, energy=np.nan),
        }
        imported = collect(images(*(make[kind](index) for index, kind in enumerate(kinds))))
        assert len(imported.frames) + len(imported.refusals) == len(kinds)
        assert len(causes(imported)) == len(imported.refusals)


class TestLeftOut:
    def test_a_stress_that_only_some_frames_have(self) -> None:
        imported = collect(images(labelled(a=3.9), labelled(stress=None), labelled(a=4.1)))
        assert imported.frames.stress is None
        assert imported.ignored == {'stress': 2}

    def test_what_a_set_has_no_place_for(self) -> None:
        atoms = labelled(dipole=[0, 0, 1])
        atoms.set_array('b_factors', np.ones(1))
        atoms.info['functional'] = 'pbe'
        atoms.set_constraint(FixAtoms([0]))
        imported = collect(images(atoms, labelled(a=4.1)))
        assert imported.ignored == {'b_factors': 1, 'constraints': 1, 'dipole': 1, 'functional': 1}

    def test_of_refused_frames_nothing_is_counted(self) -> None:
        assert collect(images(with_info(pair(forces=None), functional='pbe'), labelled())).ignored == {}

    def test_a_stress_alone(self) -> None:
        imported = collect(images(labelled(energy=None, forces=None)))
        assert not imported.frames.is_labelled
        assert imported.ignored == {'stress': 1}


class TestKeys:
    def test_labels_of_other_names(self) -> None:
        atoms = labelled(energy=1.0, forces=[[9, 9, 9]])
        atoms.info |= {'REF_energy': -7, 'REF_stress': np.array([1, 6, 5, 6, 2, 4, 5, 4, 3.0]) / 100}
        atoms.set_array('REF_forces', np.array([[1.0, 2, 3]]))
        keys = LabelKeys('REF_energy', 'REF_forces', 'REF_stress')
        imported = collect(images(atoms), keys=keys)
        assert imported.frames.energy == [-7]
        assert imported.frames.forces.tolist() == [[1, 2, 3]]  # type: ignore[union-attr]
        assert imported.frames.stress.tolist() == [[0.01, 0.02, 0.03, 0.04, 0.05, 0.06]]  # type: ignore[union-attr]
        assert imported.ignored == {'energy': 1, 'forces': 1, 'stress': 1}

    def test_no_stress_of_another_calculation(self) -> None:
        atoms = with_info(labelled(), REF_energy=-7.0)
        atoms.set_array('REF_forces', np.zeros((1, 3)))
        imported = collect(images(atoms), keys=LabelKeys('REF_energy', 'REF_forces'))
        assert imported.frames.stress is None
        assert 'stress' in imported.ignored

    def test_names_that_are_not_there_give_no_unlabelled_set(self) -> None:
        imported = collect(images(bulk('Al')), keys=LabelKeys('REF_enrgy', 'REF_forces'))
        assert causes(imported) == {0: 'no energy and forces'}

    def test_an_origin_is_given_to_those_without(self) -> None:
        given_ = images(with_info(labelled(), origin='halt'), labelled(a=4.1))
        assert collect(given_, origin='thesis').frames.origin.tolist() == ['halt', 'thesis']
        assert collect(given_).frames.origin.tolist() == ['halt', '']

    @pytest.mark.parametrize(
        ('energy', 'forces', 'stress'),
        [
            ('REF_energy', 'REF_forces', 'REF_stress'),
            ('ref_energy', 'ref_force', None),
            ('dft_energy', 'dft_forces', 'dft_stress'),
            ('DFT-energy', 'DFT-force', None),
            ('energy_dft', 'forces_dft', None),
            ('Energy', 'force', 'Stress'),
            ('ENERGY', 'FORCES', 'STRESS'),
            ('TotEnergy', 'force', None),
            ('total_energy', 'forces', 'stress'),
        ],
    )
    def test_well_known_pairs_are_taken_and_named(self, energy: str, forces: str, stress: str | None) -> None:
        imported = collect(images(named(energy, forces, stress)))
        assert imported.frames.energy == [-7]
        assert (imported.frames.stress is None) == (stress is None)
        assert f'Labels: energy from `{energy}`, forces from `{forces}`' in imported.notes[0]

    def test_those_of_ase_come_first(self) -> None:
        imported = collect(images(with_info(named('energy', 'forces'), REF_energy=-9.0, REF_forces=[[1, 1, 1]] * 2)))
        assert imported.frames.energy == [-7]
        assert imported.ignored == {'REF_energy': 1, 'REF_forces': 1}

    @pytest.mark.parametrize(
        ('atoms', 'words'),
        [
            (lambda: named('mace_energy', 'mace_forces'), ['`mace_energy`', '`mace_forces`', '--energy-key']),
            (lambda: named('E', 'F'), ['`E`', '`F`', '--energy-key']),
            (lambda: named('energy', 'F'), ['an energy without forces', '`F`', '--forces-key']),
            (lambda: named('energy', 'dft_forces'), ['an energy without forces', '`dft_forces`', '--forces-key']),
            (lambda: named('energy', 'fx'), ['an energy without forces', '`fx`', '--unlabelled']),
            (
                lambda: named('energy_per_atom', 'forces'),
                ['forces without an energy', '`energy_per_atom`: import without'],
            ),
            (lambda: named('free_energy', 'forces'), ['forces without an energy', '`free_energy`', '--energy-key']),
            (lambda: named('e\x1b[31m_energy', 'forces'), ['forces without an energy', r'`e\x1b[31m_energy`']),
        ],
    )
    def test_other_names_are_told_with_the_option(self, atoms: Callable[[], Atoms], words: list[str]) -> None:
        (cause,) = causes(collect(images(atoms()))).values()
        assert all(word in cause for word in words)
        assert '\x1b' not in cause

    def test_settings_are_not_taken_for_labels(self) -> None:
        atoms = with_info(bulk('Al'), energy_cutoff=500.0, force_threshold=0.01, gradient='PBE')
        assert len(collect(images(atoms)).frames) == 1

    def test_labels_of_two_calculations_are_not_chosen_between(self) -> None:
        atoms = with_info(named('REF_energy', 'REF_forces'), dft_energy=-9.0, dft_forces=[[1, 1, 1]] * 2)
        assert causes(collect(images(atoms)))[0].startswith(
            'labels with several names (`dft_energy`, `dft_forces`; `REF_'
        )
        assert collect(images(atoms), keys=LabelKeys('dft_energy', 'dft_forces')).frames.energy == [-9]
        atoms = with_info(named('Energy', 'forces'), TotEnergy=-9.0)
        assert causes(collect(images(atoms)))[0].startswith('several names for the energy (`Energy`, `TotEnergy`)')

    def test_one_label_twice_is_refused_when_its_numbers_differ(self) -> None:
        assert causes(collect(images(with_info(labelled(), energy=-4.0)))) == {
            0: '`energy` is given twice, with different numbers'
        }
        assert causes(collect(images(with_info(labelled(), Energy=-4.0))))
        assert not causes(collect(images(with_info(labelled(), energy=-3.0, Energy=-3.0))))
        assert not causes(collect(images(with_info(labelled(), Energy=-4.0)), keys=LabelKeys('energy', 'forces')))

    def test_an_energy_as_an_array_of_one_number(self) -> None:
        assert collect(images(named('energy', 'forces', energy=np.array([-7.0])))).frames.energy == [-7]


class TestTensors:
    def test_six_numbers_are_read_and_their_order_is_named(self) -> None:
        atoms = with_info(named('energy', 'forces'), stress=[0.001, 0.002, 0.003, 0.004, 0.005, 0.006])
        imported = collect(images(atoms))
        assert imported.frames.stress.tolist() == [[0.001, 0.002, 0.003, 0.004, 0.005, 0.006]]  # type: ignore[union-attr]
        assert 'six numbers read as xx yy zz yz xz xy' in imported.notes[-1]
        assert 'from 0.1602 to 0.4807 GPa, negative under compression' in imported.notes[-1]

    @pytest.mark.parametrize('virial', [[1.0, 2, 3, 4, 5, 6], [[1.0, 6, 5], [6, 2, 4], [5, 4, 3]]])
    def test_a_virial_becomes_a_stress(self, virial: t.Any) -> None:
        atoms = with_info(named('energy', 'forces'), virials=virial)
        imported = collect(images(atoms), keys=LabelKeys(virial='virials'))
        expected = -np.array([[1, 2, 3, 4, 5, 6]]) / 288
        np.testing.assert_allclose(imported.frames.stress, expected, rtol=1e-15)  # type: ignore[arg-type]
        assert 'minus virial over volume' in imported.notes[-1]

    @pytest.mark.parametrize('value', ['none', [1, 2], [[1, 2], [3]], np.zeros((2, 2)), [np.nan] * 9])
    def test_one_that_is_not_used_costs_no_frame(self, value: t.Any) -> None:
        atoms = with_info(named('energy', 'forces'), virial=value)
        assert collect(images(atoms)).ignored == {'virial': 1}
        atoms = with_info(named('energy', 'forces'), stress=value)
        assert collect(images(atoms), keys=LabelKeys(stress='')).ignored == {'stress': 1}
        assert len(collect(images(atoms), keys=LabelKeys('energy', 'forces', 'stress')).frames) == 0

    def test_one_that_is_not_symmetric_is_refused(self) -> None:
        atoms = with_info(named('energy', 'forces'), stress=[[0.1, 0.02, 0], [0, 0.1, 0], [0, 0, 0.1]])
        assert causes(collect(images(atoms))) == {0: '`stress` is not a symmetric tensor'}

    @pytest.mark.parametrize(('factor', 'unit'), [(160.2, 'GPa'), (1602.2, 'kbar')])
    def test_another_unit_is_told(self, factor: float, unit: str) -> None:
        atoms = with_info(named('energy', 'forces'), stress=list(factor * np.array([0.02, 0.02, 0.03, 0, 0, 0])))
        (refusal,) = collect(images(atoms)).refused('implausible')
        assert unit in refusal.cause
        assert '--no-stress' in refusal.cause
        assert len(collect(images(atoms), guards=False).frames) == 1
        assert len(collect(images(atoms), keys=LabelKeys(stress='')).frames) == 1


class TestUnits:
    @pytest.mark.parametrize(
        'info',
        [
            {'energy_unit': 'Hartree'},
            {'units': 'Ha'},
            {'unit': 'kcal/mol'},
            {'units': 'real'},
            {'units': {'energy': 'eV', 'forces': 'Ha/Bohr'}},
            {'position_units': 'Bohr'},
            {'Energy_Units': 'meV'},
        ],
    )
    def test_foreign_ones_are_refused(self, info: dict[str, t.Any]) -> None:
        assert causes(collect(images(with_info(labelled(), **info))))[0].endswith(': convert to eV and Å')

    @pytest.mark.parametrize(
        'info',
        [
            {'energy_unit': 'eV', 'forces_unit': 'eV/Ang', 'stress_unit': 'eV/A^3'},
            {'units': 'eV, Å'},
            {'units': 'metal'},
            {'units': {'energy': 'eV', 'dipole': 'Debye', 'distance': 'Angstrom'}},
            {'time_unit': 'fs'},
            {'unit_cell': 'primitive', 'formula_unit': 'Al', 'community': 'Ha'},
        ],
    )
    def test_ours_and_those_of_other_things_are_fine(self, info: dict[str, t.Any]) -> None:
        assert not causes(collect(images(with_info(labelled(), **info))))

    def test_of_labels_they_do_not_matter_when_none_are_wanted(self) -> None:
        assert not causes(collect(images(with_info(labelled(), energy_unit='Ha')), labelled=False))
        assert causes(collect(images(with_info(labelled(), position_unit='Bohr')), labelled=False))


class TestIsolatedAtoms:
    @pytest.mark.parametrize('name', ['IsolatedAtom', 'isolated_atom', 'isolated-atom', 'Isolated Si'])
    def test_the_form_of_gap(self, name: str) -> None:
        atoms = Atoms('Si', cell=[20, 20, 20], pbc=True, info={'config_type': name})
        atoms.calc = SinglePointCalculator(atoms, energy=-100.0, forces=np.zeros((1, 3)))
        imported = collect(images(atoms), origin='thesis')
        assert imported.frames.origin == ['isolated_atom']
        assert 'Frames named as isolated atoms' in imported.notes[0]

    def test_the_form_of_mace_has_no_forces(self) -> None:
        atoms = Atoms('Al', info={'config_type': 'IsolatedAtom', 'REF_energy': -2.0})
        for others in ([], [named('REF_energy', 'REF_forces')]):
            imported = collect(images(atoms, *others))
            assert len(imported.frames) == 1 + len(others)
            assert imported.frames.forces[0].tolist() == [0, 0, 0]  # type: ignore[index]
            assert any('are 0 by symmetry: 1' in note for note in imported.notes)


class TestGuards:
    @pytest.mark.parametrize(
        ('atoms', 'cause', 'place'),
        [
            (lambda: pair(0.3), 'two atoms far closer than a bond', 'atoms 0 and 1, 0.30 Å'),
            (lambda: pair(0.0), 'two atoms far closer than a bond', 'atoms 0 and 1, 0.00 Å'),
            (lambda: pair(forces=[[0, 0, 5000], [0, 0, -5000]]), 'a force above 100 eV/Å', 'atom 0, 5000 eV/Å'),
            (lambda: pair(forces=np.zeros((2, 3))), 'all forces are 0 in a frame that is not symmetric', 'atom 0'),
            (lambda: pair(energy=1e4), 'an energy that is impossible for these elements', '5000 eV/atom'),
            (lambda: pair(2.1, energy=-1e4), 'an energy that contradicts most other frames', '-4997 eV/atom'),
        ],
    )
    def test_implausible_frames_are_set_apart(self, atoms: Callable[[], Atoms], cause: str, place: str) -> None:
        others = [pair(distance) for distance in (1.9, 2.2, 2.3, 2.4)]
        imported = collect(images(*others, atoms()))
        (refusal,) = imported.refused('implausible')
        assert (refusal.index, refusal.place) == (4, place)
        assert refusal.cause.startswith(cause)
        assert imported.refusals == (refusal,)
        assert len(imported.frames) == 4
        assert len(collect(images(*others, atoms()), guards=False).frames) == 5


def named(energy_key: str, forces_key: str, stress_key: str | None = None, energy: t.Any = -7.0) -> Atoms:
    """Return a dimer that carries labels under the names given."""
    atoms = Atoms('Al2', [[0, 0, 0], [0, 0, 2]], cell=[6, 6, 8], pbc=True)
    atoms.info[energy_key] = energy
    atoms.arrays[forces_key] = np.array([[0, 0, 0.25], [0, 0, -0.25]])
    if stress_key is not None:
        atoms.info[stress_key] = np.diag([0.01, 0.01, 0.01])
    return atoms


def moved(atoms: Atoms) -> Atoms:
    atoms.positions += 0.1
    return atoms


def nowhere(atoms: Atoms) -> Atoms:
    results = atoms.calc.results
    atoms.positions[0, 0] = np.nan
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def with_info(atoms: Atoms, **info: t.Any) -> Atoms:
    atoms.info |= info
    return atoms


def with_array(atoms: Atoms, name: str, values: list[t.Any]) -> Atoms:
    atoms.set_array(name, np.array(values))
    return atoms
