"""`PaceSelectParser`: finds the frames that ``pace_select`` selected in the pool."""

from __future__ import annotations

import typing as t
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms
from ase.io.vasp import read_vasp
from scipy.spatial import cKDTree

from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.formats.pacemaker import accepted_cells, last_exception
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.parsers.base import PaceParser

__all__ = ('PaceSelectParser', 'index_in_pool')

#: Coordinates that differ by less than this, in Å, went through a text file; the pool holds no such duplicates.
TOLERANCE = 1e-6


class PaceSelectParser(PaceParser):
    """Parser of `PaceSelectCalculation`.

    Evidence of success: the output ends with ``Done``, and every ``N.POSCAR`` is a frame of the pool. Without ``Done``
    a Python exception in the output means that ``pace_select`` failed, anything else, that it was cut short. Frames are
    found again by their atoms, to `TOLERANCE`: a pickled table would have to be executed to be read.
    """

    CACHE_VERSION = 1

    def parse(self, **kwargs: t.Any) -> ExitCode | None:
        """Store the selected frames, or tell why there are none."""
        name = PaceSelectCalculation.FILENAME_OUTPUT
        text = self._text(name)
        words = text.split()
        if not words or words[-1] != 'Done':
            if detail := last_exception(text):
                return self._exit('ERROR_SELECTION_FAILED', detail=detail, filename=name)
            return self._exit('ERROR_ENGINE_INTERRUPTED', detail=' '.join(words[-20:]) or 'nothing')
        pool = self.node.inputs.dataset.frames
        cells, _ = accepted_cells(pool)
        folder = Path(kwargs['retrieved_temporary_folder'])
        indices: list[int] = []
        for path in sorted(folder.rglob('*.POSCAR'), key=lambda path: int(path.name.split('.')[0])):
            try:
                indices.append(index_in_pool(read_vasp(path), pool, cells))
            except (ValueError, LookupError, RuntimeError) as exception:  # what ASE raises for other text
                return self._exit('ERROR_SELECTION_UNUSABLE', filename=path.name, detail=exception)
        self.out('output_parameters', orm.Dict({'indices': indices}))
        if not indices:
            return self._exit('ERROR_SELECTION_EMPTY', count=len(pool))
        self.out('selected', AtomsDatasetData(pool.take(indices)))
        return None


def index_in_pool(atoms: Atoms, pool: Frames, cells: FloatArray) -> int:
    """Return the index of the frame of ``pool`` that ``atoms`` are, in any order of the atoms.

    :param cells: (n, 3, 3) cells in Å that the frames went to the engine with.
    :raises ValueError: when there is none.
    """
    tree = cKDTree(atoms.positions)
    for index in np.flatnonzero(pool.sizes == len(atoms)):
        part = pool.atoms_slice(int(index))
        if np.abs(cells[index] - atoms.cell.array).max() > TOLERANCE:
            continue
        distances, partners = tree.query(pool.positions[part])
        if distances.max() < TOLERANCE and np.array_equal(atoms.numbers[partners], pool.numbers[part]):
            return int(index)
    raise ValueError(f'no frame has these {len(atoms)} atoms in these places')
