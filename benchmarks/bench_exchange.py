"""Time to export and import 10,000 labelled frames of 64 atoms, on one core; run it with OMP_NUM_THREADS=1."""

from __future__ import annotations

import sys
import tempfile
import time
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aiida_pace.formats.exchange import read_frames, write_frames
from aiida_pace.frames import Frames

T = typing.TypeVar('T')


def labelled_frames(count: int, size: int) -> Frames:
    """Return graded frames with random labels."""
    rng = np.random.default_rng(1)
    atoms = count * size
    return Frames(
        offsets=np.arange(0, atoms + 1, size),
        numbers=np.full(atoms, 14),
        positions=rng.uniform(0, 11, size=(atoms, 3)),
        cells=11 * np.eye(3) + rng.normal(scale=0.1, size=(count, 3, 3)),
        pbc=np.ones((count, 3), dtype=bool),
        force_weight=np.ones(atoms),
        weight=np.ones(count),
        origin=np.full(count, 'random'),
        label_uuid=np.full(count, '00000000-0000-0000-0000-000000000000'),
        energy=rng.normal(size=count),
        forces=rng.normal(size=(atoms, 3)),
        stress=rng.normal(size=(count, 6)),
        grade=rng.uniform(size=atoms),
    )


def timed(what: str, action: Callable[[], T]) -> T:
    """Return the result; write the processor seconds, which other load on the machine hardly changes."""
    start = time.process_time()
    result = action()
    print(f'{what:<24}{time.process_time() - start:7.2f} s')
    return result


def main(count: int = 10_000, size: int = 64) -> int:
    frames = labelled_frames(count, size)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ('.extxyz', '.db', '.pckl.gzip'):
            path = Path(folder) / f'frames{suffix}'
            timed(f'export {suffix}', lambda path=path: write_frames(frames, path))
            print(f'{"":8}{path.stat().st_size / 1e6:.0f} MB')
            if suffix == '.pckl.gzip':
                continue
            imported = timed(f'import {suffix}', lambda path=path: read_frames([path], guards=False))
            columns = imported.frames.columns()
            assert all(columns[name].tobytes() == column.tobytes() for name, column in frames.columns().items())
    return 0


if __name__ == '__main__':
    sys.exit(main(*map(int, sys.argv[1:])))
