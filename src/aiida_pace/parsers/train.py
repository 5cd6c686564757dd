"""`PaceTrainParser`: reads what ``pacemaker`` or ``pace-fit-linear`` wrote."""

from __future__ import annotations

import math
import re
import typing as t
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.train import PaceTrainCalculation, chosen_training_set
from aiida_pace.config import TrainingConfig
from aiida_pace.data.posterior import AcePosteriorData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import FitLog, last_exception, parse_log, parse_metrics
from aiida_pace.frames import FloatArray
from aiida_pace.parsers.base import PaceParser, last_line

__all__ = ('PaceTrainParser',)

#: Columns of the metrics that are stored; the others are constant or follow from these.
PARAMETERS = (
    'loss',
    'e_loss_contrib',
    'f_loss_contrib',
    'reg_loss',
    'rmse_epa',
    'rmse_f_comp',
    'mae_f_comp',
    'low_rmse_epa',
    'low_rmse_f_comp',
    'low_mae_f_comp',
)
CURVES = {'iter_num': 'iteration', 'loss': 'loss', 'rmse_epa': 'rmse_epa', 'rmse_f_comp': 'rmse_f_comp'}

#: What a run that makes the basis prints to.
DRY_RUN = re.compile(r'basis(_\d+)?\.out')

Metrics = dict[str, FloatArray]


class PaceTrainParser(PaceParser):
    """Parser of `PaceTrainCalculation`.

    Evidence of success: ``log.txt`` says ``Fitting done``, ``metrics.txt`` has at least one row of finite numbers (a
    header alone is written by failed runs too), and the potential is a whole B-basis file. Without it, a Python
    exception in the output means a failed fit; anything else, that the fit was cut short: then the potential that
    pacemaker rewrites after every iteration is stored. Nothing is unpickled.
    """

    CACHE_VERSION = 2

    def parse(self, **kwargs: t.Any) -> ExitCode | None:
        """Store potential, errors and learning curve, or tell why there are none."""
        self._temporary = Path(kwargs['retrieved_temporary_folder'])
        inputs = self.node.inputs
        self._config = TrainingConfig.model_validate(inputs.parameters.get_dict())
        self._chosen = chosen_training_set(
            dict(inputs.datasets.items()), inputs.parameters, inputs.potential if 'potential' in inputs else None
        )
        log = parse_log(self._text(PaceTrainCalculation.FILENAME_LOG))
        try:
            metrics = parse_metrics(self._text(PaceTrainCalculation.FILENAME_METRICS))
        except ValueError:
            metrics = {}
        has_potential = (self._temporary / PaceTrainCalculation.FILENAME_POTENTIAL).is_file()
        if not log.is_done or not metrics or not len(metrics['loss']) or not has_potential:
            return self._unfinished(log, metrics)
        if not all(math.isfinite(metrics[name][-1]) for name in ('loss', 'rmse_epa', 'rmse_f_comp')):
            return self._exit(
                'ERROR_METRICS_UNUSABLE',
                filename=PaceTrainCalculation.FILENAME_METRICS,
                detail='the last loss is not finite',
            )
        return self._finished(log, metrics)

    def _finished(self, log: FitLog, metrics: Metrics) -> ExitCode | None:
        """Store the outputs of a fit that went to its end."""
        name, yace_name = PaceTrainCalculation.FILENAME_POTENTIAL, PaceTrainCalculation.FILENAME_YACE
        try:
            potential = self._potential(name, metrics)
        except (OSError, ValueError) as exception:
            return self._exit('ERROR_POTENTIAL_UNUSABLE', filename=name, detail=exception)
        yace_path = self._temporary / yace_name
        is_broken = False
        if yace_path.is_file():
            try:
                potential = self._potential(name, metrics, yace=yace_path.read_bytes())
            except ValueError:
                is_broken = True
        self._store(potential, log, metrics)
        posterior_error = self._store_posterior(potential)
        if is_broken or ('yace_code' in self.node.inputs and not potential.has_yace):
            output = PaceTrainCalculation.FILENAME_STDOUT_YACE
            return self._exit('ERROR_YACE_MISSING', filename=yace_name, output=output)
        return posterior_error

    def _store_posterior(self, potential: AcePotentialData) -> ExitCode | None:
        """Attach the posterior of a linear fit, or tell why there is none; other fits have none."""
        if self._config.evaluator != 'linear':
            return None
        name = PaceTrainCalculation.FILENAME_POSTERIOR
        try:
            self.out('posterior', AcePosteriorData((self._temporary / name).read_bytes(), potential=potential))
        except OSError:
            return self._exit('ERROR_POSTERIOR_MISSING', filename=name, detail='the code wrote none')
        except ValueError as exception:
            return self._exit('ERROR_POSTERIOR_MISSING', filename=name, detail=exception)
        return None

    def _unfinished(self, log: FitLog, metrics: Metrics) -> ExitCode:
        """Store the last interim potential of a fit that was cut short, if there is one; say what happened."""
        output = self._text(PaceTrainCalculation.FILENAME_STDOUT)
        last_words = last_line(output)
        # Runs that make the basis come first: when one fails, so does the fit after it, for want of the basis.
        for name in [
            name for name in sorted(self.retrieved.base.repository.list_object_names()) if DRY_RUN.match(name)
        ]:
            if detail := last_exception(self._text(name)):
                return self._exit('ERROR_FIT_FAILED', detail=detail, filename=name)
        exception = last_exception(output)
        if exception is not None and not exception.startswith('KeyboardInterrupt'):  # that is how SIGINT ends it
            return self._exit('ERROR_FIT_FAILED', detail=exception, filename=PaceTrainCalculation.FILENAME_STDOUT)
        if not self._text(PaceTrainCalculation.FILENAME_LOG):
            return self._exit('ERROR_LOG_MISSING', filename=PaceTrainCalculation.FILENAME_LOG, detail=last_words)
        if not metrics or not len(metrics['loss']) or not math.isfinite(metrics['loss'][-1]):
            return self._exit('ERROR_FIT_NOT_STARTED', detail=last_words)
        try:
            potential = self._potential(PaceTrainCalculation.FILENAME_INTERIM, metrics)
        except (OSError, ValueError):  # not written yet, or only in part when the fit was killed
            return self._exit('ERROR_FIT_NOT_STARTED', detail=last_words)
        self._store(potential, log, metrics)
        return self._exit('ERROR_FIT_INTERRUPTED', count=int(metrics['iter_num'][-1]))

    def _store(self, potential: AcePotentialData, log: FitLog, metrics: Metrics) -> None:
        """Attach the outputs."""
        try:
            tests = parse_metrics(self._text(PaceTrainCalculation.FILENAME_TEST_METRICS))
        except ValueError:
            tests = {}
        parameters: dict[str, t.Any] = {
            'converged': log.is_converged,
            'iterations': int(metrics['iter_num'][-1]),
            'evaluations': log.evaluations,
            'optimizer_message': log.message,
            'wall_time_seconds': log.wall_time_seconds,
            'functions_per_element': potential.functions_per_element,
            'frames_count': len(self._chosen.fit),
            'test_frames_count': 0 if self._chosen.watch is None else len(self._chosen.watch),
        }
        curves: dict[str, FloatArray] = {}
        for prefix, table in (('', metrics), ('test_', tests)):
            if table and len(table['loss']):
                parameters |= {f'{prefix}{name}': _number(table[name][-1]) for name in PARAMETERS if name in table}
                parameters |= {
                    f'{prefix}{name}': value for name, value in _weighted_errors(table, self._config.kappa).items()
                }
                curves |= {f'{prefix}{curve}': table[name] for name, curve in CURVES.items()}
        self.out('potential', potential)
        self.out('output_parameters', orm.Dict(parameters))
        self.out('learning_curve', orm.ArrayData(curves))

    def _potential(self, name: str, metrics: Metrics, yace: bytes | None = None) -> AcePotentialData:
        """Return a potential node of the file ``name``.

        :raises OSError: when there is no such file.
        :raises ValueError: when it is no whole potential.
        """
        content = (self._temporary / name).read_bytes()
        potential = AcePotentialData(content, yace=yace, reference_energies=self._chosen.reference_energies)
        found, expected = sum(potential.functions_per_element.values()), int(metrics['nfuncs'][-1])
        if found != expected:  # cut at the end of a line it is a potential still
            raise ValueError(f'it holds {found} functions, the fit had {expected}')
        return potential


def _weighted_errors(metrics: Metrics, kappa: float) -> dict[str, float]:
    """Return the root mean squares of the errors with the weights of the fit, in eV/atom and eV/Å.

    The errors of the metrics count every atom the same, also those of weight 0; the loss does not: its energy part is
    (1 - kappa) times the weighted mean of the squared errors per atom, its force part kappa times that of the squared
    force vectors, three components each.
    """
    energy, forces = metrics['e_loss_contrib'][-1], metrics['f_loss_contrib'][-1]
    errors = {}
    if kappa < 1:
        errors['rmse_epa_weighted'] = float(np.sqrt(energy / (1 - kappa)))
    if kappa > 0:
        errors['rmse_f_comp_weighted'] = float(np.sqrt(forces / (3 * kappa)))
    return errors


def _number(value: float) -> float | None:
    """Return a number that can be stored: None for one that is not finite."""
    return float(value) if math.isfinite(value) else None
