"""`pace-fit-linear` against pyace's own design matrix, its own potential file, and wrong input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from aiida_pace.config import TrainingConfig
from aiida_pace.formats.pacemaker import (
    METRICS_COLUMNS,
    parse_log,
    parse_metrics,
    potential_sections,
    write_dataframe,
    write_input,
)
from aiida_pace.frames import Frames
from aiida_pace.training.training_set import training_plan, training_set
from tests.fixtures.training import alloy_frames, silicon_frames

pytestmark = pytest.mark.engines

SETTINGS = {'evaluator': 'linear', 'cutoff': 4.5, 'functions_per_element': 15, 'kappa': 0.4, 'l2': 1e-6}

#: Solves the same problem densely, with the design matrix of ``pyace.linearacefit``, and evaluates the written files.
REFERENCE = """
import json, sys
import numpy as np, pandas as pd
from pyace import ACEBBasisSet, BBasisConfiguration
from pyace.asecalc import PyACECalculator
from pyace.linearacefit import LinearACEDataset

kappa, ridge, references = json.loads(sys.argv[1])
table = pd.read_pickle('df.pckl.gzip', compression='gzip')
table['energy_corrected'] = [
    row.energy - sum(references[s] for s in row.ase_atoms.symbols) for row in table.itertuples()
]
dataset = LinearACEDataset(BBasisConfiguration('output_potential.yaml'), table)
dataset.basis = ACEBBasisSet('output_potential.yaml')
dataset.construct_design_matrix(max_workers=1)
w_energy = table.w_energy / table.w_energy.sum()
w_forces = np.concatenate(list(table.w_forces))
weights = np.concatenate([(1 - kappa) * w_energy, kappa * np.repeat(w_forces / w_forces.sum(), 3)])
matrix, target = dataset.get_design_matrix(), dataset.get_target_vector()
rows = np.vstack([matrix * np.sqrt(weights)[:, None], np.sqrt(ridge) * np.eye(matrix.shape[1])])
solution = np.linalg.lstsq(rows, np.concatenate([target * np.sqrt(weights), np.zeros(matrix.shape[1])]), rcond=None)[0]
atoms = table.ase_atoms[0].copy()
energies = []
for name in ('output_potential.yaml', 'output_potential.yace'):
    atoms.calc = PyACECalculator(name)
    energies.append(atoms.get_potential_energy())
print(json.dumps({
    'expected': solution.tolist(),
    'found': list(ACEBBasisSet('output_potential.yaml').basis_coeffs),
    'loss': float(np.sum(weights * (matrix @ solution - target) ** 2)),
    'energies': energies,
}))
"""


class Fit:
    """A folder in which a fit is run."""

    def __init__(self, folder: Path, engine: Callable[[str], Path]) -> None:
        self.folder = folder
        self.engine = engine

    def write(self, frames: Frames, **settings: object) -> None:
        config = TrainingConfig.model_validate(SETTINGS | settings)
        chosen = training_set(frames, config)
        write_dataframe(chosen.fit, self.folder / 'df.pckl.gzip')
        if chosen.watch is not None:
            write_dataframe(chosen.watch, self.folder / 'df_test.pckl.gzip')
        text = write_input(
            config,
            potential_sections(config, chosen.fit.elements, training_plan(config, chosen.fit.elements).numbers)[0],
            chosen.reference_energies,
            dataset='df.pckl.gzip',
            test_dataset=None if chosen.watch is None else 'df_test.pckl.gzip',
        )
        (self.folder / 'input.yaml').write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self.engine('pace-fit-linear'), *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120)

    def reference(self, energies: dict[str, float]) -> dict[str, list[float]]:
        arguments = json.dumps([SETTINGS['kappa'], SETTINGS['l2'], energies])
        command = [self.engine('python'), '-c', REFERENCE, arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True, timeout=120)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def fit(tmp_path: Path, engine: Callable[[str], Path]) -> Fit:
    return Fit(tmp_path, engine)


@pytest.mark.parametrize('frames', [silicon_frames(), alloy_frames()], ids=['one element', 'two elements'])
def test_the_solution_is_that_of_a_dense_solver(fit: Fit, frames: Frames) -> None:
    rng = np.random.default_rng(5)
    frames = frames.replace(
        weight=rng.uniform(0, 2, len(frames)), force_weight=rng.integers(0, 3, len(frames.numbers))
    )  # fmt: skip
    fit.write(frames)
    done = fit.run()
    assert done.returncode == 0, done.stderr
    energies = yaml.safe_load(fit.text('input.yaml'))['data']['reference_energy']
    reference = fit.reference(energies)
    np.testing.assert_allclose(reference['found'], reference['expected'], rtol=1e-5, atol=1e-6)
    assert reference['energies'][0] == pytest.approx(reference['energies'][1], rel=1e-9)

    metrics = parse_metrics(fit.text('metrics.txt'))
    assert tuple(metrics) == METRICS_COLUMNS
    assert metrics['iter_num'].tolist() == [0, 1]
    # The errors are of the file that was written, those of the reference of the solution.
    assert metrics['e_loss_contrib'][1] + metrics['f_loss_contrib'][1] == pytest.approx(reference['loss'], rel=1e-6)
    assert metrics['l2_reg_contrib'][1] == pytest.approx(SETTINGS['l2'] * np.sum(np.square(reference['found'])))
    log = parse_log(fit.text('log.txt'))
    assert log.is_done
    assert log.is_converged


def test_continuing_starts_at_the_old_loss_and_ends_there(fit: Fit) -> None:
    fit.write(silicon_frames())
    assert fit.run('-o', 'first.yaml').returncode == 0
    first = parse_metrics(fit.text('metrics.txt'))['loss']
    assert 'inner_cutoff_type: zbl' in fit.text('first.yaml')
    fit.write(silicon_frames(), cutoff=6.0, functions_per_element=30)
    assert fit.run('--potential', 'first.yaml').returncode == 0
    second = parse_metrics(fit.text('metrics.txt'))
    assert second['loss'][0] == pytest.approx(first[1], rel=1e-9)
    assert second['loss'][1] == pytest.approx(first[1], rel=1e-6)
    assert second['nfuncs'][1] == 15
    assert 'rcutij: 4.5' in fit.text('output_potential.yaml')


def test_the_repulsion_of_an_old_potential_does_not_hide_shorter_distances(fit: Fit) -> None:
    fit.write(silicon_frames())
    assert fit.run('-o', 'first.yaml').returncode == 0
    closer = silicon_frames(seed=1)
    positions = closer.positions.copy()
    dimer = int(np.flatnonzero(closer.sizes == 2)[-1])
    positions[closer.atoms_slice(dimer)] = [[0, 0, 0], [0, 0, 1.5]]
    fit.write(closer.replace(positions=positions))
    assert fit.run('-p', 'first.yaml').returncode == 0
    assert '{(0, 0): 1.5}' in fit.text('log.txt')
    assert 'r_in: 1.5\n' in fit.text('output_potential.yaml')


def test_watched_frames_are_told_but_not_fitted(fit: Fit) -> None:
    fit.write(silicon_frames(), test_fraction=0.2)
    assert fit.run().returncode == 0
    tests = parse_metrics(fit.text('test_metrics.txt'))
    assert len(tests['loss']) == 1
    assert tests['rmse_f_comp'][0] > parse_metrics(fit.text('metrics.txt'))['rmse_f_comp'][1]


def test_the_repulsion_is_left_out_when_not_asked_for(fit: Fit) -> None:
    fit.write(silicon_frames(), repulsion=False)
    assert fit.run().returncode == 0
    assert 'zbl' not in fit.text('output_potential.yaml')


class TestRefusals:
    @pytest.mark.parametrize(
        ('old', 'new', 'message'),
        [
            ('evaluator: linear', 'evaluator: tensorpot', 'asks for the evaluator tensorpot: run pacemaker'),
            ('fs_parameters: [1, 1]', 'fs_parameters: [1, 0.5]', 'the potential is not linear'),
            ('Si: -100.0', 'Al: -100.0', '`reference_energy` lacks Si'),
            ('filename: df', 'filename: other', 'other.pckl.gzip'),
            ('backend:', 'back:', 'is not an input of pacemaker'),
        ],
    )
    def test_wrong_input(self, fit: Fit, old: str, new: str, message: str) -> None:
        fit.write(silicon_frames(4))
        text = fit.text('input.yaml')
        assert old in text
        (fit.folder / 'input.yaml').write_text(text.replace(old, new))
        done = fit.run()
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.startswith('pace-fit-linear: error: ')
        assert not (fit.folder / 'output_potential.yaml').exists()

    def test_a_basis_that_does_not_grow(self, fit: Fit) -> None:
        fit.write(silicon_frames(4))
        assert fit.run('-o', 'first.yaml').returncode == 0
        done = fit.run('-ip', 'first.yaml')
        assert done.returncode == 1
        assert done.stderr.startswith('pace-fit-linear: error: the input asks for no more functions')
        assert not parse_log(fit.text('log.txt')).is_done

    def test_elements_that_the_potential_does_not_know(self, fit: Fit) -> None:
        fit.write(silicon_frames(4))
        assert fit.run('-o', 'silicon.yaml').returncode == 0
        fit.write(alloy_frames(4))
        done = fit.run('-p', 'silicon.yaml')
        assert done.returncode == 1
        assert 'the data hold Al, Cu, the potential is for Si' in done.stderr

    def test_numbers_that_are_not_finite(self, fit: Fit) -> None:
        fit.write(silicon_frames(4))
        script = (
            'import pandas; d = pandas.read_pickle("df.pckl.gzip", compression="gzip"); '
            'd.loc[1, "energy"] = float("nan"); d.to_pickle("df.pckl.gzip", compression="gzip")'
        )
        subprocess.run([fit.engine('python'), '-c', script], cwd=fit.folder, check=True, timeout=60)
        done = fit.run()
        assert done.returncode == 1
        assert 'frame 1: `energy` holds a number that is not finite' in done.stderr


def test_version(fit: Fit) -> None:
    assert fit.run('--version').stdout.startswith('pace-fit-linear ')
