"""What the jobs of our own engines share: frames in, one complete file or a last word on stderr out."""

from __future__ import annotations

import json
import typing as t

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.base import PaceCalcJob, validate_closest
from aiida_pace.config import CLOSEST, Config, config_error
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData

__all__ = ('PaceEngineCalcJob', 'PaceFramesCalcJob', 'PaceProgramCalcJob')


class PaceProgramCalcJob(PaceCalcJob):
    """A job of one of the programs of `aiida_pace.engines` that take frames."""

    #: Name of the program.
    PROGRAM: t.ClassVar[str]
    #: What the program writes; what proves success comes first.
    FILENAMES_RESULT: t.ClassVar[tuple[str, ...]]

    FILENAME_FRAMES = 'frames.npz'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare the ports and exit codes that all have."""
        super().define(spec)
        spec.input('dataset', valid_type=AtomsDatasetData, help='The frames.')
        spec.output('output_parameters', valid_type=orm.Dict, help='Counts of the job, and its wall time.')
        spec.default_output_node = 'output_parameters'

        spec.exit_code(
            310,
            'ERROR_FRAMES_REFUSED',
            invalidates_cache=True,
            message=f'{cls.PROGRAM} refused its input: {{detail}}',
        )
        spec.exit_code(
            320,
            'ERROR_RESULT_INVALID',
            invalidates_cache=True,
            message='`{filename}` cannot be used: {detail}; check the disk, and that the code is of the same release '
            'of aiida-pace.',
        )
        spec.exit_code(
            400,
            'ERROR_ENGINE_INTERRUPTED',
            message=f'{cls.PROGRAM} ended without `{{filename}}`; its last output was: "{{detail}}"; see `{{stderr}}`, '
            'then give more time or memory, or repair the code.',
        )

    @classmethod
    def filename_stderr(cls) -> str:
        """Return the name of the file with the progress and the last words."""
        return f'{cls.PROGRAM}.err'

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write what `write_inputs` adds; the other files are copied from the nodes."""
        files, arguments = self.files_of_nodes()

        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = [
            self.FILENAME_FRAMES,
            *arguments,
            '--output',
            self.FILENAMES_RESULT[0],
            *self.write_inputs(folder),
        ]
        codeinfo.stdout_name = f'{self.PROGRAM}.out'
        codeinfo.stderr_name = self.filename_stderr()

        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = [*self.provide_frames(folder), *files]
        calcinfo.retrieve_list = [self.filename_stderr()]
        # Results go to the repository once, as output nodes, not twice.
        calcinfo.retrieve_temporary_list = list(self.FILENAMES_RESULT)
        return calcinfo

    def provide_frames(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Provide `FILENAME_FRAMES`: return the file of the node to copy, or write one into ``folder``."""
        dataset = self.inputs.dataset
        return [(dataset.uuid, dataset.FILENAME, self.FILENAME_FRAMES)]

    def files_of_nodes(self) -> tuple[list[tuple[str, str, str]], list[str]]:
        """Return what else to copy from nodes, as AiiDA's ``local_copy_list``, and the arguments that name it."""
        return [], []

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write what this job needs beyond the files of the nodes; return the arguments that name it."""
        raise NotImplementedError


class PaceEngineCalcJob(PaceProgramCalcJob):
    """A job of a program that takes frames, a potential and an active set."""

    FILENAME_POTENTIAL = 'potential.yaml'
    FILENAME_ACTIVE_SET = 'active_set.asi'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare the ports of the potential and its active set."""
        super().define(spec)
        spec.input('potential', valid_type=AcePotentialData, help='The potential.')
        spec.input(
            'active_set',
            valid_type=AceActiveSetData,
            required=False,
            help='Active set of the potential; with it the extrapolation grade of each atom is computed.',
        )

    def files_of_nodes(self) -> tuple[list[tuple[str, str, str]], list[str]]:
        """Return the files of the potential and, if given, the active set."""
        potential = self.inputs.potential
        files, arguments = [(potential.uuid, potential.FILENAME, self.FILENAME_POTENTIAL)], [self.FILENAME_POTENTIAL]
        if 'active_set' in self.inputs:
            active_set = self.inputs.active_set
            files.append((active_set.uuid, active_set.FILENAME, self.FILENAME_ACTIVE_SET))
            arguments += ['--active-set', self.FILENAME_ACTIVE_SET]
        return files, arguments


class PaceFramesCalcJob(PaceEngineCalcJob):
    """A job that makes frames of frames, with settings and an account of what it did."""

    #: What the settings must be.
    CONFIG: t.ClassVar[type[Config]]

    FILENAME_SETTINGS = 'settings.json'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare the port of the settings and the frames that are made."""
        super().define(spec)
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            default=lambda: orm.Dict({}),
            validator=cls.validate_parameters,
            help=f'Settings of `{cls.CONFIG.__name__}`.',
        )
        spec.input(
            'closest',
            valid_type=orm.Float,
            default=lambda: orm.Float(CLOSEST),
            validator=validate_closest,
            help='Smallest distance in a new frame, as a share of the sum of the two covalent radii.',
        )
        spec.output('dataset', valid_type=AtomsDatasetData, required=False, help='The new frames.')

    @classmethod
    def validate_parameters(cls, node: orm.Dict | None, _: t.Any) -> str | None:
        """Refuse settings that are unknown or out of range."""
        error = config_error(cls.CONFIG, node.get_dict()) if node is not None else None
        return f'`parameters`: {error}' if error else None

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write all settings, those with their default too."""
        settings = self.CONFIG.model_validate(self.inputs.parameters.get_dict()).model_dump(mode='json')
        settings['closest'] = self.inputs.closest.value
        with folder.open(self.FILENAME_SETTINGS, 'w', encoding='utf-8') as handle:
            json.dump(settings, handle, sort_keys=True)
        return ['--settings', self.FILENAME_SETTINGS]
