"""`pace-evaluate`: energies, forces, stresses and extrapolation grades of frames under an ACE potential, by pyace."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aiida_pace import __version__
from aiida_pace.engines.ace import AceModel, EvaluationError, reference_table
from aiida_pace.frames import Frames, FramesError

__all__ = ('ERROR_PREFIX', 'evaluate', 'main')

#: What the last line on stderr starts with when the engine refuses or fails; the parser looks for it.
ERROR_PREFIX = 'pace-evaluate: error: '


def evaluate(
    frames: Frames,
    model: AceModel,
    reference_energies: Mapping[str, float] | None = None,
    progress: t.TextIO | None = None,
) -> dict[str, npt.NDArray[t.Any]]:
    """Return the arrays of an evaluation, in the order of the frames and their atoms.

    ``energy`` (n,) in eV, reference energies included; ``forces`` (N, 3) in eV/Å; ``stress`` (n, 6) in eV/Å³, 0 for
    frames without periods or without a volume; with an active set ``grade`` (N,).

    :param reference_energies: energy of the isolated atom of every element of the potential, in eV; none means 0.
    :param progress: where to tell, ten times in all, how far it is.
    :raises EvaluationError: naming the frame that cannot be evaluated.
    """
    unknown = [element for element in frames.elements if element not in model.elements]
    if unknown:
        raise EvaluationError(f'the frames hold {", ".join(unknown)}, the potential is for {", ".join(model.elements)}')
    count, atoms_count = len(frames), len(frames.numbers)
    references = reference_table(reference_energies or {}, model.elements)
    arrays: dict[str, npt.NDArray[t.Any]] = {
        'energy': np.zeros(count),
        'forces': np.zeros((atoms_count, 3)),
        'stress': np.zeros((count, 6)),
    }
    if model.has_active_set:
        arrays['grade'] = np.zeros(atoms_count)
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
        if progress is not None and (index + 1) * 10 // count > index * 10 // count:
            print(f'evaluated {index + 1} of {count} frames', file=progress, flush=True)
    return arrays


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 only when the output file is complete."""
    parser = argparse.ArgumentParser(prog='pace-evaluate', description=__doc__)
    parser.add_argument('frames', type=Path, help='archive of frames (.npz), as `aiida_pace.frames` writes it')
    parser.add_argument('potential', type=Path, help='B-basis potential (.yaml)')
    parser.add_argument('--active-set', type=Path, help='active set (.asi) of the potential; asks for the grades')
    parser.add_argument('--reference-energies', type=Path, help='JSON object: element -> energy of its atom, in eV')
    parser.add_argument('--output', type=Path, default=Path('evaluation.npz'), help='file to write [%(default)s]')
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    arguments = parser.parse_args(argv)
    start = time.perf_counter()
    try:
        frames = Frames.load(arguments.frames)
        asi = arguments.active_set.read_bytes() if arguments.active_set else None
        model = AceModel(arguments.potential.read_bytes(), asi)
        references = json.loads(arguments.reference_energies.read_text()) if arguments.reference_energies else {}
        arrays = evaluate(frames, model, references, progress=sys.stderr)
        _write(arguments.output, {**arrays, 'wall_time_seconds': np.float64(time.perf_counter() - start)})
    except (EvaluationError, FramesError, ImportError, OSError, json.JSONDecodeError) as exception:
        print(f'{ERROR_PREFIX}{" ".join(str(exception).split())}', file=sys.stderr)
        return 1
    return 0


def _write(path: Path, arrays: Mapping[str, npt.NDArray[t.Any] | np.float64]) -> None:
    """Write an npz archive: either the whole file is there, or none."""
    unfinished = path.with_name(f'{path.name}.unfinished')
    with unfinished.open('wb') as handle:
        np.savez(handle, **t.cast(dict[str, t.Any], arrays))
    os.replace(unfinished, path)


if __name__ == '__main__':
    raise SystemExit(main())
