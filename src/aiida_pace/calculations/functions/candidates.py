"""Calcfunctions from halted frames to candidates."""

from __future__ import annotations

import typing as t
from collections import Counter

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.config import GuardConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.engines.ace import reference_table
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.structures.fingerprint import duplicate_indices
from aiida_pace.structures.guards import check_energies, check_frames, guard_walkers
from aiida_pace.structures.strategies import above_threshold, choose

__all__ = (
    'HALT',
    'choose_candidates',
    'gather_frames',
    'guard_candidates',
    'kinds_of',
    'sum_up',
    'take_halts',
    'take_highest_grades',
)

#: Last part of the origins of frames that molecular dynamics visited; an embedded one has a part before it.
HALT, SAMPLE = 'halt', 'sample'
VISITED = (HALT, SAMPLE, 'extrapolative')


@calcfunction
def gather_frames(
    parameters: orm.Dict, max_dft_atoms: orm.Int, max_per_halt: orm.Int, **frames: AtomsDatasetData
) -> dict[str, t.Any]:
    """Return the frames to consider, each once: of every walker the extrapolative ones, and samples to fall back on.

    Of a walker's ``large`` frames, which cost an embedding each, these are the halting one, ``max_per_halt`` others of
    highest grade, and the last sample without a short distance.

    :param parameters: settings of ``GuardConfig``.
    :param max_dft_atoms: frames with more atoms are large.
    :param frames: of each walker ``extrapolative__<walker>`` and, where it has any, ``samples__<walker>``.
    :returns: ``small`` and ``large`` frames, either absent when there are none; ``walkers``, a dictionary with the name
        of the walker of each frame of both.
    """
    closest = GuardConfig.model_validate(parameters.get_dict()).closest
    parts, walkers = [], []
    for key, node in sorted(frames.items()):
        kind, _, walker = key.partition('__')
        found = node.frames
        is_kept = (found.sizes <= max_dft_atoms.value) | (found.origin == HALT)
        large = np.flatnonzero(~is_kept)
        if kind == 'samples':
            is_kept[large[check_frames(found.take(large), closest=closest).mask][-1:]] = True
        elif found.grade is None:
            is_kept[large[-max_per_halt.value :]] = True
        else:
            is_kept[large[np.argsort(-found.max_grade()[large], kind='stable')][: max_per_halt.value]] = True
        parts.append(found.take(np.flatnonzero(is_kept)))
        walkers += [walker] * len(parts[-1])
    gathered = Frames.concatenate(parts)
    is_new = ~np.isin(np.arange(len(gathered)), duplicate_indices(gathered))
    is_large = gathered.sizes > max_dft_atoms.value
    sets = {'small': np.flatnonzero(is_new & ~is_large), 'large': np.flatnonzero(is_new & is_large)}
    datasets = {name: AtomsDatasetData(gathered.take(indices)) for name, indices in sets.items() if len(indices)}
    names = {name: [walkers[index] for index in indices] for name, indices in sets.items()}
    return {**datasets, 'walkers': orm.Dict(names)}


@calcfunction
def take_halts(**frames: AtomsDatasetData) -> AtomsDatasetData:
    """Return the halting frames of data sets that hold at least one, in the order of the names of the sets."""
    together = Frames.concatenate(frames[name].frames for name in sorted(frames))
    return AtomsDatasetData(together.take(np.flatnonzero(kinds_of(together) == HALT)))


def kinds_of(frames: Frames) -> npt.NDArray[np.str_]:
    """Return (n,) the last part of each frame's origin."""
    return np.array([origin.rpartition('/')[2] for origin in frames.origin.tolist()], dtype='U')


@calcfunction
def guard_candidates(
    parameters: orm.Dict,
    walkers: orm.Dict,
    *,
    embedding: orm.Dict | None = None,
    swarming: orm.Dict | None = None,
    **frames: AtomsDatasetData,
) -> dict[str, t.Any]:
    """Return the candidates that are fit for DFT and new, and the account of what became of the others.

    :param parameters: settings of ``GuardConfig``.
    :param walkers: what `gather_frames` returned.
    :param embedding: ``output_parameters`` of the embedding; its ``parents`` are indices in ``large``.
    :param swarming: the same of the swarm; its ``parents`` are indices in the result of `take_halts`.
    :param frames: ``small`` and ``large`` as gathered, ``embedded`` in place of the large ones, ``swarm``; each may be
        missing. ``known__<name>``: frames that are labelled already.
    :returns: ``pool``, absent when nothing is left; ``walkers``, the list of the walkers of its frames; ``account``.
    """
    config = GuardConfig.model_validate(parameters.get_dict())
    owners = {'small': np.array(walkers['small'], dtype='U'), 'large': np.array(walkers['large'], dtype='U')}
    if embedding is not None:
        owners['embedded'] = owners['large'][embedding['parents']]
    names = [name for name in ('embedded', 'small') if name in frames]
    if swarming is not None and 'swarm' in frames:
        halts = np.concatenate([owners[name][kinds_of(frames[name].frames) == HALT] for name in names])
        owners['swarm'] = halts[swarming['parents']]
        names.append('swarm')
    pool = Frames.concatenate(frames[name].frames.replace(grade=None) for name in names)
    owner = np.concatenate([np.empty(0, dtype='U'), *(owners[name] for name in names)])
    known = [node.frames for key, node in frames.items() if key.startswith('known__')]
    report = guard_walkers(
        pool,
        owner,
        kinds_of(pool) == SAMPLE,
        closest=config.closest,
        tolerance=config.distinct,
        known=Frames.concatenate(known) if known else None,
    )
    kept = np.flatnonzero(report.mask)
    made = Counter(pool.origin[report.causes != 'spare'].tolist())
    rejected = Counter(report.rejected)
    del rejected['spare']
    if 'large' in frames:
        lost = _not_embedded(frames['large'].frames, [] if embedding is None else embedding['parents'])
        made += lost
        rejected['not_embedded'] = lost.total()
    account = {'candidates': made.total(), 'made': dict(made), 'rejected': dict(+rejected)}
    results = {'walkers': orm.List(owner[kept].tolist()), 'account': orm.Dict(account)}
    return results | ({'pool': AtomsDatasetData(pool.take(kept))} if len(kept) else {})


def _not_embedded(large: Frames, parents: list[int]) -> Counter[str]:
    """Return by origin the number of large frames that have no box; samples are no candidates."""
    is_lost = ~np.isin(np.arange(len(large)), parents) & (large.origin != SAMPLE)
    return Counter(large.origin[is_lost].tolist())


@calcfunction
def choose_candidates(
    pool: AtomsDatasetData,
    *,
    walkers: orm.List,
    potential: AcePotentialData,
    evaluation: orm.ArrayData,
    guards: orm.Dict,
    strategy: orm.Str,
    grade_threshold: orm.Float,
    max_frames: orm.Int,
    seed: orm.Int,
) -> dict[str, t.Any]:
    """Return the candidates of acceptable energy that the strategy takes, with their grades, and the account.

    Atoms of force weight 0 have the grade 0: they belong to the buffer of an embedding, of which nothing is learnt.

    :param pool: with its ``walkers`` and ``evaluation`` by the ``potential``.
    :param guards: settings of ``GuardConfig``.
    :param strategy: one of `Strategy`; for ``d_optimal`` all above the threshold are returned, to choose from.
    """
    config = GuardConfig.model_validate(guards.get_dict())
    frames = pool.frames
    frames = frames.replace(grade=np.where(frames.force_weight > 0, evaluation.get_array('grade'), 0.0))
    report = check_energies(
        frames,
        evaluation.get_array('energy') - _energies_of_atoms(frames, potential),
        np.array(walkers.get_list(), dtype='U'),
        np.isin(kinds_of(frames), VISITED),
        window=config.energy_window,
        max_grade=config.max_grade,
    )
    frames = frames.take(np.flatnonzero(report.mask))
    chosen = choose(strategy.value, frames.max_grade(), grade_threshold.value, max_frames.value, seed.value)
    low = len(frames) - len(above_threshold(strategy.value, frames.max_grade(), grade_threshold.value))
    account = orm.Dict({'rejected': report.rejected, 'below_threshold': low})
    return {'chosen': AtomsDatasetData(frames.take(chosen)), 'account': account}


def _energies_of_atoms(frames: Frames, potential: AcePotentialData) -> FloatArray:
    """Return (n,) the energy in eV that the isolated atoms of each frame have together."""
    table = reference_table(potential.reference_energies or {}, potential.elements)
    return np.asarray(np.add.reduceat(table[frames.numbers], frames.offsets[:-1]))


@calcfunction
def take_highest_grades(dataset: AtomsDatasetData, count: orm.Int) -> AtomsDatasetData:
    """Return the ``count`` frames of ``dataset`` with the highest extrapolation grade, the highest first."""
    order = np.argsort(-dataset.frames.max_grade(), kind='stable')
    return AtomsDatasetData(dataset.frames.take(order[: count.value]))


@calcfunction
def sum_up(
    guarded: orm.Dict, chosen: orm.Dict, dataset: AtomsDatasetData, failed: orm.Dict, boxes: orm.Dict | None = None
) -> orm.Dict:
    """Return what became of all candidates: those made are those rejected, not chosen and kept.

    :param guarded: account of `guard_candidates`.
    :param chosen: account of `choose_candidates`.
    :param dataset: the candidates that are kept.
    :param failed: by step, why it failed where the others went on without it.
    :param boxes: ``output_parameters`` of the embedding.
    """
    rejected = Counter(guarded['rejected']) + Counter(chosen['rejected'])
    kept = Counter(dataset.frames.origin.tolist())
    surplus = guarded['candidates'] - rejected.total() - chosen['below_threshold'] - kept.total()
    account = {
        'rejected': dict(rejected),
        'not_chosen': {'below_threshold': chosen['below_threshold'], 'surplus': surplus},
        'kept': dict(kept),
        'embedded': [] if boxes is None else boxes['frames'],
        'failed': failed.get_dict(),
    }
    return orm.Dict(guarded.get_dict() | account)
