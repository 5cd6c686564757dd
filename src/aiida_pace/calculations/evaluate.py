"""`PaceEvaluateCalculation`: what a potential says of a set of frames."""

from __future__ import annotations

import json

from aiida import orm
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.engine import PaceEngineCalcJob
from aiida_pace.engines.evaluate import PROGRAM

__all__ = ('PaceEvaluateCalculation',)


class PaceEvaluateCalculation(PaceEngineCalcJob):
    """Run ``pace-evaluate``: energies, forces, stresses and, with an active set, extrapolation grades of frames."""

    CACHE_VERSION = 1
    PARSER = 'pace.evaluate'
    PROGRAM = PROGRAM

    FILENAME_REFERENCES = 'reference_energies.json'
    FILENAMES_RESULT = ('evaluation.npz',)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.inputs['dataset'].help = 'The frames to evaluate.'
        spec.output(
            'evaluation',
            valid_type=orm.ArrayData,
            help='Arrays `energy` (n,) in eV, reference energies included, `forces` (N, 3) in eV/Å, `stress` (n, 6) in '
            "eV/Å³ (ASE's order and sign; 0 for frames without periods) and, with an active set, `grade` (N,): frames "
            'and atoms in the order of the data set.',
        )
        spec.outputs[
            'output_parameters'
        ].help = '`count`, `atoms_count`, `wall_time_seconds` and, with an active set, `max_grade`.'

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write the reference energies."""
        references = self.inputs.potential.reference_energies
        if not references:
            return []
        with folder.open(self.FILENAME_REFERENCES, 'w', encoding='utf-8') as handle:
            json.dump(references, handle)
        return ['--reference-energies', self.FILENAME_REFERENCES]
