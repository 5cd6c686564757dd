"""The uncertainty of a linear fit: information matrix, leverages and predicted standard deviations."""

from __future__ import annotations

import dataclasses
import typing as t
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.linalg import solve_triangular

from aiida_pace.formats.text import counted
from aiida_pace.frames import FloatArray

__all__ = ('BlockedFactor', 'Posterior', 'PosteriorError', 'leverage', 'regularised', 'residual_noise')

#: Number of rows, or the number of columns if larger, that are gathered before a QR decomposition.
BLOCK = 4096
#: Least root of the ridge, relative to the norm of the rows, that rounding allows.
LEAST_ROOT = 1e-12
SCHEMA_VERSION = 1


class PosteriorError(ValueError):
    """A file that is not a posterior, or that of another basis: the message gives the cause."""


class BlockedFactor:
    """The triangular factor ``T`` of rows ``A`` that come in parts: ``TᵀT = AᵀA``, in memory that does not grow.

    Each block is merged into the factor of the earlier rows by a QR decomposition (Golub and Van Loan, Matrix
    Computations, sections 5.2 and 6.5), which keeps the digits that a sum of ``AᵀA`` would lose.
    """

    def __init__(self, columns: int) -> None:
        """Start without rows.

        :param columns: length of a row.
        """
        self.columns = columns
        self.count = 0
        self._triangle: FloatArray = np.zeros((0, columns))
        self._waiting: list[FloatArray] = []
        self._rows = 0

    def add(self, rows: FloatArray) -> None:
        """Add ``rows`` (m, n), already multiplied by the roots of their weights."""
        self.count += len(rows)
        self._waiting.append(rows)
        self._rows += len(rows)
        if self._rows >= max(BLOCK, self.columns):
            self.triangle()

    def triangle(self) -> FloatArray:
        """Return the factor of all rows (k, n), with k the smaller of n and the number of rows."""
        if self._waiting:
            self._triangle = np.asarray(np.linalg.qr(np.vstack((self._triangle, *self._waiting)), mode='r'))
            self._waiting, self._rows = [], 0
        return self._triangle


def regularised(triangle: FloatArray, ridge: float = 0.0) -> FloatArray:
    """Return the upper triangular ``R`` (n, n) with ``RᵀR = TᵀT + ridge``: the Cholesky factor, up to signs of rows.

    A basis may have directions without any data. The ridge is therefore never below ``(LEAST_ROOT |T|)²``, with the
    Frobenius norm: the variance of such a direction is then huge, that of the others as without a ridge. With the
    pseudo-inverse the variance would be 0, as if the direction were certain.

    :param triangle: (k, n) of `BlockedFactor`.
    :param ridge: weight of the squared coefficients in the loss, 0 or more.
    """
    columns = triangle.shape[1]
    root = max(np.sqrt(ridge), LEAST_ROOT * (np.linalg.norm(triangle) or 1.0))
    return np.asarray(np.linalg.qr(np.vstack((triangle, root * np.eye(columns))), mode='r'))


def leverage(factor: FloatArray, rows: FloatArray) -> FloatArray:
    """Return ``√(xᵀ (RᵀR)⁻¹ x)`` (m,) of each row ``x`` of ``rows`` (m, n), for ``R`` of `regularised`."""
    return np.asarray(np.linalg.norm(solve_triangular(factor, rows.T, trans='T'), axis=0))


def residual_noise(triangle: FloatArray, factor: FloatArray, loss: float, count: int) -> float:
    """Return the standard deviation of the residual of a row of weight 1: ``√(loss / (rows - parameters))``.

    The parameters are the effective ones, the trace of ``TᵀT (RᵀR)⁻¹`` (MacKay, Neural Computation 4, 415 (1992)); the
    difference counts as at least 1.

    :param triangle: (k, n) of `BlockedFactor`.
    :param factor: (n, n) of `regularised` for ``triangle``.
    :param loss: weighted sum of squared residuals, without the ridge.
    :param count: number of rows.
    """
    parameters = float(np.sum(leverage(factor, triangle) ** 2))
    return float(np.sqrt(loss / max(count - parameters, 1.0)))


@dataclasses.dataclass(frozen=True)
class Posterior:
    """The distribution of the coefficients of a linear fit: normal, with covariance ``noise² (RᵀR)⁻¹``.

    This is exact when the model can be exact and the residuals are independent noise. Neither holds for an interatomic
    potential fitted to labels without noise: the standard deviations rank errors, but are too small by a factor that
    `metrics.conformal` finds from frames outside the fit. Rows below are derivatives by the coefficients, in the order
    of the basis: of an energy, of a force component, or of any other property that depends smoothly on the coefficients
    (first-order propagation of errors).

    :param factor: (n, n) upper triangular ``R``: ``RᵀR`` is the information matrix, the sum over the rows of the fit
        with their weights, and the ridge.
    :param noise: standard deviation of the residual of a row of weight 1.
    :param sites: by element, the factor (m, m) of the basis functions of the atoms of the fit, unweighted.
    :param potential_digest: SHA-256 of the B-basis file of the potential, in hexadecimal digits.
    """

    factor: FloatArray
    noise: float
    sites: Mapping[str, FloatArray]
    potential_digest: str

    @property
    def functions_per_element(self) -> dict[str, int]:
        """Number of basis functions of each element, in the order of the coefficients."""
        return {element: len(factor) for element, factor in self.sites.items()}

    def sigma(self, rows: FloatArray) -> FloatArray:
        """Return the standard deviations (m,) of properties with the derivatives ``rows`` (m, n), in their units."""
        return self.noise * leverage(self.factor, rows)

    def covariance(self, rows: FloatArray) -> FloatArray:
        """Return the covariance (m, m) of properties with the derivatives ``rows`` (m, n)."""
        half = solve_triangular(self.factor, rows.T, trans='T')
        return np.asarray(self.noise**2 * half.T @ half)

    def force_sigma(self, rows: FloatArray) -> FloatArray:
        """Return the standard deviation (N,) of a force component of each atom, the root mean square over the three.

        The result does not depend on the orientation of the frame.

        :param rows: (3 N, n) of the components, atom after atom.
        """
        return np.asarray(np.sqrt(np.mean(self.sigma(rows).reshape(-1, 3) ** 2, axis=1)))

    def site_leverage(self, element: str, functions: FloatArray) -> FloatArray:
        """Return the leverage ``√(pᵀ (PᵀP)⁻¹ p)`` (m,) of atoms among the atoms ``P`` of the fit.

        :param functions: (m, number of functions of the element) values ``p`` of the basis functions of the atoms.
        """
        return leverage(self.sites[element], functions)

    def save(self, target: str | Path | t.BinaryIO) -> None:
        """Write an npz archive; the same posterior always gives the same bytes."""
        arrays = {
            'schema_version': np.int64(SCHEMA_VERSION),
            'potential_digest': np.array(self.potential_digest),
            'noise': np.float64(self.noise),
            'elements': np.array(list(self.sites)),
            'functions': np.array(list(self.functions_per_element.values()), dtype='i8'),
            'factor': _packed(self.factor),
            'sites': np.concatenate([_packed(factor) for factor in self.sites.values()]),
        }
        np.savez(target, **t.cast(dict[str, t.Any], arrays))

    @classmethod
    def load(cls, source: str | Path | t.BinaryIO) -> Posterior:
        """Read what `save` wrote, without pickle.

        :raises PosteriorError: when the file is not such an archive, has another schema version or is broken.
        :raises OSError: when the file cannot be read.
        """
        try:
            with np.load(source, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            version = int(arrays['schema_version'])
            if version != SCHEMA_VERSION:
                raise PosteriorError(f'the schema version is {version}, this release reads version {SCHEMA_VERSION}')
            elements, functions = arrays['elements'].tolist(), arrays['functions'].tolist()
            cuts = np.cumsum([size * (size + 1) // 2 for size in functions])[:-1]
            parts = zip(elements, functions, np.split(arrays['sites'], cuts), strict=True)
            return cls(
                factor=_unpacked(arrays['factor'], sum(functions)),
                noise=_finite(float(arrays['noise'])),
                sites={element: _unpacked(part, size) for element, size, part in parts},
                potential_digest=str(arrays['potential_digest']),
            )
        except PosteriorError:
            raise
        except (EOFError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as exception:
            raise PosteriorError(f'the file is not an archive of a posterior: {exception}') from exception


def _packed(triangle: FloatArray) -> FloatArray:
    """Return the upper triangle (n (n + 1) / 2,), row after row."""
    return np.asarray(triangle[np.triu_indices(len(triangle))])


def _unpacked(values: FloatArray, size: int) -> FloatArray:
    """Return the triangular matrix (n, n) of `_packed`.

    :raises PosteriorError: when the size is wrong, or the matrix is singular.
    """
    if values.shape != (size * (size + 1) // 2,) or values.dtype != np.float64:
        raise PosteriorError(f'the factor of {counted(size, "function")} is {values.dtype}{list(values.shape)}')
    triangle = np.zeros((size, size))
    triangle[np.triu_indices(size)] = values
    if not np.isfinite(triangle).all() or not np.diagonal(triangle).all():
        raise PosteriorError('a factor is singular or holds a number that is not finite')
    return triangle


def _finite(noise: float) -> float:
    """Return the noise.

    :raises PosteriorError: when it is not a standard deviation.
    """
    if not (np.isfinite(noise) and noise >= 0):
        raise PosteriorError(f'the noise is {noise}, not a number of 0 or more')
    return noise
