"""Calcfunctions from frames to what a job labels, and from labels that are there already to a data set of them."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import AUDIT, FloatArray, Frames
from aiida_pace.structures.cells import boxed, reduced
from aiida_pace.structures.fingerprint import exact_fingerprints

__all__ = (
    'OUTCOMES',
    'Label',
    'account_labels',
    'by_purpose',
    'frame_key',
    'labelled_dataset',
    'quarantine_labels',
    'reuse_labels',
    'separate_labels',
    'split_batches',
    'split_structures',
)

#: What becomes of a requested frame, one of these: its label is taken from another data set or run, from AiiDA's
#: cache, computed; or its run fails; or a guard rejects the frame beforehand or its label afterwards.
OUTCOMES = ('reused', 'cached', 'labelled', 'failed', 'rejected')

#: Empty space around molecules and slabs that come without a box, in Å: as much as an initial set leaves by default.
VACUUM = 10.0


def frame_key(index: int) -> str:
    """Return the link label of frame ``index``; it sorts like the index."""
    return f'frame_{index:05d}'


@calcfunction
def split_structures(dataset: AtomsDatasetData, indices: orm.List) -> dict[str, orm.StructureData]:
    """Return the structures of some frames, by `frame_key`: the link between a run and the frame it labels.

    A skewed cell is `reduced`, and what has no room in its cell is `boxed` with `VACUUM`: energy, forces and stress are
    those of the frame.
    """
    atoms = {index: reduced(boxed(dataset.frames.atoms(index), VACUUM)) for index in indices}
    return {frame_key(index): orm.StructureData(ase=structure) for index, structure in atoms.items()}


@calcfunction
def split_batches(dataset: AtomsDatasetData, batches: orm.Dict) -> dict[str, AtomsDatasetData]:
    """Return the frames of each batch: the link between a job and the frames it labels.

    :param batches: indices of the frames, by the name of the batch.
    """
    frames = dataset.frames.replace(energy=None, forces=None, stress=None, grade=None)
    return {key: AtomsDatasetData(frames.take(indices)) for key, indices in batches.get_dict().items()}


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


class Label(t.NamedTuple):
    """The label of one frame of N atoms.

    :param energy: in eV.
    :param forces: (N, 3) in eV/Å.
    :param stress: (6,) xx yy zz yz xz xy in eV/Å³, negative under compression; None when there is none.
    :param uuid: of the node that holds the label.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None
    uuid: str


def labelled_dataset(
    dataset: AtomsDatasetData, labels: Mapping[int, Label], reused: AtomsDatasetData | None = None
) -> dict[str, AtomsDatasetData]:
    """Return the frames of ``dataset`` that have labels, in its order; without stresses when one of them has none.

    Those of an audit come apart, so that no label is stored twice: see `by_purpose`.

    :param labels: by the index of the frame.
    :param reused: labelled frames of ``dataset``, taken as they are.
    """
    parts = [] if reused is None else [reused.frames]
    if labels:
        indices, found = list(labels), list(labels.values())
        stresses = [label.stress for label in found if label.stress is not None]
        parts.append(
            dataset.frames.take(indices).replace(
                energy=np.array([label.energy for label in found]),
                forces=np.concatenate([label.forces for label in found]),
                stress=np.array(stresses) if len(stresses) == len(found) else None,
                grade=None,
                label_uuid=np.array([label.uuid for label in found]),
            )
        )
    frames = Frames.concatenate(parts)
    place = {digest: index for index, digest in enumerate(exact_fingerprints(dataset.frames))}
    order = np.argsort([place[digest] for digest in exact_fingerprints(frames)])
    return by_purpose(frames.take(order))


@calcfunction
def separate_labels(labels: AtomsDatasetData) -> dict[str, AtomsDatasetData]:
    """Return the frames to train on and those of an audit; see `by_purpose`."""
    return by_purpose(labels.frames)


def by_purpose(labels: Frames) -> dict[str, AtomsDatasetData]:
    """Return the frames to train on as ``dataset``, and those of an audit as ``audit``; absent is what is empty."""
    is_audit = labels.origin == AUDIT
    parts = {'dataset': np.flatnonzero(~is_audit), 'audit': np.flatnonzero(is_audit)}
    return {name: AtomsDatasetData(labels.take(part)) for name, part in parts.items() if len(part)}


@calcfunction
def quarantine_labels(indices: orm.List, **labels: AtomsDatasetData) -> dict[str, AtomsDatasetData]:
    """Return some frames as ``quarantined``, and the others, if any, by their purpose; see `by_purpose`.

    :param indices: of the frames to set apart, the data sets one after another in the order of their names.
    """
    frames = Frames.concatenate(node.frames for _, node in sorted(labels.items()))
    implausible = np.array(indices.get_list(), dtype='i8')
    others = np.setdiff1d(np.arange(len(frames)), implausible)
    return {'quarantined': AtomsDatasetData(frames.take(implausible)), **by_purpose(frames.take(others))}


@calcfunction
def account_labels(
    dataset: AtomsDatasetData,
    outcomes: orm.Dict,
    core_seconds: orm.Dict,
    warnings: orm.List | None = None,
    **labels: AtomsDatasetData,
) -> orm.Dict:
    """Return the account of a labelling step, see `account`, with the ``warnings``.

    :param dataset: the frames that were requested.
    :param outcomes: of each frame, by `frame_key`: one of `OUTCOMES` and, of the last two, the cause, else ''.
    :param core_seconds: what the labels cost, by frame and by kind: ``computed``, ``cached``, ``reused``.
    :param warnings: sentences on labels that should be looked at.
    :param labels: the frames that are handed over as labelled, by any names.
    :raises ValueError: when the account does not add up.
    """
    numbers = account(
        [frame_key(index) for index in range(dataset.count)],
        outcomes.get_dict(),
        core_seconds.get_dict(),
        sum(node.count for node in labels.values()),
    )
    return orm.Dict(numbers | {'warnings': [] if warnings is None else warnings.get_list()})


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
