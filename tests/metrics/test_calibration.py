import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from aiida_pace.metrics.calibration import calibration, wilson_interval


@settings(deadline=None)
@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_interval_agrees_with_scipy(count: int, share: float, confidence: float) -> None:
    good = round(share * count)
    expected = binomtest(good, count).proportion_ci(confidence, method='wilson')
    assert wilson_interval(good, count, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize('share', [0.9, 0.97])
def test_wilson_interval_holds_the_truth_as_often_as_it_says(share: float) -> None:
    limits = [wilson_interval(good, 40) for good in range(41)]
    covered = sum(binom.pmf(good, 40, share) for good, (low, high) in enumerate(limits) if low <= share <= high)
    assert covered == pytest.approx(0.95, abs=0.035)


def test_errors_are_counted_by_grade() -> None:
    grades = np.array([0.5, 1.0, 1.5, 1.9, 2.0, 30.0, 1.2])
    sizes = np.array([0.01, 0.1, 0.11, 0.05, 0.2, 0.05, np.nan])
    bins = {one.low: one for one in calibration(grades, sizes, target=0.1)}
    assert [(low, one.count, one.good) for low, one in bins.items()] == [
        (0, 1, 1),
        (1, 3, 2),
        (2, 1, 0),
        (5, 0, 0),
        (10, 0, 0),
        (25, 1, 1),
    ]
    assert bins[1.0].share == pytest.approx(2 / 3)
    assert bins[5.0].share is None
    assert (bins[5.0].lower, bins[5.0].upper) == (0, 1)
    (below,) = calibration(grades, sizes, target=0.1, edges=(0, 2))
    assert (below.count, below.good) == (4, 3)
    assert (below.lower, below.upper) == wilson_interval(3, 4)
