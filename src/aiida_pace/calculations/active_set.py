"""`PaceActiveSetCalculation`: the active set of a potential, from the data it was trained on."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Mapping

from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import write_dataframe
from aiida_pace.frames import Frames

__all__ = ('PaceActiveSetCalculation',)


class PaceActiveSetCalculation(CalcJob):
    """Run ``pace_activeset`` on all atoms of the data sets.

    By default ``pace_activeset`` leaves out atoms whose force error is an outlier. Here it must not: a frame that was
    labelled because a walker halted there, and that is still badly fitted, would halt the next walker again, for ever.
    """

    CACHE_VERSION = 1

    FILENAME_POTENTIAL = 'potential.yaml'
    FILENAME_DATASET = 'df.pckl.gzip'
    FILENAME_ACTIVE_SET = 'potential.asi'
    FILENAME_OUTPUT = 'pace_activeset.out'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.input('potential', valid_type=AcePotentialData, help='The potential.')
        spec.input_namespace(
            'datasets', valid_type=AtomsDatasetData, dynamic=True, help='The frames the potential was trained on.'
        )
        validate_calc_job = spec.inputs.validator

        def validate(inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
            return (validate_calc_job and validate_calc_job(inputs, namespace)) or cls.validate_inputs(inputs)

        spec.inputs.validator = validate
        options = t.cast(t.Any, spec.inputs)['metadata']['options']
        options['parser_name'].default = 'pace.active_set'
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['withmpi'].default = False

        spec.output('active_set', valid_type=AceActiveSetData, required=False, help='The active set.')

        spec.exit_code(
            310,
            'ERROR_ACTIVE_SET_FAILED',
            invalidates_cache=True,
            message='pace_activeset stopped with: {detail}; see `{filename}`.',
        )
        spec.exit_code(
            320,
            'ERROR_ACTIVE_SET_UNUSABLE',
            invalidates_cache=True,
            message='`{filename}` cannot be used: {detail}; check the disk and the version of the code.',
        )
        spec.exit_code(
            400,
            'ERROR_ENGINE_INTERRUPTED',
            message='pace_activeset was cut short, its last words: "{detail}"; give it more time or memory.',
        )

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any]) -> str | None:
        """Refuse data sets with too few atoms, or with elements that the potential does not know."""
        datasets: Mapping[str, AtomsDatasetData] | None = inputs.get('datasets')
        potential: AcePotentialData | None = inputs.get('potential')
        if datasets is None or potential is None:  # not exposed, or missing, which the ports report
            return None
        counts: Counter[str] = Counter()
        for dataset in datasets.values():
            counts.update(dataset.element_counts)
        functions = potential.functions_per_element
        if unknown := sorted(set(counts) - set(functions)):
            return (
                f'`datasets` hold {", ".join(unknown)}, `potential` is for {", ".join(potential.elements)}: give the '
                'data it was trained on.'
            )
        for element, count in functions.items():
            if counts[element] < count:
                return (
                    f'`datasets` hold {counts[element]} atoms of {element}, `potential` has {count} functions for it: '
                    'an active set needs at least as many atoms; add frames, or train a potential with fewer functions.'
                )
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the frames; the potential is copied from its node."""
        frames = Frames.concatenate([dataset.frames for _, dataset in sorted(self.inputs.datasets.items())])
        with folder.open(self.FILENAME_DATASET, 'wb') as handle:
            write_dataframe(frames, handle)
        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = ['--all-atoms', '--dataset', self.FILENAME_DATASET, self.FILENAME_POTENTIAL]
        codeinfo.stdout_name = self.FILENAME_OUTPUT
        codeinfo.join_files = True
        potential = self.inputs.potential
        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = [(potential.uuid, potential.FILENAME, self.FILENAME_POTENTIAL)]
        calcinfo.retrieve_list = [self.FILENAME_OUTPUT]
        # The set goes to the repository once, as output node, not twice.
        calcinfo.retrieve_temporary_list = [self.FILENAME_ACTIVE_SET]
        return calcinfo
