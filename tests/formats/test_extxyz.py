"""Extended XYZ: to the last bit, for ASE as for us, and broken frames beside good ones."""

from __future__ import annotations

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiida_pace.formats.extxyz import read_extxyz, write_extxyz
from aiida_pace.frames import Frames
from tests.fixtures.frames import any_frames, assert_identical, random_frames


def read(path: Path) -> Frames:
    images = list(read_extxyz(path))
    assert all(isinstance(image, Atoms) for image in images), images
    return Frames.from_atoms(images)  # type: ignore[arg-type]


@settings(deadline=None)
@given(any_frames().filter(len))
def test_round_trip_is_bit_identical(tmp_path_factory: pytest.TempPathFactory, frames: Frames) -> None:
    path = tmp_path_factory.mktemp('extxyz') / 'frames.xyz'
    write_extxyz(frames, path)
    assert_identical(read(path), frames)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0')))
@example('12')
@example('1e5')
@example('T')
@example('true,F')
@example('_JSON {"a": 1}')
@example('"quoted" \\ {braces} [more]')
@example('two\nlines\u2028')
def test_any_text_stays(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp('extxyz') / 'frames.xyz'
    frames = random_frames((1,)).replace(origin=[text], label_uuid=[text])
    write_extxyz(frames, path)
    assert_identical(read(path), frames)


def test_a_molecule_without_a_cell_stays_one(tmp_path: Path) -> None:
    frames = Frames.from_atoms([Atoms('CO', [[0, 0, 0], [0, 0, 1 / 3]])])
    write_extxyz(frames, tmp_path / 'co.xyz')
    assert 'Lattice' not in (tmp_path / 'co.xyz').read_text()
    assert_identical(read(tmp_path / 'co.xyz'), frames)


def test_ase_reads_all_of_it(tmp_path: Path) -> None:
    frames = random_frames((2, 3), labelled=True, graded=True)
    write_extxyz(frames, tmp_path / 'frames.extxyz')
    for atoms, ours in zip(ase.io.read(tmp_path / 'frames.extxyz', ':'), frames, strict=True):
        assert atoms == ours
        assert atoms.get_potential_energy() == ours.get_potential_energy()
        np.testing.assert_array_equal(atoms.get_forces(), ours.get_forces())
        np.testing.assert_array_equal(atoms.get_stress(), ours.get_stress())
        np.testing.assert_array_equal(atoms.arrays['grade'], ours.arrays['grade'])
        assert atoms.info == ours.info


def test_labels_written_by_ase_are_read_with_their_signs(tmp_path: Path) -> None:
    atoms = bulk('Al', a=3.8, cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EMT()
    atoms.get_stress()
    atoms.get_forces()
    ase.io.write(tmp_path / 'al.xyz', atoms)
    frames = read(tmp_path / 'al.xyz')
    assert frames.energy is not None
    assert frames.forces is not None
    assert frames.stress is not None
    assert frames.energy[0] == atoms.get_potential_energy()
    np.testing.assert_allclose(frames.forces, atoms.get_forces(), atol=1e-8)
    np.testing.assert_allclose(frames.stress[0], atoms.get_stress(), atol=1e-15)
    assert frames.stress[0, 0] < 0, 'ASE: negative under compression'


GOOD = '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 pbc="T T T"\nSi 0 0 0\nsi 1 1 1\n'


@pytest.mark.parametrize(
    ('text', 'cause'),
    [
        ('1\n\nQq 0 0 0\n', "unknown element 'Qq'"),
        ('1\n\nSi 0 0\n', 'an atom has 3 columns, XYZ without `Properties` has 4'),
        ('1\n\nSi 0 0 0 0.1 0.2 0.3\n', 'an atom has 7 columns'),
        ('1\nProperties=species:S:1:pos:R:3:forces:R:3\nSi 0 0 0\n', 'an atom has 4 columns, `Properties` names 7'),
        ('1\nProperties=species:S:1:pos:Q:3\nSi 0 0 0\n', r'not readable \(Unknown property type: Q\)'),
        ('1\nProperties=species:S:1:pos:R:x\nSi 0 0 0\n', 'not readable'),
        ('1\nLattice="1 2 3"\nSi 0 0 0\n', r'not readable \(.*Lattice'),
        ('1\n\nSi 0 a 0\n', 'not readable'),
        ('1\ninfo="_JSON {"\nSi 0 0 0\n', 'not readable'),
    ],
)
def test_a_broken_frame_costs_no_other(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / 'frames.xyz').write_text(GOOD + text + GOOD)
    first, broken, last = read_extxyz(tmp_path / 'frames.xyz')
    assert isinstance(first, Atoms)
    assert first == last
    assert isinstance(broken, str)
    assert re.match(cause, broken)


@pytest.mark.parametrize(
    ('text', 'cause'),
    [
        ('3\n\nSi 0 0 0\nSi 1 1 1\n', 'the file ends within the frame'),
        ('Si 0 0 0\n' + GOOD, 'line 5 is no number of atoms: from there on nothing can be read'),
        ('-1\n\n', 'line 5 is no number of atoms'),
        ('1\n\nSi 0 0 0\n\n\nthe end', 'line 10 is no number of atoms'),
    ],
)
def test_where_a_file_cannot_be_read_on(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / 'frames.xyz').write_text(GOOD + text)
    *images, last = read_extxyz(tmp_path / 'frames.xyz')
    assert all(isinstance(image, Atoms) for image in images)
    assert isinstance(last, str)
    assert last.startswith(cause)


def test_what_ase_reads_is_read(tmp_path: Path) -> None:
    """Empty lines between frames, where ASE stops without a word, a byte-order mark, cell vectors as atoms, masks."""
    atoms = Atoms('Al2', [[0, 0, 0], [1, 1, 1]], cell=[3, 4, 5], pbc=True)
    ase.io.write(tmp_path / 'vectors.xyz', atoms, format='extxyz', vec_cell=True)
    atoms.set_constraint(FixAtoms([0]))
    ase.io.write(tmp_path / 'mask.xyz', atoms, format='extxyz')
    text = '\n\n'.join((tmp_path / name).read_text() for name in ('vectors.xyz', 'mask.xyz'))
    (tmp_path / 'frames.xyz').write_text(f'{text}\n\n{GOOD}', encoding='utf-8-sig')
    images = list(read_extxyz(tmp_path / 'frames.xyz'))
    assert [len(image) for image in images] == [2, 2, 2]
    np.testing.assert_array_equal(images[0].cell.array, np.diag([3, 4, 5]))  # type: ignore[union-attr]
    assert images[1].constraints  # type: ignore[union-attr]
