"""`PaceSwarmCalculation`: candidates around frames."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pace.calculations.base import validate_known_elements
from aiida_pace.calculations.engine import PaceFramesCalcJob
from aiida_pace.config import SwarmConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.engines.swarm import PROGRAM
from aiida_pace.frames import Frames

__all__ = ('PaceSwarmCalculation', 'frames_of')


class PaceSwarmCalculation(PaceFramesCalcJob):
    """Run ``pace-swarm``: random displacements, bursts of hot dynamics and normal modes around each frame.

    The frames may lie in several data sets, as those do that halted the walkers: no data set has to be stored for them.
    """

    CACHE_VERSION = 2
    PARSER = 'pace.swarm'
    PROGRAM = PROGRAM
    CONFIG = SwarmConfig

    FILENAMES_RESULT = ('swarm.npz', 'swarm.json')

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Declare ports and exit codes."""
        super().define(spec)
        del t.cast(t.Any, spec.inputs)['dataset']
        spec.input_namespace(
            'datasets',
            valid_type=AtomsDatasetData,
            dynamic=True,
            help='By name: data sets with the frames around which candidates are made, such as the frames that '
            'halted a walker.',
        )
        spec.input(
            'indices',
            valid_type=orm.Dict,
            required=False,
            help='By the name of a data set: indices of the frames around which candidates are made; without '
            'indices, all frames.',
        )
        spec.inputs['active_set'].help = 'Active set of the potential; with it the candidates carry their grades.'
        spec.input(
            'seed',
            valid_type=orm.Int,
            validator=lambda node, _: None if node.value >= 0 else f'`seed` is {node.value}: give 0 or more.',
            help='Random seed; the same seed makes the same candidates.',
        )
        spec.outputs['dataset'].help = (
            'The candidates, each there once, in the order of their frames; their origin is `swarm/rattle`, '
            '`swarm/burst` or `swarm/modes`, their weights are those of the frame.'
        )
        spec.outputs['output_parameters'].help = (
            '`count` of candidates; `parents`, of each the index of its frame, the data sets one after another in the '
            'order of their names; `made` by kind; `replaced`, by kind and cause, those in whose place random '
            'displacements were made; `missing` by cause, those that could not be made at all; `frames`, a list of the '
            'last three and `atoms` for each frame; `wall_time_seconds`.'
        )
        spec.exit_code(
            510,
            'ERROR_SWARM_EMPTY',
            message='no candidate could be made around any of {count} frames ({causes}): lower `closest`, raise '
            '`count`, or give frames without short distances.',
        )

    @classmethod
    def validate_inputs(cls, inputs: dict[str, t.Any], namespace: t.Any) -> str | None:
        """Refuse also elements that the potential does not know, and indices of frames that are not there."""
        datasets = inputs.get('datasets') or {}
        if 'datasets' in namespace and not datasets:
            return '`datasets` is empty: give frames to make candidates around.'
        for name, dataset in datasets.items():
            remedy = 'give a potential that was trained on all elements of the frames'
            error = validate_known_elements(f'datasets.{name}', dataset.elements, inputs.get('potential'), remedy)
            if error:
                return error
        return super().validate_inputs(inputs, namespace) or _validate_indices(inputs.get('indices'), datasets)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the frames for the job alone: they are in the data sets already."""
        calcinfo = super().prepare_for_submission(folder)
        calcinfo.provenance_exclude_list = [self.FILENAME_FRAMES]
        return calcinfo

    def provide_frames(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Write the frames."""
        picks = self.inputs.indices.get_dict() if 'indices' in self.inputs else None
        with folder.open(self.FILENAME_FRAMES, 'wb') as handle:
            frames_of(self.inputs.datasets, picks).save(handle)
        return []

    def write_inputs(self, folder: Folder) -> list[str]:
        """Write the settings; the seed is an argument."""
        return [*super().write_inputs(folder), '--seed', str(self.inputs.seed.value)]


def frames_of(datasets: Mapping[str, AtomsDatasetData], indices: Mapping[str, Sequence[int]] | None) -> Frames:
    """Return the frames ``indices`` of each data set, all without, in the order of the names of the data sets."""
    return Frames.concatenate(
        node.frames if indices is None else node.frames.take(indices.get(name, []))
        for name, node in sorted(datasets.items())
    )


def _validate_indices(node: orm.Dict | None, datasets: Mapping[str, AtomsDatasetData]) -> str | None:
    """Refuse indices of frames that are not there, and none at all."""
    if node is None:
        return None
    for name, indices in node.get_dict().items():
        if name not in datasets:
            return f'`indices` names `{name}`, which is not in `datasets`.'
        count = datasets[name].count
        if any(type(index) is not int or not 0 <= index < count for index in indices) or len(set(indices)) < len(
            indices
        ):
            return f'`indices.{name}` is {indices}: give different numbers from 0 to {count - 1}.'
    if not any(node.get_dict().values()):
        return '`indices` names no frame: leave it out to make candidates around all frames.'
    return None
