"""`pace-select`: the frames whose learned atoms extend an active set most, by MaxVol, with pyace."""

from __future__ import annotations

import argparse
import json
import sys
import time
import typing as t
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from aiida_pace.engines.ace import AceModel, EvaluationError
from aiida_pace.engines.command import argument_parser, at_least, load, run, whole_file
from aiida_pace.formats.text import counted
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.training.training_set import learned_atoms

__all__ = ('PROGRAM', 'main', 'select')

PROGRAM = 'pace-select'

#: Defaults of python-ace's ``pace_select``: least gain of volume by a swap of rows, and largest number of swaps.
TOLERANCE, MAX_SWAPS = 1.01, 300

IntArray = npt.NDArray[np.int64]


def select(
    frames: Frames,
    model: AceModel,
    max_frames: int,
    active_set: Mapping[str, FloatArray] | None = None,
    *,
    candidates: Collection[int] | None = None,
    progress: t.TextIO | None = None,
) -> tuple[IntArray, IntArray]:
    """Return the indices (k,) of the selected frames, the best one first, and the number (k,) of atoms that each adds.

    MaxVol picks, of each element, the atoms of largest volume among those of the frames and of the active set
    (Lysogorskiy et al., Phys. Rev. Materials 7, 043801, 2023); the frames with most picked atoms are selected. Unlike
    in ``pace_select``, only atoms that a fit learns from take part, not the buffers of boxes: no other atoms can enter
    the active set of the next fit.

    :param max_frames: largest number of frames to select; fewer are selected when fewer add atoms.
    :param active_set: inverted active set, a matrix by element; None for an empty active set.
    :param candidates: indices of the frames that may be selected; None for all frames.
    :param progress: stream for ten lines of progress.
    :raises EvaluationError: naming the frame that cannot be evaluated, or the element of which there are too few atoms.
    """
    from pyace.activelearning import compute_A_active_inverse, compute_active_set

    considered = np.arange(len(frames)) if candidates is None else np.unique(np.array(list(candidates), dtype='i8'))
    rows, owners = _projections(frames, considered, model, progress)
    species = dict(model.basis.elements_to_index_map)
    known = None
    if active_set is not None:
        known = compute_A_active_inverse({species[element]: matrix for element, matrix in active_set.items()})
    else:
        for element, index in species.items():
            if (count := len(rows[index])) < (functions := rows[index].shape[1]):
                raise EvaluationError(
                    f'the frames hold {counted(count, "atom")} of {element} that a fit learns from, the potential has '
                    f'{counted(functions, "function")} for {element}: add frames, or give an active set'
                )
    try:
        _, entered = compute_active_set(
            rows, owners, tol=TOLERANCE, max_iters=MAX_SWAPS, extra_A0_projections_dict=known
        )
    except (ValueError, np.linalg.LinAlgError) as exception:
        raise EvaluationError(f'MaxVol refuses the frames: {exception}') from exception
    counts = Counter(int(index) for species_rows in entered.values() for index in species_rows if index >= 0)
    ranked = counts.most_common(max_frames)
    return (
        np.array([index for index, _ in ranked], dtype=np.int64),
        np.array([count for _, count in ranked], dtype=np.int64),
    )


def _projections(
    frames: Frames, considered: IntArray, model: AceModel, progress: t.TextIO | None
) -> tuple[dict[int, FloatArray], dict[int, IntArray]]:
    """Return, by pyace's index of an element, the basis functions of its learned atoms, and the frames of these atoms.

    Only the frames ``considered`` (in rising order) take part. The functions are (atoms, functions), the frames
    (atoms,), in the order of the frames and their atoms.
    """
    from pyace.activelearning import compute_number_of_functions

    frame_of = np.repeat(np.arange(len(frames)), frames.sizes)
    is_learned = learned_atoms(frames) & np.isin(frame_of, considered)
    species = np.full(len(chemical_symbols), -1)
    for element, index in model.basis.elements_to_index_map.items():
        species[chemical_symbols.index(element)] = index
    kinds = species[frames.numbers]
    owners = {int(kind): frame_of[is_learned & (kinds == kind)] for kind in species[species >= 0]}
    functions = compute_number_of_functions(model.basis)
    rows = {kind: np.zeros((len(owner), functions[kind])) for kind, owner in owners.items()}
    filled = dict.fromkeys(rows, 0)
    count = len(considered)
    for number, index in enumerate(considered.tolist(), start=1):
        part = frames.atoms_slice(index)
        if is_learned[part].any():
            for atom, row in enumerate(_rows(frames, index, model)):
                kind = int(kinds[part][atom])
                if is_learned[part][atom]:
                    rows[kind][filled[kind]] = row
                    filled[kind] += 1
        if progress is not None and number * 10 // count > (number - 1) * 10 // count:
            print(f'evaluated {number} of {count} frames', file=progress, flush=True)
    return rows, owners


def _rows(frames: Frames, index: int, model: AceModel) -> list[FloatArray]:
    """Return the basis functions of each atom of one frame."""
    part = frames.atoms_slice(index)
    try:
        environment = model.environment(
            frames.numbers[part], frames.positions[part], frames.cells[index], frames.pbc[index]
        )
        model.calculator.compute(environment, compute_projections=True)
    except (RuntimeError, ValueError) as exception:
        raise EvaluationError(f'frame {index}: pyace refuses the structure: {exception}') from exception
    rows = [np.asarray(row, dtype='f8').ravel() for row in model.calculator.projections]
    if not all(np.isfinite(row).all() for row in rows):
        raise EvaluationError(f'frame {index}: a basis function has a value that is not finite')
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 only when the output file is complete."""
    parser = argument_parser(PROGRAM, __doc__, output='selection.npz')
    parser.add_argument('--max-frames', type=at_least(1), required=True, help='largest number of frames to select')
    parser.add_argument('--candidates', type=Path, help='JSON list: indices of the frames that may be selected [all]')
    arguments = parser.parse_args(argv)
    return run(PROGRAM, lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    """Write the selection and its wall time."""
    start = time.perf_counter()
    frames, model = load(arguments)
    active_set = None
    if model.has_active_set:
        with np.load(arguments.active_set, allow_pickle=False) as archive:
            active_set = {element: archive[element] for element in archive.files}
    candidates = _candidates(arguments.candidates, len(frames))
    indices, entered = select(
        frames, model, arguments.max_frames, active_set, candidates=candidates, progress=sys.stderr
    )
    with whole_file(arguments.output) as handle:
        np.savez(handle, indices=indices, entered=entered, wall_time_seconds=time.perf_counter() - start)


def _candidates(path: Path | None, count: int) -> list[int] | None:
    """Return the indices in a file, None without a file.

    :raises EvaluationError: when the file is not a list of indices of ``count`` frames.
    """
    if path is None:
        return None
    try:
        indices = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as exception:
        raise EvaluationError(f'cannot read the candidates: {exception}') from exception
    if not isinstance(indices, list) or not all(type(index) is int and 0 <= index < count for index in indices):
        raise EvaluationError(f'the candidates are not a list of integers from 0 to {count - 1}')
    return indices


if __name__ == '__main__':
    raise SystemExit(main())
