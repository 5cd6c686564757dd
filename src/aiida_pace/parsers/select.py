"""`PaceSelectParser`: reads what ``pace-select`` wrote."""

from __future__ import annotations

import typing as t
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.parsers.engine import PaceEngineParser

__all__ = ('PaceSelectParser', 'read_selection')


class PaceSelectParser(PaceEngineParser):
    """Parser of `PaceSelectCalculation`: indices of different candidates, no more than were asked for."""

    CACHE_VERSION = 3
    CALCULATION = PaceSelectCalculation

    def store(self, path: Path) -> ExitCode | None:
        """Attach the indices of the selected frames; there may be none."""
        inputs = self.node.inputs
        candidates = inputs.candidates.get_list() if 'candidates' in inputs else range(inputs.dataset.count)
        arrays = read_selection(path, candidates, inputs.max_frames.value)
        indices = arrays['indices'].tolist()
        parameters = {
            'indices': indices,
            'entered': arrays['entered'].tolist(),
            'wall_time_seconds': float(arrays['wall_time_seconds']),
        }
        self.out('output_parameters', orm.Dict(parameters))
        return None if indices else self._exit('ERROR_SELECTION_EMPTY', count=len(candidates))


def read_selection(path: Path, candidates: Collection[int], max_frames: int) -> dict[str, npt.NDArray[t.Any]]:
    """Return the arrays of a selection of at most ``max_frames`` of the ``candidates``; nothing is unpickled.

    :raises ValueError: when the file is no such archive, or its numbers are no such selection.
    """
    kinds = {'indices': np.dtype('i8'), 'entered': np.dtype('i8'), 'wall_time_seconds': np.dtype('f8')}
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as exception:
        raise ValueError('the file is not an archive of plain arrays') from exception
    found = {name: array.dtype for name, array in arrays.items()}
    if found != kinds:
        raise ValueError(f'it holds the arrays {found}, expected {kinds}')
    indices, entered, seconds = (arrays[name] for name in kinds)
    if indices.ndim != 1 or entered.shape != indices.shape or seconds.shape != () or not np.isfinite(seconds):
        raise ValueError('the arrays have different lengths')
    if len(indices) > max_frames or len(set(indices.tolist())) < len(indices):
        raise ValueError(f'`indices` holds {len(indices)} frames, expected at most {max_frames} different ones')
    if foreign := sorted(set(indices.tolist()) - set(candidates)):
        raise ValueError(f'`indices` holds {foreign[0]}, which is not a candidate')
    if np.any(entered < 1):
        raise ValueError('`entered` holds a frame without entering atoms')
    return arrays
