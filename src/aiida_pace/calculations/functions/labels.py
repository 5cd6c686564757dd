"""Calcfunctions from frames to DFT runs, and from these, or from labels that are there already, to labels."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import units

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.structures.fingerprint import exact_fingerprints

__all__ = (
    'OUTCOMES',
    'account_labels',
    'collect_labels',
    'frame_key',
    'quarantine_labels',
    'reuse_labels',
    'split_structures',
    'voigt_stress',
)

#: What becomes of a requested frame, one of these: its label is taken from another data set or DFT run, from AiiDA's
#: cache, computed; or DFT fails; or a guard rejects the frame before DFT or its label afterwards.
OUTCOMES = ('reused', 'cached', 'labelled', 'failed', 'rejected')


def frame_key(index: int) -> str:
    """Return the link label of frame ``index``; it sorts like the index."""
    return f'frame_{index:05d}'


@calcfunction
def split_structures(dataset: AtomsDatasetData, indices: orm.List) -> dict[str, orm.StructureData]:
    """Return the structures of some frames, by `frame_key`: the link between a DFT run and the frame it labels."""
    return {frame_key(index): orm.StructureData(ase=dataset.frames.atoms(index)) for index in indices}


@calcfunction
def reuse_labels(dataset: AtomsDatasetData, origins: orm.Dict, **sources: AtomsDatasetData) -> AtomsDatasetData:
    """Return the frames of ``dataset`` that are labelled in other data sets, with these labels.

    :param origins: for each frame, by `frame_key`: name of the source, and index of the frame there.
    :param sources: labelled data sets, by name.
    :raises ValueError: when a frame of a source is not the same as that of ``dataset``.
    """
    picks = sorted(origins.get_dict().items())
    frames = dataset.frames.take([int(key.removeprefix('frame_')) for key, _ in picks])
    labels = [sources[name].frames.take([index]) for _, (name, index) in picks]
    found = Frames.concatenate(labels)
    if exact_fingerprints(frames) != exact_fingerprints(found):
        raise ValueError('`origins` name frames of the sources that are not the same as those of `dataset`')
    return AtomsDatasetData(
        frames.replace(
            energy=found.energy, forces=found.forces, stress=found.stress, grade=None, label_uuid=found.label_uuid
        )
    )


@calcfunction
def collect_labels(
    dataset: AtomsDatasetData, reused: AtomsDatasetData | None = None, **trajectories: orm.TrajectoryData
) -> AtomsDatasetData:
    """Return the frames of ``dataset`` that have a trajectory, with its last energy, forces and stress as labels.

    :param reused: labelled frames of ``dataset``, taken as they are.
    :param trajectories: outputs of ``PwCalculation``, keyed by `frame_key`.
    """
    indices = [index for index in range(dataset.count) if frame_key(index) in trajectories]
    nodes = [trajectories[frame_key(index)] for index in indices]
    parts = [] if reused is None else [reused.frames]
    if nodes:
        parts.append(
            dataset.frames.take(indices).replace(
                energy=np.array([node.get_array('energy')[-1] for node in nodes]),
                forces=np.concatenate([node.get_array('forces')[-1] for node in nodes]),
                stress=np.array([voigt_stress(node.get_array('stress')[-1]) for node in nodes]),
                grade=None,
                label_uuid=np.array([node.uuid for node in nodes]),
            )
        )
    labels = Frames.concatenate(parts)
    place = {digest: index for index, digest in enumerate(exact_fingerprints(dataset.frames))}
    order = np.argsort([place[digest] for digest in exact_fingerprints(labels)])
    return AtomsDatasetData(labels.take(order))


@calcfunction
def quarantine_labels(labels: AtomsDatasetData, indices: orm.List) -> dict[str, AtomsDatasetData]:
    """Return the frames ``indices`` of ``labels`` as ``quarantined``, and the others, if any, as ``dataset``."""
    implausible = np.array(indices.get_list(), dtype='i8')
    parts = {'quarantined': implausible, 'dataset': np.setdiff1d(np.arange(labels.count), implausible)}
    return {name: AtomsDatasetData(labels.frames.take(part)) for name, part in parts.items() if len(part)}


@calcfunction
def account_labels(
    dataset: AtomsDatasetData,
    outcomes: orm.Dict,
    core_seconds: orm.Dict,
    labels: AtomsDatasetData | None = None,
) -> orm.Dict:
    """Return the account of a labelling step; see `account`.

    :param dataset: the frames that were requested.
    :param outcomes: of each frame, by `frame_key`: one of `OUTCOMES` and, of the last two, the cause, else ''.
    :param core_seconds: what the labels cost, by frame and by kind: ``computed``, ``cached``, ``reused``.
    :param labels: the frames that are handed over as labelled.
    :raises ValueError: when the account does not add up.
    """
    return orm.Dict(
        account(
            [frame_key(index) for index in range(dataset.count)],
            outcomes.get_dict(),
            core_seconds.get_dict(),
            0 if labels is None else labels.count,
        )
    )


def account(
    keys: list[str],
    outcomes: Mapping[str, tuple[str, str]],
    core_seconds: Mapping[str, Mapping[str, float]],
    labels: int,
) -> dict[str, t.Any]:
    """Return the account of a labelling step: requested = reused + cached + labelled + failed + rejected.

    Beside these numbers: ``failures`` and ``rejections``, frames by cause; ``core_seconds`` that were spent now, on
    failed and rejected frames too; ``core_seconds_cached`` and ``core_seconds_reused``, those that were saved.

    :param keys: of the frames that were requested.
    :param outcomes: outcome and cause of each frame.
    :param core_seconds: by frame, then by kind.
    :param labels: number of frames that are handed over as labelled.
    :raises ValueError: when a frame has no outcome, or an unknown one, or the labels are not as many as they should be.
    """
    if sorted(outcomes) != sorted(keys):
        lost, strange = sorted(set(keys) - set(outcomes)), sorted(set(outcomes) - set(keys))
        raise ValueError(f'the account does not add up: frames without an outcome {lost}, never requested {strange}')
    counts = dict.fromkeys(OUTCOMES, 0)
    causes: dict[str, dict[str, list[str]]] = {'failed': {}, 'rejected': {}}
    for key, (outcome, cause) in sorted(outcomes.items()):
        if outcome not in counts:
            raise ValueError(f'the account does not add up: `{key}` has the outcome `{outcome}`')
        counts[outcome] += 1
        if outcome in causes:
            causes[outcome].setdefault(cause, []).append(key)
    good = counts['reused'] + counts['cached'] + counts['labelled']
    if good != labels or good + counts['failed'] + counts['rejected'] != len(keys):
        raise ValueError(f'the account does not add up: {len(keys)} frames requested, {labels} labels, {counts}')
    spent = {
        kind: sum(costs.get(kind, 0.0) for costs in core_seconds.values()) for kind in ('computed', 'cached', 'reused')
    }
    return {
        'requested': len(keys),
        **counts,
        'failures': causes['failed'],
        'rejections': causes['rejected'],
        'core_seconds': spent['computed'],
        'core_seconds_cached': spent['cached'],
        'core_seconds_reused': spent['reused'],
    }


def voigt_stress(stress: FloatArray) -> FloatArray:
    """Return Quantum ESPRESSO's stress (3, 3), in GPa and positive under compression, in ASE's sign and Voigt order.

    :returns: (6,) xx yy zz yz xz xy in eV/Å³, negative under compression.
    """
    return -stress[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)] * units.GPa
