"""Least squares in blocks against the solution of the whole system at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.engines.linear import BlockedLeastSquares
from aiida_pace.metrics.posterior import BLOCK


def system(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)), rng.normal(size=rows), rng.uniform(0, 2, size=rows)


def solution(matrix: np.ndarray, target: np.ndarray, weights: np.ndarray, ridge: float) -> np.ndarray:
    """Return the minimum where the gradient of the loss is zero."""
    gram = matrix.T @ (weights[:, None] * matrix) + ridge * np.eye(matrix.shape[1])
    return np.linalg.solve(gram, matrix.T @ (weights * target))


@given(st.integers(8, 60), st.integers(1, 7), st.floats(0, 3), st.integers(1, 9), st.integers(0, 99))
def test_parts_make_the_whole(rows: int, columns: int, ridge: float, parts: int, seed: int) -> None:
    matrix, target, weights = system(rows, columns, seed)
    squares = BlockedLeastSquares(columns, ridge)
    for chosen in np.array_split(np.arange(rows), parts):
        squares.add(matrix[chosen], target[chosen], weights[chosen])
    np.testing.assert_allclose(squares.solve(), solution(matrix, target, weights, ridge), rtol=1e-6, atol=1e-8)


def test_many_rows_are_worked_in_block_by_block() -> None:
    matrix, target, weights = system(3 * BLOCK, 20)
    squares = BlockedLeastSquares(20, 0.5)
    most = 0
    for first in range(0, len(matrix), 100):
        part = slice(first, first + 100)
        squares.add(matrix[part], target[part], weights[part])
        factor = squares._factor
        most = max(most, sum(map(len, factor._waiting)) + len(factor._triangle))
    assert most < BLOCK + 200
    np.testing.assert_allclose(squares.solve(), solution(matrix, target, weights, 0.5), rtol=1e-9)


def test_loss_is_that_of_the_rows() -> None:
    matrix, target, weights = system(50, 4)
    squares = BlockedLeastSquares(4)
    squares.add(matrix, target, weights)
    for guess in (np.zeros(4), np.array([1.0, -2.0, 0.5, 3.0])):
        assert squares.loss(guess) == pytest.approx(np.sum(weights * (matrix @ guess - target) ** 2))


def test_digits_survive_that_normal_equations_lose() -> None:
    columns = np.vander(np.linspace(0, 1, 200), 12)
    truth = np.ones(12)
    squares = BlockedLeastSquares(12)
    squares.add(columns, columns @ truth)
    # The condition number is 1e8; its square is beyond float64.
    assert np.abs(squares.solve() - truth).max() < 1e-6


def test_unknowns_without_rows_are_zero() -> None:
    squares = BlockedLeastSquares(3)
    squares.add(np.array([[2.0, 0.0, 0.0]]), np.array([4.0]))
    np.testing.assert_allclose(squares.solve(), [2.0, 0.0, 0.0], atol=1e-12)


def test_rows_of_weight_zero_may_hold_anything() -> None:
    matrix, target, weights = system(30, 3)
    squares = [BlockedLeastSquares(3), BlockedLeastSquares(3)]
    weights[5] = 0
    squares[0].add(matrix, target, weights)
    target[5] = 1e12
    squares[1].add(matrix, target, weights)
    assert np.array_equal(squares[0].solve(), squares[1].solve())
