"""The posterior of a linear fit against explicit inverses and against fits that are repeated."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from aiida_pace.metrics.posterior import (
    BLOCK,
    BlockedFactor,
    Posterior,
    PosteriorError,
    leverage,
    regularised,
    residual_noise,
)


def factor_of(rows: np.ndarray, ridge: float = 0.0, parts: int = 1) -> np.ndarray:
    blocked = BlockedFactor(rows.shape[1])
    for part in np.array_split(rows, parts):
        blocked.add(part)
    return regularised(blocked.triangle(), ridge)


def brute_leverage(rows: np.ndarray, ridge: float, new: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(rows.T @ rows + ridge * np.eye(rows.shape[1]))
    return np.sqrt(np.diagonal(new @ inverse @ new.T))


def posterior(factor: np.ndarray, noise: float = 1.0, **sites: np.ndarray) -> Posterior:
    return Posterior(factor, noise, sites or {'Si': factor}, 'digest')


@given(st.integers(8, 60), st.integers(1, 7), st.floats(0, 3), st.integers(1, 9), st.integers(0, 99))
def test_leverage_is_that_of_the_explicit_inverse(rows: int, columns: int, ridge: float, parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, new = rng.normal(size=(rows, columns)), rng.normal(size=(5, columns))
    found = leverage(factor_of(matrix, ridge, parts), new)
    assert_allclose(found, brute_leverage(matrix, ridge, new), rtol=1e-8)


def test_many_rows_are_worked_in_block_by_block() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(3 * BLOCK, 12))
    blocked, most = BlockedFactor(12), 0
    for first in range(0, len(matrix), 100):
        blocked.add(matrix[first : first + 100])
        most = max(most, sum(map(len, blocked._waiting)) + len(blocked._triangle))
    assert most < BLOCK + 200
    assert blocked.count == len(matrix)
    triangle = blocked.triangle()
    assert_allclose(triangle.T @ triangle, matrix.T @ matrix, rtol=1e-10, atol=1e-8)


@given(st.integers(0, 99), st.integers(1, 30))
def test_more_rows_never_make_a_prediction_less_certain(seed: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, new = rng.normal(size=(10 + more, 6)), rng.normal(size=(4, 6))
    few, many = (leverage(factor_of(matrix[:count], 0.1), new) for count in (10, 10 + more))
    assert (many <= few * (1 + 1e-12)).all()


@given(st.integers(0, 99))
def test_leverage_does_not_depend_on_the_choice_of_the_basis(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, new, change = rng.normal(size=(30, 5)), rng.normal(size=(4, 5)), rng.normal(size=(5, 5))
    assume(np.linalg.cond(change) < 1e4)
    assert_allclose(
        leverage(factor_of(matrix), new), leverage(factor_of(matrix @ change), new @ change), rtol=1e-6
    )  # fmt: skip


def test_squared_leverages_of_the_fitted_rows_add_up_to_the_number_of_functions() -> None:
    matrix = np.random.default_rng(1).normal(size=(50, 6))
    assert np.sum(leverage(factor_of(matrix), matrix) ** 2) == pytest.approx(6)


class TestRankDeficient:
    """Rows that leave a direction unseen: certain where they speak, and of nothing where they do not."""

    matrix = np.random.default_rng(2).normal(size=(40, 6)) @ np.diag([1, 1, 1, 1, 1, 0.0])

    def test_seen_directions_are_those_of_the_pseudo_inverse(self) -> None:
        new = np.random.default_rng(3).normal(size=(4, 6)) * [1, 1, 1, 1, 1, 0]
        inverse = np.linalg.pinv(self.matrix.T @ self.matrix)
        expected = np.sqrt(np.diagonal(new @ inverse @ new.T))
        assert_allclose(leverage(factor_of(self.matrix), new), expected, rtol=1e-8)

    def test_an_unseen_direction_is_very_uncertain(self) -> None:
        assert leverage(factor_of(self.matrix), np.eye(6)[5:])[0] > 1e10

    def test_a_ridge_bounds_it(self) -> None:
        assert leverage(factor_of(self.matrix, 0.01), np.eye(6)[5:])[0] == pytest.approx(10)

    def test_dependent_columns(self) -> None:
        """The sum of two equal columns is known, their difference is not."""
        column = np.random.default_rng(4).normal(size=(30, 1))
        factor = factor_of(np.hstack((column, column)))
        known, unknown = leverage(factor, np.array([[1, 1], [1, -1.0]]))
        assert known == pytest.approx(1 / np.linalg.norm(column))
        assert unknown > 1e10

    def test_without_rows_nothing_is_known(self) -> None:
        found = leverage(regularised(BlockedFactor(3).triangle()), np.eye(3))
        assert np.isfinite(found).all()
        assert found.min() > 1e10


def test_sigma_is_the_scatter_of_repeated_fits() -> None:
    """Labels with noise of known size, fitted again and again: by weighted least squares, with weights that differ."""
    rng = np.random.default_rng(5)
    matrix, weights, noise = rng.normal(size=(60, 5)), rng.uniform(0.2, 3, 60), 0.3
    new, truth = rng.normal(size=(6, 5)), rng.normal(size=5)
    roots = np.sqrt(weights)
    solver = np.linalg.pinv(matrix * roots[:, None])
    labels = matrix @ truth + noise / roots * rng.normal(size=(20000, 60))
    coefficients = (labels * roots) @ solver.T
    predictions = coefficients @ new.T
    factor = factor_of(matrix * roots[:, None])
    found = posterior(factor, noise)
    assert_allclose(found.sigma(new), predictions.std(axis=0), rtol=0.03)
    assert_allclose(found.covariance(new), np.cov(predictions.T), rtol=0.1, atol=1e-3)
    losses = np.sum(weights * (labels - coefficients @ matrix.T) ** 2, axis=1)
    noises = [residual_noise(factor, factor, loss, 60) for loss in losses[:2000]]
    assert np.sqrt(np.mean(np.square(noises))) == pytest.approx(noise, rel=0.02)


def test_the_ridge_takes_part_of_the_degrees_of_freedom() -> None:
    matrix, ridge = np.random.default_rng(6).normal(size=(20, 4)), 7.0
    hat = matrix @ np.linalg.inv(matrix.T @ matrix + ridge * np.eye(4)) @ matrix.T
    expected = np.sqrt(3.0 / (20 - np.trace(hat)))
    assert residual_noise(matrix, factor_of(matrix, ridge), 3.0, 20) == pytest.approx(expected)


def test_directions_that_no_row_has_seen_are_no_parameters() -> None:
    matrix = np.random.default_rng(6).normal(size=(20, 4)) * [1, 1, 0, 0]
    assert residual_noise(matrix, factor_of(matrix), 9.0, 20) == pytest.approx(np.sqrt(9 / 18))
    assert residual_noise(matrix[:2], factor_of(matrix[:2]), 9.0, 2) == pytest.approx(3)  # nothing is left over


def test_sigma_of_a_property_that_is_not_linear() -> None:
    """The place of the minimum of a fitted parabola: first-order propagation against repeated fits."""
    rng = np.random.default_rng(7)
    x = np.linspace(-1, 2, 40)
    matrix, truth, noise = np.vander(x, 3), np.array([2.0, -2.0, 0.5]), 0.02
    coefficients = (matrix @ truth + noise * rng.normal(size=(20000, 40))) @ np.linalg.pinv(matrix).T
    minima = -coefficients[:, 1] / (2 * coefficients[:, 0])
    gradient = np.array([[truth[1] / (2 * truth[0] ** 2), -1 / (2 * truth[0]), 0.0]])
    assert posterior(factor_of(matrix), noise).sigma(gradient)[0] == pytest.approx(minima.std(), rel=0.03)


def test_force_sigma_does_not_depend_on_the_orientation() -> None:
    rng = np.random.default_rng(8)
    found = posterior(factor_of(rng.normal(size=(40, 6))), 0.1)
    rows = rng.normal(size=(4, 3, 6))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = np.einsum('ab,nbk->nak', rotation, rows)
    expected = found.force_sigma(rows.reshape(12, 6))
    assert expected.shape == (4,)
    assert_allclose(found.force_sigma(turned.reshape(12, 6)), expected, rtol=1e-12)


class TestFile:
    @staticmethod
    def example() -> Posterior:
        rng = np.random.default_rng(9)
        sites = {element: factor_of(rng.normal(size=(20, size))) for element, size in (('Si', 4), ('Al', 3))}
        return Posterior(factor_of(rng.normal(size=(40, 7))), 0.25, sites, 64 * 'a')

    @staticmethod
    def content(arrays: dict[str, object] | None = None) -> bytes:
        stream = io.BytesIO()
        TestFile.example().save(stream)
        if arrays is not None:
            with np.load(io.BytesIO(stream.getvalue())) as archive:
                kept = {name: archive[name] for name in archive.files} | arrays
            stream = io.BytesIO()
            np.savez(stream, **{name: array for name, array in kept.items() if array is not None})
        return stream.getvalue()

    def test_round_trip(self) -> None:
        before, after = self.example(), Posterior.load(io.BytesIO(self.content()))
        assert after.functions_per_element == {'Si': 4, 'Al': 3}
        assert list(after.functions_per_element) == ['Si', 'Al']
        assert (after.noise, after.potential_digest) == (0.25, 64 * 'a')
        rows = np.random.default_rng(10).normal(size=(5, 7))
        assert np.array_equal(after.sigma(rows), before.sigma(rows))
        for element, size in after.functions_per_element.items():
            functions = rows[:, :size]
            assert np.array_equal(
                after.site_leverage(element, functions), before.site_leverage(element, functions)
            )  # fmt: skip

    def test_same_posterior_same_bytes(self) -> None:
        assert self.content() == self.content()

    @pytest.mark.parametrize(
        ('arrays', 'message'),
        [
            ({'schema_version': np.int64(2)}, 'the schema version is 2, this release reads version 1'),
            ({'noise': np.float64('nan')}, 'the noise is nan'),
            ({'factor': np.zeros(28)}, 'singular'),
            ({'factor': np.full(28, np.inf)}, 'not finite'),
            ({'factor': np.ones(27)}, 'the factor of 7 functions is float64'),
            ({'sites': np.ones(15)}, 'the factor of 3 functions is float64'),
            ({'functions': np.array([4])}, 'the factor of 4 functions is float64'),
            ({'sites': None}, 'not an archive of a posterior'),
            ({'factor': np.array([object()] * 28)}, 'not an archive of a posterior'),  # would have to be unpickled
        ],
    )
    def test_broken(self, arrays: dict[str, object], message: str) -> None:
        with pytest.raises(PosteriorError, match=message):
            Posterior.load(io.BytesIO(self.content(arrays)))

    @pytest.mark.parametrize('content', [b'', b'text', b'PK\x03\x04 cut'])
    def test_no_archive(self, content: bytes) -> None:
        with pytest.raises(PosteriorError, match='not an archive of a posterior'):
            Posterior.load(io.BytesIO(content))
