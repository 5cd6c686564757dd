import gc

import numpy as np
import pytest

from aiida_pace.structures.fingerprint import _digests, duplicate_indices, exact_fingerprints
from tests.fixtures.frames import random_frames


def test_noise_below_the_rounding_and_negative_zero_do_not_count() -> None:
    frames = random_frames((2,)).replace(positions=np.zeros((2, 3)))
    noisy = frames.replace(positions=np.full((2, 3), -1e-9), cells=frames.cells.round(3) - 1e-9)
    assert exact_fingerprints(frames.replace(cells=frames.cells.round(3))) == exact_fingerprints(noisy)


def test_labels_grades_weights_and_origins_do_not_count() -> None:
    frames = random_frames((2, 1))
    other = random_frames((2, 1), labelled=True, graded=True).replace(
        positions=frames.positions, cells=frames.cells, weight=[3, 4], origin=['a', 'b']
    )
    assert exact_fingerprints(frames) == exact_fingerprints(other)


@pytest.mark.parametrize('name', ['numbers', 'positions', 'cells', 'pbc'])
def test_structure_counts(name: str) -> None:
    frames = random_frames((2, 1, 3))
    column = frames.columns()[name].copy()
    column[-1] = {'numbers': 6, 'pbc': [True, False, True]}.get(name, column[-1] + 2e-6)
    before, after = exact_fingerprints(frames), exact_fingerprints(frames.replace(**{name: column}))
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False]


def test_order_of_atoms_counts() -> None:
    frames = random_frames((3,))
    assert exact_fingerprints(frames) != exact_fingerprints(frames.replace(positions=frames.positions[::-1]))


def test_duplicate_indices_names_repeats_not_the_first() -> None:
    frames = random_frames((2, 1, 3))
    assert duplicate_indices(frames) == []
    assert duplicate_indices(frames.take([1, 0, 1, 2, 0, 1])) == [2, 4, 5]


def test_frames_are_fingerprinted_once_and_forgotten_with_them() -> None:
    frames = random_frames()
    digests = exact_fingerprints(frames)
    assert exact_fingerprints(frames) is digests
    moved = frames.replace(positions=frames.positions + 0.1)
    assert not set(exact_fingerprints(moved)) & set(digests)
    count = len(_digests)
    del frames, moved
    gc.collect()
    assert len(_digests) <= count - 2
