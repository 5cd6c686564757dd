"""Linear ACE: the basis in pyace, and weighted least squares whose memory does not grow with the data."""

from __future__ import annotations

import logging
import os
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_pace.formats.pacemaker import accepted_cells
from aiida_pace.frames import FloatArray, Frames

__all__ = ('BlockedLeastSquares', 'FitError', 'LinearBasis')

#: Rows are gathered up to this number, and at least the number of columns, before they are worked in.
BLOCK = 4096


class FitError(ValueError):
    """An input that cannot be fitted: the message says what is wrong and the remedy."""


class BlockedLeastSquares:
    """Find ``x`` that makes ``|A x - b|² + ridge |x|²`` least, for rows of ``A`` and ``b`` that come in parts.

    Each block is worked into the triangular factor of the rows before it by a QR decomposition (Golub and Van Loan,
    Matrix Computations, section 5.2 and 6.5), which keeps the digits that normal equations would lose.
    """

    def __init__(self, columns: int, ridge: float = 0.0) -> None:
        """Start without rows.

        :param columns: number of unknowns.
        :param ridge: weight of the squared unknowns, 0 or more.
        """
        self.columns = columns
        self.ridge = ridge
        self._factor: FloatArray = np.zeros((0, columns + 1))
        self._waiting: list[FloatArray] = []
        self._rows = 0

    def add(self, matrix: FloatArray, target: FloatArray, weights: FloatArray | float = 1.0) -> None:
        """Add rows.

        :param matrix: (m, n) rows of ``A``.
        :param target: (m,) rows of ``b``.
        :param weights: (m,) weight of each squared residual, or one for all; rows of weight 0 are left out.
        """
        roots = np.sqrt(np.broadcast_to(np.asarray(weights, dtype='f8'), (len(target),)))
        used = roots > 0
        rows = np.column_stack((matrix[used], target[used])) * roots[used, None]
        self._waiting.append(rows)
        self._rows += len(rows)
        if self._rows >= max(BLOCK, self.columns):
            self._work_in()

    def loss(self, solution: FloatArray) -> float:
        """Return ``|A x - b|²`` for the ``solution`` (n,), without the ridge."""
        factor = self._work_in()
        return float(np.sum((factor[:, :-1] @ solution - factor[:, -1]) ** 2))

    def solve(self) -> FloatArray:
        """Return the solution (n,), the shortest one when there are many."""
        factor = self._work_in()
        matrix = np.vstack((factor[:, :-1], np.sqrt(self.ridge) * np.eye(self.columns)))
        target = np.concatenate((factor[:, -1], np.zeros(self.columns)))
        return np.asarray(np.linalg.lstsq(matrix, target, rcond=None)[0])

    def _work_in(self) -> FloatArray:
        """Return the triangular factor of all rows."""
        if self._waiting:
            rows = np.vstack((self._factor, *self._waiting))
            self._factor = np.asarray(np.linalg.qr(rows, mode='r'))
            self._waiting, self._rows = [], 0
        return self._factor


class LinearBasis:
    """A linear ACE basis in pyace."""

    def __init__(self, specification: Mapping[str, t.Any], start: Path | None, log: logging.Logger) -> None:
        """Make the basis of pacemaker's section ``potential``, or load that of a potential.

        :param specification: the section.
        :param start: the potential, or None.
        :param log: where to tell how far it is.

        :raises FitError: when it is not linear.
        """
        from pyace.atomicenvironment import aseatoms_to_atomicenvironment
        from pyace.basis import ACEBBasisSet, BBasisConfiguration
        from pyace.basisextension import construct_bbasisconfiguration
        from pyace.calculator import ACECalculator
        from pyace.evaluator import ACEBEvaluator

        try:
            config = BBasisConfiguration(str(start)) if start else construct_bbasisconfiguration(dict(specification))
        except (RuntimeError, ValueError) as exception:
            raise FitError(f'pyace cannot make the basis: {exception}') from exception
        for block in config.funcspecs_blocks:
            # A repulsion belongs to the data it was made for; with it the energy is not linear at short distances.
            block.r_in, block.delta_in, block.inner_cutoff_type = 0.0, 0.0, 'distance'
            block.rho_cut, block.drho_cut, block.core_rep_parameters = 100000.0, 250.0, (0.0, 0.0)
        self._basis = ACEBBasisSet(config)
        for embedding in self._basis.map_embedding_specifications.values():
            if embedding.ndensity != 1 or list(embedding.FS_parameters) != [1.0, 1.0]:
                raise FitError('the potential is not linear: give one density with `fs_parameters: [1, 1]`')
        functions = [len(one) + len(many) for one, many in zip(self._basis.basis_rank1, self._basis.basis, strict=True)]
        self._shifts = np.cumsum([0, *functions])
        self._evaluator = ACEBEvaluator(self._basis)
        self._calculator = ACECalculator(self._evaluator)
        self._environment = aseatoms_to_atomicenvironment
        self._log = log
        self._distances: dict[tuple[int, int], float] = {}
        self.elements: list[str] = list(self._basis.elements_name)
        self.cutoff = float(self._basis.cutoffmax)
        self.size = int(self._shifts[-1])
        self.start: FloatArray = np.array(self._basis.basis_coeffs) if start else np.zeros(self.size)

    def rows(self, frames: Frames) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield, of each frame of N atoms, the energy per atom (n,) and the forces (3 N, n) of each basis function."""
        cells, pbc = accepted_cells(frames)
        mapping = self._basis.elements_to_index_map
        for index, (cell, is_periodic) in enumerate(zip(cells, pbc, strict=True)):
            part = frames.atoms_slice(index)
            atoms = Atoms(numbers=frames.numbers[part], positions=frames.positions[part], cell=cell, pbc=is_periodic)
            try:
                environment = self._environment(atoms, cutoff=self.cutoff, elements_mapper_dict=mapping)
                self._calculator.compute(environment, compute_projections=True, compute_b_grad=True)
            except (RuntimeError, ValueError) as exception:
                raise FitError(f'pyace refuses frame {index}: {exception}') from exception
            energy_row = np.zeros(self.size)
            for species, projections in zip(environment.species_type, self._calculator.projections, strict=False):
                first = self._shifts[species]
                energy_row[first : first + len(projections)] += projections
            force_rows = np.array(self._calculator.forces_bfuncs).transpose(0, 2, 1).reshape(3 * len(atoms), self.size)
            for pair, distance in environment.get_minimal_nn_distance_per_bond().items():
                self._distances[pair] = min(distance, self._distances.get(pair, np.inf))
            if (index + 1) * 10 // len(frames) > index * 10 // len(frames):
                self._log.info('%d/%d structures', index + 1, len(frames))
            yield energy_row / len(atoms), force_rows

    def save(self, path: Path, coefficients: FloatArray, *, has_repulsion: bool, metadata: Mapping[str, str]) -> None:
        """Write the potential, and what LAMMPS reads, beside it; each is there as a whole or not at all."""
        from pyace.basis import ACEBBasisSet
        from pyace.generalfit import setup_zbl_inner_core_repulsion
        from pyace.utils.utils import complement_min_dist_dict

        self._basis.basis_coeffs = coefficients
        config = self._basis.to_BBasisConfiguration()
        if has_repulsion:
            distances = complement_min_dist_dict(self._distances, self._distances, self.elements, verbose=False)
            self._log.info('Repulsion below the shortest distances in the data, in A: %s', distances)
            setup_zbl_inner_core_repulsion(config, distances)
        for key, value in metadata.items():
            config.metadata[key] = value
        for key in [key for key in config.metadata if key.startswith('_')]:
            del config.metadata[key]
        unfinished = path.with_name(f'{path.name}.unfinished')
        config.save(str(unfinished))
        os.replace(unfinished, path)
        ACEBBasisSet(str(path)).to_ACECTildeBasisSet().save_yaml(str(unfinished))
        os.replace(unfinished, path.with_suffix('.yace'))
