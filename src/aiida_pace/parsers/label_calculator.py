"""`PaceLabelParser`: reads what ``pace-label`` wrote."""

from __future__ import annotations

import typing as t
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.label_calculator import PaceLabelCalculation
from aiida_pace.parsers.engine import PaceEngineParser, read_report
from aiida_pace.parsers.evaluate import read_arrays

__all__ = ('PaceLabelParser',)


class PaceLabelParser(PaceEngineParser):
    """Parser of `PaceLabelCalculation`: a file with the arrays of all frames, and an account of those that failed."""

    CACHE_VERSION = 1
    CALCULATION = PaceLabelCalculation

    def store(self, path: Path) -> ExitCode | None:
        """Attach the arrays and the account."""
        dataset = self.node.inputs.dataset
        arrays = read_arrays(path, _shapes(dataset.count, dataset.atoms_count))
        if not np.array_equal(arrays['sizes'], dataset.frames.sizes):
            raise ValueError('the frames have other numbers of atoms than the frames of `dataset`')
        report = read_report(path.with_suffix('.json'))
        failures = _failures(report, arrays['labelled'])
        self.out('labels', orm.ArrayData(arrays))
        self.out('output_parameters', orm.Dict(report))
        if report['unreached']:
            return self._exit('ERROR_TIME_LIMIT', unreached=len(report['unreached']), count=dataset.count)
        if not arrays['labelled'].any():
            causes = '; '.join(f'{count} x {cause}' for cause, count in Counter(failures.values()).items())
            return self._exit('ERROR_NO_LABELS', count=dataset.count, causes=causes)
        return None


def _shapes(count: int, atoms_count: int) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    return {
        'sizes': ((count,), np.int64),
        'labelled': ((count,), np.bool_),
        'energy': ((count,), np.float64),
        'forces': ((atoms_count, 3), np.float64),
        'stress': ((count, 6), np.float64),
        'has_stress': ((count,), np.bool_),
        'core_seconds': ((count,), np.float64),
        'wall_seconds': ((count,), np.float64),
    }


def _failures(report: dict[str, t.Any], labelled: npt.NDArray[np.bool_]) -> dict[int, str]:
    """Return why frames have no label, by index.

    :raises ValueError: when the account does not tell of just those frames that have none.
    """
    try:
        failures = {int(index): str(cause) for index, cause in report['failures'].items()}
        told = len(report['unreached'])
    except (AttributeError, KeyError, TypeError, ValueError) as exception:
        raise ValueError(f'the account is incomplete: {exception}') from exception
    if sorted(failures) != np.flatnonzero(~labelled).tolist() or told > len(failures):
        raise ValueError('the account gives no cause for some frames without a label')
    return failures
