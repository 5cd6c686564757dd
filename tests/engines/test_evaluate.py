import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pace.frames import Frames

pytestmark = pytest.mark.engines

Arrays = dict[str, np.ndarray]
Run = Callable[..., subprocess.CompletedProcess[str]]
Evaluate = Callable[..., Arrays]

REFERENCE = {'Si': -100.5}

#: What pyace's own ASE calculator says of the frames, for comparison.
BY_PYACE = """
import sys
import numpy as np
from pyace import PyACECalculator
from aiida_pace.frames import Frames
calculator = PyACECalculator(sys.argv[2])
calculator.set_active_set(sys.argv[3])
results = []
for atoms in Frames.load(sys.argv[1]):
    atoms.calc = calculator
    atoms.get_potential_energy()
    results.append(dict(calculator.results))
np.savez(sys.argv[4], energy=[r['energy'] for r in results], stress=[r['stress'] for r in results],
         forces=np.concatenate([r['forces'] for r in results]), grade=np.concatenate([r['gamma'] for r in results]))
"""

#: What our ASE calculator says of a crystal and of a molecule.
BY_CALCULATOR = """
import json, sys
from pathlib import Path
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from aiida_pace.engines.ace import AceCalculator, AceModel
from aiida_pace.frames import Frames
yaml, asi = Path(sys.argv[2]).read_bytes(), Path(sys.argv[3]).read_bytes()
atoms = Frames.load(sys.argv[1]).atoms(0)
atoms.calc = AceCalculator(AceModel(yaml, asi), {'Si': -100.5})
crystal = [atoms.get_potential_energy(), atoms.get_forces().tolist(), atoms.get_stress().tolist(),
           atoms.calc.results['grade'].tolist()]
molecule = Atoms('Si2', positions=[[0, 0, 0], [2.3, 0, 0]], calculator=AceCalculator(AceModel(yaml)))
energy = molecule.get_potential_energy()
try:
    molecule.get_stress()
    refused = False
except PropertyNotImplementedError:
    refused = True
print(json.dumps([crystal, energy, refused, 'grade' in molecule.calc.results]))
"""


@pytest.fixture
def run(engine: Callable[[str], Path], tmp_path: Path) -> Run:
    """Return a function that runs ``pace-evaluate`` in an empty directory."""

    def runner(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(argument) for argument in (engine('pace-evaluate'), *arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)

    return runner


@pytest.fixture
def evaluate(run: Run, si_potential_files: Path, tmp_path: Path) -> Evaluate:
    """Return a function that evaluates images under the silicon potential; ``graded`` adds the active set."""

    def evaluator(images: list[Atoms], *, graded: bool = False, files: Path = si_potential_files) -> Arrays:
        Frames.from_atoms(images).save(tmp_path / 'frames.npz')
        options = ['--active-set', files / 'active_set.asi'] if graded else []
        finished = run('frames.npz', files / 'potential.yaml', *options)
        assert finished.returncode == 0, finished.stderr
        with np.load(tmp_path / 'evaluation.npz', allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    return evaluator


def rattled(seed: int = 0, amplitude: float = 0.15) -> Atoms:
    atoms = bulk('Si', cubic=True)
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=amplitude, size=atoms.positions.shape)
    return atoms


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def test_forces_are_minus_the_gradient_of_the_energy(evaluate: Evaluate) -> None:
    step = 1e-4
    images = []
    for pbc in (True, False, (True, True, False)):
        atoms = rattled()
        atoms.pbc = pbc
        images.append(atoms)
        for index in np.ndindex(atoms.positions.shape):
            for sign in (1, -1):
                image = atoms.copy()
                image.positions[index] += sign * step
                images.append(image)
    arrays = evaluate(images)
    energies = arrays['energy'].reshape(3, -1)
    gradient = (energies[:, 1::2] - energies[:, 2::2]) / (2 * step)
    forces = arrays['forces'].reshape(3, -1, 8, 3)[:, 0]
    assert (np.abs(forces).max(axis=(1, 2)) > 1).all()
    np.testing.assert_allclose(forces.reshape(3, -1), -gradient, atol=1e-5)


def test_stress_is_the_derivative_of_the_energy_by_strain(evaluate: Evaluate) -> None:
    atoms, step = rattled(), 1e-5
    images = [atoms]
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            images.append(strained(atoms, strain))
    arrays = evaluate(images)
    derivative = (arrays['energy'][1::2] - arrays['energy'][2::2]) / (2 * step) / atoms.get_volume()
    assert np.abs(arrays['stress'][0]).min() > 1e-4
    np.testing.assert_allclose(arrays['stress'][0], derivative, atol=1e-7)


def test_compression_gives_a_negative_stress(evaluate: Evaluate) -> None:
    stress = evaluate([strained(bulk('Si'), -0.05 * np.eye(3))])['stress'][0]
    assert (stress[:3] < -0.01).all()


def test_agrees_with_pyace_for_two_elements(
    evaluate: Evaluate, engine: Callable[[str], Path], sic_potential_files: Path, tmp_path: Path
) -> None:
    images = list(Frames.load(sic_potential_files / 'dataset.npz').take(range(5)))
    images.append(images[0] * (2, 1, 1))
    images[-1].rattle(0.3, rng=np.random.default_rng(0))
    arrays = evaluate([image.copy() for image in images], graded=True, files=sic_potential_files)
    files = ['frames.npz', sic_potential_files / 'potential.yaml', sic_potential_files / 'active_set.asi', 'ref.npz']
    subprocess.run([engine('python'), '-c', BY_PYACE, *files], check=True, cwd=tmp_path)
    with np.load(tmp_path / 'ref.npz') as reference:
        for name in ('energy', 'forces', 'stress', 'grade'):
            np.testing.assert_allclose(arrays[name], reference[name], rtol=1e-10, atol=1e-10, err_msg=name)
    assert arrays['grade'].max() > 2  # the last frame was pushed out of what the set knows


def test_without_active_set_there_is_no_grade(evaluate: Evaluate) -> None:
    assert 'grade' not in evaluate([bulk('Si')])


def test_order_of_atoms_place_and_orientation_do_not_matter(evaluate: Evaluate) -> None:
    atoms = rattled()
    order = np.random.default_rng(1).permutation(len(atoms))
    moved, turned = atoms.copy(), atoms.copy()
    moved.positions += [100, -50, 3.3]
    turned.rotate(77, (1, 2, 3), rotate_cell=True)
    arrays = evaluate([atoms, atoms[order], moved, turned], graded=True)
    energies, forces = arrays['energy'], arrays['forces'].reshape(4, -1, 3)
    grades = arrays['grade'].reshape(4, -1)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-12)
    np.testing.assert_allclose(forces[1], forces[0][order], atol=1e-11)
    np.testing.assert_allclose(forces[2], forces[0], atol=1e-11)
    np.testing.assert_allclose(np.linalg.norm(forces[3], axis=1), np.linalg.norm(forces[0], axis=1), atol=1e-11)
    np.testing.assert_allclose(grades[1], grades[0][order], atol=1e-9)
    np.testing.assert_allclose(grades[3], grades[0], atol=1e-9)


def test_choice_of_the_cell_does_not_matter(evaluate: Evaluate) -> None:
    atoms = rattled()
    left_handed, skewed = atoms.copy(), atoms.copy()
    left_handed.set_cell(atoms.cell.array[[1, 0, 2]])
    skewed.set_cell(np.array([[1, 0, 0], [25, 1, 0], [-8, 15, 1]]) @ atoms.cell.array)
    arrays = evaluate([atoms, left_handed, skewed, atoms * (2, 1, 1)])
    np.testing.assert_allclose(arrays['energy'], arrays['energy'][0] * np.array([1, 1, 1, 2]), rtol=1e-12)
    np.testing.assert_allclose(arrays['forces'], np.tile(arrays['forces'][:8], (5, 1)), atol=1e-10)
    np.testing.assert_allclose(arrays['stress'], np.tile(arrays['stress'][0], (4, 1)), atol=1e-12)


def test_isolated_atoms_and_molecules(run: Run, si_potential_files: Path, tmp_path: Path) -> None:
    images = [
        Atoms('Si'),
        Atoms('Si', cell=[30] * 3, pbc=True),
        Atoms('Si2', positions=[[0, 0, 0], [50, 0, 0]]),
        Atoms('Si2', positions=[[0, 0, 0], [2.3, 0, 0]]),
        Atoms('Si2', positions=[[0, 0, 0], [2.3, 0, 0]], cell=[30] * 3, pbc=True),
    ]
    Frames.from_atoms(images).save(tmp_path / 'frames.npz')
    (tmp_path / 'reference.json').write_text(json.dumps(REFERENCE))
    finished = run(
        *('frames.npz', si_potential_files / 'potential.yaml', '--reference-energies', 'reference.json'),
        *('--active-set', si_potential_files / 'active_set.asi', '--output', 'out.npz'),
    )
    assert finished.returncode == 0, finished.stderr
    with np.load(tmp_path / 'out.npz') as arrays:
        energy, forces, stress, grade = (arrays[name] for name in ('energy', 'forces', 'stress', 'grade'))
    assert energy[:3].tolist() == [REFERENCE['Si'], REFERENCE['Si'], 2 * REFERENCE['Si']]
    assert not forces[:4].any()
    assert not grade[:4].any()
    assert energy[3] == pytest.approx(energy[4], abs=1e-12)
    assert abs(energy[3] - energy[2]) > 0.1
    assert forces[4, 0] == pytest.approx(-forces[5, 0])
    assert not stress[3].any()  # no periods, no stress
    assert stress[4, 0] != 0


def test_missing_periods_are_empty_space(evaluate: Evaluate) -> None:
    images = []
    for pbc in ((True, True, False), (False, True, False), (True, False, True)):
        atoms = rattled()
        spacious = atoms.copy()
        spacious.set_cell(atoms.cell.array * np.where(pbc, 1, 20)[:, None])
        atoms.pbc = pbc
        unwrapped = atoms.copy()
        unwrapped.positions[0] += 3 * np.array(pbc) @ atoms.cell.array
        without_vector = atoms.copy()
        without_vector.set_cell(atoms.cell.array * np.array(pbc)[:, None])
        images += [atoms, spacious, unwrapped, without_vector]
    arrays = evaluate(images)
    for index in range(0, len(images), 4):
        energy, stress = arrays['energy'][index : index + 4], arrays['stress'][index : index + 4]
        forces = arrays['forces'][8 * index : 8 * (index + 4)].reshape(4, 8, 3)
        np.testing.assert_allclose(energy, energy[0], rtol=1e-12)
        np.testing.assert_allclose(forces, np.tile(forces[0], (4, 1, 1)), atol=1e-10)
        ratio = images[index + 1].get_volume() / images[index].get_volume()
        np.testing.assert_allclose(stress[1] * ratio, stress[0], atol=1e-12)
        assert not stress[3].any()  # no volume, no stress
    assert len(np.unique(arrays['energy'].round(6))) == 3  # each choice of periods is another structure


def test_order_of_the_frames_is_kept(evaluate: Evaluate) -> None:
    images = [rattled(seed) * (1 + seed % 2, 1, 1) for seed in range(5)]
    together = evaluate(images, graded=True)
    backwards = evaluate(images[::-1], graded=True)
    for name in ('energy', 'stress'):
        np.testing.assert_array_equal(together[name], backwards[name][::-1])
    cuts = np.cumsum([len(image) for image in images])[:-1]
    parts = zip(images, np.split(together['grade'], cuts), np.split(together['forces'], cuts), strict=True)
    end = len(backwards['grade'])
    for image, grade, forces in parts:
        np.testing.assert_array_equal(grade, backwards['grade'][end - len(image) : end])
        np.testing.assert_array_equal(forces, backwards['forces'][end - len(image) : end])
        end -= len(image)


def test_calculator_agrees_with_the_command(
    evaluate: Evaluate, engine: Callable[[str], Path], si_potential_files: Path, tmp_path: Path
) -> None:
    atoms = rattled()
    molecule = Atoms('Si2', positions=[[0, 0, 0], [2.3, 0, 0]])
    arrays = evaluate([atoms, molecule], graded=True)
    files = ['frames.npz', si_potential_files / 'potential.yaml', si_potential_files / 'active_set.asi']
    printed = subprocess.run(
        [engine('python'), '-c', BY_CALCULATOR, *files], check=True, cwd=tmp_path, capture_output=True, text=True
    ).stdout
    (energy, forces, stress, grade), molecule_energy, refused, has_grade = json.loads(printed)
    assert energy == pytest.approx(arrays['energy'][0] + 8 * REFERENCE['Si'], rel=1e-14)
    np.testing.assert_array_equal(forces, arrays['forces'][:8])
    np.testing.assert_array_equal(stress, arrays['stress'][0])
    np.testing.assert_array_equal(grade, arrays['grade'][:8])
    assert molecule_energy == arrays['energy'][1]
    assert refused
    assert not has_grade


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (Atoms('SiGe', positions=[[0, 0, 0], [2, 0, 0]]), 'the frames hold Ge, the potential is for Si'),
        (Atoms('Si2', positions=[[0, 0, 0], [0, 0, 0]]), 'frame 1: pyace refuses the structure'),
    ],
)
def test_frame_that_cannot_be_evaluated_fails_the_run(
    run: Run, si_potential_files: Path, tmp_path: Path, image: Atoms, message: str
) -> None:
    Frames.from_atoms([bulk('Si'), image]).save(tmp_path / 'frames.npz')
    finished = run('frames.npz', si_potential_files / 'potential.yaml')
    assert finished.returncode != 0
    assert finished.stderr.splitlines()[-1].startswith(f'pace-evaluate: error: {message}')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['frames.npz']


def test_input_that_does_not_fit_fails_the_run(
    run: Run, si_potential_files: Path, sic_potential_files: Path, tmp_path: Path
) -> None:
    frames, potential = si_potential_files / 'dataset.npz', si_potential_files / 'potential.yaml'
    (tmp_path / 'broken.asi').write_bytes(b'text')
    (tmp_path / 'reference.json').write_text('{"C": 1}')
    cases = [
        (
            (frames, potential, '--active-set', sic_potential_files / 'active_set.asi'),
            'the active set has the matrices',
        ),
        ((frames, potential, '--active-set', 'broken.asi'), 'cannot read the active set'),
        ((frames, potential, '--reference-energies', 'reference.json'), 'the reference energies lack Si'),
        ((frames, frames), 'pyace cannot read the potential'),
        ((potential, potential), 'not an archive of frames'),
        ((frames, 'missing.yaml'), '[Errno 2]'),
    ]
    for arguments, message in cases:
        finished = run(*arguments)
        assert finished.returncode == 1, arguments
        assert finished.stderr.splitlines()[-1].startswith(f'pace-evaluate: error: {message}'), finished.stderr
    assert not (tmp_path / 'evaluation.npz').exists()


def test_progress_and_version(run: Run, si_potential_files: Path) -> None:
    finished = run(si_potential_files / 'dataset.npz', si_potential_files / 'potential.yaml')
    lines = finished.stderr.splitlines()
    assert lines[0] == 'evaluated 8 of 80 frames'
    assert lines[-1] == 'evaluated 80 of 80 frames'
    assert len(lines) == 10
    assert run('--version').stdout.startswith('pace-evaluate ')
    assert run('--unknown').returncode == 2
