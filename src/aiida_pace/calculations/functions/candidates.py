"""Calcfunctions from halted frames to candidates."""

from __future__ import annotations

import typing as t
from collections import Counter

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.config import SwarmConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import duplicate_indices, exact_fingerprints
from aiida_pace.structures.guards import check_frames
from aiida_pace.structures.swarm import rattle_swarm

__all__ = (
    'make_candidate_pool',
    'take_above_grade',
    'take_highest_grades',
)


@calcfunction
def make_candidate_pool(parameters: orm.Dict, seed: orm.Int, **frames: AtomsDatasetData) -> dict[str, t.Any]:
    """Return the candidates around the halted frames: swarms, extrapolative frames, and what became of the others.

    :param parameters: settings of ``SwarmConfig``.
    :param frames: of each walker ``extrapolative__<walker>`` and, where it has any, ``samples__<walker>``; and
        ``known__<name>``: frames that are labelled already.
    :returns: ``pool``, absent when nothing is left; ``output_parameters``, frames made and rejected by cause.
    """
    config = SwarmConfig.model_validate(parameters.get_dict())
    rng = np.random.default_rng(seed.value)
    known = {
        digest
        for key, node in frames.items()
        if key.startswith('known__')
        for digest in exact_fingerprints(node.frames)
    }
    rejects: Counter[str] = Counter()
    parts: list[Frames] = []
    for key in sorted(name for name in frames if name.startswith('extrapolative__')):
        found = frames[key].frames.replace(grade=None)
        halts = [atoms for atoms in found if atoms.info['origin'] == 'halt']
        swarms = [rattle_swarm(halt, config.count, config.amplitude, rng) for halt in halts]
        kept, causes = _guarded(Frames.concatenate([found, *swarms]), known)
        rejects.update(causes)
        samples = frames.get(key.replace('extrapolative__', 'samples__'))
        if not len(kept) and samples is not None:
            # With all frames of the halt unfit for DFT, the last acceptable one before it teaches most: no deadlock.
            kept = _guarded(samples.frames.replace(grade=None), known)[0]
            kept = kept.take(range(len(kept))[-1:])
        parts.append(kept)
    pool = Frames.concatenate(parts)
    pool = pool.take(np.setdiff1d(np.arange(len(pool)), duplicate_indices(pool)))
    account = orm.Dict({'candidates': len(pool) + rejects.total(), 'rejected': dict(rejects)})
    return {'output_parameters': account} | ({'pool': AtomsDatasetData(pool)} if len(pool) else {})


def _guarded(frames: Frames, known: set[bytes]) -> tuple[Frames, Counter[str]]:
    """Return the frames that are new and that the guards let pass, and the number of rejects by cause."""
    report = check_frames(frames)
    is_known = np.array([digest in known for digest in exact_fingerprints(frames)], dtype=bool)
    rejects = Counter(report.rejected)
    rejects.update({'known': int(np.sum(report.mask & is_known))})
    return frames.take(np.flatnonzero(report.mask & ~is_known)), +rejects


@calcfunction
def take_above_grade(dataset: AtomsDatasetData, evaluation: orm.ArrayData, threshold: orm.Float) -> AtomsDatasetData:
    """Return the frames of ``dataset`` in which some atom's extrapolation grade is above ``threshold``, with grades.

    When no frame is, the one of highest grade: a halt always yields a candidate.
    """
    frames = dataset.frames.replace(grade=evaluation.get_array('grade'))
    grades = frames.max_grade()
    indices = np.flatnonzero(grades > threshold.value)
    return AtomsDatasetData(frames.take(indices if len(indices) else [int(np.argmax(grades))]))


@calcfunction
def take_highest_grades(dataset: AtomsDatasetData, count: orm.Int) -> AtomsDatasetData:
    """Return the ``count`` frames of ``dataset`` with the highest extrapolation grade, the highest first."""
    order = np.argsort(-dataset.frames.max_grade(), kind='stable')
    return AtomsDatasetData(dataset.frames.take(order[: count.value]))
