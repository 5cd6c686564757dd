"""`pace-label`: energies, forces and stresses of frames by any ASE calculator, or by an ACE potential as teacher."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
import typing as t
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aiida_pace import __version__
from aiida_pace.engines.calculators import AceTeacher, CalculatorError, ImportedCalculator, Structure
from aiida_pace.engines.command import SettingsError, load_settings, run, whole_file
from aiida_pace.engines.worker import Worker, WorkerDiedError, WorkerTimeoutError
from aiida_pace.frames import Frames

__all__ = ('PROGRAM', 'Labels', 'label', 'main', 'smallest_supercell')

PROGRAM = 'pace-label'

#: Cause of a frame without a label that another run may label.
UNREACHED = 'not reached within the time limit of the job'

#: Cause of a structure that was being labelled at the time limit.
OVERDUE = 'not finished within the time limit of the job'


@dataclasses.dataclass
class Labels:
    """The labels of n frames with N atoms in all, in the order of the frames; 0 where a label is missing.

    :param arrays: ``sizes`` (n,) numbers of atoms; ``labelled`` (n,) whether there is a label; ``energy`` (n,) in eV;
        ``forces`` (N, 3) in eV/Å; ``stress`` (n, 6) in eV/Å³, order and sign of ASE, 0 for frames without periods;
        ``has_stress`` (n,), false where the calculator gives no stress; ``core_seconds`` and
        ``wall_seconds`` (n,).
    :param failures: cause of a missing label, by the index of the frame.
    :param account: name of the calculator, seconds to make it, and the result of the supercell test.
    """

    arrays: dict[str, npt.NDArray[t.Any]]
    failures: dict[int, str] = dataclasses.field(default_factory=dict)
    account: dict[str, t.Any] = dataclasses.field(default_factory=dict)


def label(
    frames: Frames,
    make: Callable[[], t.Any],
    max_seconds: float | None = None,
    progress: t.TextIO | None = None,
) -> Labels:
    """Return the labels of frames; a frame that fails, or ends the process of the calculator, does not affect others.

    :param make: returns the calculator; called in a separate process.
    :param max_seconds: time limit: afterwards no frame is started, and the running one is stopped.
    :param progress: stream for ten lines of progress.
    :raises CalculatorError: when the calculator cannot be made.
    """
    end = None if max_seconds is None else time.monotonic() + max_seconds
    count, atoms_count = len(frames), len(frames.numbers)
    labels = Labels(
        {
            'sizes': frames.sizes,
            'labelled': np.zeros(count, dtype=bool),
            'energy': np.zeros(count),
            'forces': np.zeros((atoms_count, 3)),
            'stress': np.zeros((count, 6)),
            'has_stress': np.zeros(count, dtype=bool),
            'core_seconds': np.zeros(count),
            'wall_seconds': np.zeros(count),
        }
    )
    with Worker(make, end) as worker:
        labels.account |= {'calculator': worker.description, 'load_seconds': worker.load_seconds}
        for index in range(count):
            _label_frame(labels, frames, index, worker)
            if progress is not None and (index + 1) * 10 // count > index * 10 // count:
                print(f'labelled {index + 1} of {count} frames', file=progress, flush=True)
        labels.account['supercell'] = _compare_supercell(labels, frames, worker)
    return labels


def _label_frame(labels: Labels, frames: Frames, index: int, worker: Worker) -> None:
    """Add the label of one frame, or the cause of its absence."""
    if worker.is_late:
        labels.failures[index] = UNREACHED
        return
    part = frames.atoms_slice(index)
    start = time.monotonic()
    try:
        answer = worker.compute(_structure(frames, index))
    except WorkerTimeoutError:
        labels.failures[index] = OVERDUE
    except WorkerDiedError as exception:
        labels.failures[index] = f'the calculator ended its process ({exception})'
    else:
        labels.arrays['core_seconds'][index] = answer.core_seconds
        if answer.error is not None:
            labels.failures[index] = answer.error
        else:
            labels.arrays['labelled'][index] = True
            labels.arrays['energy'][index] = answer.energy
            labels.arrays['forces'][part] = answer.forces
            labels.arrays['has_stress'][index] = answer.stress is not None
            if answer.stress is not None:
                labels.arrays['stress'][index] = answer.stress
    labels.arrays['wall_seconds'][index] = time.monotonic() - start


def _structure(frames: Frames, index: int) -> Structure:
    part = frames.atoms_slice(index)
    return Structure(frames.numbers[part], frames.positions[part], frames.cells[index], frames.pbc[index])


def smallest_supercell(frames: Frames, labelled: npt.NDArray[np.bool_]) -> tuple[int, Structure] | None:
    """Return the index of the periodic labelled frame of fewest atoms, and its doubled cell; None without such a frame.

    The cell is doubled along its shortest periodic vector.
    """
    wanted = np.flatnonzero(labelled & frames.pbc.any(axis=1))
    if not len(wanted):
        return None
    index = int(wanted[np.argmin(frames.sizes[wanted])])
    one = _structure(frames, index)
    lengths = np.where(one.pbc, np.linalg.norm(one.cell, axis=1), np.inf)
    axis = int(np.argmin(lengths))
    cell = one.cell.copy()
    cell[axis] *= 2
    positions = np.concatenate([one.positions, one.positions + one.cell[axis]])
    return index, Structure(np.tile(one.numbers, 2), positions, cell, one.pbc)


def _compare_supercell(labels: Labels, frames: Frames, worker: Worker) -> dict[str, t.Any]:
    """Return the difference of the energies per atom of a crystal in twice its cell and in its cell; it should be 0.

    :returns: ``frame``, the index of the crystal, and ``difference`` in eV/atom; or ``cause`` when it is not known.
    """
    chosen = smallest_supercell(frames, labels.arrays['labelled'])
    if chosen is None:
        return {'cause': 'no periodic frame has a label'}
    index, double = chosen
    if worker.is_late:
        return {'frame': index, 'cause': UNREACHED}
    try:
        answer = worker.compute(double)
    except WorkerTimeoutError:
        return {'frame': index, 'cause': OVERDUE}
    except WorkerDiedError as exception:
        return {'frame': index, 'cause': f'the calculator ended its process ({exception})'}
    if answer.error is not None:
        return {'frame': index, 'cause': answer.error}
    single = labels.arrays['energy'][index] / frames.sizes[index]
    return {'frame': index, 'difference': float(answer.energy / len(double.numbers) - single)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 only when the output files are complete."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument('frames', type=Path, help='archive of frames (.npz), as `aiida_pace.frames` writes it')
    teacher = parser.add_mutually_exclusive_group(required=True)
    teacher.add_argument('--settings', type=Path, help='JSON object: `calculator` as package.module:Name, `kwargs`')
    teacher.add_argument('--potential', type=Path, help='B-basis potential (.yaml) as teacher')
    parser.add_argument('--reference-energies', type=Path, help='JSON object: element -> energy of its atom, in eV')
    parser.add_argument('--max-seconds', type=float, help='time limit in s: afterwards no frame is started')
    parser.add_argument('--output', type=Path, default=Path('labels.npz'), help='file to write [%(default)s]')
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    arguments = parser.parse_args(argv)
    return run(PROGRAM, lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    """Write the account of the labels (``.json``), then the labels: where labels exist, the account does too."""
    start = time.monotonic()
    frames = Frames.load(arguments.frames)
    make: Callable[[], t.Any]
    if arguments.potential is not None:
        references = json.loads(arguments.reference_energies.read_text()) if arguments.reference_energies else {}
        make = AceTeacher(arguments.potential.read_bytes(), references)
    else:
        make = load_settings(arguments.settings, ImportedCalculator)
        if not isinstance(make.kwargs, dict):
            raise SettingsError(f'`{arguments.settings}`: `kwargs` must be an object')
    try:
        labels = label(frames, make, arguments.max_seconds, progress=sys.stderr)
    except CalculatorError as exception:
        raise SettingsError(str(exception)) from exception
    account = {
        **labels.account,
        'version': __version__,
        'count': len(frames),
        'labelled': int(labels.arrays['labelled'].sum()),
        'failures': {str(index): cause for index, cause in labels.failures.items()},
        'unreached': [index for index, cause in labels.failures.items() if cause == UNREACHED],
        'wall_time_seconds': time.monotonic() - start,
    }
    with whole_file(arguments.output.with_suffix('.json')) as handle:
        handle.write(json.dumps(account, allow_nan=False).encode())
    with whole_file(arguments.output) as handle:
        np.savez(handle, **t.cast(dict[str, t.Any], labels.arrays))


if __name__ == '__main__':
    raise SystemExit(main())
