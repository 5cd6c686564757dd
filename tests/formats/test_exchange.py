"""Exchange with files of others: what is taken, what is refused, and that nothing goes without a word."""

from __future__ import annotations

import pickle
import typing as t
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.formats import exchange
from aiida_pace.formats.exchange import ExchangeError, Imported, LabelKeys, collect, read_frames, write_frames
from aiida_pace.frames import Frames
from tests.fixtures.frames import assert_identical, random_frames


def images(*structures: Atoms) -> list[tuple[str, int, Atoms | str]]:
    return [('memory', index, atoms) for index, atoms in enumerate(structures)]


def labelled(a: float = 4.0, symbol: str = 'Al', **results: t.Any) -> Atoms:
    """Return a cell with labels; ``results`` replace them, None removes one."""
    atoms = bulk(symbol, 'fcc', a=a)
    held = {'energy': -3.0, 'forces': [[0.1, 0.2, 0.3]], 'stress': np.arange(6.0)} | results
    atoms.calc = SinglePointCalculator(atoms, **held)
    return atoms


def causes(imported: Imported) -> dict[int, str]:
    return {refusal.index: refusal.cause for refusal in imported.refusals}


class TestRoundTrip:
    @pytest.mark.parametrize('suffix', ['.xyz', '.extxyz', '.db'])
    @pytest.mark.parametrize('kind', [{}, {'labelled': True}, {'graded': True}, {'labelled': True, 'graded': True}])
    def test_frames_come_back_exactly(self, tmp_path: Path, suffix: str, kind: dict[str, bool]) -> None:
        frames = random_frames((2, 1, 3, 64), numbers=(13, 14), **kind).replace(weight=[0, 0.5, 1, 2])
        frames = frames.replace(force_weight=np.arange(70) % 3)
        write_frames(frames, tmp_path / f'frames{suffix}')
        imported = read_frames([tmp_path / f'frames{suffix}'])
        assert_identical(imported.frames, frames)
        assert imported.refusals == ()
        assert imported.ignored == {}

    def test_files_are_joined_in_their_order(self, tmp_path: Path) -> None:
        one, other = random_frames((2, 1), seed=1), random_frames((3,), seed=2)
        write_frames(one, tmp_path / 'one.db')
        write_frames(other, tmp_path / 'other.xyz')
        imported = read_frames([tmp_path / 'other.xyz', tmp_path / 'one.db'])
        assert_identical(imported.frames, Frames.concatenate([other, one]))


class TestRefusals:
    @pytest.mark.parametrize(
        ('make', 'cause'),
        [
            (lambda: labelled(forces=None), 'an energy without forces'),
            (lambda: labelled(energy=None), 'forces without an energy'),
            (lambda: labelled(energy=np.nan), '`energy` holds a number that is not finite (NaN or infinity)'),
            (lambda: labelled(forces=[[0, np.inf, 0]]), '`forces` holds a number that is not finite (NaN or infinity)'),
            (lambda: labelled(stress=np.full(6, np.nan)), '`stress` holds a number that is not finite (NaN or infini'),
            (lambda: labelled(energy='low'), '`energy` holds something that is no number'),
            (lambda: labelled(energy=True), '`energy` holds something that is no number'),
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
        imported = collect(images(labelled(forces=None), moved(labelled())), labelled=False)
        assert imported.refusals == ()
        assert len(imported.frames) == 2

    def test_the_first_of_equal_structures_is_kept(self) -> None:
        again, contrary = labelled(), labelled(energy=-3.1)
        imported = collect(images(labelled(a=3.9), labelled(), again, contrary))
        assert causes(imported) == {2: 'repeats an earlier frame', 3: 'repeats an earlier frame, with other labels'}
        assert imported.frames.energy is not None
        assert imported.frames.energy.tolist() == [-3, -3]

    def test_a_refused_frame_costs_no_equal_one_after_it(self) -> None:
        imported = collect(images(bulk('Al', 'fcc', a=4.0), labelled(energy=np.nan), labelled(), labelled(a=4.1)))
        assert sorted(causes(imported)) == [0, 1]
        assert len(imported.frames) == 2

    def test_unreadable_ones_keep_their_cause_and_place(self, tmp_path: Path) -> None:
        (tmp_path / 'a.xyz').write_text('1\n\nQq 0 0 0\n1\n\nAl 0 0 0\n')
        (tmp_path / 'b.xyz').write_text('1\n\nSi 0 0 0\n2\n\nAl 0 0 0\n')
        imported = read_frames([tmp_path / 'a.xyz', tmp_path / 'b.xyz'])
        assert [(Path(one.source).name, one.index, one.cause) for one in imported.refusals] == [
            ('a.xyz', 0, "unknown element 'Qq'"),
            ('b.xyz', 1, 'the file ends within the frame'),
        ]
        assert imported.frames.elements == ['Al', 'Si']

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(['good', 'bare', 'half', 'twice', 'nan']), max_size=8))
    def test_every_frame_is_taken_or_refused(self, kinds: list[str]) -> None:
        make: dict[str, Callable[[int], Atoms]] = {
            'good': lambda index: labelled(a=4 + 0.01 * index),
            'bare': lambda index: bulk('Al', a=5 + 0.01 * index),
            'half': lambda index: labelled(forces=None),
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
        assert collect(images(with_info(labelled(forces=None), functional='pbe'), labelled())).ignored == {}

    def test_a_stress_alone(self) -> None:
        imported = collect(images(labelled(energy=None, forces=None)))
        assert not imported.frames.is_labelled
        assert imported.ignored == {'stress': 1}


class TestKeys:
    def test_labels_of_other_names(self) -> None:
        atoms = labelled(energy=1.0, forces=[[9, 9, 9]])
        atoms.info |= {'REF_energy': -7, 'REF_stress': np.array([1, 6, 5, 6, 2, 4, 5, 4, 3.0])}
        atoms.set_array('REF_forces', np.array([[1.0, 2, 3]]))
        keys = LabelKeys('REF_energy', 'REF_forces', 'REF_stress')
        imported = collect(images(atoms), keys=keys)
        assert imported.frames.energy == [-7]
        assert imported.frames.forces.tolist() == [[1, 2, 3]]  # type: ignore[union-attr]
        assert imported.frames.stress.tolist() == [[1, 2, 3, 4, 5, 6]]  # type: ignore[union-attr]
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

    def test_the_free_energy(self, tmp_path: Path) -> None:
        ase.io.write(tmp_path / 'al.xyz', labelled(free_energy=-3.5), format='extxyz')
        imported = read_frames([tmp_path / 'al.xyz'], keys=LabelKeys(energy='free_energy'))
        assert imported.frames.energy == [-3.5]

    def test_an_origin_is_given_to_those_without(self) -> None:
        given_ = images(with_info(labelled(), origin='halt'), labelled(a=4.1))
        assert collect(given_, origin='thesis').frames.origin.tolist() == ['halt', 'thesis']
        assert collect(given_).frames.origin.tolist() == ['halt', '']


class TestFiles:
    @pytest.mark.parametrize('name', ['set.pckl.gzip', 'set.pkl', 'set.PICKLE', 'set.pkl.gz'])
    def test_a_pickle_is_not_even_opened(self, tmp_path: Path, name: str) -> None:
        marker = tmp_path / 'executed'
        (tmp_path / name).write_bytes(pickle.dumps(Trap(marker)))
        with pytest.raises(ExchangeError, match=r'is a pickle.*ASE database'):
            read_frames([tmp_path / name])
        assert not marker.exists()

    def test_every_suffix_is_checked_before_the_first_file_is_read(self, tmp_path: Path) -> None:
        with pytest.raises(ExchangeError, match=r'set.cif: the suffix names no format, known ones are \.xyz'):
            read_frames([tmp_path / 'missing.xyz', tmp_path / 'set.cif'])

    @pytest.mark.parametrize('name', ['missing.xyz', 'missing.db', 'binary.xyz', 'binary.db'])
    def test_files_that_cannot_be_read(self, tmp_path: Path, name: str) -> None:
        for suffix in ('xyz', 'db'):
            (tmp_path / f'binary.{suffix}').write_bytes(bytes(range(255, 0, -1)))
        with pytest.raises(ExchangeError, match=name):
            read_frames([tmp_path / name])
        assert not (tmp_path / 'missing.db').exists()

    @pytest.mark.parametrize('suffix', ['.xyz', '.db', '.pckl.gzip'])
    def test_a_file_is_replaced_only_on_demand(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f'set{suffix}'
        write_frames(random_frames((1, 1)), path)
        before = path.read_bytes()
        with pytest.raises(ExchangeError, match='is there already'):
            write_frames(random_frames((3,)), path)
        assert path.read_bytes() == before
        write_frames(random_frames((3,)), path, overwrite=True)
        count = len(pd.read_pickle(path, compression='gzip') if suffix == '.pckl.gzip' else read_frames([path]).frames)
        assert count == 1
        assert list(tmp_path.iterdir()) == [path]

    def test_a_broken_off_write_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def break_off(frames: Frames, path: Path) -> None:
            path.write_text('half')
            raise OSError(28, 'No space left on device')

        path = tmp_path / 'set.xyz'
        write_frames(random_frames((1,)), path)
        before = path.read_bytes()
        monkeypatch.setitem(exchange.WRITERS, '.xyz', break_off)
        with pytest.raises(ExchangeError, match=r'cannot be written.*No space left'):
            write_frames(random_frames((2,)), path, overwrite=True)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_the_data_frame_of_pacemaker(self, tmp_path: Path) -> None:
        frames = random_frames((2, 3), labelled=True, graded=True)
        write_frames(frames, tmp_path / 'set.pckl.gzip')
        dataframe = pd.read_pickle(tmp_path / 'set.pckl.gzip', compression='gzip')
        np.testing.assert_array_equal(dataframe['energy'], frames.energy)
        np.testing.assert_array_equal(np.concatenate(list(dataframe['forces'])), frames.forces)
        assert [len(atoms) for atoms in dataframe['ase_atoms']] == [2, 3]
        assert exchange.unwritten(frames, 'set.pckl.gzip') == ('stress', 'grade', 'origin', 'label_uuid')
        assert exchange.unwritten(Frames.from_atoms([bulk('Al')]), 'set.pckl.gzip') == ()
        assert exchange.unwritten(frames, 'set.xyz') == exchange.unwritten(frames, 'set.db') == ()

    @pytest.mark.parametrize('name', ['set.cif', 'set', 'xyz', 'folder/set.xyz'])
    def test_files_that_cannot_be_written(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ExchangeError, match=name):
            write_frames(random_frames((1,)), tmp_path / name)
        assert list(tmp_path.iterdir()) == []


class Trap:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[t.Any, ...]:
        return Path.touch, (self.marker,)


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
