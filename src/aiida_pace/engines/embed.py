"""`pace-embed`: cuts large frames down to small periodic boxes around the atom of highest extrapolation grade."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import typing as t
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_pace.engines.ace import AceModel, EvaluationError
from aiida_pace.engines.command import argument_parser, load, load_settings, run, write_frames
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.structures.embedding.cut import EmbeddingError
from aiida_pace.structures.embedding.search import FoundEmbedding, search_embedding
from aiida_pace.structures.fingerprint import exact_fingerprints

__all__ = ('PROGRAM', 'EmbeddingSettings', 'embed_frames', 'embed_highest_grade', 'main')

PROGRAM = 'pace-embed'

#: What the origin of an embedded frame starts with; the origin of the large frame follows.
ORIGIN = 'embedded/'


@dataclasses.dataclass(frozen=True)
class EmbeddingSettings:
    """The settings of `aiida_pace.config.EmbeddingConfig`, without pydantic, and the shortest distance."""

    max_dft_atoms: int
    relaxation_steps: int
    force_tolerance: float
    grade_tolerance: float
    closest: float


def embed_frames(
    frames: Frames, model: AceModel, settings: EmbeddingSettings, progress: t.TextIO | None = None
) -> tuple[Frames, dict[str, t.Any]]:
    """Return the frames in their order, large frames replaced by boxes, and the account of them.

    Frames that cannot be embedded, and boxes that repeat an earlier frame, are left out and counted. When any frame is
    embedded the others lose their labels: a set has labels for all of its frames or for none.

    :param model: with an active set.
    :param progress: stream for one line per large frame.
    """
    known = set(exact_fingerprints(frames.take(np.flatnonzero(frames.sizes <= settings.max_dft_atoms))))
    parts, parents, rows = [], [], []
    failed: Counter[str] = Counter()
    for index in range(len(frames)):
        part, row = frames.take([index]), None
        if frames.sizes[index] > settings.max_dft_atoms:
            box, row = _embed_one(frames.atoms(index), model, settings, known)
            rows.append({'parent': index, **row})
            if progress is not None:
                print(f'frame {index + 1} of {len(frames)}: {_words(row)}', file=progress, flush=True)
            if box is None:
                failed[row['failed']] += 1
                continue
            part = box
        parts.append(part)
        parents.append(index)
    account = {
        'count': len(parts),
        'embedded': len(rows) - failed.total(),
        'unchanged': len(parts) + failed.total() - len(rows),
        'failed': failed,
        'parents': parents,
        'frames': rows,
    }
    return Frames.concatenate(parts), account


def embed_highest_grade(
    atoms: Atoms, model: AceModel, settings: EmbeddingSettings
) -> tuple[int, FloatArray, FoundEmbedding | EmbeddingError]:
    """Return the atom of highest grade, all grades (N,), and the box around that atom or the error of the search.

    :raises EvaluationError: when the potential refuses the structure.
    """

    def grades_of(structure: Atoms) -> FloatArray:
        found = model.compute(structure.numbers, structure.positions, structure.cell.array, structure.pbc)
        return t.cast(FloatArray, found.grade)

    def forces_of(structure: Atoms) -> FloatArray:
        cell = structure.cell.array
        return model.compute(structure.numbers, structure.positions, cell, structure.pbc, graded=False).forces

    grades = grades_of(atoms)
    centre = int(np.argmax(grades))
    try:
        proven = search_embedding(
            atoms,
            centre,
            grades,
            model.cutoff,
            settings.max_dft_atoms,
            forces_of=forces_of,
            grades_of=grades_of,
            steps=settings.relaxation_steps,
            force_tolerance=settings.force_tolerance,
            grade_tolerance=settings.grade_tolerance,
            closest=settings.closest,
        )
    except EmbeddingError as exception:
        return centre, grades, exception
    return centre, grades, proven


def _embed_one(
    atoms: Atoms, model: AceModel, settings: EmbeddingSettings, known: set[bytes]
) -> tuple[Frames | None, dict[str, t.Any]]:
    """Return the box of a large frame, None when there is no box, and the row of the frame in the account."""
    row: dict[str, t.Any] = {'atoms_before': len(atoms)}
    try:
        centre, grades, proven = embed_highest_grade(atoms, model, settings)
    except EvaluationError:
        return None, row | {'failed': 'not_finite'}
    row |= {'centre': centre, 'grade_before': float(grades[centre])}
    if isinstance(proven, EmbeddingError):
        return None, row | {'failed': proven.cause}
    embedding = proven.embedding
    embedding.atoms.set_array('grade', proven.grades)
    embedding.atoms.info['origin'] = f'{ORIGIN}{atoms.info["origin"]}'
    box = embedding.frames()
    (digest,) = exact_fingerprints(box)
    if digest in known:
        return None, row | {'failed': 'duplicate'}
    known.add(digest)
    return box, row | {
        'grade_before': proven.grade_before,
        'grade_after': proven.grade_after,
        'atoms_after': len(embedding),
        'core_atoms': int(np.sum(embedding.core)),
        'fixed_atoms': int(np.sum(embedding.fixed)),
        'relaxed': proven.is_relaxed,
        'tries': proven.tries,
    }


def _words(row: dict[str, t.Any]) -> str:
    """Return the progress message of a frame."""
    if 'failed' in row:
        return f'not embedded ({row["failed"]})'
    grades = f'grade {row["grade_before"]:.4g} before, {row["grade_after"]:.4g} after'
    return f'{row["atoms_before"]} atoms to {row["atoms_after"]}, core {row["core_atoms"]}, {grades}'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 only when the output is complete."""
    parser = argument_parser(PROGRAM, __doc__, output='embedded.npz')
    parser.add_argument(
        '--settings', type=Path, required=True, help='JSON object: all settings of `EmbeddingConfig`, and `closest`'
    )
    arguments = parser.parse_args(argv)
    return run(PROGRAM, lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    """Write the account, then the frames."""
    start = time.perf_counter()
    frames, model = load(arguments)
    if not model.has_active_set:
        raise EvaluationError('the grades that choose the centre need an active set: give `--active-set`')
    settings = load_settings(arguments.settings, EmbeddingSettings)
    embedded, account = embed_frames(frames, model, settings, progress=sys.stderr)
    write_frames(arguments.output, embedded, {**account, 'wall_time_seconds': time.perf_counter() - start})


if __name__ == '__main__':
    raise SystemExit(main())
