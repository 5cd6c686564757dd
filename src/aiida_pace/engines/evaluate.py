"""`pace-evaluate`: energies, forces, stresses, grades and error bars of frames under an ACE potential, by pyace."""

from __future__ import annotations

import argparse
import json
import sys
import time
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aiida_pace.engines.ace import AceModel, EvaluationError, reference_table
from aiida_pace.engines.command import argument_parser, load, run, whole_file
from aiida_pace.engines.uncertainty import UncertainModel
from aiida_pace.frames import Frames

__all__ = ('PROGRAM', 'evaluate', 'main')

PROGRAM = 'pace-evaluate'


def evaluate(
    frames: Frames,
    model: AceModel,
    reference_energies: Mapping[str, float] | None = None,
    progress: t.TextIO | None = None,
    uncertain: UncertainModel | None = None,
) -> dict[str, npt.NDArray[t.Any]]:
    """Return the arrays of an evaluation, in the order of the frames and their atoms.

    ``energy`` (n,) in eV, reference energies included; ``forces`` (N, 3) in eV/Å; ``stress`` (n, 6) in eV/Å³, 0 for
    frames without periods or without a volume; with an active set ``grade`` (N,); with a posterior ``leverage`` (N,),
    ``force_sigma`` (N,) in eV/Å and ``energy_sigma`` (n,) in eV, of `Uncertainty`.

    :param reference_energies: energy of the isolated atom of every element of the potential, in eV; 0 when not given.
    :param progress: stream for ten lines of progress.
    :param uncertain: the same potential with its posterior, for the standard deviations.
    :raises EvaluationError: naming the frame that cannot be evaluated.
    """
    count, atoms_count = len(frames), len(frames.numbers)
    references = reference_table(reference_energies or {}, model.elements)
    arrays: dict[str, npt.NDArray[t.Any]] = {
        'energy': np.zeros(count),
        'forces': np.zeros((atoms_count, 3)),
        'stress': np.zeros((count, 6)),
    }
    if model.has_active_set:
        arrays['grade'] = np.zeros(atoms_count)
    if uncertain is not None:
        arrays |= {'leverage': np.zeros(atoms_count), 'force_sigma': np.zeros(atoms_count)}
        arrays['energy_sigma'] = np.zeros(count)
    uncertainties = iter(()) if uncertain is None else uncertain.uncertainties(frames)
    for index in range(count):
        part = frames.atoms_slice(index)
        try:
            found = model.compute(frames.numbers[part], frames.positions[part], frames.cells[index], frames.pbc[index])
        except EvaluationError as exception:
            raise EvaluationError(f'frame {index}: {exception}') from exception
        arrays['energy'][index] = found.energy + references[frames.numbers[part]].sum()
        arrays['forces'][part] = found.forces
        if found.stress is not None:
            arrays['stress'][index] = found.stress
        if found.grade is not None:
            arrays['grade'][part] = found.grade
        if (uncertainty := next(uncertainties, None)) is not None:
            arrays['leverage'][part] = uncertainty.leverage
            arrays['force_sigma'][part] = uncertainty.force_sigma
            arrays['energy_sigma'][index] = uncertainty.energy_sigma
        if progress is not None and (index + 1) * 10 // count > index * 10 // count:
            print(f'evaluated {index + 1} of {count} frames', file=progress, flush=True)
    return arrays


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 only when the output file is complete."""
    parser = argument_parser(PROGRAM, __doc__, output='evaluation.npz')
    parser.add_argument('--reference-energies', type=Path, help='JSON object: element -> energy of its atom, in eV')
    parser.add_argument(
        '--posterior', type=Path, help='posterior (.npz) of the potential; needed for leverages and standard deviations'
    )
    arguments = parser.parse_args(argv)
    return run(PROGRAM, lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    """Write the arrays of the evaluation and its wall time."""
    start = time.perf_counter()
    frames, model = load(arguments)
    references = json.loads(arguments.reference_energies.read_text()) if arguments.reference_energies else {}
    uncertain = UncertainModel(arguments.potential, arguments.posterior) if arguments.posterior else None
    arrays = evaluate(frames, model, references, sys.stderr, uncertain)
    with whole_file(arguments.output) as handle:
        np.savez(handle, **t.cast(dict[str, t.Any], arrays), wall_time_seconds=time.perf_counter() - start)


if __name__ == '__main__':
    raise SystemExit(main())
