from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lammps import Prism
from ase.io.lammpsdata import write_lammps_data
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aiida_pace.config import MdConfig, config_error
from aiida_pace.formats.lammps import Orientation, data_file, input_script, sample_stride

VECTORS = hnp.arrays('f8', (4, 3), elements=st.floats(-20, 20))


@st.composite
def cells(draw: st.DrawFn) -> np.ndarray:
    """Any cell with a volume: triclinic, left-handed, much longer than wide."""
    cell = draw(hnp.arrays('f8', (3, 3), elements=st.floats(-20, 20)))
    lengths = np.linalg.norm(cell, axis=1)
    assume(lengths.min() > 1e-2 and abs(np.linalg.det(cell)) > 1e-4 * lengths.prod())
    return cell


def read_data(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cell, types and positions of a data file, as LAMMPS' manual tells."""
    cell, rows = np.zeros((3, 3)), []
    header, _, atoms = text.partition('Atoms # atomic\n\n')
    for line in header.splitlines():
        words = line.split()
        for axis, name in enumerate(('xlo', 'ylo', 'zlo')):
            if name in words:
                cell[axis, axis] = float(words[1]) - float(words[0])
        if 'xy' in words:
            cell[[1, 2, 2], [0, 0, 1]] = [float(word) for word in words[:3]]
    rows = np.array([[float(word) for word in line.split()] for line in atoms.splitlines()])
    assert np.array_equal(rows[:, 0], np.arange(1, len(rows) + 1))
    return cell, rows[:, 1].astype(int), rows[:, 2:]


@given(cells())
def test_cell_in_lammps_is_a_lower_triangle_of_small_tilts(cell: np.ndarray) -> None:
    oriented = Orientation.of_cell(cell).cell
    assert not np.triu(oriented, 1).any()
    edges = oriented.diagonal()
    assert (edges > 0).all()
    assert (np.abs(oriented[[1, 2, 2], [0, 0, 1]]) <= edges[[0, 0, 1]] * 0.500001 + 1e-9).all()


@given(cells(), VECTORS)
def test_vectors_and_cell_come_back_as_they_were(cell: np.ndarray, vectors: np.ndarray) -> None:
    orientation = Orientation.of_cell(cell)
    np.testing.assert_allclose(orientation.from_lammps(orientation.to_lammps(vectors)), vectors, atol=1e-13)
    size = np.abs(orientation.combinations).max()
    np.testing.assert_allclose(orientation.cell_from_lammps(orientation.cell), cell, atol=1e-13 * size)


@given(cells(), VECTORS)
def test_rotation_keeps_distances_and_the_lattice(cell: np.ndarray, vectors: np.ndarray) -> None:
    orientation = Orientation.of_cell(cell)
    rotated = orientation.to_lammps(vectors)
    np.testing.assert_allclose(rotated @ rotated.T, vectors @ vectors.T, atol=1e-11)
    combinations = orientation.combinations
    assert np.array_equal(combinations, np.rint(combinations))
    assert np.linalg.det(np.tril(combinations)) == pytest.approx(1)  # the same volume: not a supercell
    assert not np.triu(combinations, 1).any()
    size = np.abs(combinations).max()
    np.testing.assert_allclose(orientation.to_lammps(cell), combinations @ orientation.cell, atol=1e-12 * size)


def test_left_handed_cell_is_mirrored() -> None:
    cell = np.array([[0.0, 4, 0], [4, 0, 0], [0, 0, 5]])
    orientation = Orientation.of_cell(cell)
    assert np.linalg.det(orientation.rotation) == pytest.approx(-1)
    np.testing.assert_allclose(orientation.cell, np.diag([4, 4, 5]), atol=1e-15)


@pytest.mark.parametrize('cell', [[[4.1, 0, 0], [-1.3, 5.2, 0], [1.7, 0.1, 3.3]], [[4, 0, 0], [2, 3, 0], [-2, 1.5, 5]]])
def test_cell_in_lammps_orientation_is_left_alone(cell: list[list[float]]) -> None:
    orientation = Orientation.of_cell(cell)
    assert orientation.cell.tolist() == cell
    assert np.array_equal(orientation.rotation, np.eye(3))
    assert np.array_equal(orientation.combinations, np.eye(3))


def test_skewed_cell_is_replaced_by_one_of_its_lattice() -> None:
    orientation = Orientation.of_cell([[4, 0, 0], [13, 5, 0], [0, -11, 6]])
    assert orientation.cell.tolist() == [[4, 0, 0], [1, 5, 0], [2, -1, 6]]
    assert orientation.combinations.tolist() == [[1, 0, 0], [3, 1, 0], [0, -2, 1]]


def test_cell_without_volume_is_refused() -> None:
    with pytest.raises(ValueError, match='span no volume'):
        Orientation.of_cell([[1, 0, 0], [2, 0, 0], [0, 0, 1]])


@given(cells(), VECTORS)
def test_data_file_keeps_all_digits(cell: np.ndarray, positions: np.ndarray) -> None:
    orientation = Orientation.of_cell(cell)
    found_cell, types, found = read_data(data_file(np.array([14, 6, 14, 6]), positions, orientation, ['C', 'Si']))
    assert np.array_equal(found_cell, orientation.cell)
    assert np.array_equal(found, orientation.to_lammps(positions))
    assert types.tolist() == [2, 1, 2, 1]


def ours(atoms: Atoms) -> str:
    return data_file(atoms.numbers, atoms.positions, Orientation.of_cell(atoms.cell.array), ['C', 'Si'])


def that_of_ase(atoms: Atoms) -> str:
    text = io.StringIO()
    write_lammps_data(text, atoms, specorder=['C', 'Si'], masses=True)
    return text.getvalue()


# ASE writes such files too. These tests say why that is not used: when one of them passes, look again.


@pytest.mark.parametrize(
    'write',
    [ours, pytest.param(that_of_ase, marks=pytest.mark.xfail(reason='ASE leaves out tilts below 1e-4 of the edges'))],
)
def test_small_tilts_are_written(write: Callable[[Atoms], str]) -> None:
    cell = [[4.0, 0, 0], [2e-4, 5.0, 0], [0, 0, 6.0]]
    np.testing.assert_array_equal(read_data(write(Atoms('Si', cell=cell, pbc=True)))[0], cell)


@pytest.mark.parametrize(
    'write',
    [ours, pytest.param(that_of_ase, marks=pytest.mark.xfail(reason='ASE converts masses between two units of mass'))],
)
def test_masses_are_those_of_the_table(write: Callable[[Atoms], str]) -> None:
    assert '2 28.085 # Si' in re.sub(' +', ' ', write(bulk('Si')))


@pytest.mark.parametrize(
    'from_lammps',
    [
        lambda cell, vectors: Orientation.of_cell(cell).from_lammps(vectors),
        pytest.param(
            lambda cell, vectors: Prism(cell).vector_to_ase(vectors),
            marks=pytest.mark.xfail(reason='the rotation of ASE is orthogonal to 1e-6 only in a skewed cell'),
        ),
        pytest.param(
            lambda cell, vectors: Prism(cell, reduce_cell=True).vector_to_ase(vectors),
            marks=pytest.mark.xfail(reason='ASE wraps every vector into the cell, forces too'),
        ),
    ],
    ids=['ours', 'prism', 'reduced prism'],
)
def test_forces_from_a_skewed_cell_keep_their_length(
    from_lammps: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    silicon = bulk('Si', a=5.4)
    silicon.rotate(70, (1, 2, 3), rotate_cell=True)
    cell = np.array([[1, 0, 0], [113, 1, 0], [452, -565, 1]]) @ silicon.cell.array
    found = from_lammps(cell, np.eye(3))
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize('order', [(0, 1, 2), (1, 0, 2)], ids=['left-handed', 'right-handed'])
def test_cell_in_lammps_is_that_of_ase(order: tuple[int, ...]) -> None:
    """Where the vectors are far from dependent the two agree."""
    cell = np.array([[0.3, 4.2, 0.1], [5.1, 3.0, 0.2], [0.4, -2.9, 6.3]])[list(order)]
    expected, orientation = Prism(cell, reduce_cell=True), Orientation.of_cell(cell)
    np.testing.assert_allclose(orientation.cell, expected.lammps_cell, atol=1e-12)
    np.testing.assert_allclose(orientation.rotation, expected.rot_mat, atol=1e-12)


def test_data_file_of_two_elements() -> None:
    orientation = Orientation.of_cell(np.diag([4.0, 5.0, 6.5]))
    text = data_file(np.array([14, 6]), np.array([[0, 0, 0], [1.25, 0.5, -2]]), orientation, ['C', 'Si'])
    assert text == (
        'written by aiida-pace\n\n2 atoms\n2 atom types\n0.0 4.0 xlo xhi\n0.0 5.0 ylo yhi\n0.0 6.5 zlo zhi\n\n'
        'Masses\n\n1 12.011 # C\n2 28.085 # Si\n\nAtoms # atomic\n\n1 2 0.0 0.0 0.0\n2 1 1.25 0.5 -2.0\n'
    )


def test_data_file_has_tilts_when_asked_for() -> None:
    orientation = Orientation.of_cell(np.eye(3) * 4)
    text = data_file(np.array([14]), np.zeros((1, 3)), orientation, ['Si'], triclinic=True)
    assert '\n0.0 0.0 0.0 xy xz yz\n' in text


def test_data_file_refuses_an_atom_without_type() -> None:
    with pytest.raises(ValueError, match='Ge is not among the elements C, Si'):
        data_file(np.array([32]), np.zeros((1, 3)), Orientation.of_cell(np.eye(3)), ['C', 'Si'])


def command(script: str, start: str) -> str:
    """Return the one command of ``script`` that starts so."""
    (found,) = [line for line in script.splitlines() if line.startswith(start)]
    return found


def test_script_in_metal_units() -> None:
    config = MdConfig(
        ensemble='npt',
        temperature_start=300,
        temperature_stop=900,
        pressure_start=1,
        pressure_stop=-0.5,
        barostat='iso',
        timestep=2,
        temperature_damping=50,
    )
    script = input_script(config, ['C', 'Si'], seed=17)
    assert command(script, 'fix motion') == 'fix motion all npt temp 300.0 900.0 0.05 iso 10000.0 -5000.0 1.0'
    assert command(script, 'timestep') == 'timestep 0.002'
    assert command(script, 'velocity').startswith('velocity all create 300.0 17 ')
    assert command(script, 'pair_coeff') == 'pair_coeff * * potential.yaml active_set.asi C Si'


def test_script_without_stop_keeps_temperature_and_pressure() -> None:
    nvt = input_script(MdConfig(temperature_start=450), ['Si'], seed=1)
    assert command(nvt, 'fix motion') == 'fix motion all nvt temp 450.0 450.0 0.1'
    npt = input_script(MdConfig(ensemble='npt'), ['Si'], seed=1)
    assert command(npt, 'fix motion') == 'fix motion all npt temp 300.0 300.0 0.1 aniso 0.0 0.0 1.0'


def test_script_looks_at_the_grade_by_its_stride() -> None:
    script = input_script(MdConfig(steps=60, grade_stride=20), ['Si'], seed=1)
    assert command(script, 'dump collected').startswith('dump collected all custom 20 ')
    assert command(script, 'dump halt').startswith('dump halt all custom 20 ')
    assert command(script, 'fix halt') == 'fix halt all halt 20 v_max_grade > 10.0 error soft'
    assert command(script, 'thermo ') == 'thermo 20'
    script = input_script(MdConfig(steps=60, grade_stride=20, collect_stride=60), ['Si'], seed=1)
    assert command(script, 'dump collected').startswith('dump collected all custom 60 ')


def test_script_without_samples_writes_none() -> None:
    assert 'samples' not in input_script(MdConfig(samples=0), ['Si'], seed=1)


@given(st.integers(1, 500), st.integers(1, 50), st.integers(1, 40))
def test_samples_are_at_steps_with_a_grade_and_not_too_many(looks: int, stride: int, samples: int) -> None:
    config = MdConfig(steps=looks * stride, grade_stride=stride, samples=samples)
    found = sample_stride(config)
    assert found % stride == 0
    assert 1 <= config.steps // found <= samples


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'collect_grade': 5, 'halt_grade': 5}, '`collect_grade` 5.0 must be below `halt_grade` 5.0'),
        ({'temperature_start': 0}, 'setting `temperature_start`'),
        ({'temperature_stop': float('inf')}, 'setting `temperature_stop`'),
        ({'pressure_start': 1.0}, 'need `ensemble: npt`'),
        ({'steps': 105}, '`steps` 105 must be a multiple of `grade_stride`'),
        ({'collect_stride': 5}, '`collect_stride` 5 must be a multiple'),
        ({'timestep': 15}, '`temperature_damping` 100.0 fs must be 10 steps or more'),
        ({'temperature': 300}, 'unknown setting `temperature`'),
        ({'ensemble': 'nve'}, 'setting `ensemble`'),
    ],
)
def test_settings_refused(settings: dict[str, object], message: str) -> None:
    error = config_error(MdConfig, settings)
    assert error is not None
    assert message in error


def test_settings_accepted() -> None:
    assert config_error(MdConfig, {'ensemble': 'npt', 'pressure_start': -1.0, 'grade_stride': 5}) is None
