"""Runs of ``pacemaker`` that make a basis without fitting it."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

import numpy as np
from aiida import orm
from aiida.common.datastructures import CodeInfo
from aiida.common.folders import Folder
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_pace.config import TrainingConfig
from aiida_pace.formats.pacemaker import DRY_RUN_TARGET, write_dataframe, write_input
from aiida_pace.frames import Frames

__all__ = ('write_dry_runs',)

FILENAME_DIMERS = 'dimers.pckl.gzip'


def write_dry_runs(
    folder: Folder, code: orm.AbstractCode, config: TrainingConfig, sections: Sequence[Mapping[str, t.Any]]
) -> list[CodeInfo]:
    """Write the inputs of dry runs that follow each other, and return how to run them; the last makes the basis.

    What the code wants to see of data are dimers with energies and forces of zero: quick to read, whatever is fitted.

    Each prints to ``basis_<index>.out``, but the last to ``basis.out``.

    :param sections: of `formats.pacemaker.potential_sections`.
    """
    elements: list[str] = sorted(sections[0]['elements'])
    with folder.open(FILENAME_DIMERS, 'wb') as handle:
        write_dataframe(_dimers(elements, config.cutoff / 2), handle)
    runs = []
    for index, section in enumerate(sections):
        name = 'basis' if index == len(sections) - 1 else f'basis_{index}'
        with folder.open(f'{name}.yaml', 'w', encoding='utf-8') as handle:
            handle.write(write_input(config, section, dict.fromkeys(elements, 0.0), dataset=FILENAME_DIMERS))
        run = CodeInfo()
        run.code_uuid = code.uuid
        run.cmdline_params = [f'{name}.yaml', '--dry-run', *(('--initial-potential', DRY_RUN_TARGET) if index else ())]
        run.stdout_name = f'{name}.out'
        run.join_files = True
        runs.append(run)
    return runs


def _dimers(elements: list[str], distance: float) -> Frames:
    """Return one dimer of each element, labelled with zeros; ``distance`` in Å."""
    images = []
    for element in elements:
        atoms = Atoms([element, element], [[0, 0, 0], [0, 0, distance]])
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((2, 3)))
        images.append(atoms)
    return Frames.from_atoms(images, origin='dimer')
