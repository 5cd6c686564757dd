"""`PaceEvaluateCalculation`: what a potential says of a set of frames."""

from __future__ import annotations

import json
import typing as t

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.engine import PaceEngineCalcJob
from aiida_pace.data.posterior import AcePosteriorData
from aiida_pace.engines.evaluate import PROGRAM

__all__ = ('PaceEvaluateCalculation',)


class PaceEvaluateCalculation(PaceEngineCalcJob):
    """Run ``pace-evaluate``: energies, forces and stresses of frames, and how far they can be trusted.

    With an active set there are extrapolation grades, with a posterior predicted errors.
    """

    CACHE_VERSION = 2
    PARSER = 'pace.evaluate'
    PROGRAM = PROGRAM

    FILENAME_REFERENCES = 'reference_energies.json'
    FILENAME_POSTERIOR = 'posterior.npz'
    FILENAMES_RESULT = ('evaluation.npz',)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.inputs['dataset'].help = 'The frames to evaluate.'
        spec.input(
            'posterior',
            valid_type=AcePosteriorData,
            required=False,
            help='Posterior of the potential, which a fit with `evaluator: linear` makes; with it leverages and '
            'standard deviations are computed, which takes about as long as the fit to as many frames.',
        )
        spec.output(
            'evaluation',
            valid_type=orm.ArrayData,
            help='Arrays `energy` (n,) in eV, reference energies included, `forces` (N, 3) in eV/Å, `stress` (n, 6) in '
            "eV/Å³ (ASE's order and sign; 0 for frames without periods); with an active set, `grade` (N,); with a "
            'posterior, `leverage` (N,), `force_sigma` (N,) in eV/Å, the standard deviation of a force component, and '
            '`energy_sigma` (n,) in eV, neither calibrated (`metrics.conformal`). Frames and atoms are in the order of '
            'the data set.',
        )
        spec.outputs[
            'output_parameters'
        ].help = '`count`, `atoms_count`, `wall_time_seconds` and, with an active set, `max_grade`.'

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse, beside what all engines do, a posterior of another potential."""
        if error := super().validate_inputs(inputs, namespace):
            return error
        posterior, potential = inputs.get('posterior'), inputs.get('potential')
        if posterior is None or potential is None or posterior.matches(potential):
            return None
        return (
            '`posterior` was made for another potential: give the posterior of the `pace.train` that made `potential`.'
        )

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Copy the posterior too."""
        calcinfo = super().prepare_for_submission(folder)
        if 'posterior' in self.inputs:
            posterior = self.inputs.posterior
            file = (posterior.uuid, posterior.FILENAME, self.FILENAME_POSTERIOR)
            calcinfo.local_copy_list = [*(calcinfo.local_copy_list or []), file]
        return calcinfo

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write the reference energies; name the posterior too."""
        arguments = ['--posterior', self.FILENAME_POSTERIOR] if 'posterior' in self.inputs else []
        if references := self.inputs.potential.reference_energies:
            with folder.open(self.FILENAME_REFERENCES, 'w', encoding='utf-8') as handle:
                json.dump(references, handle)
            arguments += ['--reference-energies', self.FILENAME_REFERENCES]
        return arguments
