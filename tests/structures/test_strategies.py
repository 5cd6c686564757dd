import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.structures.strategies import STRATEGIES, Strategy, choose

GRADES = np.array([0.5, 7.0, 3.0, 1.9, 12.0, 2.0])


def test_max_grade_takes_the_highest_first() -> None:
    assert choose('max_grade', GRADES, 2.0, 3, 1).tolist() == [4, 1, 2]


def test_d_optimal_leaves_all_above_the_threshold_to_maxvol() -> None:
    assert choose('d_optimal', GRADES, 2.0, 1, 1).tolist() == [1, 2, 4]


def test_the_highest_stands_in_when_none_is_above_the_threshold() -> None:
    for strategy in ('d_optimal', 'threshold_random'):
        assert choose(strategy, GRADES, 20.0, 3, 1).tolist() == [4]


def test_random_ones_are_uniform() -> None:
    """Each frame that may be drawn is drawn equally often."""
    for strategy, allowed in (('random', range(6)), ('threshold_random', (1, 2, 4))):
        drawn = np.concatenate([choose(strategy, GRADES, 2.0, 2, seed) for seed in range(3000)])
        counts = np.bincount(drawn, minlength=6)
        expected = 6000 / len(allowed)
        assert set(np.flatnonzero(counts)) == set(allowed)
        assert np.abs(counts[list(allowed)] - expected).max() < 5 * np.sqrt(expected)


@given(
    st.sampled_from(STRATEGIES),
    st.lists(st.floats(0, 1e4), min_size=1, max_size=20),
    st.floats(0, 100),
    st.integers(1, 10),
    st.integers(0, 2**31),
)
def test_something_is_always_chosen_once_and_reproducibly(
    strategy: Strategy, grades: list[float], threshold: float, count: int, seed: int
) -> None:
    chosen = choose(strategy, np.array(grades), threshold, count, seed)
    assert 0 < len(chosen) == len(set(chosen.tolist()))
    assert np.array_equal(chosen, choose(strategy, np.array(grades), threshold, count, seed))
    if strategy != 'd_optimal':
        assert len(chosen) <= count
    if strategy in ('d_optimal', 'threshold_random') and max(grades) > threshold:
        assert min(grades[i] for i in chosen) > threshold
