"""`PaceEvaluateCalculation`: what a potential says of a set of frames."""

from __future__ import annotations

import json

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.base import PaceCalcJob
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData

__all__ = ('PaceEvaluateCalculation',)


class PaceEvaluateCalculation(PaceCalcJob):
    """Run ``pace-evaluate``: energies, forces, stresses and, with an active set, extrapolation grades of frames."""

    CACHE_VERSION = 1
    PARSER = 'pace.evaluate'

    FILENAME_FRAMES = 'frames.npz'
    FILENAME_POTENTIAL = 'potential.yaml'
    FILENAME_ACTIVE_SET = 'active_set.asi'
    FILENAME_REFERENCES = 'reference_energies.json'
    FILENAME_EVALUATION = 'evaluation.npz'
    FILENAME_STDOUT = 'pace-evaluate.out'
    FILENAME_STDERR = 'pace-evaluate.err'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.input('dataset', valid_type=AtomsDatasetData, help='The frames to evaluate.')
        spec.input('potential', valid_type=AcePotentialData, help='The potential.')
        spec.input(
            'active_set',
            valid_type=AceActiveSetData,
            required=False,
            help='Active set of the potential; with it the extrapolation grade of each atom is computed.',
        )

        spec.output(
            'evaluation',
            valid_type=orm.ArrayData,
            help='Arrays `energy` (n,) in eV, reference energies included, `forces` (N, 3) in eV/Å, `stress` (n, 6) in '
            "eV/Å³ (ASE's order and sign; 0 for frames without periods) and, with an active set, `grade` (N,): frames "
            'and atoms in the order of the data set.',
        )
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            help='`count`, `atoms_count`, `wall_time_seconds` and, with an active set, `max_grade`.',
        )
        spec.default_output_node = 'output_parameters'

        spec.exit_code(
            310,
            'ERROR_FRAMES_REFUSED',
            invalidates_cache=True,
            message='pace-evaluate refused its input: {detail}',
        )
        spec.exit_code(
            320,
            'ERROR_EVALUATION_INVALID',
            invalidates_cache=True,
            message='`{filename}` cannot be used: {detail}; check the disk, and that the code '
            'is of the same release of aiida-pace.',
        )
        spec.exit_code(
            400,
            'ERROR_ENGINE_INTERRUPTED',
            message='pace-evaluate ended without `{filename}`, its last words: "{detail}"; see `{stderr}`, then give '
            'more time or memory, or repair the code.',
        )

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the reference energies; the other files are copied from the nodes."""
        dataset, potential = self.inputs.dataset, self.inputs.potential
        arguments = [self.FILENAME_FRAMES, self.FILENAME_POTENTIAL, '--output', self.FILENAME_EVALUATION]
        files = [
            (dataset.uuid, dataset.FILENAME, self.FILENAME_FRAMES),
            (potential.uuid, potential.FILENAME, self.FILENAME_POTENTIAL),
        ]
        if 'active_set' in self.inputs:
            active_set = self.inputs.active_set
            files.append((active_set.uuid, active_set.FILENAME, self.FILENAME_ACTIVE_SET))
            arguments += ['--active-set', self.FILENAME_ACTIVE_SET]
        if potential.reference_energies:
            with folder.open(self.FILENAME_REFERENCES, 'w', encoding='utf-8') as handle:
                json.dump(potential.reference_energies, handle)
            arguments += ['--reference-energies', self.FILENAME_REFERENCES]

        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = arguments
        codeinfo.stdout_name = self.FILENAME_STDOUT
        codeinfo.stderr_name = self.FILENAME_STDERR

        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = files
        calcinfo.retrieve_list = [self.FILENAME_STDERR]
        # The arrays go to the repository once, as output node, not twice.
        calcinfo.retrieve_temporary_list = [self.FILENAME_EVALUATION]
        return calcinfo
