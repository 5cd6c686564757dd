"""Calcfunctions from frames to DFT runs, and from these to labels."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import units

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import FloatArray

__all__ = (
    'account_labels',
    'collect_labels',
    'frame_key',
    'split_structures',
    'voigt_stress',
)


def frame_key(index: int) -> str:
    """Return the link label of frame ``index``; it sorts like the index."""
    return f'frame_{index:05d}'


@calcfunction
def split_structures(dataset: AtomsDatasetData) -> dict[str, orm.StructureData]:
    """Return one structure per frame, keyed by `frame_key`: the link between a DFT run and the frame it labels."""
    return {frame_key(index): orm.StructureData(ase=atoms) for index, atoms in enumerate(dataset.frames)}


@calcfunction
def collect_labels(dataset: AtomsDatasetData, **trajectories: orm.TrajectoryData) -> AtomsDatasetData:
    """Return the frames of ``dataset`` that have a trajectory, with its last energy, forces and stress as labels.

    :param trajectories: outputs of ``PwCalculation``, keyed by `frame_key`.
    """
    indices = [index for index in range(dataset.count) if frame_key(index) in trajectories]
    nodes = [trajectories[frame_key(index)] for index in indices]
    return AtomsDatasetData(
        dataset.frames.take(indices).replace(
            energy=np.array([node.get_array('energy')[-1] for node in nodes]),
            forces=np.concatenate([node.get_array('forces')[-1] for node in nodes]),
            stress=np.array([voigt_stress(node.get_array('stress')[-1]) for node in nodes]),
            grade=None,
            label_uuid=np.array([node.uuid for node in nodes]),
        )
    )


@calcfunction
def account_labels(core_seconds: orm.Dict, failures: orm.Dict) -> orm.Dict:
    """Return the account of a labelling step: requested = labelled + failed, the causes, and what DFT cost.

    :param core_seconds: of each requested frame, keyed by `frame_key`.
    :param failures: cause of each frame that could not be labelled, keyed by `frame_key`.
    """
    requested, failed = len(core_seconds.get_dict()), failures.get_dict()
    causes: dict[str, list[str]] = {}
    for key, cause in sorted(failed.items()):
        causes.setdefault(cause, []).append(key)
    return orm.Dict(
        {
            'requested': requested,
            'labelled': requested - len(failed),
            'failed': len(failed),
            'failures': causes,
            'core_seconds': sum(core_seconds.get_dict().values()),
        }
    )


def voigt_stress(stress: FloatArray) -> FloatArray:
    """Return Quantum ESPRESSO's stress (3, 3), in GPa and positive under compression, in ASE's sign and Voigt order.

    :returns: (6,) xx yy zz yz xz xy in eV/Å³, negative under compression.
    """
    return -stress[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)] * units.GPa
