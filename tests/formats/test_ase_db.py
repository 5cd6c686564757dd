"""ASE databases: to the last bit, and never touched when they are none."""

from __future__ import annotations

import contextlib
import sqlite3
import typing as t
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.formats.ase_db import AseDatabaseError, read_ase_db, write_ase_db
from aiida_pace.formats.exchange import ExchangeError, read_frames
from aiida_pace.formats.images import Image
from aiida_pace.frames import Frames
from tests.fixtures.frames import any_frames, assert_identical, random_frames


def structures(path: Path) -> list[Atoms]:
    images = list(read_ase_db(path))
    assert all(isinstance(image, Image) for image in images), images
    return [image.atoms for image in images if isinstance(image, Image)]


def read(path: Path) -> Frames:
    return Frames.from_atoms(structures(path))


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
    (image,) = structures(tmp_path / 'frames.db')
    assert image.info == {'functional': 'pbe', 'note': {'a': 1}}
    assert image.arrays['dft_forces'].shape == (2, 3)
    assert image.get_tags().tolist() == [1, 2]
    assert set(image.calc.results) == {'energy', 'dipole'}


def test_data_that_nobody_needs_costs_no_row(tmp_path: Path) -> None:
    atoms = Atoms('Al2', [[0, 0, 0], [1, 1, 1]])
    with connect(tmp_path / 'frames.db', use_lock_file=False) as database:
        database.write(atoms, data={'ragged': [[1], [2, 3]], 'energy': np.array([-3.0]), 'forces': np.ones((2, 3))})
    (image,) = structures(tmp_path / 'frames.db')
    assert image.info['ragged'] == [[1], [2, 3]]
    assert image.info['energy'].tolist() == [-3]
    assert read_frames([tmp_path / 'frames.db'], guards=False).frames.energy == [-3]


@pytest.mark.parametrize(
    'metadata',
    [
        {'units': 'Hartree'},
        {'units': {'energy': 'Ha', 'forces': 'Ha/Bohr'}},
        {'energy_unit': 'kcal/mol'},
        {'_property_unit_dict': {'energy': 'Hartree'}, '_distance_unit': 'Ang'},
        {'_property_unit_dict': {'energy': 'eV'}, '_distance_unit': 'Bohr'},
        {'key_descriptions': {'energy': ['Energy', 'Total energy', 'Ry']}},
    ],
)
def test_units_that_are_not_ev_are_refused(tmp_path: Path, metadata: dict[str, t.Any]) -> None:
    path = tmp_path / 'frames.db'
    write_ase_db(random_frames((2,), labelled=True), path)
    with connect(path, use_lock_file=False) as database:
        database.metadata = metadata
    imported = read_frames([path], guards=False)
    assert len(imported.frames) == 0
    assert 'convert to eV and Å' in imported.refusals[0].cause
    with connect(path, use_lock_file=False) as database:
        database.metadata = {'_property_unit_dict': {'energy': 'eV', 'mu': 'Debye'}, '_distance_unit': 'Ang'}
    assert len(read_frames([path], guards=False).frames) == 1


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    other, text, empty = tmp_path / 'other.db', tmp_path / 'text.db', tmp_path / 'empty.db'
    connection = sqlite3.connect(other)
    connection.execute('CREATE TABLE things (id INTEGER)')
    connection.commit()
    connection.close()
    text.write_text('no database\n' * 100)
    empty.touch()
    for path, cause in ((other, 'not an ASE database'), (text, 'not a database'), (empty, 'not an ASE database')):
        before = path.read_bytes()
        with pytest.raises(AseDatabaseError, match=cause):
            list(read_ase_db(path))
        assert path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['empty.db', 'other.db', 'text.db']


@pytest.fixture(scope='module')
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of fifty frames."""
    path = tmp_path_factory.mktemp('db') / 'frames.db'
    write_ase_db(random_frames([8] * 50, labelled=True), path)
    return path.read_bytes()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_database_cut_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp('db') / 'frames.db'
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(AseDatabaseError):
        list(read_ase_db(path))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4)
)
def test_no_damage_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, edits: list[tuple[float, bytes]]
) -> None:
    damaged = bytearray(content)
    for place, inserted in edits:
        start = int(place * len(content))
        damaged[start : start + len(inserted)] = inserted
    path = tmp_path_factory.mktemp('db') / 'frames.db'
    path.write_bytes(damaged)
    with contextlib.suppress(ExchangeError):
        read_frames([path])
