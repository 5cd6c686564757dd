"""The error bars of `pace-evaluate` for a fit of `pace-fit-linear`, against dense inverses of pyace's own rows."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aiida_pace.frames import Frames
from aiida_pace.metrics.posterior import Posterior
from tests.engines.test_fit_linear import SETTINGS, Fit
from tests.fixtures.training import alloy_frames, silicon_frames

pytestmark = pytest.mark.engines

#: The same with the design matrix and the projections of pyace, and explicit inverses.
REFERENCE = """
import json, sys
import numpy as np, pandas as pd
from pyace import ACEBBasisSet, BBasisConfiguration
from pyace.activelearning import compute_B_projections
from pyace.linearacefit import LinearACEDataset
from aiida_pace.frames import Frames

kappa, ridge, references = json.loads(sys.argv[1])
basis = ACEBBasisSet('output_potential.yaml')

def design(table):
    dataset = LinearACEDataset(BBasisConfiguration('output_potential.yaml'), table)
    dataset.basis = basis
    dataset.construct_design_matrix(max_workers=1)
    return dataset.get_design_matrix(), dataset.get_target_vector()

table = pd.read_pickle('df.pckl.gzip', compression='gzip')
table['energy_corrected'] = [
    row.energy - sum(references[s] for s in row.ase_atoms.symbols) for row in table.itertuples()
]
matrix, target = design(table)
w_energy = table.w_energy / table.w_energy.sum()
w_forces = np.concatenate(list(table.w_forces))
weights = np.concatenate([(1 - kappa) * w_energy, kappa * np.repeat(w_forces / w_forces.sum(), 3)])
covariance = np.linalg.inv(matrix.T @ (weights[:, None] * matrix) + ridge * np.eye(matrix.shape[1]))
loss = np.sum(weights * (matrix @ basis.basis_coeffs - target) ** 2)
parameters = matrix.shape[1] - ridge * np.trace(covariance)
noise = np.sqrt(loss / (np.sum(weights > 0) - parameters))

frames = Frames.load('frames.npz')
images = list(frames)
new, _ = design(pd.DataFrame({
    'ase_atoms': images, 'energy_corrected': 0.0, 'forces': [np.zeros((len(atoms), 3)) for atoms in images],
}))
sigma = noise * np.sqrt(np.einsum('ij,jk,ik->i', new, covariance, new))
learned = compute_B_projections(basis, [row.ase_atoms for row in table.itertuples() if row.w_energy > 0])
leverage = np.zeros(len(frames.numbers))
for species, rows in compute_B_projections(basis, images).items():
    inverse = np.linalg.inv(learned[species].T @ learned[species])
    chosen = np.concatenate([atoms.symbols == basis.elements_name[species] for atoms in images])
    leverage[chosen] = np.sqrt(np.einsum('ij,jk,ik->i', rows, inverse, rows))
forces = sigma[len(images):].reshape(-1, 3)
print(json.dumps({
    'energy_sigma': (sigma[:len(images)] * frames.sizes).tolist(),
    'force_sigma': np.sqrt(np.mean(forces**2, axis=1)).tolist(),
    'leverage': leverage.tolist(),
}))
"""


@pytest.fixture
def fit(tmp_path: Path, engine: Callable[[str], Path]) -> Fit:
    return Fit(tmp_path, engine)


def evaluate(fit: Fit, frames: Frames, *options: str) -> subprocess.CompletedProcess[str]:
    frames.replace(energy=None, forces=None, stress=None).save(fit.folder / 'frames.npz')
    command = [fit.engine('pace-evaluate'), 'frames.npz', 'output_potential.yaml', *options]
    return subprocess.run(command, cwd=fit.folder, capture_output=True, text=True, check=False, timeout=120)


def error_bars(fit: Fit, frames: Frames) -> dict[str, np.ndarray]:
    done = evaluate(fit, frames, '--posterior', 'output_potential.posterior.npz')
    assert done.returncode == 0, done.stderr
    with np.load(fit.folder / 'evaluation.npz') as archive:
        return {name: archive[name] for name in archive.files}


@pytest.mark.parametrize(
    ('training', 'new', 'energies'),
    [
        (silicon_frames(isolated=False), silicon_frames(8, seed=3, isolated=False), {'Si': -100.0}),
        (
            alloy_frames(isolated=False),
            alloy_frames(8, seed=3, isolated=False),
            {'Al': -50.0, 'Cu': -200.0},
        ),
    ],
    ids=['one element', 'two elements'],
)
def test_error_bars_are_those_of_dense_inverses(
    fit: Fit, training: Frames, new: Frames, energies: dict[str, float]
) -> None:
    rng = np.random.default_rng(5)
    weight, force_weight = rng.uniform(0.1, 2, len(training)), rng.integers(0, 3, len(training.numbers))
    # Of these two nothing is learned.
    weight[:2], force_weight[: training.offsets[2]] = 0, 0
    fit.write(training.replace(weight=weight, force_weight=force_weight), reference_energies=energies)
    done = fit.run()
    assert done.returncode == 0, done.stderr
    arrays = error_bars(fit, new)
    arguments = json.dumps([SETTINGS['kappa'], SETTINGS['l2'], energies])
    command = [fit.engine('python'), '-c', REFERENCE, arguments]
    printed = subprocess.run(command, cwd=fit.folder, capture_output=True, text=True, check=True, timeout=120).stdout
    for name, expected in json.loads(printed.splitlines()[-1]).items():
        np.testing.assert_allclose(arrays[name], expected, rtol=1e-4, err_msg=name)


def test_far_from_the_data_the_error_bars_are_large(fit: Fit) -> None:
    fit.write(silicon_frames())
    assert fit.run().returncode == 0
    known, far = silicon_frames(8, isolated=False), silicon_frames(8, isolated=False)
    far = far.replace(positions=0.75 * far.positions, cells=0.75 * far.cells)
    near, away = error_bars(fit, known), error_bars(fit, far)
    for name in ('leverage', 'force_sigma', 'energy_sigma'):
        assert np.median(away[name]) > 3 * np.median(near[name]), name
    assert (near['leverage'] < 1).all()  # these frames were fitted
    assert error_bars(fit, silicon_frames(1).take([-1]))['force_sigma'].tolist() == [0]  # of an isolated atom


def test_the_potential_is_evaluated_the_same_without_posterior(fit: Fit) -> None:
    fit.write(silicon_frames())
    assert fit.run().returncode == 0
    with_posterior = error_bars(fit, silicon_frames(4))
    assert evaluate(fit, silicon_frames(4)).returncode == 0
    with np.load(fit.folder / 'evaluation.npz') as archive:
        assert 'leverage' not in archive.files
        np.testing.assert_array_equal(archive['forces'], with_posterior['forces'])


def test_a_posterior_that_does_not_fit_is_refused(fit: Fit) -> None:
    fit.write(silicon_frames())
    assert fit.run().returncode == 0
    path = fit.folder / 'output_potential.posterior.npz'
    content = path.read_bytes()
    yaml = fit.folder / 'output_potential.yaml'
    text = yaml.read_text()
    yaml.write_text(text + '\n')
    option = ('--posterior', path.name)
    done = evaluate(fit, silicon_frames(2), *option)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f'pace-evaluate: error: `{path.name}` is not the posterior of the potential `output_potential.yaml`'
    )
    yaml.write_text(text)
    path.write_bytes(content[:-200])
    assert (
        'cannot be used: the file is not an archive of a posterior' in evaluate(fit, silicon_frames(2), *option).stderr
    )
    stream = io.BytesIO()
    found = Posterior.load(io.BytesIO(content))
    Posterior(found.factor, found.noise, {'Ge': found.sites['Si']}, found.potential_digest).save(stream)
    path.write_bytes(stream.getvalue())
    assert "has the functions {'Ge': 15}" in evaluate(fit, silicon_frames(2), *option).stderr
    assert not (fit.folder / 'evaluation.npz').exists()
