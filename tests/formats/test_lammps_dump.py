from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.formats.lammps import Orientation
from aiida_pace.formats.lammps_dump import DumpError, Snapshot, frames_from_snapshots, read_dump, thinned

FRAME = """ITEM: TIMESTEP
20
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
-0.5 4.0
0.0 5.0
0.0 6.0
ITEM: ATOMS id type xu yu zu f_pace_gamma
2 1 1.0 2.0 3.0 1.5
1 2 -1.0 0.0 0.25 0.75
"""
TRICLINIC = FRAME.replace(
    'BOX BOUNDS pp pp pp\n-0.5 4.0\n0.0 5.0\n0.0 6.0', 'BOX BOUNDS xy xz yz pp pp pp\n-2 5 1.0\n0 6.5 -2.0\n1 7 1.5'
)


def read(text: str) -> list[Snapshot]:
    return list(read_dump(io.StringIO(text)))


def test_atoms_in_the_order_of_their_ids_relative_to_the_origin() -> None:
    (snapshot,) = read(FRAME)
    assert snapshot.step == 20
    assert snapshot.types.tolist() == [2, 1]
    assert snapshot.positions.tolist() == [[-0.5, 0, 0.25], [1.5, 2, 3]]
    assert snapshot.grade.tolist() == [0.75, 1.5]
    assert snapshot.max_grade == 1.5
    assert snapshot.cell.tolist() == np.diag([4.5, 5, 6]).tolist()


def test_bounds_of_a_triclinic_box_are_not_its_edges() -> None:
    (snapshot,) = read(TRICLINIC)
    # xy 1, xz -2: the box reaches 2 below and 1 above its edge along x; yz 1.5 above that along y.
    assert snapshot.cell.tolist() == [[4, 0, 0], [1, 5, 0], [-2, 1.5, 6]]
    assert snapshot.positions.tolist() == [[-1, 0, -0.75], [1, 2, 2]]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (FRAME + FRAME[:60], 'line 12 is incomplete'),
        (FRAME.replace(' 0.25 0.75', ' 0.25'), 'a line does not have 6 numbers'),
        (FRAME.replace('-0.5 4.0', '-0.5 4.0 1.0'), 'a line does not have 2 numbers'),
        (FRAME[:-1], 'a line does not have 6 numbers'),
        (FRAME.replace('0.75', 'nan'), 'not finite'),
        (FRAME.replace('\n2 1 1.0', '\n1 1 1.0'), 'ids of the atoms'),
        (FRAME.replace('xu yu zu', 'x y z'), 'expected `ITEM: ATOMS id type xu'),
        ('garbage\n' + FRAME, 'line 1: expected `ITEM: TIMESTEP`, found `garbage`'),
    ],
)
def test_damaged_dump_is_refused(text: str, message: str) -> None:
    with pytest.raises(DumpError, match=message):
        read(text)


def test_frames_before_the_damage_are_read() -> None:
    frames = read_dump(io.StringIO(FRAME + FRAME[:60]))
    assert next(frames).step == 20
    with pytest.raises(DumpError):
        next(frames)


def snapshots(count: int) -> Iterator[Snapshot]:
    for step in range(count):
        yield Snapshot(step, np.eye(3), np.ones(1, dtype=int), np.zeros((1, 3)), np.ones(1))


@given(st.integers(0, 300), st.integers(2, 40))
def test_thinned_frames_are_evenly_spaced_and_bounded(count: int, limit: int) -> None:
    steps = [snapshot.step for snapshot in thinned(snapshots(count), limit)]
    assert len(steps) <= limit
    assert steps == list(range(count)) if count <= limit else len(steps) > limit // 2
    assert len(set(np.diff(steps))) <= 1
    assert steps[:1] == ([0] if count else [])


def test_frames_come_back_as_the_structure_was() -> None:
    cell = np.array([[0.0, 3, 1], [4, 0.2, 0], [0, 1, 5]])  # left-handed
    numbers = np.array([14, 6])
    positions = np.array([[0.1, 0.2, 0.3], [-1.0, 2.0, 7.0]])
    orientation = Orientation.of_cell(cell)
    snapshot = Snapshot(0, orientation.cell, np.array([2, 1]), orientation.to_lammps(positions), np.array([0.5, 3]))
    frames = frames_from_snapshots([snapshot, snapshot], numbers, orientation, ['sample', 'halt'])
    np.testing.assert_allclose(frames.positions[2:], positions, atol=1e-14)
    np.testing.assert_allclose(frames.cells[1], cell, atol=1e-14)
    assert frames.numbers.tolist() == [14, 6, 14, 6]
    assert frames.origin.tolist() == ['sample', 'halt']
    assert frames.max_grade().tolist() == [3, 3]
    assert frames.pbc.all()


@pytest.mark.parametrize('types', [[1, 2], [2], [2, 1, 1]])
def test_frames_of_other_atoms_are_refused(types: list[int]) -> None:
    assert len(list(read_dump(io.StringIO(FRAME), np.array([2, 1])))) == 1
    with pytest.raises(DumpError, match='the atoms are not those'):
        list(read_dump(io.StringIO(FRAME), np.array(types)))
