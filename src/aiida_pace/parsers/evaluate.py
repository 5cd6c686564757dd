"""`PaceEvaluateParser`: reads what ``pace-evaluate`` wrote."""

from __future__ import annotations

import typing as t
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.parsers.engine import PaceEngineParser

__all__ = ('PaceEvaluateParser', 'read_arrays', 'read_evaluation')


class PaceEvaluateParser(PaceEngineParser):
    """Parser of `PaceEvaluateCalculation`: a file with the arrays of all frames, of finite numbers alone."""

    CACHE_VERSION = 2
    CALCULATION = PaceEvaluateCalculation

    def store(self, path: Path) -> ExitCode | None:
        """Attach the arrays."""
        dataset = self.node.inputs.dataset
        arrays = read_evaluation(
            path,
            dataset.count,
            dataset.atoms_count,
            graded='active_set' in self.node.inputs,
            has_posterior='posterior' in self.node.inputs,
        )
        parameters = {
            'atoms_count': dataset.atoms_count,
            'count': dataset.count,
            'wall_time_seconds': float(arrays.pop('wall_time_seconds')),
        }
        if 'grade' in arrays:
            parameters['max_grade'] = float(arrays['grade'].max())
        self.out('evaluation', orm.ArrayData(arrays))
        self.out('output_parameters', orm.Dict(parameters))
        return None


def read_evaluation(
    path: Path, count: int, atoms_count: int, *, graded: bool, has_posterior: bool
) -> dict[str, npt.NDArray[t.Any]]:
    """Return the arrays of an evaluation of ``count`` frames with ``atoms_count`` atoms; nothing is unpickled.

    :raises ValueError: when the file is no such archive, an array lacks or has the wrong shape, or a number is not
        finite.
    """
    shapes: dict[str, tuple[int, ...]] = {
        'energy': (count,),
        'forces': (atoms_count, 3),
        'stress': (count, 6),
        'wall_time_seconds': (),
    }
    if graded:
        shapes['grade'] = (atoms_count,)
    if has_posterior:
        shapes |= {'leverage': (atoms_count,), 'force_sigma': (atoms_count,), 'energy_sigma': (count,)}
    return read_arrays(path, {name: (shape, np.float64) for name, shape in shapes.items()})


def read_arrays(
    path: Path, expected: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]
) -> dict[str, npt.NDArray[t.Any]]:
    """Return the arrays of an archive; nothing is unpickled.

    :param expected: shape and type of each array, by name.
    :raises ValueError: when the file is no such archive, an array lacks or has the wrong shape or type, or a number is
        not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as exception:
        raise ValueError('the file is not an archive of plain arrays') from exception
    if set(arrays) != set(expected):
        raise ValueError(f'it holds the arrays {sorted(arrays)}, expected {sorted(expected)}')
    for name, (shape, dtype) in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            found = f'{arrays[name].dtype}{list(arrays[name].shape)}'
            raise ValueError(f'`{name}` is {found}, expected {np.dtype(dtype)}{list(shape)}')
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f'`{name}` holds a number that is not finite')
    return arrays
