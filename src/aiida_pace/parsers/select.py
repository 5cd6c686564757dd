"""`PaceSelectParser`: finds the frames that ``pace_select`` selected in the pool."""

from __future__ import annotations

import typing as t
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser
from ase import Atoms
from ase.io import read
from scipy.spatial import cKDTree

from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.formats.pacemaker import last_exception
from aiida_pace.frames import Frames

__all__ = ('PaceSelectParser', 'index_in_pool')

#: Coordinates that differ by less than this, in Å, went through a text file; the pool holds no such duplicates.
TOLERANCE = 1e-6


class PaceSelectParser(Parser):
    """Parser of `PaceSelectCalculation`.

    Evidence of success: at least one ``N.POSCAR``, N counting from zero without gaps, each of them a frame of the pool.
    ``pace_select`` ends its output with ``Done``; without that it failed or was cut short.
    """

    CACHE_VERSION = 1

    def parse(self, **kwargs: t.Any) -> ExitCode | None:
        """Store the selected frames, or tell why there are none."""
        name = PaceSelectCalculation.FILENAME_OUTPUT
        text = (
            self.retrieved.base.repository.get_object_content(name)
            if name in self.retrieved.list_object_names()
            else ''
        )
        words = text.split()
        if not words or words[-1] != 'Done':
            if detail := last_exception(text):
                return self._exit('ERROR_SELECTION_FAILED', detail=detail, filename=name)
            return self._exit('ERROR_ENGINE_INTERRUPTED', detail=' '.join(words[-20:]))
        pool = self.node.inputs.dataset.frames
        folder = Path(kwargs['retrieved_temporary_folder'])
        indices: list[int] = []
        for path in sorted(folder.rglob('*.POSCAR'), key=lambda path: int(path.name.split('.')[0])):
            try:
                indices.append(index_in_pool(read(path, format='vasp'), pool))
            except (ValueError, IndexError) as exception:
                return self._exit('ERROR_SELECTION_UNUSABLE', filename=path.name, detail=exception)
        if not indices:
            return self._exit('ERROR_SELECTION_EMPTY', count=len(pool))
        self.out('selected', AtomsDatasetData(pool.take(indices)))
        self.out('output_parameters', orm.Dict({'indices': indices}))
        return None

    def _exit(self, label: str, **details: t.Any) -> ExitCode:
        return t.cast(ExitCode, self.exit_codes[label].format(**details))


def index_in_pool(atoms: Atoms, pool: Frames) -> int:
    """Return the index of the frame of ``pool`` that ``atoms`` are, in any order of the atoms.

    :raises ValueError: when there is none.
    """
    tree = cKDTree(atoms.positions)
    for index in np.flatnonzero(pool.sizes == len(atoms)):
        part = pool.atoms_slice(int(index))
        if np.abs(pool.cells[index] - atoms.cell.array).max() > TOLERANCE:
            continue
        distances, partners = tree.query(pool.positions[part])
        if distances.max() < TOLERANCE and np.array_equal(atoms.numbers[partners], pool.numbers[part]):
            return int(index)
    raise ValueError(f'no frame has these {len(atoms)} atoms in these places')
