"""ASE databases: to the last bit, and never touched when they are none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from hypothesis import given, settings

from aiida_pace.formats.ase_db import AseDatabaseError, read_ase_db, write_ase_db
from aiida_pace.frames import Frames
from tests.fixtures.frames import any_frames, assert_identical, random_frames


def read(path: Path) -> Frames:
    images = list(read_ase_db(path))
    assert all(isinstance(image, Atoms) for image in images), images
    return Frames.from_atoms(images)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(any_frames().filter(len))
def test_round_trip_is_bit_identical(tmp_path_factory: pytest.TempPathFactory, frames: Frames) -> None:
    """But for the sign of an energy of -0.0, which SQLite does not keep."""
    path = tmp_path_factory.mktemp('db') / 'frames.db'
    write_ase_db(frames, path)
    assert_identical(read(path), frames if frames.energy is None else frames.replace(energy=frames.energy + 0.0))


@pytest.mark.parametrize('text', ['12', '1e5', 'nan', 'True', ' 7 ', 'fcc', '_'])
def test_texts_that_look_like_numbers_stay_texts(tmp_path: Path, text: str) -> None:
    frames = random_frames((1,)).replace(origin=[text], label_uuid=[text])
    write_ase_db(frames, tmp_path / 'frames.db')
    assert_identical(read(tmp_path / 'frames.db'), frames)


def test_frames_can_be_selected_by_origin_and_energy(tmp_path: Path) -> None:
    frames = random_frames((2, 1, 3), labelled=True, graded=True)
    write_ase_db(frames, tmp_path / 'frames.db')
    row = connect(tmp_path / 'frames.db').get('origin=recipe2')
    assert row.natoms == 3
    assert row.energy == frames.energy[2]  # type: ignore[index]
    assert row.label_uuid == 'uuid-2'


def test_rows_of_others(tmp_path: Path) -> None:
    """Key-value pairs and data come along, with one row per atom as arrays."""
    atoms = Atoms('Al2', [[0, 0, 0], [1, 1, 1]], tags=[1, 2])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, dipole=[0, 0, 1])
    with connect(tmp_path / 'frames.db', use_lock_file=False) as database:
        database.write(atoms, functional='pbe', data={'dft_forces': np.ones((2, 3)), 'note': {'a': 1}})
    (image,) = read_ase_db(tmp_path / 'frames.db')
    assert isinstance(image, Atoms)
    assert image.info == {'functional': 'pbe', 'note': {'a': 1}}
    assert image.arrays['dft_forces'].shape == (2, 3)
    assert image.get_tags().tolist() == [1, 2]
    assert set(image.calc.results) == {'energy', 'dipole'}


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    other, text, empty = tmp_path / 'other.db', tmp_path / 'text.db', tmp_path / 'empty.db'
    connection = sqlite3.connect(other)
    connection.execute('CREATE TABLE things (id INTEGER)')
    connection.commit()
    connection.close()
    text.write_text('no database\n' * 100)
    empty.touch()
    for path, cause in ((other, 'none of ASE'), (text, 'no database'), (empty, 'none of ASE')):
        before = path.read_bytes()
        with pytest.raises(AseDatabaseError, match=cause):
            list(read_ase_db(path))
        assert path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['empty.db', 'other.db', 'text.db']


def test_a_database_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'frames.db'
    write_ase_db(random_frames([8] * 50), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AseDatabaseError):
        list(read_ase_db(path))
