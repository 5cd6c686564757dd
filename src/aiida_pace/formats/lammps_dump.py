"""Dumps of LAMMPS with extrapolation grades: read frame by frame, and rotated to the orientation of the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from aiida_pace.formats.lammps import Orientation
from aiida_pace.frames import Frames

__all__ = ('DumpError', 'Snapshot', 'frames_from_snapshots', 'read_dump', 'thinned')

FloatArray = npt.NDArray[np.float64]

DUMP_COLUMNS = ['id', 'type', 'xu', 'yu', 'zu', 'f_pace_gamma']


class DumpError(ValueError):
    """A dump that cannot be used: the message gives the line and the cause."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One frame of a dump, in LAMMPS' orientation.

    :param step: number of the step.
    :param cell: (3, 3) lower triangle, vectors as rows, in Å.
    :param types: (N,) atom types, from 1.
    :param positions: (N, 3) relative to the origin of the box, unwrapped, in Å.
    :param grade: (N,) extrapolation grade.
    """

    step: int
    cell: FloatArray
    types: npt.NDArray[np.int64]
    positions: FloatArray
    grade: FloatArray

    @property
    def max_grade(self) -> float:
        """Largest grade of an atom."""
        return float(self.grade.max())


def read_dump(lines: Iterable[str], types: npt.NDArray[np.int64] | None = None) -> Iterator[Snapshot]:
    """Yield the frames of a dump, one in memory at a time, atoms in the order of their ids.

    :param types: (N,) atom types that each frame must have.
    :raises DumpError: at the first frame that is incomplete, has other columns than `DUMP_COLUMNS` or other atoms than
        ``types``, or holds a number that is not finite.
    """
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        if line.strip() != 'ITEM: TIMESTEP':
            raise DumpError(f'line {number}: expected `ITEM: TIMESTEP`, found `{line.strip()[:80]}`')
        try:
            snapshot = _snapshot(line for _, line in numbered)
            if types is not None and not np.array_equal(snapshot.types, types):
                raise ValueError('the atoms are not those of the structure')
        except StopIteration:
            raise DumpError(f'the frame that starts in line {number} is incomplete') from None
        except ValueError as exception:
            raise DumpError(f'the frame that starts in line {number}: {exception}') from exception
        yield snapshot


def _snapshot(lines: Iterator[str]) -> Snapshot:
    """Read the lines of a frame after the first.

    :raises StopIteration: when the frame is incomplete.
    :raises ValueError: when the frame is wrong.
    """
    step = int(next(lines))
    _expect(next(lines), 'ITEM: NUMBER OF ATOMS')
    count = int(next(lines))
    _expect(header := next(lines), 'ITEM: BOX BOUNDS')
    bounds = _table([next(lines) for _ in range(3)], 3 if ' xy ' in header else 2)
    _expect(next(lines), f'ITEM: ATOMS {" ".join(DUMP_COLUMNS)}')
    table = _table([next(lines) for _ in range(count)], len(DUMP_COLUMNS))
    if not (np.isfinite(table).all() and np.isfinite(bounds).all()):
        raise ValueError('a number is not finite')
    table = table[np.argsort(table[:, 0])]
    if not np.array_equal(table[:, 0], np.arange(1, count + 1)):
        raise ValueError('the ids of the atoms are not 1 to their number')
    origin, cell = _box(bounds)
    return Snapshot(step, cell, table[:, 1].astype('i8'), table[:, 2:5] - origin, table[:, 5].copy())


def _table(lines: Sequence[str], columns: int) -> FloatArray:
    """Return the numbers in ``lines``; raise `ValueError` when a line is cut or has not ``columns`` numbers."""
    rows = [[float(word) for word in line.split()] for line in lines if line.endswith('\n')]
    if len(rows) < len(lines) or any(len(row) != columns for row in rows):
        raise ValueError(f'a line does not have {columns} numbers')
    return np.array(rows).reshape(-1, columns)


def _expect(line: str, start: str) -> None:
    """Raise `ValueError` unless ``line`` starts with ``start``."""
    if not line.startswith(start):
        raise ValueError(f'expected `{start}`, found `{line.strip()[:80]}`')


def _box(bounds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return origin and cell of a box from its bounds.

    :param bounds: (3, 2) lowest and highest coordinate, or (3, 3) those of the box around the parallelepiped and the
        tilts xy, xz, yz, see "Howto triclinic" in LAMMPS' manual.
    """
    if bounds.shape[1] == 2:
        return bounds[:, 0], np.diag(bounds[:, 1] - bounds[:, 0])
    xy, xz, yz = bounds[:, 2]
    low = bounds[:, 0] - [min(0, xy, xz, xy + xz), min(0, yz), 0]
    high = bounds[:, 1] - [max(0, xy, xz, xy + xz), max(0, yz), 0]
    cell = np.diag(high - low)
    cell[[1, 2, 2], [0, 0, 1]] = xy, xz, yz
    return low, cell


def thinned(snapshots: Iterable[Snapshot], limit: int) -> list[Snapshot]:
    """Return at most ``limit`` of the frames, evenly spaced, with at most ``limit`` frames in memory."""
    kept: list[Snapshot] = []
    stride = 1
    for index, snapshot in enumerate(snapshots):
        if index % stride:
            continue
        if len(kept) == limit:
            kept, stride = kept[::2], 2 * stride
            if index % stride:
                continue
        kept.append(snapshot)
    return kept


def frames_from_snapshots(
    snapshots: Sequence[Snapshot], numbers: npt.NDArray[np.int32], orientation: Orientation, origins: Sequence[str]
) -> Frames:
    """Return frames in the orientation and atom order of the structure that was run.

    :param numbers: (N,) atomic numbers of that structure.
    :param orientation: of the cell of that structure.
    :param origins: origin of each frame.
    """
    count = len(snapshots)
    return Frames(
        offsets=np.arange(count + 1) * len(numbers),
        numbers=np.tile(numbers, count),
        positions=np.concatenate([orientation.from_lammps(snapshot.positions) for snapshot in snapshots]),
        cells=np.array([orientation.cell_from_lammps(snapshot.cell) for snapshot in snapshots]),
        pbc=np.ones((count, 3), dtype=bool),
        force_weight=np.ones(count * len(numbers)),
        weight=np.ones(count),
        origin=np.array(origins),
        label_uuid=np.array([''] * count),
        grade=np.concatenate([snapshot.grade for snapshot in snapshots]),
    )
