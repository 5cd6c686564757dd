"""`pace-fit-linear`: a weighted linear ACE fit in one step, with the input and the output files of pacemaker."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import sys
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from aiida_pace import __version__
from aiida_pace.engines.ace import AceModel, EvaluationError, reference_table
from aiida_pace.engines.command import whole_file
from aiida_pace.engines.evaluate import evaluate
from aiida_pace.engines.linear import BlockedLeastSquares, DesignRows, FitError, LinearBasis
from aiida_pace.formats.pacemaker import DRY_RUN_TARGET, METRICS_COLUMNS, POSTERIOR_SUFFIX
from aiida_pace.frames import FloatArray, Frames, FramesError
from aiida_pace.metrics.posterior import BlockedFactor, Posterior, regularised
from aiida_pace.training.training_set import learned_atoms

__all__ = ('main',)

LOG = logging.getLogger('pace-fit-linear')

#: Frames up to this far above the lowest one, in eV/atom, count in the columns ``low_*`` of the metrics.
LOW_ENERGY = 1.0


@dataclasses.dataclass(frozen=True)
class Problem:
    """The fit that pacemaker's input describes.

    :param fit: frames to fit; energies relative to isolated atoms, the weights of each kind add up to 1.
    :param watch: test frames, whose errors are written, or None.
    """

    fit: Frames
    watch: Frames | None
    reference_energies: dict[str, float]
    potential: dict[str, t.Any]
    kappa: float
    ridge: float
    has_repulsion: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 only when the potential is complete."""
    parser = argparse.ArgumentParser(prog='pace-fit-linear', description=__doc__)
    parser.add_argument('input', type=Path, nargs='?', default=Path('input.yaml'), help='[%(default)s]')
    parser.add_argument(
        '-p',
        '--potential',
        type=Path,
        help='take the basis, and the starting point of the metrics, from this potential',
    )
    parser.add_argument(
        '-ip',
        '--initial-potential',
        type=Path,
        help='add the functions that the input asks for to the basis of this potential',
    )
    parser.add_argument('-o', '--output', type=Path, default=Path('output_potential.yaml'), help='[%(default)s]')
    parser.add_argument('-l', '--log', type=Path, default=Path('log.txt'), help='file to append to [%(default)s]')
    parser.add_argument(
        '-dr',
        '--dry-run',
        action='store_true',
        help=f'do not fit: check the input and write the basis to `{DRY_RUN_TARGET}`',
    )
    parser.add_argument('--no-predict', action='store_true', help='no effect; accepted because pacemaker has it')
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    arguments = parser.parse_args(argv)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout), logging.FileHandler(arguments.log)]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    for handler in handlers:
        handler.setFormatter(logging.Formatter('%(asctime)s %(levelname).1s - %(message)s'))
        LOG.addHandler(handler)
    try:
        LOG.info('Start pace-fit-linear %s', __version__)
        problem = _read_problem(arguments.input)
        basis = _make_basis(problem, arguments.potential, arguments.initial_potential)
        if arguments.dry_run:
            basis.save(Path(DRY_RUN_TARGET), basis.start, has_repulsion=False, metadata=_metadata(problem))
            LOG.info('Dry run is finished')
        else:
            _run(problem, basis, arguments.output)
    except (FitError, EvaluationError, FramesError, OSError) as exception:
        print(f'{parser.prog}: error: {" ".join(str(exception).split())}', file=sys.stderr)
        return 1
    finally:
        for handler in handlers:
            LOG.removeHandler(handler)
            handler.close()
    return 0


def _make_basis(problem: Problem, start: Path | None, initial: Path | None) -> LinearBasis:
    """Return the basis of the input, or of the potential to start from.

    :raises FitError: when the data hold elements that the basis lacks.
    """
    basis = LinearBasis(problem.potential, start or initial, LOG, grows=start is None and initial is not None)
    LOG.info('Basis: %d functions of %s, cutoff %s A', basis.size, ', '.join(basis.elements), basis.cutoff)
    unknown = sorted(set(problem.fit.elements) - set(basis.elements))
    if unknown:
        raise FitError(f'the data hold {", ".join(unknown)}, the potential is for {", ".join(basis.elements)}')
    return basis


def _metadata(problem: Problem) -> dict[str, str]:
    """Return the metadata of the potential: reference energies and version."""
    return {'reference_energy': json.dumps(problem.reference_energies), 'pace_fit_linear_version': __version__}


def _run(problem: Problem, basis: LinearBasis, output: Path) -> None:
    """Fit, and write potential and metrics."""
    LOG.info('Fitting dataset size: %d structures / %d atoms', len(problem.fit), len(problem.fit.numbers))
    squares = BlockedLeastSquares(basis.size, problem.ridge)
    learned = {element: BlockedFactor(block.stop - block.start) for element, block in basis.blocks.items()}
    is_learned, symbols = learned_atoms(problem.fit), np.array(chemical_symbols)[problem.fit.numbers]
    before = (np.zeros(len(problem.fit)), np.zeros((len(problem.fit.numbers), 3)))
    for index, design in enumerate(basis.rows(problem.fit)):
        part = problem.fit.atoms_slice(index)
        _add(squares, problem, index, design)
        for element, block in basis.blocks.items():
            learned[element].add(design.sites[is_learned[part] & (symbols[part] == element), block])
        before[0][index] = design.energy @ basis.start * problem.fit.sizes[index]
        before[1][part] = (design.forces @ basis.start).reshape(-1, 3)
    coefficients = squares.solve()
    LOG.info('Optimization result(success=True, status=0, message=Linear least squares solved., nfev=1, njev=1)')

    basis.save(output, coefficients, has_repulsion=problem.has_repulsion, metadata=_metadata(problem))
    _save_posterior(output, squares, coefficients, learned)
    # The errors are those of the file, not of the solution: they reveal a fault in the file.
    model = AceModel(output.read_bytes())
    after = evaluate(problem.fit, model)
    rows = [
        _metrics(problem, problem.fit, *before, coefficients=basis.start, iteration=0),
        _metrics(problem, problem.fit, after['energy'], after['forces'], coefficients=coefficients, iteration=1),
    ]
    _write_table(Path('metrics.txt'), rows)
    tests = []
    if problem.watch is not None:
        watched = evaluate(problem.watch, model)
        arrays = (watched['energy'], watched['forces'])
        tests = [_metrics(problem, problem.watch, *arrays, coefficients=coefficients, iteration=1)]
    _write_table(Path('test_metrics.txt'), tests)
    for row in rows:
        LOG.info(
            'Iteration #%d: Loss: %.4e | RMSE Energy: %.2f meV/at | Forces: %.2f meV/A',
            *(row['iter_num'], row['loss'], 1e3 * row['rmse_epa'], 1e3 * row['rmse_f_comp']),
        )
    LOG.info('Fitting done')


def _add(squares: BlockedLeastSquares, problem: Problem, index: int, design: DesignRows) -> None:
    """Add frame ``index`` to the loss: ``(1 - kappa) Σ w_energy ΔE² + kappa Σ w_forces |ΔF|²``, ΔE per atom."""
    frames = problem.fit
    energy, forces = t.cast(FloatArray, frames.energy), t.cast(FloatArray, frames.forces)
    part, size = frames.atoms_slice(index), frames.sizes[index]
    squares.add(design.energy[None], energy[[index]] / size, (1 - problem.kappa) * frames.weight[[index]])
    squares.add(design.forces, forces[part].reshape(-1), problem.kappa * np.repeat(frames.force_weight[part], 3))


def _save_posterior(
    output: Path, squares: BlockedLeastSquares, coefficients: FloatArray, learned: Mapping[str, BlockedFactor]
) -> None:
    """Write the posterior beside the potential, which must exist."""
    factor, noise = squares.information(coefficients)
    posterior = Posterior(
        factor=factor,
        noise=noise,
        sites={element: regularised(blocked.triangle()) for element, blocked in learned.items()},
        potential_digest=hashlib.sha256(output.read_bytes()).hexdigest(),
    )
    with whole_file(output.with_suffix(POSTERIOR_SUFFIX)) as handle:
        posterior.save(handle)
    LOG.info('Posterior: noise %.4e of a row of weight 1', noise)


def _read_problem(path: Path) -> Problem:
    """Read pacemaker's input and its data frames.

    :raises FitError: when the file is not an input of a linear fit.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        settings = YAML(typ='safe', pure=True).load(path)
        data, fit, evaluator = settings['data'], settings['fit'], settings['backend']['evaluator']
        potential, references = settings['potential'], data['reference_energy']
        loss = fit.get('loss', {})
        test = data.get('test_filename')
    except (YAMLError, KeyError, TypeError, AttributeError) as exception:
        raise FitError(f'`{path}` is not an input of pacemaker: {exception!r}') from exception
    if evaluator != 'linear':
        raise FitError(f'`{path}` asks for the evaluator {evaluator}: run pacemaker, or set `evaluator: linear`')
    if 'test_size' in data or not isinstance(references, dict):
        raise FitError(f'`{path}`: give `test_filename` instead of `test_size`, and a `reference_energy` per element')
    if loss.get('L1_coeffs'):
        LOG.warning('L1_coeffs has no effect: a linear fit uses L2_coeffs only')
    energies = {str(element): float(energy) for element, energy in references.items()}
    return Problem(
        fit=_read_frames(Path(data['filename']), energies),
        watch=None if test is None else _read_frames(Path(test), energies),
        reference_energies=energies,
        potential=potential,
        kappa=float(loss.get('kappa', 0.0)),
        ridge=float(loss.get('L2_coeffs', 0.0)),
        has_repulsion=fit.get('repulsion') == 'auto',
    )


def _read_frames(path: Path, energies: Mapping[str, float]) -> Frames:
    """Read a data frame; energies become relative to the isolated atoms, the weights of each kind add up to 1."""
    import pandas as pd

    table = pd.read_pickle(path, compression='gzip')
    missing = [name for name in ('ase_atoms', 'energy', 'forces') if name not in table.columns]
    if missing or not len(table):
        raise FitError(f'`{path}` has no {", ".join(missing) or "rows"}')
    images: list[Atoms] = list(table['ase_atoms'])
    sizes = np.array([len(atoms) for atoms in images])
    numbers = np.concatenate([atoms.numbers for atoms in images])
    lacking = sorted({chemical_symbols[number] for number in numbers} - set(energies))
    if lacking:
        raise FitError(f'`reference_energy` lacks {", ".join(lacking)}: add the energy of the isolated atom')
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    references = reference_table(energies, list(energies))[numbers]
    weight, force_weight = np.ones(len(images)), np.ones(len(numbers))
    if {'w_energy', 'w_forces'} <= set(table.columns):  # otherwise uniform, as in pacemaker
        weight = table['w_energy'].to_numpy(dtype='f8')
        force_weight = np.concatenate([np.asarray(row, dtype='f8').reshape(-1) for row in table['w_forces']])
    if not weight.sum() > 0 or not force_weight.sum() > 0:
        raise FitError(f'`{path}`: the weights of all energies or of all forces are 0')
    return Frames(
        offsets=offsets,
        numbers=numbers,
        positions=np.concatenate([atoms.positions for atoms in images]),
        cells=np.array([atoms.cell.array for atoms in images]),
        pbc=np.array([atoms.pbc for atoms in images]),
        force_weight=force_weight / force_weight.sum(),
        weight=weight / weight.sum(),
        origin=np.full(len(images), ''),
        label_uuid=np.full(len(images), ''),
        energy=table['energy'].to_numpy(dtype='f8') - np.add.reduceat(references, offsets[:-1]),
        forces=np.concatenate([np.asarray(row, dtype='f8').reshape(-1, 3) for row in table['forces']]),
    )


def _metrics(
    problem: Problem,
    frames: Frames,
    energies: npt.NDArray[t.Any],
    forces: npt.NDArray[t.Any],
    *,
    coefficients: FloatArray,
    iteration: int,
) -> dict[str, float]:
    """Return a row of ``metrics.txt`` with pacemaker's columns."""
    true_energies, true_forces = t.cast(FloatArray, frames.energy), t.cast(FloatArray, frames.forces)
    energy_errors = (energies - true_energies) / frames.sizes
    force_errors = forces - true_forces
    per_atom = true_energies / frames.sizes
    low = per_atom <= per_atom.min() + LOW_ENERGY
    low_atoms = np.repeat(low, frames.sizes)
    row: dict[str, float] = dict.fromkeys(METRICS_COLUMNS, 0)
    row |= {
        'iter_num': iteration,
        'nfuncs': len(coefficients),
        'ncoefs': len(coefficients),
        'e_loss_contrib': (1 - problem.kappa) * float(np.sum(frames.weight * energy_errors**2)),
        'f_loss_contrib': problem.kappa * float(np.sum(frames.force_weight[:, None] * force_errors**2)),
        'l2_reg_contrib': problem.ridge * float(np.sum(coefficients**2)),
        'rmse_epa': float(np.sqrt(np.mean(energy_errors**2))),
        'rmse_f_comp': float(np.sqrt(np.mean(force_errors**2))),
        'mae_f_comp': float(np.mean(np.abs(force_errors))),
        'low_rmse_epa': float(np.sqrt(np.mean(energy_errors[low] ** 2))),
        'low_rmse_f_comp': float(np.sqrt(np.mean(force_errors[low_atoms] ** 2))),
        'low_mae_f_comp': float(np.mean(np.abs(force_errors[low_atoms]))),
    }
    row['reg_loss'] = row['l2_reg_contrib']
    row['loss'] = row['e_loss_contrib'] + row['f_loss_contrib'] + row['reg_loss']
    return row


def _write_table(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write metrics in pacemaker's format."""
    lines = [' '.join(METRICS_COLUMNS), *(' '.join(str(row[name]) for name in METRICS_COLUMNS) for row in rows)]
    path.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    raise SystemExit(main())
