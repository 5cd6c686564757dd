from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pace.config import MdConfig
from aiida_pace.formats.lammps import Orientation, data_file, input_script
from aiida_pace.formats.lammps_dump import Snapshot, frames_from_snapshots, read_dump
from aiida_pace.formats.lammps_log import parse_log
from aiida_pace.frames import Frames

pytestmark = pytest.mark.engines

Run = Callable[..., subprocess.CompletedProcess[str]]
BARS_PER_EV_PER_CUBIC_ANGSTROM = 1.602176634e6

#: What pyace's own ASE calculator says of frames; a frame that is not periodic is evaluated as it is.
BY_PYACE = """
import sys
import numpy as np
from pyace import PyACECalculator
from aiida_pace.frames import Frames
calculator = PyACECalculator(sys.argv[2] + '/potential.yaml')
calculator.set_active_set(sys.argv[2] + '/active_set.asi')
results = []
for atoms in Frames.load(sys.argv[1]):
    atoms.calc = calculator
    atoms.get_potential_energy()
    results.append(dict(calculator.results))
np.savez(sys.argv[3], energy=[r['energy'] for r in results], stress=[r['stress'] for r in results],
         forces=np.concatenate([r['forces'] for r in results]), grade=np.concatenate([r['gamma'] for r in results]))
"""


@pytest.fixture
def lmp(engine: Callable[[str], Path], tmp_path: Path) -> Run:
    """Return a runner of ``pace-lmp`` in the test's folder, with the input on standard input."""

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(engine('pace-lmp')), '-screen', 'none', *options]
        return subprocess.run(
            command, input=script, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )

    return run


@pytest.fixture
def by_pyace(engine: Callable[[str], Path], tmp_path: Path) -> Callable[[Frames, Path], dict[str, np.ndarray]]:
    """Return a function that evaluates frames with pyace's own calculator."""

    def evaluate(frames: Frames, potential: Path) -> dict[str, np.ndarray]:
        frames.save(tmp_path / 'frames.npz')
        command = [engine('python'), '-c', BY_PYACE, tmp_path / 'frames.npz', potential, tmp_path / 'results.npz']
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with np.load(tmp_path / 'results.npz') as archive:
            return dict(archive)

    return evaluate


def silicon(repeat: int = 1, amplitude: float = 0.05) -> Atoms:
    atoms = bulk('Si', cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(amplitude, seed=3)
    return atoms


def carbide(amplitude: float = 0.05) -> Atoms:
    """Return a triclinic cell in LAMMPS' orientation, atoms of the two elements mixed."""
    atoms = bulk('SiC', 'zincblende', a=4.36, cubic=True)
    atoms.set_cell(atoms.cell.array @ np.array([[1.01, 0, 0], [0.05, 0.98, 0], [-0.04, 0.03, 1]]), scale_atoms=True)
    atoms.rattle(amplitude, seed=4)
    return atoms


def setup(folder: Path, atoms: Atoms, potential: Path, *, boundary: str = 'p p p') -> str:
    """Write the structure; return the first commands of an input."""
    elements = sorted(set(atoms.get_chemical_symbols()))
    orientation = Orientation.of_cell(atoms.cell.array)
    text = data_file(atoms.numbers, atoms.positions, orientation, elements, triclinic=boundary == 'p p p')
    folder.joinpath('structure.data').write_text(text)
    return (
        f'units metal\nboundary {boundary}\nbox tilt large\nread_data structure.data\n'
        f'pair_style pace/extrapolation\n'
        f'pair_coeff * * {potential}/potential.yaml {potential}/active_set.asi {" ".join(elements)}\n'
        'timestep 0.001\n'
    )


GRADE = (
    'fix pace_gamma all pair {every} pace/extrapolation gamma 1\n'
    'compute max_grade all reduce max f_pace_gamma\nvariable mg equal c_max_grade\n'
)


def printed(folder: Path, name: str) -> list[list[float]]:
    """Return the numbers of the lines that a script printed to its log after ``name``."""
    lines = folder.joinpath('log.lammps').read_text().splitlines()
    return [[float(word) for word in line.split()[1:]] for line in lines if line.startswith(f'{name} ')]


def read_columns(path: Path, count: int) -> np.ndarray:
    """Return the (frames, atoms, columns) of a dump sorted by id."""
    lines = path.read_text().splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith('ITEM: ATOMS')]
    return np.array([[list(map(float, row.split())) for row in lines[i + 1 : i + 1 + count]] for i in starts])


@pytest.mark.parametrize('system', ['Si', 'SiC'])
def test_forces_are_the_differences_of_the_energy(
    lmp: Run, tmp_path: Path, si_potential_files: Path, sic_potential_files: Path, system: str
) -> None:
    atoms, potential = (silicon(), si_potential_files) if system == 'Si' else (carbide(), sic_potential_files)
    script = setup(tmp_path, atoms, potential) + 'group moved id 6\nvariable e equal pe\n'
    script += 'dump 1 all custom 1 forces.dump id fx fy fz\ndump_modify 1 sort id format float %.17g\nrun 0\nundump 1\n'
    step = 1e-4
    for axis in range(3):
        for move in (step, -2 * step, step):
            vector = ' '.join(repr(move * (axis == i)) for i in range(3))
            script += f'displace_atoms moved move {vector} units box\nrun 0\nprint "ENERGY $(v_e:%.17g)"\n'
    result = lmp(script)
    assert result.returncode == 0, result.stderr
    energies = np.array(printed(tmp_path, 'ENERGY')).reshape(3, 3)
    differences = (energies[:, 1] - energies[:, 0]) / (2 * step)
    forces = read_columns(tmp_path / 'forces.dump', len(atoms))[0][5, 1:]
    assert np.abs(forces).min() > 0.05
    np.testing.assert_allclose(forces, differences, atol=2e-5 * np.abs(forces).max())


@pytest.mark.parametrize('system', ['Si', 'SiC'])
def test_pressure_is_the_difference_of_the_energy_by_strain(
    lmp: Run, tmp_path: Path, si_potential_files: Path, sic_potential_files: Path, system: str
) -> None:
    atoms, potential = (silicon(), si_potential_files) if system == 'Si' else (carbide(), sic_potential_files)
    script = setup(tmp_path, atoms, potential)
    script += (
        'compute p all pressure NULL virial\nthermo_style custom step pe vol c_p[*]\nrun 0\nvariable v equal vol\n'
    )
    script += 'variable p1 equal c_p[1]\nvariable p2 equal c_p[2]\nvariable p3 equal c_p[3]\n'
    script += 'variable p4 equal c_p[4]\nvariable p5 equal c_p[5]\nvariable p6 equal c_p[6]\nvariable e equal pe\n'
    script += 'print "PRESSURE $(v_v:%.17g) ' + ' '.join(f'$(v_p{i}:%.17g)' for i in range(1, 7)) + '"\n'
    step = 1e-5
    (a, _, _), (xy, b, _), (xz, yz, c) = Orientation.of_cell(atoms.cell.array).cell.tolist()
    box = f'x final 0 {a!r} y final 0 {b!r} z final 0 {c!r} xy final {xy!r} xz final {xz!r} yz final {yz!r}'
    # What a strain adds to the components of the cell vectors, for xx yy zz xy xz yz.
    strains = [{'x': a, 'xy': xy, 'xz': xz}, {'y': b, 'yz': yz}, {'z': c}, {'xy': b, 'xz': yz}, {'xz': c}, {'yz': c}]
    for strain in strains:
        for size in (step, -step):
            deltas = ' '.join(
                f'{name} delta {"0 " * (len(name) == 1)}{size * length!r}' for name, length in strain.items()
            )
            script += f'change_box all {deltas} remap units box\nrun 0\nprint "ENERGY $(v_e:%.17g)"\n'
            script += f'change_box all {box} remap units box\n'
    result = lmp(script)
    assert result.returncode == 0, result.stderr
    volume, *pressure = printed(tmp_path, 'PRESSURE')[0]
    energies = np.array(printed(tmp_path, 'ENERGY')).reshape(6, 2)
    expected = -(energies[:, 0] - energies[:, 1]) / (2 * step) / volume * BARS_PER_EV_PER_CUBIC_ANGSTROM
    np.testing.assert_allclose(pressure, expected, atol=2e-4 * np.abs(pressure).max())


@pytest.mark.parametrize('system', ['Si', 'SiC'])
def test_trajectory_has_energies_forces_and_grades_of_pyace(  # noqa: PLR0917
    lmp: Run,
    by_pyace: Callable[[Frames, Path], dict[str, np.ndarray]],
    tmp_path: Path,
    si_potential_files: Path,
    sic_potential_files: Path,
    system: str,
) -> None:
    atoms, potential = (silicon(2), si_potential_files) if system == 'Si' else (carbide(), sic_potential_files)
    motion = 'nvt temp 900 900 0.1' if system == 'Si' else 'npt temp 900 900 0.1 tri 0 0 0.3'
    columns = 'id type xu yu zu f_pace_gamma'
    script = setup(tmp_path, atoms, potential) + GRADE.format(every=7)
    script += f'velocity all create 900 11\nfix md all {motion}\nthermo 7\n'
    script += 'thermo_style custom step temp press pe vol c_max_grade\nthermo_modify format float %.17g\n'
    script += f'dump 1 all custom 7 frames.dump {columns}\ndump_modify 1 sort id format float %.17g\n'
    script += 'dump 2 all custom 7 forces.dump id fx fy fz\ndump_modify 2 sort id format float %.17g\nrun 210\n'
    result = lmp(script)
    assert result.returncode == 0, result.stderr
    with tmp_path.joinpath('frames.dump').open() as handle:
        snapshots = list(read_dump(handle))
    assert [snapshot.step for snapshot in snapshots] == list(range(0, 211, 7))
    frames = frames_from_snapshots(
        snapshots,
        atoms.numbers,
        Orientation.of_cell(atoms.cell.array),
        ['x'] * len(snapshots),
    )
    assert (np.ptp(frames.cells, axis=0).max() > 0.01) == (system == 'SiC')
    expected = by_pyace(frames, potential)
    thermo = parse_log(tmp_path.joinpath('log.lammps').read_text()).thermo
    np.testing.assert_allclose(thermo['potential_energy'], expected['energy'], rtol=1e-12)
    np.testing.assert_allclose(thermo['max_grade'], frames.max_grade(), rtol=1e-12)
    np.testing.assert_allclose(frames.grade, expected['grade'], rtol=1e-6)
    forces = read_columns(tmp_path / 'forces.dump', len(atoms))[:, :, 1:].reshape(-1, 3)
    np.testing.assert_allclose(forces, expected['forces'], atol=1e-8)


def test_any_cell_of_a_crystal_has_its_energy(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    crystal = bulk('Si', cubic=True)
    skewed, left_handed, primitive = crystal.copy(), crystal.copy(), bulk('Si')
    skewed.set_cell([[5.43, 0, 0], [16.29, 5.43, 0], [-10.86, 10.86, 5.43]])
    left_handed.set_cell([[0, 5.43, 0], [5.43, 0, 0], [0, 0, 5.43]])
    energies = []
    for atoms in (crystal, skewed, left_handed, primitive):
        result = lmp(setup(tmp_path, atoms, si_potential_files) + 'run 0\nprint "ENERGY $(pe/atoms:%.17g)"\n')
        assert result.returncode == 0, result.stderr
        energies.append(printed(tmp_path, 'ENERGY')[0][0])
    assert energies == pytest.approx([energies[0]] * 4, abs=1e-11)


@pytest.mark.parametrize('boundary', ['f f f', 's s s', 'p p f'])
def test_directions_without_periods(
    lmp: Run,
    by_pyace: Callable[[Frames, Path], dict[str, np.ndarray]],
    tmp_path: Path,
    si_potential_files: Path,
    boundary: str,
) -> None:
    atoms = silicon()
    atoms.set_cell(np.diag([5.43, 5.43, 9.0]) if boundary == 'p p f' else np.eye(3) * 12)
    atoms.positions += 0.5
    script = setup(tmp_path, atoms, si_potential_files, boundary=boundary)
    script += 'dump 1 all custom 1 forces.dump id fx fy fz\ndump_modify 1 sort id format float %.17g\n'
    result = lmp(script + 'run 0\nprint "ENERGY $(pe:%.17g)"\n')
    assert result.returncode == 0, result.stderr
    if boundary == 'p p f':
        atoms.set_cell(np.diag([5.43, 5.43, 40]))
        atoms.pbc = True
    else:
        atoms.pbc = False
    expected = by_pyace(Frames.from_atoms([atoms]), si_potential_files)
    assert printed(tmp_path, 'ENERGY')[0][0] == pytest.approx(expected['energy'][0], abs=1e-10)
    forces = read_columns(tmp_path / 'forces.dump', len(atoms))[0][:, 1:]
    np.testing.assert_allclose(forces, expected['forces'], atol=1e-9)


def test_total_energy_is_conserved_and_holds_the_potential(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    script = setup(tmp_path, silicon(), si_potential_files)
    script += (
        'timestep 0.0005\nvelocity all create 600 5\nfix md all nve\nvariable e equal etotal\nvariable k equal ke\n'
    )
    script += 'run 0\nprint "ENERGY $(v_e:%.17g) $(v_k:%.17g)"\nrun 400\nprint "ENERGY $(v_e:%.17g) $(v_k:%.17g)"\n'
    result = lmp(script)
    assert result.returncode == 0, result.stderr
    (before, kinetic_before), (after, kinetic_after) = printed(tmp_path, 'ENERGY')
    assert before < -30
    assert abs(kinetic_after - kinetic_before) > 0.05
    assert after == pytest.approx(before, abs=0.003)


def test_minimisation_follows_the_forces_and_has_fresh_grades(
    lmp: Run,
    by_pyace: Callable[[Frames, Path], dict[str, np.ndarray]],
    tmp_path: Path,
    si_potential_files: Path,
) -> None:
    atoms = silicon(amplitude=0.2)
    script = setup(tmp_path, atoms, si_potential_files) + GRADE.format(every=1)
    script += 'minimize 0 1e-6 1000 10000\nprint "NORM $(fnorm)"\n'
    script += 'write_dump all custom end.dump id type xu yu zu f_pace_gamma modify sort id format float %.17g\n'
    result = lmp(script)
    assert result.returncode == 0, result.stderr
    assert printed(tmp_path, 'NORM')[0][0] < 1e-5
    (snapshot,) = _snapshots(tmp_path / 'end.dump')
    frames = frames_from_snapshots([snapshot], atoms.numbers, Orientation.of_cell(atoms.cell.array), ['x'])
    np.testing.assert_allclose(frames.grade, by_pyace(frames, si_potential_files)['grade'], rtol=1e-5)


def _snapshots(path: Path) -> list[Snapshot]:
    with path.open() as handle:
        return list(read_dump(handle))


def test_grade_is_fresh_when_atoms_move_between_runs_at_one_step(
    lmp: Run,
    by_pyace: Callable[[Frames, Path], dict[str, np.ndarray]],
    tmp_path: Path,
    si_potential_files: Path,
) -> None:
    atoms = silicon()
    script = setup(tmp_path, atoms, si_potential_files) + GRADE.format(every=10)
    script += 'thermo_style custom step c_max_grade\ngroup moved id 1\nrun 0\nprint "GRADE ${mg}"\n'
    script += 'displace_atoms moved move 0.6 0.4 0 units box\nrun 0\nprint "GRADE ${mg}"\n'
    result = lmp(script)
    assert result.returncode == 0, result.stderr
    moved = atoms.copy()
    moved.positions[0] += [0.6, 0.4, 0]
    expected = by_pyace(Frames.from_atoms([atoms, moved]), si_potential_files)['grade'].reshape(2, -1).max(axis=1)
    assert abs(expected[1] - expected[0]) > 0.03
    np.testing.assert_allclose(np.ravel(printed(tmp_path, 'GRADE')), expected, rtol=1e-6)


def test_grade_may_not_be_used_at_steps_without_it(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    script = setup(tmp_path, silicon(), si_potential_files) + GRADE.format(every=10)
    result = lmp(script + 'dump 1 all custom 5 x.dump id f_pace_gamma\nfix md all nve\nrun 10\n')
    assert result.returncode != 0
    assert 'not computed at compatible times' in result.stderr


def test_variables_loops_and_continued_lines(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    script = setup(tmp_path, silicon(), si_potential_files).replace('active_set.asi Si', 'active_set.asi &\n  ${what}')
    script += GRADE.format(every='${every}') + 'fix md all nve\nvariable i loop 3\nlabel again\nrun ${every}\n'
    script += 'print "GRADE ${mg} $(step)"\nnext i\njump SELF again\n'
    path = tmp_path / 'in.lmp'
    path.write_text(script)
    result = lmp('', '-in', str(path), '-var', 'what', 'Si', '-var', 'every', '4', '-log', 'log.lammps')
    assert result.returncode == 0, result.stderr
    grades = printed(tmp_path, 'GRADE')
    assert [row[1] for row in grades] == [4, 8, 12]
    assert all(row[0] > 0 for row in grades)


#: Takes atom 1 to just where atom 2 is, at step 10; both rest until then.
COLLISION = (
    'group one id 1\ngroup two id 2\nvariable dx equal "2.5*(step==10)"\nvariable zero equal 0\n'
    'fix md one move variable v_dx v_zero v_zero v_zero v_zero v_zero\n'
)


def test_failing_evaluation_ends_the_run(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    atoms = Atoms('Si2', positions=[[0, 0, 0], [2.5, 0, 0]], cell=np.eye(3) * 8, pbc=True)
    script = setup(tmp_path, atoms, si_potential_files) + COLLISION
    script += 'dump 1 all atom 1 x.dump\nrun 20\nwrite_data after.data\n'
    result = lmp(script)
    assert result.returncode != 0
    assert 'pace-lmp: error: the potential failed at step 10: EvaluationError' in result.stderr
    log = parse_log(tmp_path.joinpath('log.lammps').read_text())
    assert log.error.startswith('pace-lmp: the potential failed at step 10')
    assert log.wall_time_seconds is None
    assert not tmp_path.joinpath('after.data').exists()
    steps = tmp_path.joinpath('x.dump').read_text().split('ITEM: TIMESTEP\n')[1:]
    assert [int(part.split()[0]) for part in steps] == list(range(10))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (('timestep', 'timestap'), 'Unknown command: timestap'),
        (('potential.yaml', 'nothing.yaml'), 'nothing.yaml'),
        (('active_set.asi', 'potential.yaml'), 'cannot read the active set'),
        (('active_set.asi Si', 'active_set.asi Ge'), '`pair_coeff` names Ge'),
        (('active_set.asi Si', 'active_set.asi Si Si'), 'names 2 elements for 1 atom type'),
        (('* *', '1 1'), '`pair_coeff` must read'),
        (('pair_style pace/', 'pair_style hybrid pace/'), 'hybrid styles are not supported'),
        (('read_data structure.data', 'read_data nowhere.data'), 'nowhere.data'),
    ],
)
def test_wrong_input_is_an_error(
    lmp: Run, tmp_path: Path, si_potential_files: Path, change: tuple[str, str], message: str
) -> None:
    result = lmp(setup(tmp_path, silicon(), si_potential_files).replace(*change) + 'run 0\n')
    assert result.returncode != 0
    assert message in result.stderr
    assert message in parse_log(tmp_path.joinpath('log.lammps').read_text()).error
    assert 'Traceback' not in result.stderr


def test_missing_input_file(lmp: Run) -> None:
    result = lmp('', '-in', 'missing.lmp')
    assert result.returncode == 1
    assert 'missing.lmp' in result.stderr


def test_help_is_ours(engine: Callable[[str], Path]) -> None:
    result = subprocess.run([engine('pace-lmp'), '-help'], capture_output=True, text=True, check=True, timeout=60)
    assert 'All other options go to LAMMPS' in result.stdout


def test_version(engine: Callable[[str], Path]) -> None:
    result = subprocess.run([engine('pace-lmp'), '--version'], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.startswith('pace-lmp 0')


def walk(lmp: Run, folder: Path, atoms: Atoms, potential: Path, **settings: object) -> tuple[MdConfig, Sequence[float]]:
    """Run a walker; return its settings and the steps of its thermo data."""
    config = MdConfig.model_validate(settings)
    orientation = Orientation.of_cell(atoms.cell.array)
    folder.joinpath('structure.data').write_text(data_file(atoms.numbers, atoms.positions, orientation, ['Si']))
    for name in ('potential.yaml', 'active_set.asi'):
        folder.joinpath(name).write_bytes(potential.joinpath(name).read_bytes())
    result = lmp(input_script(config, ['Si'], seed=12))
    assert result.returncode == 0, result.stderr
    return config, parse_log(folder.joinpath('log.lammps').read_text()).thermo['step']


def test_walker_that_meets_nothing_new_runs_to_its_end(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    config, steps = walk(lmp, tmp_path, silicon(), si_potential_files, steps=100, temperature_start=100.0, samples=5)
    assert list(steps) == list(range(0, 101, config.grade_stride))
    assert _snapshots(tmp_path / 'halt.dump') == []
    assert [snapshot.step for snapshot in _snapshots(tmp_path / 'samples.dump')] == [0, 20, 40, 60, 80, 100]
    assert tmp_path.joinpath('extrapolative.dump').read_text() == ''


def test_walker_halts_at_the_first_grade_above_its_limit(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    atoms = silicon()
    settings = {'temperature_start': 4000.0, 'steps': 2000, 'collect_grade': 1.5, 'halt_grade': 4.0}
    config, steps = walk(lmp, tmp_path, atoms, si_potential_files, **settings, collect_stride=20)
    grades = parse_log(tmp_path.joinpath('log.lammps').read_text()).thermo['max_grade']
    (halt,) = _snapshots(tmp_path / 'halt.dump')
    assert 0 < halt.step == steps[-1] < config.steps
    assert halt.max_grade == pytest.approx(grades[-1], rel=1e-9)
    assert grades[-1] > config.halt_grade >= grades[:-1].max()
    collected = _snapshots(tmp_path / 'extrapolative.dump')
    expected = [step for step, grade in zip(steps, grades, strict=True) if step % 20 == 0 and grade >= 1.5]
    assert [snapshot.step for snapshot in collected] == expected


def test_walker_that_starts_above_its_limit_makes_no_step(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    atoms = silicon(amplitude=0.6)
    _, steps = walk(lmp, tmp_path, atoms, si_potential_files, halt_grade=2.0, collect_grade=1.5)
    assert list(steps) == [0]
    (halt,) = _snapshots(tmp_path / 'halt.dump')
    assert halt.step == 0
    orientation = Orientation.of_cell(atoms.cell.array)
    np.testing.assert_allclose(orientation.from_lammps(halt.positions), atoms.positions, atol=1e-13)


def test_walker_follows_its_ramps(lmp: Run, tmp_path: Path, si_potential_files: Path) -> None:
    settings = {'ensemble': 'npt', 'barostat': 'iso', 'pressure_start': 0.0, 'pressure_stop': 10.0}
    settings |= {'temperature_start': 100.0, 'temperature_stop': 600.0, 'temperature_damping': 20.0}
    settings |= {'pressure_damping': 100.0, 'steps': 1500, 'halt_grade': 1e6}
    walk(lmp, tmp_path, silicon(2), si_potential_files, **settings)
    thermo = parse_log(tmp_path.joinpath('log.lammps').read_text()).thermo
    early, late = slice(10, 40), slice(-20, None)
    assert thermo['temperature'][early].mean() == pytest.approx(180, abs=60)
    assert thermo['temperature'][late].mean() == pytest.approx(560, abs=100)
    assert thermo['pressure'][late].mean() / 1e4 == pytest.approx(9.3, abs=1.5)
    assert thermo['volume'][late].mean() < 0.97 * thermo['volume'][early].mean()
