"""Whether predicted errors hold: coverage of 90 % intervals, and rank correlation with the true errors.

``OMP_NUM_THREADS=1 .engines/bin/python benchmarks/calibration.py --folder DIRECTORY`` labels frames of short MD runs by
each teacher, fits some of them with ``pace-fit-linear``, finds the factors of the error bars on audit frames and looks
at the errors of the others: the mean over `SPLITS` random partitions of the frames that were not fitted into audit and
hold-out. It writes ``calibration.json`` and prints the means over the seeds as a table. Frames and results that are in
the directory are not made again. With `popsregression` (``pip install popsregression``) its standard deviations are
looked at too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import shutil
import tempfile
import typing as t
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from scipy.stats import spearmanr

from aiida_pace.engines.ace import AceModel
from aiida_pace.engines.evaluate import evaluate
from aiida_pace.engines.fit_linear import LOG
from aiida_pace.engines.fit_linear import main as fit_linear
from aiida_pace.engines.linear import LinearBasis
from aiida_pace.engines.uncertainty import UncertainModel
from aiida_pace.formats.pacemaker import write_dataframe
from aiida_pace.frames import Frames
from aiida_pace.metrics.conformal import conformal_scale

#: Frames of the fits, of audit and hold-out together, how many of these are the audit, and large frames.
TRAINING, OTHERS, AUDIT, LARGE = (40, 100), 90, 30, 8
STEPS, SPLITS, COVERAGE = 12, 50, 0.9
KAPPA, RIDGE, CUTOFF, FUNCTIONS = 0.05, 1e-8, 5.0, 100
Arrays = dict[str, t.Any]


def stillinger_weber() -> Calculator:
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import StillingerWeber
    from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si

    return Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))


def erhart_albe() -> Calculator:
    from matscipy.calculators.manybody import Manybody
    from matscipy.calculators.manybody.explicit_forms import TersoffBrenner
    from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import Erhart_PRB_71_035211_SiC

    return Manybody(**TersoffBrenner(Erhart_PRB_71_035211_SiC))


#: By name: the teacher and its crystal of 8 atoms.
TEACHERS: dict[str, tuple[Callable[[], Calculator], Callable[[], Atoms]]] = {
    'Si, Stillinger-Weber': (stillinger_weber, lambda: bulk('Si', cubic=True)),
    'Cu, EMT': (EMT, lambda: bulk('Cu', cubic=True) * (2, 1, 1)),
    'SiC, Erhart-Albe': (erhart_albe, lambda: bulk('SiC', 'zincblende', a=4.36, cubic=True)),
}


def walked(teacher: str, rng: np.random.Generator, cells: int) -> Atoms:
    """Return the end of a short run of a strained, displaced crystal, at a temperature between 300 and 2000 K."""
    calculator, crystal = TEACHERS[teacher]
    atoms = crystal() * (cells, cells, cells)
    strain = np.eye(3) * rng.uniform(0.96, 1.05) + rng.uniform(-0.04, 0.04, (3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    temperature = rng.uniform(300, 2000)
    atoms.rattle(0.1 * np.sqrt(temperature / 1000), rng=rng)
    atoms.calc = calculator()
    atoms.set_velocities(
        rng.normal(size=(len(atoms), 3)) * np.sqrt(units.kB * temperature / atoms.get_masses())[:, None]
    )
    Langevin(atoms, 3 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng, fixcm=False).run(STEPS)
    atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces().copy())
    return atoms


def labelled(teacher: str, seed: int, path: Path) -> Frames:
    """Return the frames of a seed, each from a run of its own: training, others, large ones."""
    if not path.exists():
        rng = np.random.default_rng(seed)
        cells = [1] * (max(TRAINING) + OTHERS) + [2] * LARGE
        Frames.from_atoms([walked(teacher, rng, count) for count in cells], origin='md').save(path)
    return Frames.load(path)


def fitted(training: Frames, folder: Path) -> None:
    """Fit in a folder, by the program and the files of a campaign, and build the active set."""
    write_dataframe(training, folder / 'df.pckl.gzip')
    radial, angular = [15, 6, 3, 2], [0, 3, 2, 1]
    settings = {
        'seed': 42,
        'potential': {
            'deltaSplineBins': 0.001,
            'elements': training.elements,
            'embeddings': {'ALL': {'npot': 'FinnisSinclairShiftedScaled', 'fs_parameters': [1, 1], 'ndensity': 1}},
            'bonds': {
                'ALL': {
                    'radbase': 'SBessel',
                    'radparameters': [5.25],
                    'rcut': CUTOFF,
                    'dcut': 0.01,
                    'NameOfCutoffFunction': 'cos',
                }
            },
            'functions': {
                'number_of_functions_per_element': FUNCTIONS // len(training.elements),
                'ALL': {'nradmax_by_orders': radial, 'lmax_by_orders': angular},
            },
        },
        'data': {'filename': 'df.pckl.gzip', 'reference_energy': dict.fromkeys(training.elements, 0.0)},
        'fit': {'loss': {'kappa': KAPPA, 'L1_coeffs': 0.0, 'L2_coeffs': RIDGE}},
        'backend': {'evaluator': 'linear'},
    }
    (folder / 'input.yaml').write_text(json.dumps(settings))
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            assert fit_linear([]) == 0
    finally:
        os.chdir(before)
    build_active_set(training, folder)


def build_active_set(training: Frames, folder: Path) -> None:
    from pyace.activelearning import (
        compute_A_active_inverse,
        compute_active_set,
        compute_B_projections,
        save_active_inverse_set,
    )
    from pyace.basis import ACEBBasisSet

    basis = ACEBBasisSet(str(folder / 'output_potential.yaml'))
    active = compute_active_set(compute_B_projections(basis, list(training)), tol=1.01)
    inverse = compute_A_active_inverse(active)
    save_active_inverse_set(str(folder / 'active_set.asi'), inverse, elements_name=basis.elements_name)


def predicted(frames: Frames, folder: Path) -> Arrays:
    """Return predictions of errors by name, for atoms and frames, and the errors: per atom three, per frame one."""
    potential = folder / 'output_potential.yaml'
    model = AceModel(potential.read_bytes(), (folder / 'active_set.asi').read_bytes())
    uncertain = UncertainModel(potential, folder / 'output_potential.posterior.npz')
    arrays = evaluate(frames, model, uncertain=uncertain)
    return {
        'atoms': {name: arrays[name] for name in ('force_sigma', 'leverage', 'grade')},
        'frames': {'energy_sigma': arrays['energy_sigma'] / frames.sizes},
        'force_errors': arrays['forces'] - t.cast(t.Any, frames.forces),
        'energy_errors': (arrays['energy'] - t.cast(t.Any, frames.energy)) / frames.sizes,
        'frame_of': np.repeat(np.arange(len(frames)), frames.sizes),
    }


def add_pops(training: Frames, looked_at: list[tuple[Frames, Arrays]], folder: Path) -> None:
    """Add the standard deviations of POPS (Swinburne and Perez, 2025), of the same weighted rows."""
    from popsregression import POPSRegression

    basis = LinearBasis({}, folder / 'output_potential.yaml', LOG)
    weights = (np.sqrt((1 - KAPPA) / len(training)), np.sqrt(KAPPA / len(training.numbers)))
    design = list(basis.rows(training))
    matrix = [weights[0] * np.array([rows.energy for rows in design]), *(weights[1] * rows.forces for rows in design)]
    labels = [weights[0] * t.cast(t.Any, training.energy) / training.sizes]
    labels.append(weights[1] * t.cast(t.Any, training.forces).reshape(-1))
    np.random.seed(0)  # POPSRegression draws from the global generator
    pops = POPSRegression(fit_intercept=False).fit(np.concatenate(matrix), np.concatenate(labels))
    for frames, arrays in looked_at:
        design = list(basis.rows(frames))
        forces = pops.predict(np.concatenate([rows.forces for rows in design]), return_std=True)[1]
        arrays['atoms']['pops'] = np.sqrt(np.mean(forces.reshape(-1, 3) ** 2, axis=1))
        arrays['frames']['pops'] = pops.predict(np.array([rows.energy for rows in design]), return_std=True)[1]


def intervals(arrays: Arrays, large: Arrays, sigmas: str | None, kind: str, seed: int) -> dict[str, float]:
    """Return the mean over the splits of coverage, coverage of large frames and half-width, in meV/Å or meV/atom.

    :param sigmas: name of the standard deviations; None: the same for all.
    """
    of = 'frames' if kind == 'energy' else 'atoms'

    def values(found: Arrays) -> tuple[t.Any, t.Any, t.Any]:
        errors = found[f'{kind}_errors']
        sigma = np.ones(len(errors)) if sigmas is None else found[of][sigmas]
        groups = np.arange(len(errors)) if kind == 'energy' else found['frame_of']
        # A row for each atom or frame, a column for each component.
        return errors.reshape(len(errors), -1), sigma[:, None], groups

    rng = np.random.default_rng(seed)
    (errors, sigma, groups), (large_errors, large_sigma, _) = values(arrays), values(large)
    results = []
    for _ in range(SPLITS):
        audited = np.isin(groups, rng.permutation(OTHERS)[:AUDIT])
        scale = conformal_scale(
            errors[audited].ravel(),
            np.repeat(sigma[audited], errors.shape[1]),
            np.repeat(groups[audited], errors.shape[1]),
            coverage=COVERAGE,
        )
        held, held_sigma = np.abs(errors[~audited]), sigma[~audited]
        results.append(
            {
                'scale': scale,
                'coverage': np.mean(held <= scale * held_sigma),
                'large': np.mean(np.abs(large_errors) <= scale * large_sigma),
                'half_width': 1e3 * scale * np.mean(held_sigma),
                'raw_coverage': np.mean(held <= 1.645 * held_sigma),
            }
        )
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}


def measured(training: Frames, others: Frames, large: Frames, seed: int) -> Arrays:
    """Return all figures of one fit."""
    folder = Path(tempfile.mkdtemp())
    try:
        fitted(training, folder)
        arrays, of_large = predicted(others, folder), predicted(large, folder)
        if importlib.util.find_spec('popsregression'):
            add_pops(training, [(others, arrays), (large, of_large)], folder)
    finally:
        shutil.rmtree(folder)
    lengths = np.linalg.norm(arrays['force_errors'], axis=1)
    results: Arrays = {
        'force_rmse': 1e3 * float(np.sqrt(np.mean(arrays['force_errors'] ** 2))),
        'energy_rmse': 1e3 * float(np.sqrt(np.mean(arrays['energy_errors'] ** 2))),
        'spearman': {name: float(spearmanr(values, lengths)[0]) for name, values in arrays['atoms'].items()},
        'spearman_energy': {
            name: float(spearmanr(values, np.abs(arrays['energy_errors']))[0])
            for name, values in arrays['frames'].items()
        },
    }
    for kind, names in (('force', arrays['atoms']), ('energy', arrays['frames'])):
        results[kind] = {name: intervals(arrays, of_large, name, kind, seed) for name in names if name != 'grade'}
        results[kind]['constant'] = intervals(arrays, of_large, None, kind, seed)
    return results


def table(results: list[Arrays]) -> str:
    """Return the means over the seeds, as a table of Markdown: of `sigma`, of POPS and of one half-width for all."""
    lines = [
        '| teacher, frames fitted | RMSE | in 90 %: raw, scaled | large cells: sigma, POPS, constant | '
        'half-width: sigma, POPS, constant | Spearman: sigma, POPS, leverage, grade |',
        '|---|---|---|---|---|---|',
    ]
    for teacher, count in dict.fromkeys((one['teacher'], one['frames']) for one in results):
        runs = [one for one in results if (one['teacher'], one['frames']) == (teacher, count)]
        for kind, unit, ranks in (('force', 'meV/Å', 'spearman'), ('energy', 'meV/atom', 'spearman_energy')):

            def mean(name: str, key: str, kind: str = kind, runs: list[Arrays] = runs) -> float:
                return float(np.mean([run[kind].get(name, {}).get(key, np.nan) for run in runs]))

            sigma = f'{kind}_sigma'
            names = (sigma, 'pops', 'constant')
            ranked = (sigma, 'pops', 'leverage', 'grade') if kind == 'force' else (sigma, 'pops')
            spearman = [np.mean([run[ranks].get(name, np.nan) for run in runs]) for name in ranked]
            cells = [
                f'{teacher}, {count}',
                f'{np.mean([run[f"{kind}_rmse"] for run in runs]):.3g} {unit}',
                f'{100 * mean(sigma, "raw_coverage"):.0f}, {100 * mean(sigma, "coverage"):.0f}',
                ', '.join(f'{100 * mean(name, "large"):.0f}' for name in names),
                ', '.join(f'{mean(name, "half_width"):.3g}' for name in names),
                ', '.join(f'{rank:.2f}' for rank in spearman),
            ]
            lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--folder', type=Path, required=True, help='where frames and results are kept')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--teachers', nargs='*', choices=TEACHERS, default=list(TEACHERS))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / 'calibration.json'
    results: list[Arrays] = json.loads(path.read_text()) if path.exists() else []
    known = {(one['teacher'], one['frames'], one['seed']) for one in results}
    for teacher in arguments.teachers:
        for seed in range(arguments.seeds):
            frames = labelled(teacher, seed, arguments.folder / f'{teacher.split(",")[0]}-{seed}.npz')
            first, last = max(TRAINING), max(TRAINING) + OTHERS
            others, large = frames.take(range(first, last)), frames.take(range(last, len(frames)))
            for count in TRAINING:
                if (teacher, count, seed) in known:
                    continue
                found = measured(frames.take(range(count)), others, large, seed)
                results.append({'teacher': teacher, 'frames': count, 'seed': seed, **found})
                path.write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == '__main__':
    main()
