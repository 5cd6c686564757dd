"""`pace-swarm`: candidates around each frame: random displacements, bursts of hot dynamics, normal modes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import typing as t
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_pace.engines.ace import AceCalculator, AceModel, EvaluationError
from aiida_pace.engines.command import argument_parser, at_least, load, load_settings, run, write_frames
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.structures.burst import burst_swarm
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.structures.shares import split_count
from aiida_pace.structures.swarm import (
    hessian_displacements,
    hessian_from_forces,
    mode_swarm,
    rattle_swarm,
)

__all__ = ('PROGRAM', 'Swarm', 'SwarmSettings', 'hessian', 'main', 'make_swarms', 'swarm_around')

PROGRAM = 'pace-swarm'

#: Displacement of the finite differences of the Hessian, in Å.
STEP = 0.01

#: How often random displacements are drawn for missing candidates.
ROUNDS = 3

#: Candidates of one kind, and the cause when there are fewer than wanted.
Made = tuple[Frames, str]


@dataclasses.dataclass(frozen=True)
class SwarmSettings:
    """The settings of `aiida_pace.config.SwarmConfig`, without pydantic, and the shortest distance."""

    count: int
    shares: Mapping[str, float]
    amplitude: float
    closest: float
    burst_temperature: float
    burst_steps: int
    burst_timestep: float
    mode_temperature: float
    max_mode_atoms: int


@dataclasses.dataclass(frozen=True, eq=False)
class Swarm:
    """The candidates around one frame.

    :param frames: the candidates; their origin is ``swarm/`` and the kind.
    :param replaced: by kind and cause, the number of candidates replaced by random displacements.
    :param missing: by cause, the number of candidates that could not be made.
    """

    frames: Frames
    replaced: dict[str, Counter[str]]
    missing: Counter[str]

    @property
    def made(self) -> Counter[str]:
        """Number of candidates by kind."""
        return Counter(origin.rpartition('/')[2] for origin in self.frames.origin.tolist())


def make_swarms(
    frames: Frames, model: AceModel, settings: SwarmSettings, seed: int, progress: t.TextIO | None = None
) -> tuple[Frames, dict[str, t.Any]]:
    """Return the candidates around all frames, without duplicates, and the account of them.

    :param progress: stream for one line per frame.
    """
    known = set(exact_fingerprints(frames))
    swarms = []
    for index in range(len(frames)):
        rng = np.random.default_rng([seed, index])
        swarm = swarm_around(frames.atoms(index), model, settings, rng, known)
        swarms.append(swarm)
        if progress is not None:
            made = ', '.join(f'{count} {kind}' for kind, count in swarm.made.items())
            print(f'frame {index + 1} of {len(frames)}: {made or "none"}', file=progress, flush=True)
    # `concatenate` keeps only the columns that all parts have, and an empty part has no grades.
    candidates = Frames.concatenate(swarm.frames for swarm in swarms if len(swarm.frames))
    return candidates, _account(frames, swarms)


def swarm_around(
    atoms: Atoms, model: AceModel, settings: SwarmSettings, rng: np.random.Generator, known: set[bytes]
) -> Swarm:
    """Return the candidates around one structure, with grades when there is an active set.

    Bursts and modes come first; random displacements replace those that cannot be made.

    :param known: digests of the frames that no candidate may repeat; those of the candidates are added.
    """
    wanted = split_count(settings.count, settings.shares)
    parts: list[Frames] = []
    replaced: dict[str, Counter[str]] = {}
    for kind, make in (('burst', _bursts), ('modes', _modes)):
        if count := wanted.get(kind, 0):
            part, lacking = _accepted(make(atoms, count, model, settings, rng), count, model, known)
            parts.append(part)
            if lacking:
                replaced[kind] = lacking
    missing: Counter[str] = Counter()
    for _ in range(ROUNDS):
        count = settings.count - sum(map(len, parts))
        if not count:
            break
        rattled = rattle_swarm(atoms, count, settings.amplitude, rng, closest=settings.closest)
        part, missing = _accepted((rattled, 'short_distance'), count, model, known)
        parts.append(part)
    return Swarm(Frames.concatenate(part for part in parts if len(part)), replaced, missing)


def hessian(atoms: Atoms, model: AceModel, step: float = STEP) -> FloatArray:
    """Return the (3 N, 3 N) Hessian under the potential in eV/Å².

    :raises EvaluationError: when the potential refuses a displaced structure.
    """
    images = hessian_displacements(atoms, step)
    pbc = np.asarray(atoms.pbc)
    forces = [
        model.compute(atoms.numbers, positions, atoms.cell.array, pbc, graded=False).forces
        for positions in images.positions.reshape(len(images), -1, 3)
    ]
    return hessian_from_forces(np.array(forces), step)


def _bursts(atoms: Atoms, count: int, model: AceModel, settings: SwarmSettings, rng: np.random.Generator) -> Made:
    """Return candidates from bursts."""
    bursts = burst_swarm(
        atoms,
        count,
        AceCalculator(model, graded=False),
        rng,
        temperature=settings.burst_temperature,
        steps=settings.burst_steps,
        timestep=settings.burst_timestep,
        closest=settings.closest,
    )
    cause = max(bursts.stopped, key=lambda name: bursts.stopped[name], default='too_few_steps')
    return bursts.frames, cause


def _modes(atoms: Atoms, count: int, model: AceModel, settings: SwarmSettings, rng: np.random.Generator) -> Made:
    """Return candidates along normal modes."""
    none = Frames.from_atoms([])
    if len(atoms) > settings.max_mode_atoms:
        return none, 'too_many_atoms'
    if len(atoms) == 1:
        return none, 'no_modes'
    try:
        found = hessian(atoms, model)
    except EvaluationError:
        return none, 'not_finite'
    swarm = mode_swarm(atoms, count, found, settings.mode_temperature, rng, closest=settings.closest)
    return swarm, 'short_distance'


def _accepted(made: Made, count: int, model: AceModel, known: set[bytes]) -> tuple[Frames, Counter[str]]:
    """Return the new and finite candidates, with grades if any, and the number of missing ones by cause."""
    frames, cause = made
    lacking = Counter({cause: count - len(frames)})
    kept, grades = [], []
    for index, digest in enumerate(exact_fingerprints(frames)):
        part = frames.atoms_slice(index)
        if digest in known:
            lacking['duplicate'] += 1
            continue
        try:
            found = model.compute(frames.numbers[part], frames.positions[part], frames.cells[index], frames.pbc[index])
        except EvaluationError:
            lacking['not_finite'] += 1
            continue
        known.add(digest)
        kept.append(index)
        grades.append(found.grade)
    frames = frames.take(kept)
    if kept and model.has_active_set:
        frames = frames.replace(grade=np.concatenate(t.cast(list[FloatArray], grades)))
    return frames, +lacking


def _account(frames: Frames, swarms: Sequence[Swarm]) -> dict[str, t.Any]:
    """Return the numbers of candidates, in all and by frame."""
    replaced: dict[str, Counter[str]] = {}
    for swarm in swarms:
        for kind, causes in swarm.replaced.items():
            replaced.setdefault(kind, Counter()).update(causes)
    sizes = [len(swarm.frames) for swarm in swarms]
    return {
        'count': sum(sizes),
        'made': sum((swarm.made for swarm in swarms), Counter()),
        'replaced': replaced,
        'missing': sum((swarm.missing for swarm in swarms), Counter()),
        'parents': np.repeat(np.arange(len(swarms)), sizes).tolist(),
        'frames': [
            {'atoms': int(size), 'made': swarm.made, 'replaced': swarm.replaced, 'missing': swarm.missing}
            for size, swarm in zip(frames.sizes, swarms, strict=True)
        ],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 only when the output is complete."""
    parser = argument_parser(PROGRAM, __doc__, output='swarm.npz')
    parser.add_argument(
        '--settings', type=Path, required=True, help='JSON object: all settings of `SwarmConfig`, and `closest`'
    )
    parser.add_argument('--seed', type=at_least(0), required=True, help='random seed, 0 or more')
    arguments = parser.parse_args(argv)
    return run(PROGRAM, lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    """Write the account, then the candidates."""
    start = time.perf_counter()
    frames, model = load(arguments)
    settings = load_settings(arguments.settings, SwarmSettings)
    candidates, account = make_swarms(frames, model, settings, arguments.seed, progress=sys.stderr)
    write_frames(arguments.output, candidates, {**account, 'wall_time_seconds': time.perf_counter() - start})


if __name__ == '__main__':
    raise SystemExit(main())
