"""`pace-select`: as the ``pace_select`` of python-ace, but for the atoms that nothing is learned from."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from aiida_pace.formats.pacemaker import write_dataframe
from aiida_pace.frames import Frames

pytestmark = pytest.mark.engines

Run = Callable[..., subprocess.CompletedProcess[str]]
Select = Callable[..., tuple[list[int], list[int]]]

NAMES = 'import json, pandas; print(json.dumps(list(pandas.read_pickle("selected.pkl.gz")["name"])))'


@pytest.fixture
def run(engine: Callable[[str], Path], tmp_path: Path) -> Run:
    """Return a function that runs a program in an empty directory."""

    def runner(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(argument) for argument in (engine(program), *arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)

    return runner


@pytest.fixture
def select(run: Run, tmp_path: Path) -> Select:
    """Return a function that selects from a pool: the indices of the frames, and how many of their atoms enter."""

    def selector(
        pool: Frames, files: Path, *, count: int = 100, has_active_set: bool = True
    ) -> tuple[list[int], list[int]]:
        pool.save(tmp_path / 'frames.npz')
        options = ['--active-set', files / 'active_set.asi'] if has_active_set else []
        finished = run('pace-select', 'frames.npz', files / 'potential.yaml', '--max-frames', count, *options)
        assert finished.returncode == 0, finished.stderr
        with np.load(tmp_path / 'selection.npz') as archive:
            return archive['indices'].tolist(), archive['entered'].tolist()

    return selector


def unlabelled(files: Path) -> Frames:
    return Frames.load(files / 'dataset.npz').replace(energy=None, forces=None, stress=None)


def mixed_pool(files: Path) -> Frames:
    """Return frames of all kinds: compressed crystals, one with a left-handed cell, a slab, a molecule, one atom."""
    images = [atoms.copy() for atoms in unlabelled(files).take(range(6))]
    for index, atoms in enumerate(images[2:]):
        atoms.set_cell((0.92 - 0.02 * index) * atoms.cell.array, scale_atoms=True)
    images[3].set_cell(images[3].cell.array[[1, 0, 2]])
    images[4].pbc = [True, True, False]
    images.append(Atoms('Si3', [[0, 0, 0], [2.1, 0, 0], [0, 2.2, 0]]))
    images.append(Atoms('Si', cell=np.diag([2.3, 2.4, 2.5]), pbc=True))
    return Frames.from_atoms(images)


@pytest.mark.parametrize('has_active_set', [True, False])
def test_the_same_frames_as_pace_select(
    run: Run, select: Select, request: pytest.FixtureRequest, tmp_path: Path, has_active_set: bool
) -> None:
    """All frames that enter an active set, in their order; and the best seven for one of two elements from nothing."""
    name, count = ('si_potential_files', 100) if has_active_set else ('sic_potential_files', 7)
    files = request.getfixturevalue(name)
    pool = mixed_pool(files) if has_active_set else unlabelled(files)
    indices, entered = select(pool, files, count=count, has_active_set=has_active_set)
    assert entered == sorted(entered, reverse=True)
    if has_active_set:
        assert {3, 4, 6, 7} <= set(indices), 'the frames that pyace cannot take as they are should be among these'

    write_dataframe(pool, tmp_path / 'pool.pckl.gzip')
    # Without the option, pace_select takes a file beside the potential.
    active_set = files / 'active_set.asi' if has_active_set else 'none.asi'
    options = ['-p', files / 'potential.yaml', '-a', active_set, '-e', 'Si C', '-m', count, 'pool.pckl.gzip']
    assert run('pace_select', *options).returncode == 0
    assert [f'frame_{index}' for index in indices] == json.loads(run('python', '-c', NAMES).stdout)


def far_apart(*clusters: Atoms) -> Atoms:
    """Return clusters that do not see each other as one structure."""
    whole = Atoms()
    for index, cluster in enumerate(clusters):
        moved = cluster.copy()
        moved.positions += 50.0 * index
        whole += moved
    return whole


def test_atoms_nothing_is_learned_from_take_no_part(select: Select, si_potential_files: Path) -> None:
    """They are as if they were not there, however strange their surroundings."""
    rng = np.random.default_rng(1)
    pairs = []
    for _ in range(4):
        core, buffer = (
            Atoms('Si5', positions=2.0 * np.eye(5, 3) + rng.normal(scale=0.3, size=(5, 3))) for _ in range(2)
        )
        pairs.append((core, buffer))
    whole = Frames.from_atoms([far_apart(*pair) for pair in pairs])
    weighted = whole.replace(force_weight=np.tile(np.repeat([1.0, 0.0], 5), 4), weight=np.zeros(4))
    cores = Frames.from_atoms([core for core, _ in pairs])
    found = select(weighted, si_potential_files)
    assert found == select(cores, si_potential_files)
    assert found != select(whole, si_potential_files)
    # By the energy of its frame a fit learns from every atom.
    assert select(weighted.replace(weight=np.ones(4)), si_potential_files) == select(whole, si_potential_files)
    # Of frames nothing at all is learned from, there is nothing to select.
    nothing = whole.replace(force_weight=np.zeros(40), weight=np.zeros(4))
    assert select(nothing, si_potential_files) == ([], [])


def test_refusals(run: Run, si_potential_files: Path, tmp_path: Path) -> None:
    pool = unlabelled(si_potential_files).take(range(8))
    weights = np.ones(64)
    weights[:8] = 0
    pool.replace(force_weight=weights, weight=np.zeros(8)).save(tmp_path / 'frames.npz')
    finished = run('pace-select', 'frames.npz', si_potential_files / 'potential.yaml', '--max-frames', 5)
    assert finished.returncode == 1
    message = 'the frames hold 56 atoms of Si that a fit learns from, the potential has 60 functions for Si: '
    assert finished.stderr.splitlines()[-1].startswith(f'pace-select: error: {message}')
    assert not (tmp_path / 'selection.npz').exists()
    assert run('pace-select', 'frames.npz', 'potential.yaml', '--max-frames', 0).returncode == 2
    assert run('pace-select', '--version').stdout.startswith('pace-select ')
