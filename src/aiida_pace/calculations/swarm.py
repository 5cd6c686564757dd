"""`PaceSwarmCalculation`: candidates around frames."""

from __future__ import annotations

from aiida import orm
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.engine import PaceFramesCalcJob
from aiida_pace.config import SwarmConfig
from aiida_pace.engines.swarm import PROGRAM

__all__ = ('PaceSwarmCalculation',)


class PaceSwarmCalculation(PaceFramesCalcJob):
    """Run ``pace-swarm``: random displacements, bursts of hot dynamics and normal modes around each frame."""

    CACHE_VERSION = 1
    PARSER = 'pace.swarm'
    PROGRAM = PROGRAM
    CONFIG = SwarmConfig

    FILENAMES_RESULT = ('swarm.npz', 'swarm.json')

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        spec.inputs['dataset'].help = 'The frames to make candidates around, such as those that halted a walker.'
        spec.inputs['active_set'].help = 'Active set of the potential; with it the candidates carry their grades.'
        spec.input(
            'seed',
            valid_type=orm.Int,
            validator=lambda node, _: None if node.value >= 0 else f'`seed` is {node.value}: give 0 or more.',
            help='Random seed: the same one makes the same candidates.',
        )
        spec.outputs['dataset'].help = (
            'The candidates, each there once, in the order of their frames; their origin is `swarm/rattle`, '
            '`swarm/burst` or `swarm/modes`, their weights are those of the frame.'
        )
        spec.outputs['output_parameters'].help = (
            '`count` of candidates; `parents`, of each the index of its frame; `made` by kind; `replaced`, by kind and '
            'cause, those in whose place random displacements were made; `missing` by cause, those that could not be '
            'made at all; `frames`, a list of the last three and `atoms` for each frame; `wall_time_seconds`.'
        )
        spec.exit_code(
            510,
            'ERROR_SWARM_EMPTY',
            message='no candidate could be made around any of {count} frames ({causes}): lower `closest`, raise '
            '`count`, or give frames without short distances.',
        )

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write the settings; the seed is an argument."""
        return [*super().write_inputs(folder), '--seed', str(self.inputs.seed.value)]
