"""Files of pacemaker: input, data frame, metrics, log; no AiiDA."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import pickle
import re
import typing as t
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms

from aiida_pace.frames import FloatArray, Frames
from aiida_pace.structures.cells import reduced_cell, vacuum_cell
from aiida_pace.training.basis_size import SHAPES, basis_stages

if t.TYPE_CHECKING:
    from aiida_pace.config import TrainingConfig

__all__ = (
    'DRY_RUN_TARGET',
    'METRICS_COLUMNS',
    'POSTERIOR_SUFFIX',
    'FitLog',
    'accepted_cell',
    'accepted_cells',
    'last_exception',
    'parse_log',
    'parse_metrics',
    'potential_sections',
    'without_repulsion',
    'write_dataframe',
    'write_input',
)

#: File in which pacemaker and ``pace-fit-linear`` write the basis in a dry run.
DRY_RUN_TARGET = 'target_potential.yaml'
#: Suffix of the posterior that ``pace-fit-linear`` writes beside the potential.
POSTERIOR_SUFFIX = '.posterior.npz'

#: Columns of ``metrics.txt`` and ``test_metrics.txt``, in eV and Å (pyace 0.4.0, ``metrics_aggregator.py``).
METRICS_COLUMNS = (
    'ladder_step',
    'cycle_step',
    'iter_num',
    'loss',
    'e_loss_contrib',
    'f_loss_contrib',
    'reg_loss',
    'rmse_epa',
    'rmse_f_comp',
    'low_rmse_epa',
    'low_rmse_f_comp',
    'mae_f_comp',
    'low_mae_f_comp',
    'nfuncs',
    'ncoefs',
    'l1_reg_contrib',
    'l2_reg_contrib',
    'smooth_orth',
    'smooth_w1',
    'smooth_w2',
    'smooth_w3',
)

EMBEDDINGS = {
    'linear': {'npot': 'FinnisSinclairShiftedScaled', 'fs_parameters': [1, 1], 'ndensity': 1},
    'finnis_sinclair': {'npot': 'FinnisSinclairShiftedScaled', 'fs_parameters': [1, 1, 1, 0.5], 'ndensity': 2},
}

#: Empty space along a missing period, in Å: more than any cutoff.
VACUUM = 25.0

#: Volume over product of the edges below which a cell is replaced by the reduced cell.
MIN_ORTHOGONALITY = 0.1

#: Lines of a B-basis file for the repulsion at short distances, and their values without a repulsion.
REPULSION = {
    'rho_core_cut': '100000',
    'drho_core_cut': '250',
    'r_in': '0',
    'delta_in': '0',
    'inner_cutoff_type': 'distance',
    'core-repulsion': '[0, 0]',
}
REPULSION_LINE = re.compile(rf'^( +)({"|".join(REPULSION)}): .*$', re.MULTILINE)
FINISHED_CYCLES_LINE = re.compile(r'^ +_fit_cycles: .*\n', re.MULTILINE)

TIMESTAMP = re.compile(r'^(\d{4})[-/](\d\d)[-/](\d\d) (\d\d):(\d\d):(\d\d)', re.MULTILINE)
REFUSAL = re.compile(r'^[\w-]+: error: (.*)$', re.MULTILINE)
RESULT = re.compile(r'Optimization result\(success=(\w+), status=\S+, message=(.*), nfev=(\d+), njev=\S+\)')
MAX_ITERATIONS = re.compile('maximum number of iterations|iterations reached limit', re.IGNORECASE)


def potential_sections(
    config: TrainingConfig, elements: Sequence[str], numbers: Mapping[str, int]
) -> list[dict[str, t.Any]]:
    """Return pacemaker's section ``potential`` for each run that the basis needs.

    With several runs, all but the last are dry runs, and all but the first start from `DRY_RUN_TARGET` as initial
    potential. ``pace-fit-linear`` needs one run only.

    :param elements: chemical symbols of the potential.
    :param numbers: numbers of functions, of `basis_size.plan_basis`.
    """
    embedding = config.embedding or ('linear' if config.evaluator == 'linear' else 'finnis_sinclair')
    section: dict[str, t.Any] = {
        'deltaSplineBins': 0.001,
        'elements': list(elements),
        'embeddings': {'ALL': EMBEDDINGS[embedding]},
        'bonds': {
            'ALL': {
                'radbase': 'SBessel',
                'radparameters': [config.radial_parameter],
                'rcut': config.cutoff,
                'dcut': 0.01,
                'NameOfCutoffFunction': 'cos',
            }
        },
        'functions': {
            kind: {
                'nradmax_by_orders': list(radial[: config.order]),
                'lmax_by_orders': list(angular[: config.order]),
            }
            for kind, (radial, angular) in SHAPES.items()
        },
    }
    if config.evaluator == 'linear' and len(set(numbers.values())) > 1:
        return [{**section, 'functions': {'number_of_functions_per_element': dict(numbers), **section['functions']}}]
    return basis_stages(section, numbers)


def write_input(
    config: TrainingConfig,
    potential: Mapping[str, t.Any],
    reference_energies: Mapping[str, float],
    *,
    dataset: str,
    test_dataset: str | None = None,
) -> str:
    """Return the text of ``input.yaml``.

    :param potential: section ``potential``, one of `potential_sections` or the name of a file that holds a basis.
    :param reference_energies: energy of the isolated atom of each element of the potential, in eV.
    :param dataset: name of the data frame to fit.
    :param test_dataset: name of the data frame of test frames.
    """
    import yaml

    l1 = config.l1 if config.l1 is not None else (0.0 if config.evaluator == 'linear' else 1e-8)
    data: dict[str, t.Any] = {'filename': dataset, 'reference_energy': dict(reference_energies)}
    if test_dataset is not None:
        data['test_filename'] = test_dataset
    fit: dict[str, t.Any] = {
        'loss': {'kappa': config.kappa, 'L1_coeffs': l1, 'L2_coeffs': config.l2},
        'optimizer': config.optimizer,
        'maxiter': config.max_epochs,
    }
    if config.repulsion:
        fit['repulsion'] = 'auto'
    settings = {
        'seed': config.seed,
        'potential': dict(potential),
        'data': data,
        'fit': fit,
        'backend': {'evaluator': config.evaluator, 'batch_size': config.batch_size, 'display_step': 20},
    }
    return yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=120)


def without_repulsion(potential: str) -> str:
    """Return a B-basis file without the repulsion at short distances, so that a fit can continue from it.

    The repulsion begins at the shortest distance in the data of the earlier fit: a fit to data with shorter distances
    could not learn them, and ``tensorpot`` has another formula for the repulsion than the evaluators. Pacemaker's mark
    of a finished fit, which would prevent another fit, is removed too.
    """
    plain = REPULSION_LINE.sub(lambda match: f'{match[1]}{match[2]}: {REPULSION[match[2]]}', potential)
    return FINISHED_CYCLES_LINE.sub('', plain)


def write_dataframe(frames: Frames, target: str | Path | t.BinaryIO) -> None:
    """Write ``frames`` as pacemaker's gzipped pickle of a pandas data frame, for any version of numpy and pandas.

    The pickle uses public constructors only; it was read with numpy 1.23 to 2.4 and pandas 1.5 to 3.1.
    Columns: ``ase_atoms``, ``name`` (``frame_<index>``) and, of labelled frames, ``energy`` (eV), ``forces`` (eV/Å),
    ``w_energy`` (`Frames.weight`) and ``w_forces`` (`Frames.force_weight`); pacemaker uses the weights only when both
    are present, and scales the sum of each kind to 1. The cells are those of `accepted_cells`.
    """
    cells, pbc = accepted_cells(frames)
    parts = [frames.atoms_slice(index) for index in range(len(frames))]
    columns: dict[str, t.Any] = {
        'ase_atoms': [
            Atoms(numbers=frames.numbers[part], positions=frames.positions[part], cell=cell, pbc=is_periodic)
            for part, cell, is_periodic in zip(parts, cells, pbc, strict=True)
        ],
        # Not the origin: pacemaker gives frames whose names start with `augmented` nearly no weight.
        'name': [f'frame_{index}' for index in range(len(frames))],
    }
    if frames.energy is not None and frames.forces is not None:
        columns |= {
            'energy': frames.energy,
            'forces': [frames.forces[part] for part in parts],
            'w_energy': frames.weight,
            'w_forces': [frames.force_weight[part] for part in parts],
        }
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(open(target, 'wb')) if isinstance(target, (str, Path)) else target
        # The lowest level: coordinates hardly compress, and a higher level takes several times as long.
        with gzip.GzipFile('', 'wb', compresslevel=1, fileobj=stream, mtime=1) as compressed:
            _DataframePickler(t.cast(t.IO[bytes], compressed), protocol=4).dump(_Dataframe(columns))


@dataclasses.dataclass(frozen=True)
class _Dataframe:
    """Columns that become a data frame when the pickle is read."""

    columns: dict[str, t.Any]


class _DataframePickler(pickle.Pickler):
    """Pickles a data frame by public constructors, because pickles of numpy and pandas name private modules.

    numpy 1 cannot read what numpy 2 pickles (``numpy._core``), nor pandas 2 the string type of pandas 3.
    """

    def reducer_override(self, obj: t.Any) -> t.Any:
        """Return the constructor of an object and its arguments."""
        import pandas as pd

        if isinstance(obj, _Dataframe):
            return pd.DataFrame, (obj.columns,)
        if isinstance(obj, np.ndarray):
            # An array on a `bytearray` is writeable, as one that numpy unpickles.
            return np.ndarray, (obj.shape, obj.dtype.str, bytearray(obj.tobytes()))
        if isinstance(obj, Atoms):
            cell, pbc = obj.cell.array, obj.pbc
            return Atoms, (None, obj.positions, obj.numbers, *[None] * 6, cell, pbc)
        return NotImplemented


def accepted_cells(frames: Frames) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return the `accepted_cell` (n, 3, 3) of each frame in Å, and the mask (n,) of the periodic frames."""
    cells = [
        accepted_cell(frames.positions[frames.atoms_slice(index)], frames.cells[index], frames.pbc[index])
        for index in range(len(frames))
    ]
    return np.reshape(cells, (-1, 3, 3)), np.asarray(frames.pbc.any(axis=1))


def accepted_cell(
    positions: FloatArray, cell: FloatArray, pbc: npt.NDArray[np.bool_], vacuum: float = VACUUM
) -> FloatArray:
    """Return a cell, periodic in all directions, in which pyace finds the correct neighbours of each atom.

    pyace refuses left-handed cells (``Extreme shape of unit cell``), extremely skewed ones (``Matrix inversion is
    wrong``) and cells with one or two periodic directions. Such a cell is replaced by another cell of the same lattice,
    a missing period by empty space; positions do not change. A structure without periods gets a cell of 1 Å, which is
    not used.

    :param positions: (N, 3) in Å.
    :param cell: (3, 3) vectors as rows, in Å.
    :param pbc: (3,) periodic directions.
    :param vacuum: least empty space along a missing period, in Å.
    """
    if not pbc.any():
        return np.eye(3)
    lattice = vacuum_cell(positions, cell, pbc, vacuum)
    if abs(np.linalg.det(lattice)) < MIN_ORTHOGONALITY * np.prod(np.linalg.norm(lattice, axis=1)):
        lattice = reduced_cell(lattice)
    return lattice if np.linalg.det(lattice) > 0 else -lattice


def parse_metrics(text: str) -> dict[str, FloatArray]:
    """Return the columns of ``metrics.txt`` by name, one value per iteration; a row cut short is left out.

    :raises ValueError: when the text is not such a table.
    """
    lines = text.splitlines()
    names = lines[0].split() if lines else []
    if not {'iter_num', 'loss', 'rmse_epa', 'rmse_f_comp'} <= set(names):
        raise ValueError('the metrics have no header with `iter_num`, `loss`, `rmse_epa` and `rmse_f_comp`')
    rows = [line.split() for line in lines[1:]]
    table = np.array([row for row in rows if len(row) == len(names)], dtype='f8').reshape(-1, len(names))
    return dict(zip(names, table.T, strict=True))


@dataclasses.dataclass(frozen=True)
class FitLog:
    """The end of a fit in ``log.txt``.

    :param is_done: whether the fit finished.
    :param is_converged: whether the optimizer stopped before the largest number of iterations.
    :param message: last message of the optimizer.
    :param evaluations: number of evaluations of the loss.
    :param wall_time_seconds: from the first line of the log to the last.
    """

    is_done: bool
    is_converged: bool
    message: str
    evaluations: int
    wall_time_seconds: float


def parse_log(text: str) -> FitLog:
    """Return the end of the last fit in ``log.txt``; pacemaker appends to the log of an earlier run."""
    text = text[max(text.rfind('I - Start pace'), 0) :]
    times = [datetime(*map(int, match.groups())) for match in TIMESTAMP.finditer(text)]  # type: ignore[arg-type]
    results = RESULT.findall(text)
    success, message, evaluations = results[-1] if results else ('False', '', '0')
    return FitLog(
        is_done='Fitting done' in text,
        is_converged=success == 'True' or bool(message and not MAX_ITERATIONS.search(message)),
        message=message,
        evaluations=int(evaluations),
        wall_time_seconds=(times[-1] - times[0]).total_seconds() if times else 0.0,
    )


def last_exception(text: str) -> str | None:
    """Return the last Python exception of an engine, or the last error of its command line, or None."""
    _, found, trace = text.rpartition('Traceback (most recent call last)')
    if not found:
        refusals = REFUSAL.findall(text)
        return refusals[-1] if refusals else None
    lines = [line for line in trace.splitlines()[1:] if line.strip()]
    return next((line.strip() for line in lines if not line.startswith(' ')), 'a Python exception without a message')
