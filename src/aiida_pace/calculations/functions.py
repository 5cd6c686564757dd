"""Thin calcfunctions: they link data to data, the work is done by pure functions."""

from __future__ import annotations

import typing as t
from collections import Counter

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import units

from aiida_pace.config import InitialSetConfig, SwarmConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.structures.fingerprint import duplicate_indices, exact_fingerprints
from aiida_pace.structures.guards import check_frames
from aiida_pace.structures.initial import generate_initial_set
from aiida_pace.structures.swarm import rattle_swarm

__all__ = (
    'account_labels',
    'collect_labels',
    'frame_key',
    'generate_initial',
    'make_candidate_pool',
    'split_structures',
    'summarise_walkers',
    'take_above_grade',
    'take_highest_grades',
)


def frame_key(index: int) -> str:
    """Return the link label of frame ``index``; it sorts like the index."""
    return f'frame_{index:05d}'


@calcfunction
def generate_initial(elements: orm.List, count: orm.Int, parameters: orm.Dict, seed: orm.Int) -> AtomsDatasetData:
    """Return the initial set: ``count`` frames of ``elements`` for the settings of ``InitialSetConfig``."""
    config = InitialSetConfig.model_validate(parameters.get_dict())
    return AtomsDatasetData(generate_initial_set(elements.get_list(), count.value, seed=seed.value, config=config))


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


@calcfunction
def summarise_walkers(failures: orm.Dict, **walkers: orm.Dict) -> orm.Dict:
    """Return one summary of the walkers of a round: which came to their end, halted or failed, and the highest grade.

    :param failures: cause of each walker that did not finish well, by its name.
    :param walkers: ``output_parameters`` of each walker that has some, by its name.
    """
    results = {key: node.get_dict() for key, node in sorted(walkers.items())}
    halted = [key for key, result in results.items() if result['halted']]
    failed = {key: cause for key, cause in failures.get_dict().items() if key not in halted}
    completed = [
        key
        for key, result in results.items()
        if key not in {*halted, *failed} and result['steps'] >= result['target_steps']
    ]
    return orm.Dict(
        {
            'completed': completed,
            'halted': halted,
            'failed': failed,
            'max_grade': max((result['max_grade'] for result in results.values()), default=None),
            'steps': sum(result['steps'] for result in results.values()),
        }
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
