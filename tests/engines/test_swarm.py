import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pace.config import CLOSEST, EmbeddingConfig, SwarmConfig
from aiida_pace.engines.embed import EmbeddingSettings
from aiida_pace.engines.swarm import SwarmSettings
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import duplicate_indices
from aiida_pace.structures.guards import check_frames

pytestmark = pytest.mark.engines

Run = Callable[..., subprocess.CompletedProcess[str]]

#: The Hessian by our engine, and by finite differences of the forces of pyace's own calculator.
HESSIANS = """
import sys
from pathlib import Path
import numpy as np
from ase.build import bulk
from pyace import PyACECalculator
from aiida_pace.engines.ace import AceModel
from aiida_pace.engines.swarm import hessian
atoms = bulk('Si', cubic=True)
atoms.rattle(0.1, seed=1)
ours = hessian(atoms, AceModel(Path(sys.argv[1]).read_bytes()), 0.01)
calculator, theirs = PyACECalculator(sys.argv[1]), np.zeros((24, 24))
for row in range(24):
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions.flat[row] += sign * 0.001
        moved.calc = calculator
        theirs[row] -= sign * moved.get_forces().ravel() / 0.002
print(np.abs(ours - (theirs + theirs.T) / 2).max(), np.abs(theirs).max())
"""


@pytest.fixture
def run(engine: Callable[[str], Path], tmp_path: Path) -> Run:
    """Return a function that runs ``pace-swarm`` on images in an empty directory, with changed settings."""

    def runner(
        images: list[Atoms], files: Path, *options: object, seed: int = 1, **changed: object
    ) -> subprocess.CompletedProcess[str]:
        Frames.from_atoms(images).save(tmp_path / 'frames.npz')
        settings = SwarmConfig(**changed).model_dump(mode='json') | {'closest': CLOSEST}
        (tmp_path / 'settings.json').write_text(json.dumps(settings))
        command = [engine('pace-swarm'), 'frames.npz', files / 'potential.yaml', '--settings', 'settings.json']
        command += ['--seed', seed, *options]
        return subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
        )

    return runner


@pytest.mark.parametrize(
    ('settings', 'config'), [(SwarmSettings, SwarmConfig), (EmbeddingSettings, EmbeddingConfig)], ids=['swarm', 'embed']
)
def test_the_engine_has_the_settings_of_the_config(settings: type, config: type) -> None:
    assert set(settings.__dataclass_fields__) == {*config.model_fields, 'closest'}


def test_hessian_agrees_with_pyace(engine: Callable[[str], Path], si_potential_files: Path) -> None:
    command = [engine('python'), '-c', HESSIANS, si_potential_files / 'potential.yaml']
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    deviation, largest = map(float, printed.split())
    assert largest > 5
    assert deviation < 0.01 * largest


def test_swarms_of_several_frames(run: Run, si_potential_files: Path, tmp_path: Path) -> None:
    crystal = bulk('Si', cubic=True)
    crystal.rattle(0.1, seed=1)
    box = crystal.copy()
    box.rattle(0.05, seed=2)
    box.set_array('force_weight', np.array([1.0] + [0.0] * 7))
    box.info |= {'weight': 0.0, 'origin': 'embedded/halt'}
    clash = crystal.copy()
    clash.set_distance(0, 1, 0.5, mic=True, fix=0)
    images = [crystal, box, bulk('Si'), bulk('Si', 'sc', a=2.6), clash, crystal * (3, 1, 1)]
    settings = {'count': 9, 'burst_steps': 40, 'max_mode_atoms': 16}
    finished = run(images, si_potential_files, '--active-set', si_potential_files / 'active_set.asi', **settings)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.splitlines()[0] == 'frame 1 of 6: 2 burst, 2 modes, 5 rattle'
    account = json.loads((tmp_path / 'swarm.json').read_text())
    frames = Frames.load(tmp_path / 'swarm.npz')

    # Every frame but the one with a clash has its candidates, of the kinds that are possible there.
    assert account['count'] == len(frames) == 45
    assert account['parents'] == [0] * 9 + [1] * 9 + [2] * 9 + [3] * 9 + [5] * 9
    rows = account['frames']
    assert rows[0] == {'atoms': 8, 'made': {'burst': 2, 'modes': 2, 'rattle': 5}, 'replaced': {}, 'missing': {}}
    assert rows[3]['replaced'] == {'modes': {'no_modes': 2}}
    assert rows[3]['made'] == {'burst': 2, 'rattle': 7}
    assert rows[4]['made'] == {}
    assert rows[4]['missing'] == {'short_distance': 9}
    assert rows[4]['replaced']['burst'] == {'short_distance': 2}
    assert rows[5]['replaced'] == {'modes': {'too_many_atoms': 2}}
    assert account['missing'] == {'short_distance': 9}
    assert account['made'] == {'burst': 10, 'modes': 6, 'rattle': 29}
    assert account['wall_time_seconds'] > 0

    assert duplicate_indices(Frames.concatenate([Frames.from_atoms(images), frames.replace(grade=None)])) == []
    assert check_frames(frames).mask.all()
    assert frames.origin.tolist()[:9] == ['swarm/burst'] * 2 + ['swarm/modes'] * 2 + ['swarm/rattle'] * 5
    for index, image in enumerate(frames):
        parent = images[account['parents'][index]]
        assert np.abs(image.positions - parent.positions).max() > 0.01
        assert np.array_equal(image.cell.array, parent.cell.array)
        is_box = account['parents'][index] == 1
        weights = image.arrays.get('force_weight', np.ones(len(image)))
        assert weights.tolist() == ([1.0] + [0.0] * 7 if is_box else [1.0] * len(image))
        assert image.info.get('weight', 1.0) == (0.0 if is_box else 1.0)
    assert frames.max_grade().max() > 0.5


def test_a_dynamics_that_explodes_is_replaced_and_the_seed_decides(
    run: Run, si_potential_files: Path, tmp_path: Path
) -> None:
    crystal = bulk('Si', cubic=True)
    found = []
    for seed in (1, 1, 2):
        hot = {'burst_temperature': 1e5, 'burst_timestep': 20.0, 'shares': {'burst': 1}}
        finished = run([crystal], si_potential_files, seed=seed, count=4, **hot)
        assert finished.returncode == 0, finished.stderr
        found.append((tmp_path / 'swarm.npz').read_bytes())
    assert found[0] == found[1] != found[2]
    account = json.loads((tmp_path / 'swarm.json').read_text())
    assert account['count'] == 4
    assert account['made']['rattle'] == sum(account['replaced']['burst'].values()) > 0
    assert Frames.load(tmp_path / 'swarm.npz').grade is None


def test_input_that_does_not_fit_fails_the_run(run: Run, si_potential_files: Path, tmp_path: Path) -> None:
    (tmp_path / 'other.json').write_text('{"count": 3}')
    finished = run([bulk('Si')], si_potential_files, '--settings', 'other.json')
    assert 'must be an object with amplitude, burst_steps' in finished.stderr
    finished = run([bulk('Ge')], si_potential_files)
    assert finished.stderr.splitlines()[-1] == ('pace-swarm: error: the frames hold Ge, the potential is for Si')
    assert not (tmp_path / 'swarm.npz').exists()
