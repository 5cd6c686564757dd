"""Calcfunctions from halted frames to candidates."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.config import GuardConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.engines.ace import reference_table
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.structures.fingerprint import duplicate_indices, exact_fingerprints
from aiida_pace.structures.guards import check_energies, check_frames, guard_walkers
from aiida_pace.structures.strategies import above_threshold, choose

__all__ = (
    'choose_candidates',
    'collect_candidates',
    'guard_candidates',
    'halting_indices',
    'take_large_frames',
)

#: Last part of the origins of frames that molecular dynamics visited; an embedded one has a part before it.
HALT, SAMPLE = 'halt', 'sample'
VISITED = (HALT, SAMPLE, 'extrapolative')

#: Name of the data set of boxes among those that swarms are made around; the others have this before their walker.
EMBEDDED, WALKER = 'embedded', 'walker_'


@calcfunction
def take_large_frames(
    closest: orm.Float, max_dft_atoms: orm.Int, max_per_halt: orm.Int, **frames: AtomsDatasetData
) -> dict[str, t.Any]:
    """Return the large frames that are worth an embedding, each once: there must be some.

    Of every walker these are the halting one, ``max_per_halt`` others of highest grade, and the last sample without a
    short distance.

    :param closest: distances below this times the sum of the covalent radii are too short.
    :param max_dft_atoms: frames with more atoms are large.
    :param frames: of each walker ``extrapolative__<walker>`` and, where it has any, ``samples__<walker>``.
    :returns: ``dataset``, and ``walkers``, the list of the walkers of its frames.
    """
    parts, walkers = [], []
    for key, node in sorted(frames.items()):
        kind, _, walker = key.partition('__')
        found = node.frames.take(np.flatnonzero(node.frames.sizes > max_dft_atoms.value))
        is_kept = found.origin == HALT
        others = np.flatnonzero(~is_kept)
        if kind == 'samples':
            is_kept[others[check_frames(found.take(others), closest=closest.value).mask][-1:]] = True
        elif found.grade is None or not len(found):
            is_kept[others[-max_per_halt.value :]] = True
        else:
            is_kept[others[np.argsort(-found.max_grade()[others], kind='stable')][: max_per_halt.value]] = True
        parts.append(found.take(np.flatnonzero(is_kept)))
        walkers += [walker] * len(parts[-1])
    large, owners = _distinct(Frames.concatenate(part for part in parts if len(part)), walkers)
    return {'dataset': AtomsDatasetData(large), 'walkers': orm.List(owners.tolist())}


def _distinct(frames: Frames, walkers: list[str]) -> tuple[Frames, npt.NDArray[np.str_]]:
    """Return the frames without those that repeat an earlier one, and the walkers of what is left."""
    kept = np.setdiff1d(np.arange(len(frames)), duplicate_indices(frames))
    return frames.take(kept), np.array(walkers, dtype='U')[kept]


def halting_indices(
    extrapolative: Mapping[str, AtomsDatasetData], embedded: AtomsDatasetData | None, max_dft_atoms: int
) -> tuple[dict[str, AtomsDatasetData], dict[str, list[int]]]:
    """Return the data sets that hold halting frames fit for DFT and, by the same names, the indices of these frames.

    :param extrapolative: by walker.
    :param embedded: boxes of large frames.
    """
    datasets = {f'{WALKER}{name}': node for name, node in sorted(extrapolative.items())}
    if embedded is not None:
        datasets = {EMBEDDED: embedded, **datasets}
    seen: set[bytes] = set()
    indices: dict[str, list[int]] = {}
    for name, node in datasets.items():
        frames, digests = node.frames, exact_fingerprints(node.frames)
        is_halt = (kinds_of(frames) == HALT) & (frames.sizes <= max_dft_atoms)
        fresh = [index for index in np.flatnonzero(is_halt).tolist() if digests[index] not in seen]
        seen.update(digests[index] for index in fresh)
        if fresh:
            indices[name] = fresh
    return {name: datasets[name] for name in indices}, indices


def kinds_of(frames: Frames) -> npt.NDArray[np.str_]:
    """Return (n,) the last part of each frame's origin."""
    return np.array([origin.rpartition('/')[2] for origin in frames.origin.tolist()], dtype='U')


@calcfunction
def guard_candidates(
    parameters: orm.Dict,
    closest: orm.Float,
    max_dft_atoms: orm.Int,
    *,
    walkers: orm.List | None = None,
    embedding: orm.Dict | None = None,
    halts: orm.Dict | None = None,
    swarming: orm.Dict | None = None,
    **frames: AtomsDatasetData,
) -> dict[str, t.Any]:
    """Return the candidates that are fit for DFT and new, and the account of what became of the others.

    :param parameters: settings of ``GuardConfig``.
    :param closest: distances below this times the sum of the covalent radii are too short.
    :param max_dft_atoms: frames of the walkers with more atoms are no candidates: their boxes are.
    :param walkers: of the ``large`` frames.
    :param embedding: ``output_parameters`` of the embedding; its ``parents`` are indices in ``large``.
    :param halts: the frames that swarms were made around: indices, as `halting_indices` returned them.
    :param swarming: ``output_parameters`` of the swarm; its ``parents`` count the frames of ``halts``.
    :param frames: of each walker ``extrapolative__<walker>`` and, where it has any, ``samples__<walker>``; ``large``
        frames and what was ``embedded`` of them, and the ``swarm``, where there are any; ``known__<name>`` and
        ``drawn``: frames that are labelled already, or anyway.
    :returns: ``pool``, absent when nothing is left; ``walkers``, the list of the walkers of its frames; ``account``.
    """
    config = GuardConfig.model_validate(parameters.get_dict())
    parts, owners = [], []
    if embedding is not None and walkers is not None and 'embedded' in frames:
        parts.append(frames['embedded'].frames)
        owners.append(np.array(walkers.get_list(), dtype='U')[embedding['parents']])
    small, small_owners = _small_frames(frames, max_dft_atoms.value)
    parts.append(small)
    owners.append(small_owners)
    if halts is not None and swarming is not None and 'swarm' in frames:
        parts.append(frames['swarm'].frames)
        owners.append(_halting_owners(halts.get_dict(), owners[0])[swarming['parents']])
    pool = Frames.concatenate(part.replace(grade=None) for part in parts)
    owner = np.concatenate(owners)
    known = [node.frames for key, node in frames.items() if key.startswith('known__') or key == 'drawn']
    report = guard_walkers(
        pool,
        owner,
        kinds_of(pool) == SAMPLE,
        closest=closest.value,
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


def _small_frames(frames: Mapping[str, AtomsDatasetData], max_dft_atoms: int) -> tuple[Frames, npt.NDArray[np.str_]]:
    """Return the frames of all walkers that go to DFT whole, each once, and their walkers."""
    parts, walkers = [], []
    for key, node in sorted(frames.items()):
        kind, _, walker = key.partition('__')
        if kind in ('extrapolative', 'samples'):
            parts.append(node.frames.take(np.flatnonzero(node.frames.sizes <= max_dft_atoms)))
            walkers += [walker] * len(parts[-1])
    return _distinct(Frames.concatenate(parts), walkers)


def _halting_owners(halts: Mapping[str, list[int]], of_boxes: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Return the walkers of the halting frames, in the order of the names of their data sets."""
    owners: list[str] = []
    for name, indices in sorted(halts.items()):
        owners += of_boxes[indices].tolist() if name == EMBEDDED else [name.removeprefix(WALKER)] * len(indices)
    return np.array(owners, dtype='U')


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
    """Return the candidates of acceptable energy that the strategy takes, as ``indices`` in the pool, and the account.

    :param pool: with its ``walkers`` and ``evaluation`` by the ``potential``.
    :param guards: settings of ``GuardConfig``.
    :param strategy: one of `Strategy`; for ``d_optimal`` all above the threshold are returned, to choose from.
    """
    config = GuardConfig.model_validate(guards.get_dict())
    frames = _graded(pool, evaluation)
    report = check_energies(
        frames,
        evaluation.get_array('energy') - _energies_of_atoms(frames, potential),
        np.array(walkers.get_list(), dtype='U'),
        np.isin(kinds_of(frames), VISITED),
        window=config.energy_window,
        max_grade=config.max_grade,
    )
    passed = np.flatnonzero(report.mask)
    grades = frames.max_grade()[passed]
    chosen = choose(strategy.value, grades, grade_threshold.value, max_frames.value, seed.value)
    low = len(passed) - len(above_threshold(strategy.value, grades, grade_threshold.value))
    account = orm.Dict({'rejected': report.rejected, 'below_threshold': low})
    return {'indices': orm.List(passed[chosen].tolist()), 'account': account}


def _graded(pool: AtomsDatasetData, evaluation: orm.ArrayData) -> Frames:
    """Return the frames of the pool with their grades.

    Atoms of force weight 0 have the grade 0: they belong to the buffer of an embedding, of which nothing is learnt.
    """
    frames = pool.frames
    return frames.replace(grade=np.where(frames.force_weight > 0, evaluation.get_array('grade'), 0.0))


def _energies_of_atoms(frames: Frames, potential: AcePotentialData) -> FloatArray:
    """Return (n,) the energy in eV that the isolated atoms of each frame have together."""
    table = reference_table(potential.reference_energies or {}, potential.elements)
    return np.asarray(np.add.reduceat(table[frames.numbers], frames.offsets[:-1]))


@calcfunction
def collect_candidates(
    pool: AtomsDatasetData,
    evaluation: orm.ArrayData,
    *,
    guarded: orm.Dict,
    chosen: orm.List,
    choice: orm.Dict,
    max_frames: orm.Int,
    failed: orm.Dict,
    selection: orm.Dict | None = None,
    boxes: orm.Dict | None = None,
    drawn: AtomsDatasetData | None = None,
) -> dict[str, t.Any]:
    """Return the candidates that are kept, and what became of all: those made are rejected, not chosen or kept.

    :param guarded: account of `guard_candidates`.
    :param chosen: indices that `choose_candidates` returned, and ``choice``, its account.
    :param failed: by step, why it failed where the others went on without it.
    :param selection: ``output_parameters`` of MaxVol; when none of the chosen enters the active set, those of highest
        grade are kept.
    :param boxes: ``output_parameters`` of the embedding.
    :param drawn: frames that are to be labelled as well, and follow the candidates.
    :returns: ``dataset``, with grades unless there are ``drawn`` frames, and ``output_parameters``.
    """
    frames = _graded(pool, evaluation)
    indices = np.array(chosen.get_list(), dtype='i8')
    if selection is not None and selection['indices']:
        indices = np.array(selection['indices'], dtype='i8')
    elif selection is not None:
        indices = indices[np.argsort(-frames.max_grade()[indices], kind='stable')][: max_frames.value]
    candidates = frames.take(indices)
    rejected = Counter(guarded['rejected']) + Counter(choice['rejected'])
    surplus = guarded['candidates'] - rejected.total() - choice['below_threshold'] - len(candidates)
    account = {
        'rejected': dict(rejected),
        'not_chosen': {'below_threshold': choice['below_threshold'], 'surplus': surplus},
        'kept': dict(Counter(candidates.origin.tolist())),
        'embedded': [] if boxes is None else boxes['frames'],
        'failed': failed.get_dict(),
    }
    together = candidates if drawn is None else Frames.concatenate([candidates, drawn.frames])
    return {'dataset': AtomsDatasetData(together), 'output_parameters': orm.Dict(guarded.get_dict() | account)}
