"""`PaceSelectCalculation`: the most informative frames of a pool, by D-optimality."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase.data import atomic_numbers

from aiida_pace.calculations.base import PaceCalcJob
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import write_dataframe

__all__ = ('PaceSelectCalculation',)


class PaceSelectCalculation(PaceCalcJob):
    """Run ``pace_select``: MaxVol on the atoms of the pool and, when given, the active set together.

    The frames with most atoms in the set of largest volume are selected (Lysogorskiy et al., Phys. Rev. Materials 7,
    043801, 2023). With an active set give a pool of extrapolative frames: the ranking is by number of atoms, not by
    grade. Without one nothing counts as known, and only the basis of the potential matters, not its coefficients.
    """

    CACHE_VERSION = 1
    PARSER = 'pace.select'

    FILENAME_POTENTIAL = 'potential.yaml'
    FILENAME_ACTIVE_SET = 'active_set.asi'
    FILENAME_POOL = 'pool.pckl.gzip'
    FILENAME_OUTPUT = 'pace_select.out'
    FOLDER_SELECTED = 'selected'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.input('dataset', valid_type=AtomsDatasetData, help='The pool to select from.')
        spec.input('potential', valid_type=AcePotentialData, help='The potential.')
        spec.input(
            'active_set',
            valid_type=AceActiveSetData,
            required=False,
            help='Its active set: what is known already. Without one, the pool needs at least as many atoms of each '
            'element of the potential as that has functions.',
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
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            required=False,
            help='`indices` of the selected frames in the pool.',
        )
        spec.default_output_node = 'output_parameters'

        spec.exit_code(
            310,
            'ERROR_SELECTION_FAILED',
            invalidates_cache=True,
            message='pace_select stopped with: {detail}; see `{filename}`.',
        )
        spec.exit_code(
            320,
            'ERROR_SELECTION_UNUSABLE',
            invalidates_cache=True,
            message='`{filename}` is no frame of the pool: {detail}; check the version of the code.',
        )
        spec.exit_code(
            400,
            'ERROR_ENGINE_INTERRUPTED',
            message='pace_select was cut short, its last words: "{detail}"; give it more time or memory.',
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
        for element, functions in potential.functions_per_element.items():
            count = int(np.sum(dataset.frames.numbers == atomic_numbers[element]))
            if count < functions:
                return (
                    f'`dataset` holds {count} atoms of {element}, `potential` has {functions} functions for it: a pool '
                    'needs at least as many when there is no `active_set`; give a larger one.'
                )
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the pool; the other files are copied from the nodes."""
        potential: AcePotentialData = self.inputs.potential
        active_set: AceActiveSetData | None = self.inputs.get('active_set')
        with folder.open(self.FILENAME_POOL, 'wb') as handle:
            write_dataframe(self.inputs.dataset.frames, handle)
        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = [
            *('--potential_file', self.FILENAME_POTENTIAL),
            # Without the option pace_select takes a file named like the potential: there is none.
            *(('--active-set-inv', self.FILENAME_ACTIVE_SET) if active_set is not None else ()),
            *('--elements', ' '.join(potential.elements)),
            *('--max-structures', str(self.inputs.max_frames.value)),
            # As text: what comes back from another machine must not be unpickled here.
            *('--output', f'{self.FOLDER_SELECTED}/POSCAR'),
            self.FILENAME_POOL,
        ]
        codeinfo.stdout_name = self.FILENAME_OUTPUT
        codeinfo.join_files = True
        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = [(potential.uuid, potential.FILENAME, self.FILENAME_POTENTIAL)]
        if active_set is not None:
            calcinfo.local_copy_list.append((active_set.uuid, active_set.FILENAME, self.FILENAME_ACTIVE_SET))
        calcinfo.retrieve_list = [self.FILENAME_OUTPUT]
        calcinfo.retrieve_temporary_list = [(f'{self.FOLDER_SELECTED}/*.POSCAR', '.', 2)]
        return calcinfo
