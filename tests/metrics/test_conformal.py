"""Conformal intervals: the exact rank, the guarantee by simulation, and what too few frames mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.metrics.conformal import conformal_scale, fewest_groups


@given(st.integers(1, 60), st.sampled_from([0.5, 0.68, 0.8, 0.9, 0.95]), st.integers(0, 99))
def test_the_score_of_the_rank_of_the_definition(count: int, coverage: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors, sigmas = rng.normal(size=count), rng.uniform(0.1, 2, count)
    rank = math.ceil(round((count + 1) * coverage, 9))
    expected = np.sort(np.abs(errors) / sigmas)[rank - 1] if rank <= count else math.inf
    assert conformal_scale(errors, sigmas, coverage=coverage) == expected


@pytest.mark.parametrize(('coverage', 'fewest'), [(0.9, 9), (0.95, 19), (0.5, 1), (0.99, 99)])
def test_too_few_groups_bound_nothing(coverage: float, fewest: int) -> None:
    assert fewest_groups(coverage) == fewest
    for count, is_finite in ((fewest - 1, False), (fewest, True)):
        # Whatever the number of values in each group.
        errors, groups = np.ones(5 * count), np.repeat(np.arange(count), 5)
        assert math.isfinite(conformal_scale(errors, errors, groups, coverage=coverage)) is is_finite
    assert conformal_scale(np.zeros(0), np.zeros(0)) == math.inf


def test_coverage_whatever_the_sigmas() -> None:
    """Heavy-tailed errors, sigmas that have nothing to do with them: the coverage is that of the definition."""
    rng = np.random.default_rng(0)
    for count in (9, 25):
        errors, sigmas = rng.standard_t(2, (20000, count + 1)), rng.uniform(0.01, 3, (20000, count + 1))
        held = [
            abs(error[-1]) <= conformal_scale(error[:-1], sigma[:-1]) * sigma[-1]
            for error, sigma in zip(errors, sigmas, strict=True)
        ]
        assert np.mean(held) == pytest.approx(math.ceil(0.9 * (count + 1)) / (count + 1), abs=0.007)


def test_coverage_of_a_random_value_of_a_new_group() -> None:
    """Errors of a frame go together, frames have different sizes, and the errors depend on the size."""
    rng = np.random.default_rng(1)
    held, pooled = [], []
    for _ in range(4000):
        sizes = rng.choice([2, 40], size=13)
        groups = np.repeat(np.arange(13), sizes)
        scale = rng.lognormal(size=13) * np.where(sizes == 2, 5, 1)
        errors = (scale[groups]) * rng.normal(size=len(groups))
        old, new = groups < 12, rng.choice(np.flatnonzero(groups == 12))
        ones = np.ones(old.sum())
        held.append(abs(errors[new]) <= conformal_scale(errors[old], ones, groups[old], coverage=0.8))
        pooled.append(abs(errors[new]) <= conformal_scale(errors[old], ones, coverage=0.8))
    assert 0.8 - 0.015 <= np.mean(held) <= 0.8 + 2 / 13
    assert np.mean(pooled) < 0.75  # what counting every value alike would give


def test_groups_may_be_of_any_kind_and_in_any_order() -> None:
    rng = np.random.default_rng(2)
    errors, groups = rng.normal(size=60), np.repeat(np.arange(20), 3)
    expected = conformal_scale(errors, np.ones(60), groups)
    order = rng.permutation(60)
    names = np.array([f'frame {19 - group}' for group in groups])
    assert conformal_scale(errors[order], np.ones(60), names[order]) == expected


def test_sigmas_of_another_unit_give_the_same_intervals() -> None:
    rng = np.random.default_rng(3)
    errors, sigmas = rng.normal(size=30), rng.uniform(0.5, 2, 30)
    assert 1000 * conformal_scale(errors, 1000 * sigmas) == pytest.approx(conformal_scale(errors, sigmas))


def test_rounding_where_symmetry_makes_errors_vanish() -> None:
    errors, sigmas = np.full(20, 1e-14), np.full(20, 1e-17)
    assert conformal_scale(errors, sigmas) < 1e-4


@pytest.mark.parametrize(
    ('errors', 'coverage', 'message'),
    [
        ([1.0], 0.0, 'coverage'),
        ([1.0], 1.0, 'coverage'),
        ([1.0, 2.0], 0.9, '2 errors, 1 sigmas'),
        ([np.nan], 0.9, 'finite'),
    ],
)
def test_refusals(errors: list[float], coverage: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conformal_scale(np.array(errors), np.ones(1), coverage=coverage)
