"""`PaceSelectCalculation`: the most informative frames of a pool, by D-optimality."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase.data import atomic_numbers

from aiida_pace.calculations.engine import PaceEngineCalcJob
from aiida_pace.data.dataset import AtomsDatasetData
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

    CACHE_VERSION = 2
    PARSER = 'pace.select'
    PROGRAM = PROGRAM

    FILENAMES_RESULT = ('selection.npz',)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.inputs['dataset'].help = 'The pool to select from.'
        spec.inputs['active_set'].help = (
            'Active set of the potential: what is known already. Without one, the pool needs at least as many atoms of '
            'each element of the potential as that has functions.'
        )
        spec.input(
            'max_frames',
            valid_type=orm.Int,
            validator=lambda node, _: None if node.value > 0 else f'`max_frames` is {node.value}: give at least 1.',
            help='Largest number of frames to select; fewer are when fewer enter the active set.',
        )

        spec.output(
            'selected', valid_type=AtomsDatasetData, required=False, help='The selected frames, most informative first.'
        )
        spec.outputs['output_parameters'].help = (
            '`indices` of the selected frames in the pool; `entered`, of each the number of its atoms that enter the '
            'active set; `wall_time_seconds`.'
        )
        spec.exit_code(
            510,
            'ERROR_SELECTION_EMPTY',
            message='no frame of the pool enters the active set: all of its {count} frames are known already; filter '
            'the pool by grade first.',
        )

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse also a pool that, without an active set, has too few atoms to make one."""
        if error := super().validate_inputs(inputs, namespace):
            return error
        dataset, potential = inputs.get('dataset'), inputs.get('potential')
        if 'active_set' in inputs or 'active_set' not in namespace or dataset is None or potential is None:
            return None
        numbers = dataset.frames.numbers[learned_atoms(dataset.frames)]
        for element, functions in potential.functions_per_element.items():
            count = int(np.sum(numbers == atomic_numbers[element]))
            if count < functions:
                return (
                    f'`dataset` holds {count} atoms of {element} that a fit learns from, `potential` has {functions} '
                    'functions for it: a pool needs at least as many when there is no `active_set`; give a larger one.'
                )
        return None

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write nothing: the number of frames is an argument."""
        return ['--max-frames', str(self.inputs.max_frames.value)]
