"""`PaceActiveSetCalculation`: the active set of a potential, from the data it was trained on."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import numpy as np
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.base import PaceCalcJob, validate_known_elements
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import write_dataframe
from aiida_pace.frames import Frames
from aiida_pace.training.training_set import learned_atoms

__all__ = ('PaceActiveSetCalculation',)


class PaceActiveSetCalculation(PaceCalcJob):
    """Run ``pace_activeset`` on all atoms that the fit learns from.

    By default ``pace_activeset`` leaves out atoms whose force error is an outlier. Here it must not: a frame that was
    labelled because a walker halted there, and that is still badly fitted, would halt the next walker again, for ever.
    What it must leave out are atoms that count neither in a force nor in an energy, such as the buffer of an embedded
    neighbourhood: their environments would pass for known ones. Both is asked for in the only way there is, by forces
    in the data frame that are off by nothing or by everything.
    """

    CACHE_VERSION = 1
    PARSER = 'pace.active_set'

    FILENAME_POTENTIAL = 'potential.yaml'
    FILENAME_DATASET = 'df.pckl.gzip'
    FILENAME_ACTIVE_SET = 'potential.asi'
    FILENAME_OUTPUT = 'pace_activeset.out'

    #: Largest error of a force component of atoms that take part, and the force of those that do not, in eV/Å.
    LARGEST_ERROR = 1e20
    FORCE_LEFT_OUT = 1e30

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.input('potential', valid_type=AcePotentialData, help='The potential.')
        spec.input_namespace(
            'datasets', valid_type=AtomsDatasetData, dynamic=True, help='The frames the potential was trained on.'
        )

        spec.output('active_set', valid_type=AceActiveSetData, required=False, help='The active set.')

        spec.exit_code(
            310,
            'ERROR_ACTIVE_SET_FAILED',
            invalidates_cache=True,
            message='pace_activeset stopped with: {detail}; see `{filename}`.',
        )
        spec.exit_code(
            311,
            'ERROR_ENVIRONMENTS_INSUFFICIENT',
            invalidates_cache=True,
            message='the data sets hold {count} atoms of {element} that the fit learns from, `potential` has '
            '{functions} functions for it: an active set needs at least as many atoms; add frames, or train a '
            'potential with fewer functions.',
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
            message='pace_activeset was interrupted; its last output was: "{detail}"; give it more time or memory.',
        )

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse data sets with elements that the potential does not know, or none at all."""
        datasets: Mapping[str, AtomsDatasetData] = inputs.get('datasets') or {}
        if 'datasets' in namespace and not datasets:
            return '`datasets` is empty: give the data sets that the potential was trained on.'
        for name, dataset in sorted(datasets.items()):
            if error := validate_known_elements(
                f'datasets.{name}',
                dataset.elements,
                inputs.get('potential'),
                'give the data that the potential was trained on',
            ):
                return error
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the frames; the potential is copied from its node."""
        frames = Frames.concatenate([dataset.frames for _, dataset in sorted(self.inputs.datasets.items())])
        with folder.open(self.FILENAME_DATASET, 'wb') as handle:
            write_dataframe(self._marked(frames), handle)
        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = [
            *('--dataset', self.FILENAME_DATASET),
            *('-e', str(self.LARGEST_ERROR)),
            # In batches, for little memory, pace_activeset cannot leave out atoms.
            *('--batch_size', 'none'),
            self.FILENAME_POTENTIAL,
        ]
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

    @classmethod
    def _marked(cls, frames: Frames) -> Frames:
        """Return the frames with forces that tell which atoms take part; other labels do not matter here."""
        forces = np.zeros((len(frames.numbers), 3))
        forces[~learned_atoms(frames)] = cls.FORCE_LEFT_OUT
        return frames.replace(energy=np.zeros(len(frames)), forces=forces, stress=None)
