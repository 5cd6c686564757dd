import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.metrics.audit import audits_of_potential, draw_audit
from aiida_pace.structures.fingerprint import exact_fingerprints
from tests.fixtures.frames import random_frames


@settings(deadline=None)
@given(
    st.integers(0, 15), st.integers(0, 15), st.integers(0, 12), st.sampled_from([0, 0.2, 0.34, 0.5]), st.integers(0, 99)
)
def test_as_many_as_asked_are_drawn_and_each_stratum_has_its_share(
    small: int, large: int, count: int, share: float, seed: int
) -> None:
    sizes = np.random.default_rng(seed).permutation([3] * small + [8] * large)
    frames = random_frames(sizes, seed=seed) if len(sizes) else random_frames([1]).take([])
    rng = np.random.default_rng(seed)
    drawn = draw_audit(frames, count, rng, large_atoms=8, reserved_share=share)
    assert len(drawn) == min(count, small + large)
    assert list(drawn) == sorted(set(drawn.tolist()))
    reserved = min(int(np.ceil(share * len(drawn) - 1e-9)), len(drawn) // 2)
    of_large = int(np.sum(frames.sizes[drawn] == 8))
    assert of_large >= min(reserved, large)
    assert len(drawn) - of_large >= min(reserved, small)
    again = draw_audit(frames, count, np.random.default_rng(seed), large_atoms=8, reserved_share=share)
    assert list(again) == list(drawn)


def chances(sizes: list[int], count: int, share: float, draws: int = 4000) -> list[float]:
    frames = random_frames(sizes)
    rng = np.random.default_rng(5)
    drawn = [draw_audit(frames, count, rng, large_atoms=8, reserved_share=share) for _ in range(draws)]
    return list(np.bincount(np.concatenate(drawn), minlength=len(sizes)) / draws)


def test_every_frame_has_the_same_chance() -> None:
    assert chances([2] * 9 + [8] * 4, count=5, share=0) == pytest.approx([5 / 13] * 13, abs=0.035)


def test_every_frame_of_a_stratum_has_the_same_chance() -> None:
    assert chances([2] * 11 + [8] * 2, count=5, share=0.4) == pytest.approx([3 / 11] * 11 + [1.0] * 2, abs=0.035)


def test_all_walkers_are_heard() -> None:
    frames = random_frames([3] * 40)
    for seed in range(20):
        drawn = draw_audit(frames, 4, np.random.default_rng(seed))
        assert list(drawn // 10) == [0, 1, 2, 3]


def test_excluded_and_repeated_frames_are_not_drawn() -> None:
    frames = random_frames([3] * 10)
    known = set(exact_fingerprints(frames.take([0, 4])))
    repeated = frames.take([*range(10), 1, 2, 0])
    drawn = draw_audit(repeated, 20, np.random.default_rng(0), exclude=known)
    assert list(drawn) == [1, 2, 3, 5, 6, 7, 8, 9]


def test_which_frames_speak() -> None:
    potentials, stages = ['a', 'a', 'b', 'b', 'c'], [0, 1, 1, 1, 1]
    assert list(audits_of_potential(potentials, stages, 'b', 1, 'potential')) == [False, False, True, True, False]
    assert list(audits_of_potential(potentials, stages, 'b', 1, 'stage')) == [False, True, True, True, True]
    assert list(audits_of_potential([], [], 'b', 1, 'stage')) == []
