"""`PaceSelectCalculation`: the most informative frames of a pool, by D-optimality."""

from __future__ import annotations

import json
import typing as t

import numpy as np
from aiida import orm
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase.data import atomic_numbers

from aiida_pace.calculations.engine import PaceEngineCalcJob
from aiida_pace.engines.select import PROGRAM
from aiida_pace.training.training_set import learned_atoms

__all__ = ('PaceSelectCalculation',)


class PaceSelectCalculation(PaceEngineCalcJob):
    """Run ``pace-select``: MaxVol on the atoms of the pool and, when given, the active set together.

    The frames with most atoms in the set of largest volume are selected (Lysogorskiy et al., Phys. Rev. Materials 7,
    043801, 2023): those that python-ace's ``pace_select`` selects, but atoms that count neither in a force nor in an
    energy, such as the buffers of boxes, take no part. With an active set give a pool of extrapolative frames: the
    ranking is by number of atoms, not by grade. Without one nothing counts as known, and only the basis of the
    potential matters, not its coefficients.
    """

    CACHE_VERSION = 3
    PARSER = 'pace.select'
    PROGRAM = PROGRAM

    FILENAME_CANDIDATES = 'candidates.json'
    FILENAMES_RESULT = ('selection.npz',)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.inputs['dataset'].help = 'The pool to select from.'
        spec.inputs['active_set'].help = (
            'Active set of the potential, whose environments count as known. Without an active set, the pool needs at '
            'least as many atoms of each element of the potential as that has functions.'
        )
        spec.input(
            'candidates',
            valid_type=orm.List,
            required=False,
            help='Indices of the frames of the pool that may be selected; without indices, all frames may be.',
        )
        spec.input(
            'max_frames',
            valid_type=orm.Int,
            validator=lambda node, _: None if node.value > 0 else f'`max_frames` is {node.value}: give at least 1.',
            help='Largest number of frames to select; fewer frames are selected when fewer enter the active set.',
        )
        spec.outputs['output_parameters'].help = (
            '`indices` of the selected frames in the pool, most informative first; `entered`, of each the '
            'number of its atoms that enter the active set; `wall_time_seconds`.'
        )
        spec.exit_code(
            510,
            'ERROR_SELECTION_EMPTY',
            message='the active set spans all candidates ({count}) already; filter the candidates by grade first.',
        )

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse also candidates that are not there and, without an active set, too few atoms to make one."""
        dataset, potential, candidates = (inputs.get(name) for name in ('dataset', 'potential', 'candidates'))
        error = super().validate_inputs(inputs, namespace) or _validate_candidates(candidates, dataset)
        if error:
            return error
        if 'active_set' in inputs or 'active_set' not in namespace or dataset is None or potential is None:
            return None
        frames = dataset.frames if candidates is None else dataset.frames.take(candidates.get_list())
        numbers = frames.numbers[learned_atoms(frames)]
        for element, functions in potential.functions_per_element.items():
            count = int(np.sum(numbers == atomic_numbers[element]))
            if count < functions:
                return (
                    f'`dataset` holds {count} atoms of {element} that a fit learns from, `potential` has {functions} '
                    'functions for it: a pool needs at least as many when there is no `active_set`; give a larger one.'
                )
        return None

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write the candidates; the number of frames is an argument."""
        arguments = ['--max-frames', str(self.inputs.max_frames.value)]
        if 'candidates' not in self.inputs:
            return arguments
        with folder.open(self.FILENAME_CANDIDATES, 'w', encoding='utf-8') as handle:
            json.dump(self.inputs.candidates.get_list(), handle)
        return [*arguments, '--candidates', self.FILENAME_CANDIDATES]


def _validate_candidates(node: orm.List | None, dataset: t.Any) -> str | None:
    """Refuse indices of frames that are not there, repeated ones, and none at all."""
    if node is None or dataset is None:
        return None
    indices = node.get_list()
    if not indices:
        return '`candidates` is empty: give indices of frames of `dataset`, or leave it out.'
    if any(type(index) is not int or not 0 <= index < dataset.count for index in indices):
        return f'`candidates` holds an index that is not in `dataset`: give numbers from 0 to {dataset.count - 1}.'
    return '`candidates` holds an index twice.' if len(set(indices)) < len(indices) else None
