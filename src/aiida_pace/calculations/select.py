"""`PaceSelectCalculation`: the most informative frames of a pool, by D-optimality."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import write_dataframe

__all__ = ('PaceSelectCalculation',)


class PaceSelectCalculation(CalcJob):
    """Run ``pace_select``: MaxVol on the atoms of the pool and the active set together.

    The frames with most atoms in the set of largest volume are selected (Lysogorskiy et al., Phys. Rev. Materials 7,
    043801, 2023). Give a pool of extrapolative frames: the ranking is by number of atoms, not by grade.
    """

    CACHE_VERSION = 1

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
        spec.input('active_set', valid_type=AceActiveSetData, help='Its active set: what is known already.')
        spec.input(
            'max_frames',
            valid_type=orm.Int,
            validator=lambda node, _: None if node.value > 0 else f'`max_frames` is {node.value}: give at least 1.',
            help='Largest number of frames to select; fewer are when fewer enter the active set.',
        )
        validate_calc_job = spec.inputs.validator

        def validate(inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
            return (validate_calc_job and validate_calc_job(inputs, namespace)) or cls.validate_inputs(inputs)

        spec.inputs.validator = validate
        spec.inputs['code'].required = True
        options = t.cast(t.Any, spec.inputs)['metadata']['options']
        options['parser_name'].default = 'pace.select'
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['withmpi'].default = False

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
    def validate_inputs(cls, inputs: dict[str, t.Any]) -> str | None:
        """Refuse elements that the potential does not know and the active set of another potential."""
        potential: AcePotentialData | None = inputs.get('potential')
        dataset: AtomsDatasetData | None = inputs.get('dataset')
        active_set: AceActiveSetData | None = inputs.get('active_set')
        if potential is None:  # not exposed, or missing, which its port reports
            return None
        if dataset is not None and (unknown := sorted(set(dataset.elements) - set(potential.elements))):
            return (
                f'`dataset` holds {", ".join(unknown)}, `potential` is for {", ".join(potential.elements)}: '
                'give a potential that was trained on all elements of the frames.'
            )
        if active_set is not None and not active_set.matches(potential):
            return '`active_set` was made for another potential: give the one that `pace.active_set` made for this.'
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the pool; the other files are copied from the nodes."""
        dataset, potential, active_set = self.inputs.dataset, self.inputs.potential, self.inputs.active_set
        with folder.open(self.FILENAME_POOL, 'wb') as handle:
            write_dataframe(dataset.frames, handle)
        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = [
            *('--potential_file', self.FILENAME_POTENTIAL),
            *('--active-set-inv', self.FILENAME_ACTIVE_SET),
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
        calcinfo.local_copy_list = [
            (potential.uuid, potential.FILENAME, self.FILENAME_POTENTIAL),
            (active_set.uuid, active_set.FILENAME, self.FILENAME_ACTIVE_SET),
        ]
        calcinfo.retrieve_list = [self.FILENAME_OUTPUT]
        calcinfo.retrieve_temporary_list = [(f'{self.FOLDER_SELECTED}/*.POSCAR', '.', 2)]
        return calcinfo
