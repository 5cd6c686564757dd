"""Exchange with files of others: what is taken, what is refused, and that nothing goes without a word."""

from __future__ import annotations

import pickle
import typing as t
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_pace.formats import exchange
from aiida_pace.formats.exchange import ExchangeError, LabelKeys, read_frames, write_frames
from aiida_pace.frames import Frames
from tests.fixtures.frames import assert_identical, random_frames


def labelled(a: float = 4.0, symbol: str = 'Al', **results: t.Any) -> Atoms:
    """Return a cell with labels; ``results`` replace them, None removes one."""
    atoms = bulk(symbol, 'fcc', a=a)
    held = {'energy': -3.0, 'forces': [[0.1, 0.2, 0.3]], 'stress': np.arange(6.0) / 100} | results
    atoms.calc = SinglePointCalculator(atoms, **held)
    return atoms


class TestRoundTrip:
    @pytest.mark.parametrize('suffix', ['.xyz', '.extxyz', '.db'])
    @pytest.mark.parametrize('kind', [{}, {'labelled': True}, {'graded': True}, {'labelled': True, 'graded': True}])
    def test_frames_come_back_exactly(self, tmp_path: Path, suffix: str, kind: dict[str, bool]) -> None:
        frames = random_frames((2, 1, 3, 64), numbers=(13, 14), **kind).replace(weight=[0, 0.5, 1, 2])
        frames = frames.replace(force_weight=np.arange(70) % 3)
        write_frames(frames, tmp_path / f'frames{suffix}')
        imported = read_frames([tmp_path / f'frames{suffix}'], guards=False)
        assert_identical(imported.frames, frames)
        assert imported.refusals == ()
        assert imported.ignored == {}

    def test_files_are_joined_in_their_order(self, tmp_path: Path) -> None:
        one, other = random_frames((2, 1), seed=1), random_frames((3,), seed=2)
        write_frames(one, tmp_path / 'one.db')
        write_frames(other, tmp_path / 'other.xyz')
        imported = read_frames([tmp_path / 'other.xyz', tmp_path / 'one.db'])
        assert_identical(imported.frames, Frames.concatenate([other, one]))


class TestFiles:
    @pytest.mark.parametrize('name', ['set.pckl.gzip', 'set.pkl', 'set.PICKLE', 'set.pkl.gz'])
    def test_a_pickle_is_not_even_opened(self, tmp_path: Path, name: str) -> None:
        marker = tmp_path / 'executed'
        (tmp_path / name).write_bytes(pickle.dumps(Trap(marker)))
        with pytest.raises(ExchangeError, match=r'is a pickle.*ASE database'):
            read_frames([tmp_path / name])
        assert not marker.exists()

    def test_every_suffix_is_checked_before_the_first_file_is_read(self, tmp_path: Path) -> None:
        with pytest.raises(ExchangeError, match=r'set.cif: unknown suffix, known ones are \.xyz'):
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
        with pytest.raises(ExchangeError, match='already exists'):
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

    def test_unreadable_ones_keep_their_cause_and_place(self, tmp_path: Path) -> None:
        (tmp_path / 'a.xyz').write_text('1\n\nQq 0 0 0\n1\n\nAl 0 0 0\n')
        (tmp_path / 'b.xyz').write_text('1\n\nSi 0 0 0\n2\n\nAl 0 0 0\n')
        imported = read_frames([tmp_path / 'a.xyz', tmp_path / 'b.xyz'])
        assert [(Path(one.source).name, one.index, one.cause) for one in imported.refusals] == [
            ('a.xyz', 0, 'unknown element `Qq`'),
            ('b.xyz', 1, 'the file ends within the frame'),
        ]
        assert imported.frames.elements == ['Al', 'Si']

    def test_the_free_energy(self, tmp_path: Path) -> None:
        ase.io.write(tmp_path / 'al.xyz', labelled(free_energy=-3.5), format='extxyz')
        imported = read_frames([tmp_path / 'al.xyz'], keys=LabelKeys(energy='free_energy'))
        assert imported.frames.energy == [-3.5]


class Trap:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[t.Any, ...]:
        return Path.touch, (self.marker,)
