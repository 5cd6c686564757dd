import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pace.config import CLOSEST, EmbeddingConfig
from aiida_pace.frames import Frames
from aiida_pace.structures.guards import closest_approach
from aiida_pace.structures.recipe_context import pushed_apart

pytestmark = pytest.mark.engines

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(engine: Callable[[str], Path], tmp_path: Path) -> Run:
    """Return a function that runs ``pace-embed`` on frames in an empty directory, with changed settings."""

    def runner(frames: Frames, files: Path, **changed: object) -> subprocess.CompletedProcess[str]:
        frames.save(tmp_path / 'frames.npz')
        settings = EmbeddingConfig(**changed).model_dump(mode='json') | {'closest': CLOSEST}
        (tmp_path / 'settings.json').write_text(json.dumps(settings))
        command = [engine('pace-embed'), 'frames.npz', files / 'potential.yaml', '--settings', 'settings.json']
        command += ['--active-set', files / 'active_set.asi']
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=240)

    return runner


def grades(engine: Callable[[str], Path], frames: Frames, files: Path, folder: Path) -> list[np.ndarray]:
    """Return the grades that ``pace-evaluate`` gives the atoms of each frame."""
    frames.save(folder / 'graded.npz')
    command = [engine('pace-evaluate'), 'graded.npz', files / 'potential.yaml']
    command += ['--active-set', files / 'active_set.asi']
    subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=120)
    with np.load(folder / 'evaluation.npz', allow_pickle=False) as evaluation:
        return np.split(evaluation['grade'], frames.offsets[1:-1])


def vacancy() -> Atoms:
    atoms = bulk('Al', cubic=True).repeat(3)
    del atoms[50]
    atoms.rattle(0.05, seed=3)
    return atoms


def liquid() -> Atoms:
    rng = np.random.default_rng(5)
    atoms = Atoms('Al108', cell=[(108 * 18.0) ** (1 / 3)] * 3, pbc=True)
    atoms.set_scaled_positions(rng.uniform(size=(108, 3)))
    return pushed_apart(atoms, np.full(108, 2.35), steps=200)


def interface() -> tuple[Atoms, float, float]:
    """Aluminium under silicon, and the heights of the two planes between them: a period apart by the cell."""
    metal = bulk('Al', cubic=True).repeat((4, 4, 2))
    silicon = bulk('Si', cubic=True).repeat((3, 3, 2))
    silicon.set_cell(np.diag([*metal.cell.lengths()[:2], silicon.cell.lengths()[2]]), scale_atoms=True)
    silicon.positions[:, 2] += metal.cell[2, 2] + 0.4
    atoms = metal + silicon
    atoms.cell[2, 2] = metal.cell[2, 2] + silicon.cell[2, 2] + 0.8
    atoms.rattle(0.05, seed=3)
    top = metal.positions[:, 2].max(), silicon.positions[:, 2].min()
    bottom = silicon.positions[:, 2].max(), atoms.cell[2, 2] + metal.positions[:, 2].min()
    return atoms, float(np.mean(top)), float(np.mean(bottom))


def test_the_core_keeps_its_grade_in_a_crystal_a_liquid_and_at_an_interface(
    run: Run, engine: Callable[[str], Path], alsi_potential_files: Path, tmp_path: Path
) -> None:
    layered, *planes = interface()
    small = bulk('Al', cubic=True)
    large = [vacancy(), liquid(), layered]
    images = [large[0], small, *large[1:]]
    frames = Frames.from_atoms(images, origin=['halt', 'sample', 'halt', 'extrapolative'])
    finished = run(frames, alsi_potential_files)
    assert finished.returncode == 0, finished.stderr
    account = json.loads((tmp_path / 'embedded.json').read_text())
    embedded = Frames.load(tmp_path / 'embedded.npz')

    assert account['parents'] == [0, 1, 2, 3]
    assert (account['count'], account['embedded'], account['unchanged'], account['failed']) == (4, 3, 1, {})
    assert embedded.origin.tolist() == ['embedded/halt', 'sample', 'embedded/halt', 'embedded/extrapolative']
    assert embedded.weight.tolist() == [0, 1, 0, 0]
    assert np.array_equal(embedded.atoms(1).positions, small.positions)
    assert embedded.sizes.max() <= 64

    before = grades(engine, frames.take([0, 2, 3]), alsi_potential_files, tmp_path)
    after = grades(engine, embedded.take([0, 2, 3]), alsi_potential_files, tmp_path)
    for index, (parent, row) in enumerate(zip((0, 2, 3), account['frames'], strict=True)):
        box = embedded.atoms(parent)
        core = box.arrays['force_weight'] == 1
        assert row['parent'] == parent
        assert (row['atoms_before'], row['atoms_after'], row['core_atoms']) == (len(large[index]), len(box), core.sum())
        assert row['centre'] == np.argmax(before[index])
        # The grade at the very place of the halt, by the other program.
        assert row['grade_before'] == pytest.approx(before[index].max(), rel=1e-9)
        assert after[index][core].max() == pytest.approx(before[index].max(), rel=1e-6)
        assert row['grade_after'] == pytest.approx(after[index][core].max(), rel=1e-6)
        assert closest_approach(box.numbers, box.positions, box.cell.array, box.pbc) >= 0.7
    height = layered.positions[account['frames'][2]['centre'], 2] % layered.cell[2, 2]
    assert min(abs(height - plane) for plane in planes) < 2.0
    assert len(set(embedded.atoms(3).numbers)) == 2


def test_a_frame_that_cannot_be_embedded_does_not_sink_the_others(
    run: Run, si_potential_files: Path, tmp_path: Path
) -> None:
    crystal = bulk('Si', cubic=True).repeat((3, 2, 2))
    crystal.rattle(0.1, seed=1)
    clash = crystal.copy()
    clash.positions[1] = clash.positions[0]
    small = bulk('Si', cubic=True)
    finished = run(Frames.from_atoms([clash, small, crystal], origin='halt'), si_potential_files, max_dft_atoms=10)
    assert finished.returncode == 0, finished.stderr
    assert 'frame 1 of 3: not embedded (not_finite)' in finished.stderr
    account = json.loads((tmp_path / 'embedded.json').read_text())
    assert account['failed'] == {'not_finite': 1, 'too_many_atoms': 1}
    assert account['parents'] == [1]
    assert [row['failed'] for row in account['frames']] == ['not_finite', 'too_many_atoms']
    assert Frames.load(tmp_path / 'embedded.npz').origin.tolist() == ['halt']


def test_an_active_set_is_needed(engine: Callable[[str], Path], si_potential_files: Path, tmp_path: Path) -> None:
    (tmp_path / 'settings.json').write_text('{}')
    command = [engine('pace-embed'), si_potential_files / 'dataset.npz', si_potential_files / 'potential.yaml']
    finished = subprocess.run(
        [*command, '--settings', 'settings.json'], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60
    )
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith('pace-embed: error: the grades that choose the centre need')
