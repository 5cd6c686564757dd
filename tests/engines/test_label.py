"""`pace-label`: labels by any calculator of ASE, frame by frame."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from aiida_pace.engines.calculators import CalculatorError, ImportedCalculator, Structure
from aiida_pace.engines.label import OVERDUE, UNREACHED, Labels, _compare_supercell, label, main, smallest_supercell
from aiida_pace.engines.worker import Worker, WorkerTimeoutError
from aiida_pace.frames import Frames
from tests.fixtures.silicon import STILLINGER_WEBER

COPPER = ImportedCalculator('ase.calculators.emt:EMT', {})


def odd(how: str) -> ImportedCalculator:
    return ImportedCalculator('tests.fixtures.odd_calculators:Odd', {'how': how})


def clusters() -> Frames:
    """Frames of 2, 3 and 4 atoms: `Odd` goes wrong on the one in the middle."""
    return Frames.from_atoms([Atoms(f'Ar{count}', [(2.2 * i, 0, 0) for i in range(count)]) for count in (2, 3, 4)])


def labels_of(frames: Frames, how: str, max_seconds: float | None = None) -> Labels:
    return label(frames, odd(how), max_seconds)


def test_labels_are_those_of_the_calculator() -> None:
    """A crystal, a strained one, a molecule in a cell, and an atom without one: energy, forces and stress."""
    rattled = bulk('Cu', cubic=True)
    rattled.rattle(0.1, seed=1)
    molecule = Atoms('Cu2', [(0, 0, 0), (0, 0, 2.2)], cell=[9, 9, 9])
    images = [bulk('Cu', a=3.5), rattled, molecule, Atoms('Cu')]
    found = label(Frames.from_atoms(images), COPPER)
    start = 0
    for index, atoms in enumerate(images):
        atoms.calc = EMT()
        part = slice(start, start + len(atoms))
        start += len(atoms)
        assert found.arrays['energy'][index] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(found.arrays['forces'][part], atoms.get_forces(), atol=1e-12)
        stress = atoms.get_stress() if atoms.pbc.any() else np.zeros(6)
        np.testing.assert_allclose(found.arrays['stress'][index], stress, atol=1e-12)
    assert found.failures == {}
    assert found.arrays['labelled'].all()
    assert found.arrays['has_stress'].all()
    assert found.arrays['stress'][0, :3].max() < -0.01 or found.arrays['stress'][0, :3].max() > 0.01
    assert (found.arrays['core_seconds'] > 0).all()
    assert found.account['supercell'] == {'frame': 0, 'difference': pytest.approx(0, abs=1e-9)}
    assert found.account['calculator'] == 'ase.calculators.emt:EMT'


@pytest.mark.parametrize(
    ('how', 'cause'),
    [
        ('raises', 'RuntimeError: the SCF did not converge'),
        ('dies', 'the calculator ended its process (signal 9)'),
        ('exits', 'the calculator ended its process (exit code 3)'),
        ('has_nan', 'the calculator returns forces with a number that is not finite'),
        ('has_wrong_shape', 'the calculator returns forces of the shape (2, 3), expected (3, 3)'),
    ],
)
def test_a_frame_that_fails_harms_no_other(how: str, cause: str) -> None:
    """Neither the one before nor the one after it; the calculator is a new one after an error."""
    found = labels_of(clusters(), how)
    assert found.failures == {1: cause}
    assert found.arrays['labelled'].tolist() == [True, False, True]
    for index, count in ((0, 2), (2, 4)):
        atoms = clusters().atoms(index)
        atoms.calc = LennardJones(sigma=2.0, epsilon=0.1, rc=5.0)
        assert found.arrays['energy'][index] == pytest.approx(atoms.get_potential_energy(), abs=1e-12), count
    assert found.arrays['energy'][1] == 0


def test_time_limit() -> None:
    """A frame that takes too long is given up; those after it were not reached, and the first is handed over."""
    found = labels_of(clusters(), 'hangs', max_seconds=15.0)
    assert found.arrays['labelled'].tolist() == [True, False, False]
    assert 'time limit' in found.failures[1]
    assert found.failures[2] == UNREACHED


def test_energy_is_that_of_the_forces() -> None:
    """With smearing, forces are derivatives of the free energy."""
    found = label(Frames.from_atoms([bulk('Si')]), ImportedCalculator('tests.fixtures.odd_calculators:FreeEnergy', {}))
    assert found.arrays['energy'].tolist() == [-4.0]


def test_cell_that_decides_the_energy_is_told() -> None:
    """Twice the cell has another energy per atom; the calculator has no stress, which is told, too."""
    frames = Frames.from_atoms([bulk('Si', cubic=True), bulk('Si'), Atoms('Si')])
    found = label(frames, ImportedCalculator('tests.fixtures.odd_calculators:Gamma', {}))
    assert found.account['supercell'] == {'frame': 1, 'difference': pytest.approx(0.1 / 4 - 0.1 / 2)}
    assert found.arrays['has_stress'].tolist() == [False, False, True]


def test_supercell_that_takes_too_long() -> None:
    class Late(Worker):
        def compute(self, structure: Structure) -> t.NoReturn:
            raise WorkerTimeoutError

    frames = Frames.from_atoms([bulk('Cu')])
    labels = Labels({'labelled': np.array([True]), 'energy': np.zeros(1)})
    with Late(COPPER) as worker:
        assert _compare_supercell(labels, frames, worker) == {'frame': 0, 'cause': OVERDUE}


def test_supercell_is_the_same_crystal() -> None:
    crystal = Atoms('CuAu', [(0, 0, 0), (2.1, 1.4, 2.5)], cell=[[4.0, 0, 0], [0.5, 3.0, 0], [0, 0, 5.0]], pbc=True)
    frames = Frames.from_atoms([Atoms('Cu'), crystal])
    chosen = smallest_supercell(frames, np.array([True, True]))
    assert chosen is not None
    index, double = chosen
    assert index == 1
    expected = crystal * (1, 2, 1)
    np.testing.assert_allclose(double.cell, expected.cell.array)
    np.testing.assert_allclose(sorted(map(tuple, double.positions)), sorted(map(tuple, expected.positions)))
    assert smallest_supercell(frames, np.array([True, False])) is None


@pytest.mark.parametrize(
    ('calculator', 'kwargs', 'message'),
    [
        ('no_such_package.module:Name', {}, 'cannot import `no_such_package.module:Name`.*install the package'),
        ('ase.calculators.emt:EMTX', {}, "has no attribute 'EMTX'"),
        ('ase.calculators.singlepoint:SinglePointCalculator', {'energy': 1.0}, 'keyword arguments energy: TypeError'),
        ('ase.build:bulk', {'name': 'Si'}, 'returns Atoms, not an ASE calculator'),
    ],
)
def test_calculator_that_cannot_be_made(calculator: str, kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(CalculatorError, match=message):
        label(clusters(), ImportedCalculator(calculator, kwargs))


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The two files belong together; a wrong setting leaves none, and a last line that says what is wrong."""
    monkeypatch.chdir(tmp_path)
    Frames.from_atoms([bulk('Cu'), bulk('Si')]).save('frames.npz')
    settings = {'calculator': 'ase.calculators.emt:EMT', 'kwargs': {}}
    Path('settings.json').write_text(json.dumps(settings))
    assert main(['frames.npz', '--settings', 'settings.json']) == 0
    account = json.loads(Path('labels.json').read_text())
    assert (account['count'], account['labelled'], account['unreached']) == (2, 1, [])
    assert account['failures'] == {'1': 'NotImplementedError: No EMT-potential for Si'}
    with np.load('labels.npz', allow_pickle=False) as arrays:
        assert arrays['labelled'].tolist() == [True, False]

    Path('settings.json').write_text(json.dumps({'calculator': 'ase.calculators.emt:EMTX', 'kwargs': {}}))
    assert main(['frames.npz', '--settings', 'settings.json', '--output', 'other.npz']) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith('pace-label: error: cannot import')
    assert not Path('other.npz').exists()


#: Labels of the frames in a file by the calculator of LAMMPS, with one calculator for all and with one for each.
BY_LAMMPS = """
import json, sys
from aiida_pace.engines.lammps_calculator import LammpsCalculator
from aiida_pace.frames import Frames
kwargs = json.loads(sys.argv[2])
one, found = LammpsCalculator(**kwargs), []
for atoms in Frames.load(sys.argv[1]):
    for calculator in (one, LammpsCalculator(**kwargs)):
        atoms.calc = calculator
        stress = atoms.get_stress().tolist() if atoms.pbc.any() else []
        found.append([atoms.get_potential_energy(), atoms.get_forces().tolist(), stress])
print(json.dumps(found))
"""


@pytest.mark.engines
def test_stillinger_weber_by_lammps(engine: Callable[[str], Path], tmp_path: Path) -> None:
    """Cells of all kinds one after another in one calculator: as with a new one each, and as in the paper."""
    distorted = bulk('Si', a=5.5) * (2, 1, 1)
    distorted.rattle(0.2, seed=3)
    left_handed = bulk('Si', a=5.431)
    left_handed.set_cell(left_handed.cell.array[[1, 0, 2]])
    images = [
        bulk('Si', a=5.431),
        bulk('Si', a=5.431, cubic=True),
        Atoms('Si3', [(-1, 0, 0), (1.3, 0, 0), (0, 0, 12.2)], cell=[10, 10, 10]),
        Atoms('Si'),
        distorted,
        left_handed,
    ]
    Frames.from_atoms(images).save(tmp_path / 'frames.npz')
    command = [engine('python'), '-c', BY_LAMMPS, tmp_path / 'frames.npz', json.dumps(STILLINGER_WEBER['kwargs'])]
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
    found = json.loads(done.stdout.splitlines()[-1])
    for again, fresh in zip(found[::2], found[1::2], strict=True):
        assert again[0] == pytest.approx(fresh[0], abs=1e-10)
        np.testing.assert_allclose(again[1], fresh[1], atol=1e-10)
        np.testing.assert_allclose(again[2], fresh[2], atol=1e-10)
    crystal, cubic, molecule, atom, _, mirrored = found[::2]
    # The parameters were made for a cohesive energy of 4.34 eV at 5.431 Å (Stillinger and Weber 1985).
    assert crystal[0] / 2 == pytest.approx(-4.3366, abs=1e-4)
    assert cubic[0] / 8 == pytest.approx(crystal[0] / 2, abs=1e-10)
    assert mirrored[0] == pytest.approx(crystal[0], abs=1e-10)
    assert np.abs(crystal[2]).max() < 1e-3
    # Two bonded atoms, partly outside of their cell, and one far away.
    assert molecule[0] < -1
    assert atom[0] == 0


@pytest.mark.engines
def test_teacher_is_the_potential(engine: Callable[[str], Path], si_potential_files: Path, tmp_path: Path) -> None:
    """The labels of an ACE potential are what ``pace-evaluate`` says of it, reference energies included."""
    potential = si_potential_files / 'potential.yaml'
    frames = Frames.load(si_potential_files / 'dataset.npz').take(range(3))
    frames.replace(energy=None, forces=None, stress=None).save(tmp_path / 'frames.npz')
    (tmp_path / 'references.json').write_text('{"Si": -100.5}')
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    for program, arguments in (('pace-label', ['--potential', potential]), ('pace-evaluate', [potential])):
        command = [engine(program), 'frames.npz', *arguments, '--reference-energies', 'references.json']
        command += ['--output', f'{program}.npz']
        subprocess.run(command, cwd=tmp_path, check=True, env=environment, timeout=120, stdout=sys.stderr)
    with np.load(tmp_path / 'pace-label.npz') as labels, np.load(tmp_path / 'pace-evaluate.npz') as evaluation:
        for name in ('energy', 'forces', 'stress'):
            np.testing.assert_allclose(labels[name], evaluation[name], rtol=1e-12, atol=1e-12)
    account = json.loads((tmp_path / 'pace-label.json').read_text())
    assert account['supercell']['difference'] == pytest.approx(0, abs=1e-9)
