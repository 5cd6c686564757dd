"""Extended XYZ: to the last bit, for ASE as for us, and broken frames beside good ones."""

from __future__ import annotations

import contextlib
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
from aiida_pace.formats.images import Fault, Image
from aiida_pace.frames import Frames
from tests.fixtures.frames import any_frames, assert_identical, random_frames


def structures(path: Path) -> list[Atoms]:
    images = list(read_extxyz(path))
    assert all(isinstance(image, Image) for image in images), images
    return [image.atoms for image in images if isinstance(image, Image)]


def read(path: Path) -> Frames:
    return Frames.from_atoms(structures(path))


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
LATTICE = 'Lattice="4 0 0 0 4 0 0 0 4"'
COLUMNS = 'Properties=species:S:1:pos:R:3'


def one_frame(path: Path, comment: str, *atoms: str) -> Image | Fault:
    """Return what becomes of a single frame, of one Si atom unless others are given."""
    rows = atoms or ('Si 1 2 3',)
    path.write_text(f'{len(rows)}\n{comment}\n' + ''.join(f'{row}\n' for row in rows))
    (image,) = read_extxyz(path)
    return image


def refused(path: Path, comment: str, *atoms: str) -> Fault:
    fault = one_frame(path, comment, *atoms)
    assert isinstance(fault, Fault), fault
    return fault


def taken(path: Path, comment: str, *atoms: str) -> Atoms:
    image = one_frame(path, comment, *atoms)
    assert isinstance(image, Image), image
    return image.atoms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'frames.xyz'


class TestColumns:
    @pytest.mark.parametrize('name', ['pos', 'Pos', 'POS', 'position', 'positions', 'Positions'])
    def test_positions_of_every_usual_name(self, path: Path, name: str) -> None:
        assert taken(path, f'{LATTICE} Properties=species:S:1:{name}:R:3').positions.tolist() == [[1, 2, 3]]

    @pytest.mark.parametrize('key', ['Properties=', 'properties=', 'PROPERTIES = ', 'Properties= '])
    def test_the_key_in_any_case_and_with_spaces(self, path: Path, key: str) -> None:
        atoms = taken(path, f'{LATTICE} {key}species:S:1:pos:R:3:tag:I:1 energy=-1', 'Si 1 2 3 7')
        assert atoms.positions.tolist() == [[1, 2, 3]]
        assert atoms.arrays['tag'].tolist() == [7]

    @pytest.mark.parametrize(
        ('columns', 'cause'),
        [
            ('species:S:1:scaled_positions:R:3', 'no column `pos`; columns are species:S:1, scaled_positions:R:3'),
            ('species:S:1:frac:R:3', 'no column `pos`; columns are species:S:1, frac:R:3'),
            ('type:I:1:pos:R:3', 'no column `species`; columns are type:I:1, pos:R:3'),
            ('species:S:1:pos:S:3', 'the column `pos` is not R:3'),
            ('species:S:1:pos:R:2:w:R:1', 'the column `pos` is not R:3'),
            ('species:S:1:pos:R:3:Positions:R:3', 'several columns may be `pos`'),
            ('species:S:1:pos:R:3:f:R:1:f:R:1', '`Properties` names the column `f` twice'),
            ('species:S:1:pos:R', '`Properties` is not a list of `name:type:number`'),
            ('species:S:1:pos:Q:3', '`Properties` is not a list of `name:type:number` with the types R, I, S and L'),
            ('species:S:1:pos:R:x', '`Properties` is not a list'),
            ('species:S:1:pos:R:0', '`Properties` is not a list'),
            ('', '`Properties` is not a list'),
        ],
    )
    def test_what_is_not_beyond_doubt_is_refused_with_the_columns(self, path: Path, columns: str, cause: str) -> None:
        fault = refused(path, f'{LATTICE} Properties="{columns}"')
        assert fault.cause.startswith(cause)
        assert fault.place.startswith('line 2: ')

    @pytest.mark.parametrize(
        ('columns', 'atom'),
        [
            ('species:S:1:Z:I:1:pos:R:3', 'Si 14 1 2 3'),
            ('Z:I:1:pos:R:3', '14 1 2 3'),
            ('element:S:1:pos:R:3', 'SI 1 2 3'),
            ('species:S:1:pos:R:3', 'Si 1.0D+00 2d0 3E0'),
        ],
    )
    def test_elements_and_numbers_that_are_plain(self, path: Path, columns: str, atom: str) -> None:
        atoms = taken(path, f'{LATTICE} Properties={columns}', atom)
        assert atoms.numbers.tolist() == [14]
        assert atoms.positions.tolist() == [[1, 2, 3]]

    @pytest.mark.parametrize(
        ('columns', 'atom', 'cause'),
        [
            ('species:S:1:Z:I:1:pos:R:3', 'Si 13 1 2 3', 'species and atomic number of an atom are different elements'),
            ('species:S:1:pos:R:3', 'Qq 1 2 3', 'unknown element `Qq`'),
            ('species:S:1:pos:R:3', 'X 1 2 3', 'unknown element `X`'),
            ('species:S:1:pos:R:3', '14 1 2 3', 'unknown element `14`'),
            ('Z:I:1:pos:R:3', '0 1 2 3', 'unknown atomic number `0`'),
            ('species:S:1:pos:R:3', 'Si 1 ** 3', 'a position is not a number: `**` is not a number'),
            ('species:S:1:pos:R:3', 'Si 1 1_0 3', 'a position is not a number: `1_0` is not a number'),
            ('species:S:1:pos:R:3', 'Si 1 ٣ 3', 'a position is not a number'),
            ('species:S:1:pos:R:3', 'Si 1 2', 'an atom has 3 columns, `Properties` names 4'),
            ('species:S:1:pos:R:3', 'Si 1 2 3 4', 'an atom has 5 columns, `Properties` names 4'),
        ],
    )
    def test_faults_name_the_line_and_what_is_there(self, path: Path, columns: str, atom: str, cause: str) -> None:
        fault = refused(path, f'{LATTICE} Properties={columns}', atom)
        assert fault.cause.startswith(cause)
        assert fault.place == f'line 3: `{atom}`'

    def test_a_column_that_nobody_needs_costs_no_frame(self, path: Path) -> None:
        atoms = taken(path, f'{COLUMNS}:x:R:1:ok:L:1:name:S:2', 'Si 1 2 3 ***** T a b')
        assert atoms.arrays['x'].tolist() == ['*****']
        assert atoms.arrays['name'].tolist() == [['a', 'b']]


class TestCell:
    @pytest.mark.parametrize('key', ['Lattice', 'lattice', 'LATTICE', 'cell', 'Cell'])
    @pytest.mark.parametrize(
        'value',
        ['"4 1 0 0 5 0 0 0 6"', '{4 1 0 0 5 0 0 0 6}', '[[4, 1, 0], [0, 5, 0], [0, 0, 6]]', "'4 1 0 0 5 0 0 0 6'"],
    )
    def test_is_read_whatever_the_case_and_the_brackets(self, path: Path, key: str, value: str) -> None:
        atoms = taken(path, f'note=x {key}={value} {COLUMNS}')
        assert atoms.cell.tolist() == [[4, 1, 0], [0, 5, 0], [0, 0, 6]]
        assert atoms.pbc.all()

    @pytest.mark.parametrize(
        'comment',
        [
            'Lattice="1 2 3"',
            'Lattice="4 0 0 0 4 0 0 0 x"',
            'Lattice="4 0 0 0 4 0 0 0 nan"',
            'Lattice=',
            'cell="4 4 4 90 90 90"',
            'Lattice="4 0 0 0 4 0 0 0 4" cell="5 0 0 0 5 0 0 0 5"',
            'Lattice="4 0 0 0 4 0 0 0 4" lattice="5 0 0 0 5 0 0 0 5"',
            'Lattice="4 0 0 0 4 0 0 0 4" Lattice="4 0 0 0 4 0 0 0 4"',
            'box="4 0 0 0 4 0 0 0 4"',
            'lattice_vectors="4 0 0 0 4 0 0 0 4"',
            'Lattice "4 0 0 0 4 0 0 0 4"',
            'Lattice: 4 0 0 0 4 0 0 0 4',
            'cell 4.0, 0.0, 0.0 x=1',
        ],
    )
    def test_is_refused_with_the_line_otherwise(self, path: Path, comment: str) -> None:
        assert refused(path, f'{comment} pbc="T T T"').place.startswith('line 2: `')

    @pytest.mark.parametrize(
        ('value', 'expected'),
        [
            ('"T T F"', [True, True, False]),
            ('"t t f"', [True, True, False]),
            ('"true True FALSE"', [True, True, False]),
            ('".true. .TRUE. .false."', [True, True, False]),
            ('"1 1 0"', [True, True, False]),
            ('[T, T, F]', [True, True, False]),
            ('"yes Y no"', [True, True, False]),
            ('TTF', [True, True, False]),
            ('"f f f"', [False] * 3),
            ('FFF', [False] * 3),
            ('.false.', [False] * 3),
            ('"n n n"', [False] * 3),
            ('F', [False] * 3),
        ],
    )
    @pytest.mark.parametrize('key', ['pbc', 'PBC'])
    def test_periodic_directions(self, path: Path, key: str, value: str, expected: list[bool]) -> None:
        assert taken(path, f'{LATTICE} {key}={value} {COLUMNS}').pbc.tolist() == expected

    @pytest.mark.parametrize(
        'words',
        [
            'pbc="T T"',
            'pbc="2 0 0"',
            'pbc=none',
            'pbc="p p f"',
            'pbc=',
            'pbc',
            'pbc="T T F" PBC="F F F"',
            'pbc=TF',
            'periodic="F F F"',
            'boundary="p p f"',
        ],
    )
    def test_doubtful_periodic_directions_are_refused(self, path: Path, words: str) -> None:
        assert 'pbc' in refused(path, f'{LATTICE} {words} {COLUMNS}').cause.lower()


class TestComment:
    @pytest.mark.parametrize(
        'words',
        [
            "note=it's",
            'note="5',
            'note="5" tall"',
            'note=[',
            'note=]',
            'note={a',
            "it's x=1",
            'note=f[a',
            'note="',
            "'",
        ],
    )
    def test_a_lone_quote_or_bracket_is_refused_with_the_line(self, path: Path, words: str) -> None:
        fault = refused(path, f'{words} {LATTICE} pbc="T T T" {COLUMNS}')
        assert 'partner' in fault.cause or 'text follows directly' in fault.cause
        assert fault.place.startswith('line 2: `')

    @pytest.mark.parametrize('words', ['note={ %s }', 'note=[ %s ]', "note=' %s '"])
    def test_a_cell_within_the_brackets_of_another_key_is_refused(self, path: Path, words: str) -> None:
        assert '`lattice=` is inside' in refused(path, f'{words % LATTICE} {COLUMNS}').cause

    @pytest.mark.parametrize(
        'words', ['note=Si{111}', 'note="it is [open"', r'note="a \"b\" c"', 'note={a {b} c}', 'a=b=c']
    )
    def test_closed_ones_are_fine(self, path: Path, words: str) -> None:
        assert taken(path, f'{words} {LATTICE} pbc="T T F" {COLUMNS}').pbc.tolist() == [True, True, False]

    @pytest.mark.parametrize('words', ['energy=-1 energy=-1', 'energy=-1 energy=-2', 'config_type=a config_type=b'])
    def test_a_key_given_twice_is_refused(self, path: Path, words: str) -> None:
        key = words.partition('=')[0]
        assert refused(path, f'{LATTICE} {words} {COLUMNS}').cause == f'the key `{key}` is given twice'

    @pytest.mark.parametrize(
        'comment',
        [
            '',
            "Alice's cubic silicon cell",
            'i =        0, time =        0.000, E =       -17.16',
            'the cat and the dog',
            '#',
        ],
    )
    def test_free_text(self, path: Path, comment: str) -> None:
        assert not taken(path, comment).pbc.any()

    def test_values(self, path: Path) -> None:
        info = taken(path, 'a=-1 b="1 2,3" c=1.5D2 d="_JSON [[1, 2], [3, 4.5]]" e=T f="_JSON {" g= h=x').info
        assert info['a'] == -1
        assert info['b'].tolist() == [1, 2, 3]
        assert info['c'] == 150
        assert info['d'].tolist() == [[1, 2], [3, 4.5]]
        assert info['e'] == 'T'
        assert info['f'] == '_JSON {'
        assert info['g'] == ''
        assert info['h'] == 'x'

    def test_a_unit_behind_a_number(self, path: Path) -> None:
        assert taken(path, 'energy=-1 Ha').info['unit'] == 'Ha'
        assert 'unit' not in taken(path, 'Au bulk energy=-1').info

    def test_control_characters_are_shown_as_text(self, path: Path) -> None:
        fault = refused(path, f'{LATTICE} pbc="\x1b[31mno" {COLUMNS}')
        assert '\x1b' not in fault.place
        assert r'\x1b[31mno' in fault.place


class TestEnds:
    @pytest.mark.parametrize(
        ('text', 'cause', 'good'),
        [
            ('3\n\nSi 0 0 0\nSi 1 1 1\n', 'the file ends within the frame', 1),
            ('1\n\nSi 0 0 0\nSi 1 1 1\n' + GOOD, 'the frame goes on after the 1 atom', 1),
            ('1\n\nSi 0 0 0\nSi 1 1 1\n', 'the frame goes on after the 1 atom', 1),
            ('Si 0 0 0\n' + GOOD, 'the frame goes on after the 2 atoms', 0),
            ('-1\n\n', 'the frame goes on after the 2 atoms', 0),
            ('1\n\nSi 0 0 0\n\n\nthe end', 'the frame goes on after the 1 atom', 1),
            ('1\n\nSi 0 0 0.25', 'the last line does not end', 1),
            ('0\n\n', 'the frame has no atoms', 1),
            ('3\n\nSi 0 0 0\nSi 1 1 1\n' + GOOD, 'an atom has 1 column', 1),
            ('9' * 40, 'the frame goes on after the 2 atoms', 0),
        ],
    )
    def test_no_frame_is_handed_out_before_its_end_is_proved(
        self, path: Path, text: str, cause: str, good: int
    ) -> None:
        path.write_text(GOOD + text)
        images = list(read_extxyz(path))
        fault = images[good]
        assert all(isinstance(image, Image) for image in images[:good])
        assert isinstance(fault, Fault)
        assert fault.cause.startswith(cause)
        assert not any(isinstance(image, Image) for image in images[good:])

    def test_a_file_that_is_something_else(self, path: Path) -> None:
        path.write_text('data_silicon\n_cell_length_a 5.43\n')
        assert list(read_extxyz(path)) == [
            Fault('the file does not begin with a number of atoms', 'line 1: `data_silicon`')
        ]

    @pytest.mark.parametrize('space', ['\x1c', '\x1f', '\xa0'])
    def test_white_space_around_the_number_of_atoms(self, path: Path, space: str) -> None:
        path.write_text(GOOD.replace('2', f'{space}2{space}', 1), encoding='utf-8')
        assert all(isinstance(image, Image) for image in read_extxyz(path))

    def test_a_broken_frame_costs_no_other(self, path: Path) -> None:
        path.write_text(GOOD + '1\n\nQq 0 0 0\n' + GOOD)
        first, broken, last = read_extxyz(path)
        assert broken == Fault('unknown element `Qq`', 'line 7: `Qq 0 0 0`')
        assert first.atoms == last.atoms  # type: ignore[union-attr]
        assert last.place == 'line 9'

    def test_what_ase_reads_is_read(self, path: Path) -> None:
        """Empty lines between frames, where ASE stops without a word, a byte-order mark, vectors as atoms, masks."""
        atoms = Atoms('Al2', [[0, 0, 0], [1, 1, 1]], cell=[3, 4, 5], pbc=True)
        ase.io.write(path.with_name('vectors.xyz'), atoms, format='extxyz', vec_cell=True)
        atoms.set_constraint(FixAtoms([0]))
        ase.io.write(path.with_name('mask.xyz'), atoms, format='extxyz')
        text = '\n\n'.join(path.with_name(name).read_text() for name in ('vectors.xyz', 'mask.xyz'))
        path.write_text(f'{text}\n\n{GOOD}', encoding='utf-8-sig')
        first, second, _ = structures(path)
        assert first.cell.tolist() == np.diag([3, 4, 5]).tolist()
        assert first.pbc.all()
        assert second.arrays['move_mask'].tolist() == ['F', 'T']

    @pytest.mark.parametrize('vectors', ['VEC2 3 0 0\n', 'VEC1 3 0\n', 'VEC1 a 0 0\n', 'VEC1 1 0 0\n' * 4])
    def test_broken_cell_vectors(self, path: Path, vectors: str) -> None:
        path.write_text(f'1\n\nSi 0 0 0\n{vectors}')
        (fault,) = read_extxyz(path)
        assert isinstance(fault, Fault)
        assert fault.cause.startswith('not the cell vector')


@settings(deadline=None, max_examples=60)
@given(any_frames().filter(len), st.data())
def test_of_a_file_cut_anywhere_only_whole_frames_are_read(
    tmp_path_factory: pytest.TempPathFactory, frames: Frames, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp('extxyz') / 'frames.xyz'
    write_extxyz(frames, path)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    try:
        images = [image.atoms for image in read_extxyz(path) if isinstance(image, Image)]
    except UnicodeDecodeError:
        return
    assert_identical(Frames.from_atoms(images), frames.take(range(len(images)))) if images else None
    assert len(images) < len(frames)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), st.text(max_size=12)), max_size=4))
def test_no_damage_raises(tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int, str]]) -> None:
    text = GOOD + f'1\n{LATTICE} {COLUMNS}:forces:R:3 energy=-1 stress="1 0 0 0 1 0 0 0 1"\nSi 0 0 0 0 0 0\n' + GOOD
    for start, length, inserted in edits:
        text = text[:start] + inserted + text[start + length :]
    path = tmp_path_factory.mktemp('extxyz') / 'frames.xyz'
    path.write_text(text, encoding='utf-8', errors='surrogatepass')
    with contextlib.suppress(UnicodeDecodeError):
        for image in read_extxyz(path):
            assert isinstance(image, (Image, Fault))


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from('"\'[]{}=\\, abLatticepbcT10.:-\t')))
def test_no_comment_raises(tmp_path_factory: pytest.TempPathFactory, comment: str) -> None:
    path = tmp_path_factory.mktemp('extxyz') / 'frames.xyz'
    path.write_text(f'1\n{comment}\nSi 0 0 0\n')
    assert len(list(read_extxyz(path))) == 1
